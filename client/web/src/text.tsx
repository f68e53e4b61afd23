/** Texts, times and letters as they are shown. */

import type { ComponentChildren } from "preact";

import type { Row } from "./timeline";

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const yearFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const longWeekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const DAY_MS = 86_400_000;

function daysAgo(ts: number): number {
  return Math.round((new Date().setHours(0, 0, 0, 0) - new Date(ts).setHours(0, 0, 0, 0)) / DAY_MS);
}

export function timeOf(ts: number): string {
  return timeFormat.format(ts);
}

export function dayOf(ts: number): string {
  const ago = daysAgo(ts);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return (new Date(ts).getFullYear() === new Date().getFullYear() ? dayFormat : yearFormat).format(ts);
}

/** The time in the list: of today, the day of this week, the date. */
export function shortTime(ts: number): string {
  if (!ts) return "";
  const ago = daysAgo(ts);
  if (ago === 0) return timeOf(ts);
  return ago > 0 && ago < 7 ? weekdayFormat.format(ts) : shortFormat.format(ts);
}

export function sameDay(a: number, b: number): boolean {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** A time that is said in a sentence: "today at 14:05". */
export function whenText(ts: number): string {
  const ago = daysAgo(ts);
  if (ago <= 0) return `today at ${timeOf(ts)}`;
  if (ago === 1) return `yesterday at ${timeOf(ts)}`;
  return ago < 7 ? `${longWeekdayFormat.format(ts)} at ${timeOf(ts)}` : `on ${(ago < 300 ? shortFormat : yearFormat).format(ts)}`;
}

/** Addresses become links; everything else stays text. */
export function linked(body: string): ComponentChildren[] {
  return body.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/).map((part, i) =>
    i % 2 ? <a href={part} target="_blank" rel="noopener noreferrer nofollow">{part}</a> : part,
  );
}

/** What a `group.*` entry says, as a sentence. */
export function eventText(sender: string, type: string, body: string, me: string, nameOf: (user: string) => string): string {
  let said: { title?: string; members?: string[]; role?: string } = {};
  try {
    said = (JSON.parse(body) ?? {}) as typeof said;
  } catch {
    // the sentence does without it
  }
  const who = sender === me ? "You" : nameOf(sender);
  const list = (said.members ?? []).filter((user) => user !== sender).map((user) => (user === me ? "you" : nameOf(user)));
  const whom = list.length > 4 ? `${list.slice(0, 3).join(", ")} and ${list.length - 3} others` : list.join(" and ");
  switch (type) {
    case "group.create": return `${who} started the group${said.title ? ` “${said.title}”` : ""}`;
    case "group.add": return `${who} added ${whom || "somebody"}`;
    case "group.remove": return `${who} removed ${whom || "somebody"}`;
    case "group.leave": return `${who} left`;
    case "group.rename": return `${who} called the group “${said.title ?? ""}”`;
    case "group.role": return said.role === "admin" ? `${who} made ${whom || "somebody"} an admin` : `${who} took the admin role from ${whom || "somebody"}`;
    case "direct.block": return sender === me ? "You blocked this chat" : `${who} blocked this chat`;
    case "direct.unblock": return sender === me ? "You unblocked this chat" : `${who} unblocked this chat`;
    default: return `${who} sent something that this page cannot show yet`;
  }
}

export function isText(row: Pick<Row, "type">): boolean {
  return row.type === "text";
}

/** Two letters on a colour that follows from the id. */
export function Avatar({ id, title, size }: { id: string; title: string; size?: "small" }) {
  const words = title.trim().split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.slice(0, 2).map((word) => [...word.replace(/^[^\p{L}\p{N}]+/u, "")][0] ?? "").join("");
  const hue = parseInt(id.slice(4, 8), 16) % 12;
  return <span class={`avatar hue-${hue} ${size ?? ""}`} aria-hidden="true">{letters.toUpperCase() || "?"}</span>;
}
