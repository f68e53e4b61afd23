/** Whether somebody is here and what he does, as text and as a mark on his picture. The mark is there or not: its colour says nothing more. */

import { ids } from "homing-client";

import { useModel, type Model } from "./model";
import { Avatar, whenText } from "./text";

/** A picture; a person's has a mark while he is here. */
export function Face({ id, title, size }: { id: string; title: string; size?: "small" }) {
  const { people, session } = useModel();
  const isHere = ids.kindOf(id) === ids.USER && id !== session.value?.user && people.presenceOf(id).state === "online";
  return (
    <span class="face">
      <Avatar id={id} title={title} size={size} />
      {isHere && <span class="here" aria-hidden="true" />}
    </span>
  );
}

/** "online", "last seen …", or nothing where that is not known. */
export function presenceText(model: Model, user: string): string {
  const { state, last_seen } = model.people.presenceOf(user);
  if (state === "online") return "online";
  return state === "offline" && last_seen ? `last seen ${whenText(last_seen)}` : "";
}

/** Who is writing or recording in a chat, "" while nobody is. */
export function activityText(model: Model, conversation: string): string {
  const active = model.people.typingIn(conversation);
  if (!active.length) return "";
  const verb = active.every((a) => a.kind === "recording") ? "recording" : "typing";
  if (ids.kindOf(conversation) === ids.DIRECT) return `${verb}…`;
  const names = active.map((a) => shortName(model.nameOf(a.user)));
  if (names.length > 2) return `${names.length} people are ${verb}…`;
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} ${verb}…`;
}

/** The first word of a name: there is little room. */
function shortName(name: string): string {
  const first = name.split(" ")[0]!;
  return name.includes("(") || first.length < 2 ? name : first;
}

export function Activity({ text }: { text: string }) {
  return <span class="activity" dir="auto"><span class="dots" aria-hidden="true"><i /><i /><i /></span><span>{text}</span></span>;
}
