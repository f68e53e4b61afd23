/** What a device must remember over a restart, and what of it changed. */

import type { Entry, Request } from "./protocol";

/** One conversation as this device knows it. Invariant: `base - 1 <= contig <= head`. */
export interface ConversationState {
  id: string;
  /** First seq of the live tail; what lies below is history. 0: nothing known yet. */
  base: number;
  /** Every entry from `base` to here has been shown, or is known to be invisible. */
  contig: number;
  /** The last seq known to exist. */
  head: number;
  last: Entry | null;
  ordinal: number;
  acked: number;
  read: number;
  read_ordinal: number;
  /** The own marks' home may not have stored them yet: hello repeats them. */
  unsure: boolean;
  /** Rises with activity. */
  touched: number;
  title: string;
  peer: string;
  role: string;
  until_seq: number | null;
}

export function newConversation(id: string): ConversationState {
  return {
    id, base: 0, contig: 0, head: 0, last: null, ordinal: 0, acked: 0, read: 0, read_ordinal: 0,
    unsure: false, touched: 0, title: "", peer: "", role: "member", until_seq: null,
  };
}

/** Messages after the own read mark; none when the last word was one's own, from whatever device. */
export function unreadOf(state: ConversationState, me: string): number {
  return state.last?.sender === me ? 0 : Math.max(0, state.ordinal - state.read_ordinal);
}

/** A request that is not answered yet. */
export interface OutboxItem {
  frame: Request;
  conversation: string;
  /** How often it went out. 0: the server cannot know of it. */
  attempts: number;
  /** Its entry, if it was met in the log: stored, but `sent` did not come yet. */
  seen: Entry | null;
}

export interface MarkState {
  conversation: string;
  user: string;
  delivered: number;
  read: number;
}

export interface CoreState {
  user: string;
  cursor: string | null;
  touches: number;
  conversations: ConversationState[];
  marks: MarkState[];
  outbox: OutboxItem[];
}

export const NO_STATE: Readonly<CoreState> = { user: "", cursor: null, touches: 0, conversations: [], marks: [], outbox: [] };

/** What changed since a store was last told; shares its parts with the core. */
export interface Changes extends CoreState {
  answered: string[];
}

/** Bounded by what the core holds, if it is emptied often. */
export class Dirty {
  session = false;
  readonly conversations = new Set<string>();
  /** `conversation user` */
  readonly marks = new Set<string>();
  /** In the order in which they were queued. */
  readonly outbox = new Set<string>();

  get any(): boolean {
    return this.session || this.conversations.size + this.marks.size + this.outbox.size > 0;
  }

  /** What was taken could not be written: it is to be written still. */
  restore(changes: Changes): void {
    this.session = true;
    for (const c of changes.conversations) this.conversations.add(c.id);
    for (const m of changes.marks) this.marks.add(`${m.conversation} ${m.user}`);
    const later = [...this.outbox];
    this.outbox.clear();
    for (const id of [...changes.outbox.map((i) => i.frame.id), ...changes.answered, ...later]) this.outbox.add(id);
  }

  clear(): void {
    this.session = false;
    this.conversations.clear();
    this.marks.clear();
    this.outbox.clear();
  }
}
