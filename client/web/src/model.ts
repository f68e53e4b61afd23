/**
 * What the page shows, as signals, and what a person may do. Owns the client; knows nothing of elements.
 *
 * Law: a component reads signals only; whatever the client tells is turned into them here, once per turn.
 */

import { batch, computed, signal } from "@preact/signals";
import { Client, codes, forget, IdbStore, ids, MemoryStore, unreadOf, type ConversationState, type Event, type Session, type State, type Store } from "homing-client";

import { accounts, databaseOf } from "./session";
import { Timeline } from "./timeline";

export type Place = { conversation: string; peer: string } | null;
export type Dialog = "find" | "group" | "menu" | "members" | null;
export interface Connection {
  state: State;
  reason: string;
  code: number;
  retryAt: number | null;
}

export const session = signal<Session | null>(accounts.session);
export const notice = signal("");
export const connection = signal<Connection>({ state: "idle", reason: "", code: 0, retryAt: null });
export const place = signal<Place>(null);
export const dialog = signal<Dialog>(null);
export const timeline = signal<Timeline | null>(null);
/** Another page of this browser uses the device. */
export const elsewhere = signal(false);
export const ready = signal(false);
/** Rises when a conversation, a name, or the outbox changed. */
export const listRevision = signal(0);
export const nameRevision = signal(0);
export const announcement = signal("");
export const storeTrouble = signal("");

let client: Client | null = null;
let releaseLock: (() => void) | null = null;
let unlisten: (() => void) | null = null;
const peers = new Map<string, string>();
const members = new Map<string, string[]>();

export function theClient(): Client {
  if (!client) throw new Error("nobody is signed in");
  return client;
}

// ---------------------------------------------------------------- life

/** Opens the signed-in person's device, unless another page holds it. `steal`: takes it from that page. */
export async function start(steal = false): Promise<void> {
  const who = session.value;
  if (!who || client) return;
  if (!(await lock(databaseOf(who.user), steal))) {
    elsewhere.value = true;
    return;
  }
  elsewhere.value = false;
  const opened = await openClient(who, new IdbStore(databaseOf(who.user))).catch(async (error: unknown) => {
    storeTrouble.value = `This browser keeps no history (${String(error)}); everything is fetched again.`;
    return openClient(who, new MemoryStore());
  });
  client = opened;
  unlisten = opened.listen(onEvent);
  opened.connect();
  ready.value = true;
  onPlace();
}

async function openClient(who: Session, store: Store): Promise<Client> {
  const opened = new Client({
    url: location.origin, getToken: () => accounts.ticket(), store, user: who.user, program: "homing-web/0.1", followsUrls: false,
  });
  await opened.open(false);
  return opened;
}

/** One page at a time uses a device. Where the browser has no locks, nobody is kept out. */
function lock(name: string, steal: boolean): Promise<boolean> {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const hold = (granted: Lock | null): Promise<void> | undefined => {
      resolve(granted !== null);
      return granted ? new Promise<void>((release) => (releaseLock = release)) : undefined;
    };
    const held = navigator.locks.request(name, steal ? { steal } : { ifAvailable: true }, hold);
    held.catch(() => void stop().then(() => (elsewhere.value = true))); // another page took it
  });
}

async function stop(): Promise<void> {
  const old = client;
  unlisten?.();
  client = null;
  batch(() => {
    ready.value = false;
    timeline.value = null;
    connection.value = { state: "idle", reason: "", code: 0, retryAt: null };
  });
  peers.clear();
  members.clear();
  await old?.close();
}

export function signedIn(who: Session): void {
  session.value = who;
  notice.value = "";
  void navigator.storage?.persist?.().catch(() => false);
  void start();
}

export async function signOut(message = "", forgetting = true): Promise<void> {
  const who = session.value;
  await accounts.signOut().catch(() => undefined);
  await stop();
  releaseLock?.();
  if (who && forgetting) await forget(databaseOf(who.user));
  batch(() => {
    session.value = null;
    dialog.value = null;
    notice.value = message;
    go(null);
  });
}

// ---------------------------------------------------------------- what the client tells

let isDue = false;

function changed(): void {
  if (isDue) return;
  isDue = true;
  queueMicrotask(() => {
    isDue = false;
    listRevision.value += 1;
  });
}

function onEvent(event: Event): void {
  switch (event.kind) {
    case "StateChanged": {
      const wait = theClient().retryInS;
      connection.value = { state: event.state, reason: event.reason, code: event.code, retryAt: wait === null ? null : Date.now() + wait * 1000 };
      if (event.state === "closed" && !accounts.session) {
        const revoked = event.code === codes.DEVICE_REVOKED;
        void signOut("This device was signed out. Please sign in again.", revoked);
      } else if (event.state === "closed" && event.code === codes.DEVICE_REVOKED) void signOut("This device was signed out.");
      return;
    }
    case "Named":
      nameRevision.value += 1;
      return;
    case "StoreTrouble":
      storeTrouble.value = `This browser could not store what came: ${event.reason}`;
      return;
    case "Shown":
      if (event.entry.type?.startsWith("group.")) members.delete(event.entry.conversation);
      announce(event.entry.conversation, event.entry.sender, event.entry.body ?? "", event.entry.type ?? "text");
      break;
  }
  timeline.value?.on(event);
  changed();
}

function announce(conversation: string, sender: string, body: string, type: string): void {
  const my = theClient();
  if (sender === my.user || type !== "text" || my.state !== "live") return;
  announcement.value = `${nameOf(sender)}: ${body.slice(0, 200)}${conversation === place.value?.conversation ? "" : " (another chat)"}`;
}

// ---------------------------------------------------------------- names and conversations

export function nameOf(user: string): string {
  void nameRevision.value;
  if (!user) return "";
  if (user === session.value?.user) return session.value.name || session.value.handle;
  return client?.nameOf(user) || `Somebody (${user.slice(4, 9)})`;
}

export function titleOf(conversation: string, peer: string): string {
  const state = client?.core.conversations.get(conversation);
  if (ids.kindOf(conversation) === ids.DIRECT) return nameOf(peer || peerOf(conversation));
  return state?.title || "Group";
}

export function peerOf(conversation: string): string {
  return client?.core.conversations.get(conversation)?.peer || peers.get(conversation) || "";
}

export interface Item {
  state: ConversationState;
  title: string;
  at: number;
  unread: number;
  draft: string;
  /** The newest thing that waits in the outbox, or was refused. */
  waiting: { body: string; failed: boolean } | null;
}

/** The list, the most recently active first. */
export const items = computed<Item[]>(() => {
  void listRevision.value;
  void nameRevision.value;
  if (!ready.value || !client) return [];
  const waiting = new Map<string, { body: string; failed: boolean; ts: number }>();
  const note = (conversation: string, body: string, ts: number, failed: boolean): void => {
    if ((waiting.get(conversation)?.ts ?? 0) <= ts) waiting.set(conversation, { body, failed, ts });
  };
  for (const f of client.failed.values()) note(f.conversation, f.body, f.ts, true);
  for (const { frame, conversation } of client.core.outbox.items()) if (frame.op === "send") note(conversation, frame.body, frame.ts ?? 0, false);
  const all: Item[] = [];
  for (const state of client.core.conversations.values()) {
    const queued = waiting.get(state.id) ?? null;
    const draft = client.drafts.get(state.id) ?? "";
    if (!state.last && !state.head && !queued && !draft && !state.title) continue;
    const at = Math.max(state.last?.ts ?? 0, queued?.ts ?? 0);
    all.push({ state, title: titleOf(state.id, state.peer), at, unread: unreadOf(state), draft, waiting: queued });
  }
  return all.sort((a, b) => b.at - a.at || b.state.touched - a.state.touched);
});

export const unreadTotal = computed(() => items.value.reduce((sum, item) => sum + (item.unread ? 1 : 0), 0));

/** A group's members, [] until they are known. */
export function membersOf(conversation: string): string[] {
  void listRevision.value;
  const known = members.get(conversation);
  if (known || !client) return known ?? [];
  members.set(conversation, []);
  client.members(conversation).then(
    (list) => {
      members.set(conversation, list.map((m) => m.user));
      changed();
    },
    () => members.delete(conversation),
  );
  return [];
}

/** How far a message of one's own has come: every other member's marks count. */
export function progress(conversation: string, seq: number): "sent" | "delivered" | "read" {
  const others = ids.kindOf(conversation) === ids.DIRECT ? [peerOf(conversation)] : membersOf(conversation).filter((user) => user !== client?.user);
  const marks = client?.core.marks.others.get(conversation);
  if (!marks || !others.length) return "sent";
  const all = (which: 0 | 1): boolean => others.every((user) => (marks.get(user)?.[which] ?? 0) >= seq);
  return all(1) ? "read" : all(0) ? "delivered" : "sent";
}

// ---------------------------------------------------------------- places

/** `#/c/conversation`, or `#/u/user` for somebody to whom nothing was said yet. */
export function go(to: string | null, replace = false): void {
  const hash = to ? `#/${ids.kindOf(to) === ids.USER ? "u" : "c"}/${to}` : "#/";
  if (location.hash === hash) return onPlace();
  if (replace) history.replaceState(null, "", hash);
  else location.hash = hash;
  onPlace();
}

export function onPlace(): void {
  if (!client) return;
  const [, kind, id] = /^#\/([cu])\/([0-9a-f]{32})$/.exec(location.hash) ?? [];
  const conversation = id && (kind === "u" ? ids.directId(client.user || session.value!.user, id) : id);
  if (!conversation) {
    batch(() => {
      place.value = null;
      timeline.value = null;
    });
    return;
  }
  if (kind === "u") peers.set(conversation, id);
  if (place.value?.conversation === conversation && timeline.value) return;
  batch(() => {
    place.value = { conversation, peer: kind === "u" ? id : peerOf(conversation) };
    timeline.value = new Timeline(theClient(), conversation);
  });
  void timeline.value?.open();
}

export async function say(body: string): Promise<void> {
  const at = place.value;
  if (!at || !body.trim()) return;
  const peer = peerOf(at.conversation);
  await theClient().send(ids.kindOf(at.conversation) === ids.DIRECT && peer ? peer : at.conversation, body);
}
