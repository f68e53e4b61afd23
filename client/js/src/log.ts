/**
 * All conversations of a device: which entries are shown, and what the server's heads say. Knows nothing of the session.
 *
 * Laws: every entry is shown once per device and in seq order; only what the server shows to be invisible is passed over (`Gap`); heads are
 * remembered when they are heard of, so that a cursor that covers them may count at once.
 */

import { Catchup } from "./catchup";
import type { Effect } from "./effects";
import * as ids from "./ids";
import type { Limits } from "./limits";
import type { Marks } from "./marks";
import type { Entries, Entry, Head } from "./protocol";
import { newConversation, type ConversationState, type Dirty } from "./state";
import { Tail } from "./tail";

export class Log {
  readonly conversations = new Map<string, ConversationState>();
  readonly tails = new Map<string, Tail>();
  readonly catchup: Catchup;
  user = "";

  /** `met` is called with every entry that passes by, shown or not. */
  constructor(
    states: readonly ConversationState[],
    private readonly marks: Marks,
    private readonly limits: Limits,
    private readonly dirty: Dirty,
    public touches: number,
    private readonly met: (entry: Entry) => void,
  ) {
    for (const state of states) {
      this.conversations.set(state.id, state);
      this.tails.set(state.id, new Tail(state));
    }
    this.catchup = new Catchup(limits, this.tails);
  }

  tail(conversation: string): Tail {
    let tail = this.tails.get(conversation);
    if (!tail) {
      const state = newConversation(conversation);
      this.conversations.set(conversation, state);
      this.tails.set(conversation, (tail = new Tail(state)));
    }
    return tail;
  }

  /** An entry came by itself. */
  take(entry: Entry, now: number): Effect[] {
    const tail = this.tail(entry.conversation);
    tail.begin(entry.seq - this.limits.unknown_entries_max + 1);
    this.met(entry);
    this.catchup.hold(tail, entry);
    const effects = this.show(tail);
    this.catchup.want(tail, now + this.limits.gap_wait_s);
    return effects;
  }

  /** A page came that was asked for to complete a tail. */
  page(f: Entries, now: number): Effect[] {
    for (const entry of f.entries) this.met(entry);
    const [tail, effects] = this.catchup.page(f, now);
    return [...effects, ...this.show(tail)];
  }

  /** The conversation is known to reach up to `seq`; what lacks is fetched at `at`. */
  grown(conversation: string, seq: number, at: number): void {
    const tail = this.tail(conversation);
    tail.begin(seq - this.limits.unknown_entries_max + 1);
    tail.raiseHead(seq);
    this.dirty.conversations.add(conversation);
    this.catchup.want(tail, at);
  }

  /** Shows what can be shown, in order. */
  show(tail: Tail): Effect[] {
    const effects: Effect[] = [];
    const state = tail.state;
    const before = tail.held.size;
    let gapFrom = 0;
    const gap = (to: number): void => {
      if (gapFrom) effects.push({ kind: "Gap", conversation: state.id, from_seq: gapFrom, to_seq: to, reason: "not_visible" });
      gapFrom = 0;
    };
    for (const shown of tail.drain()) {
      if (typeof shown === "number") {
        gapFrom ||= shown;
        continue;
      }
      gap(shown.seq - 1);
      this.learn(state, shown);
      effects.push({ kind: "Shown", entry: shown });
      if (shown.sender !== this.user) this.marks.shown(state);
    }
    gap(state.contig);
    if (effects.length) state.touched = ++this.touches;
    this.dirty.conversations.add(state.id);
    this.catchup.held += tail.held.size - before;
    this.catchup.settle(tail);
    return effects;
  }

  private learn(state: ConversationState, entry: Entry): void {
    state.last = entry;
    state.ordinal = Math.max(state.ordinal, entry.ordinal);
    if (ids.kindOf(state.id) === ids.DIRECT && !state.peer && entry.sender !== this.user) state.peer = entry.sender;
    if (entry.type?.startsWith("group.")) this.learnGroup(state, entry);
  }

  /** What a change of a group means here; a head says the same when it comes. */
  private learnGroup(state: ConversationState, entry: Entry): void {
    const { title, members, role } = changeOf(entry);
    if (entry.type === "group.create" || entry.type === "group.rename") state.title = title || state.title;
    const isMe = members.includes(this.user) || (entry.sender === this.user && entry.type === "group.leave");
    if (entry.type === "group.create") state.role = entry.sender === this.user ? "owner" : "member";
    else if (!isMe) return;
    else if (entry.type === "group.role") state.role = role || "member";
    else if (entry.type === "group.add") [state.role, state.until_seq] = ["member", null];
    else if (entry.type !== "group.rename") state.until_seq = entry.seq;
  }

  /**
   * A conversation as its home sees it. `listed`: only a page of the conversation list; `newDevice`: nothing was ever held here, the last
   * entry is enough; `streamed`: what lacks may be on its way already.
   */
  head(head: Head, listed: boolean, newDevice: boolean, now: number, streamed: boolean): Effect[] {
    const tail = this.tail(head.conversation);
    const state = tail.state;
    state.title = head.title || state.title;
    state.role = head.role ?? "member";
    state.until_seq = head.until_seq ?? null;
    if (typeof head.peer === "string") state.peer = head.peer;
    state.ordinal = Math.max(state.ordinal, head.ordinal);
    this.dirty.conversations.add(state.id);
    const effects: Effect[] = [{ kind: "ConversationChanged", conversation: state.id }, ...this.marks.head(state, head, this.user)];
    if (listed && !state.base) {
      state.last = head.last ?? null;
    } else if (head.seq) {
      tail.begin(newDevice ? head.seq : head.seq - this.limits.unknown_entries_max + 1);
      tail.raiseHead(head.seq);
      if (head.last && head.last.conversation === state.id) {
        this.met(head.last);
        this.catchup.hold(tail, head.last);
      }
      effects.push(...this.show(tail));
      this.catchup.want(tail, streamed ? now + this.limits.gap_wait_s : now);
    }
    return effects;
  }

  /** Asks for what is missing. */
  flush(now: number, effects: Effect[]): void {
    for (let skipped = this.catchup.flush(now, effects); skipped.length; skipped = this.catchup.flush(now, effects))
      for (const tail of skipped) effects.push(...this.show(tail));
  }

  check(): void {
    this.catchup.check();
    for (const tail of this.tails.values()) tail.check();
  }
}

/** The title in a `group.*` entry, "" if there is none. */
export function titleOf(entry: Entry): string {
  return changeOf(entry).title;
}

/** What a `group.*` entry says, as far as it can be understood. */
function changeOf(entry: Entry): { title: string; members: unknown[]; role: string } {
  let said: Record<string, unknown> = {};
  try {
    said = (JSON.parse(entry.body ?? "") ?? {}) as Record<string, unknown>;
  } catch {
    // then it says nothing
  }
  const { title, members, role } = said;
  return { title: typeof title === "string" ? title : "", members: Array.isArray(members) ? members : [], role: typeof role === "string" ? role : "" };
}
