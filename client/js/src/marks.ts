/**
 * Delivered and read marks: the own ones go out, the others' come in.
 *
 * Laws: marks only move forward; an own mark is repeated at the next hello while its home may not have stored it; at most one ack and one
 * read mark per conversation and flush; a mark that the server put off goes out again, with all others paced.
 */

import { transmit, type Effect } from "./effects";
import type { Limits } from "./limits";
import type { Head, Mark } from "./protocol";
import type { ConversationState, Dirty, MarkState } from "./state";

type States = ReadonlyMap<string, ConversationState>;

export class Marks {
  /** conversation → member → [delivered, read]. */
  readonly others = new Map<string, Map<string, [number, number]>>();
  /** When the own marks last went out, where their home may not have stored them; infinity: before a restart. */
  private readonly moved = new Map<string, number>();
  private readonly toAck = new Set<string>();
  private readonly toRead = new Set<string>();
  private notBefore = 0;
  /** The server said that too much came. */
  private isPaced = false;

  constructor(marks: readonly MarkState[], states: readonly ConversationState[], private readonly dirty: Dirty, private readonly limits: Limits) {
    for (const m of marks) this.of(m.conversation).set(m.user, [m.delivered, m.read]);
    for (const s of states) if (s.unsure) this.moved.set(s.id, Infinity);
  }

  private of(conversation: string): Map<string, [number, number]> {
    let known = this.others.get(conversation);
    if (!known) this.others.set(conversation, (known = new Map()));
    return known;
  }

  nextDeadline(): number | null {
    return this.toAck.size || this.toRead.size ? this.notBefore : null;
  }

  // ---------------------------------------------------------------- own marks

  /** The device holds another member's entry. */
  shown(state: ConversationState): void {
    state.unsure = true;
    this.toAck.add(state.id);
  }

  /** The user has read up to `seq`, here (`tell`: the server must hear of it) or on another device. */
  read(state: ConversationState, seq: number, ordinal: number | null, user: string, tell: boolean): Effect[] {
    if (seq <= state.read) return [];
    state.read = seq;
    // Between two entries the ordinal grows by at most one a seq.
    ordinal ??= state.ordinal - Math.max(0, (state.last ? state.last.seq : state.contig) - seq);
    state.read_ordinal = Math.max(state.read_ordinal, ordinal);
    this.dirty.conversations.add(state.id);
    if (tell) {
      this.toRead.add(state.id);
      state.unsure = true;
    }
    return [{ kind: "ReadBy", conversation: state.id, user, seq }];
  }

  /** The home says what it knows of all marks: the larger wins, and if that is ours, it hears of it again. */
  head(state: ConversationState, head: Head, user: string): Effect[] {
    const read = head.read ?? 0;
    const effects = this.read(state, read, head.read_ordinal ?? 0, user, false);
    if (read === state.read) state.read_ordinal = Math.max(state.read_ordinal, head.read_ordinal ?? 0);
    else this.toRead.add(state.id);
    if (Math.max(head.delivered ?? 0, read) < state.acked) this.toAck.add(state.id);
    return [...effects, ...this.take(state.id, head.marks ?? [])];
  }

  /** A new session: repeats what may be lost. */
  welcome(states: States): void {
    this.notBefore = 0;
    this.isPaced = false;
    for (const id of this.moved.keys()) this.repeat(id, states);
  }

  /** The server did not take a mark of this conversation, for too much came: all wait until `at`. */
  putOff(id: string, at: number, states: States): void {
    this.notBefore = Math.max(this.notBefore, at);
    this.isPaced = true;
    const state = states.get(id);
    if (!state) return;
    this.moved.set(id, Infinity);
    state.unsure = true;
    this.dirty.conversations.add(id);
    this.repeat(id, states);
  }

  private repeat(id: string, states: States): void {
    const state = states.get(id);
    if (state?.contig) this.toAck.add(id);
    if (state?.read) this.toRead.add(id);
  }

  /** Marks that went out before that time are stored by their homes. */
  durable(before: number, states: States): void {
    for (const [id, at] of [...this.moved]) {
      if (at >= before) continue;
      this.moved.delete(id);
      const state = states.get(id);
      if (!state) continue;
      state.unsure = false;
      this.dirty.conversations.add(id);
    }
  }

  flush(states: States, now: number, effects: Effect[]): void {
    if (now < this.notBefore || !(this.toAck.size || this.toRead.size)) return;
    const waiting = [...new Set([...this.toRead, ...this.toAck])];
    for (const id of this.isPaced ? waiting.slice(0, this.limits.marks_paced) : waiting) {
      const state = states.get(id)!;
      if (this.toRead.has(id)) effects.push(transmit({ op: "read", conversation: id, seq: state.read }));
      if (this.toAck.has(id)) {
        state.acked = state.contig;
        // reading says delivered too
        if (!this.toRead.has(id) || state.read < state.contig) effects.push(transmit({ op: "ack", conversation: id, seq: state.contig }));
      }
      this.moved.set(id, now);
      state.unsure = true;
      this.dirty.conversations.add(id);
      this.toRead.delete(id);
      this.toAck.delete(id);
    }
    if (this.isPaced) {
      this.notBefore = now + this.limits.marks_pace_s;
      this.isPaced = this.toAck.size + this.toRead.size > 0;
    }
  }

  // ---------------------------------------------------------------- others' marks

  take(conversation: string, marks: readonly Mark[]): Effect[] {
    const effects: Effect[] = [];
    const known = this.of(conversation);
    for (const [user, newDelivered, newRead] of marks) {
      const [delivered, read] = known.get(user) ?? [0, 0];
      const now: [number, number] = [Math.max(delivered, newDelivered, newRead), Math.max(read, newRead)];
      if (now[0] === delivered && now[1] === read) continue;
      known.set(user, now);
      this.dirty.marks.add(`${conversation} ${user}`);
      if (now[0] > delivered) effects.push({ kind: "Delivered", conversation, user, seq: now[0] });
      if (now[1] > read) effects.push({ kind: "ReadBy", conversation, user, seq: now[1] });
    }
    return effects;
  }

  export(): MarkState[] {
    const all: MarkState[] = [];
    for (const [conversation, marks] of this.others) for (const [user, [delivered, read]] of marks) all.push({ conversation, user, delivered, read });
    return all;
  }
}
