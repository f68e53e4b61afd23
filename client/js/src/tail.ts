/**
 * The live tail of one conversation: what is shown, what is held back above a hole, what is missing.
 *
 * Laws: entries leave `drain` in seq order, each once; a seq is passed over only when the server showed that it is not visible.
 */

import type { Entry } from "./protocol";
import type { ConversationState } from "./state";

export class Tail {
  /** Above `contig`: entries that wait for those below them; null: known to be invisible. */
  readonly held = new Map<number, Entry | null>();

  constructor(readonly state: ConversationState) {}

  /** Fixes where the tail starts, once. */
  begin(first: number): void {
    const state = this.state;
    if (state.base) return;
    state.base = Math.max(1, first);
    state.contig = state.base - 1;
    state.head = Math.max(state.head, state.contig);
  }

  raiseHead(seq: number): void {
    this.state.head = Math.max(this.state.head, seq);
  }

  /** Takes an entry; false when it is already held or shown. */
  hold(entry: Entry): boolean {
    this.raiseHead(entry.seq);
    if (entry.seq <= this.state.contig || this.held.get(entry.seq)) return false;
    this.held.set(entry.seq, entry);
    return true;
  }

  /** Marks what is missing in the range as invisible. */
  void(first: number, last: number): void {
    const state = this.state;
    if (first <= state.contig + 1 && ![...this.held.keys()].some((seq) => first <= seq && seq <= last)) {
      state.contig = Math.max(state.contig, last); // the common case: a whole page of nothing, without a mark for each
      return;
    }
    for (let seq = Math.max(first, state.contig + 1); seq <= last; seq++) if (!this.held.has(seq)) this.held.set(seq, null);
  }

  /** What may be shown now: entries in order, and the number of each seq that is passed over. */
  *drain(): Generator<Entry | number> {
    for (;;) {
      const entry = this.held.get(this.state.contig + 1);
      if (entry === undefined) return;
      this.state.contig += 1;
      this.held.delete(this.state.contig);
      yield entry ?? this.state.contig;
    }
  }

  /** The lowest range that must be fetched, at most `width` long. */
  missing(width: number): [number, number] | null {
    const { contig, head } = this.state;
    if (contig >= head) return null;
    let last = Math.min(head, contig + width);
    for (const seq of this.held.keys()) last = Math.min(last, seq - 1);
    return [contig + 1, last];
  }

  /** Gives up what lies above `contig`: the server says that it is not ours to see. */
  forgetAbove(): void {
    this.held.clear();
    this.state.head = this.state.contig;
  }

  skipTo(contig: number): void {
    this.state.contig = contig;
    for (const seq of [...this.held.keys()]) if (seq <= contig) this.held.delete(seq);
  }

  check(): void {
    const { base, contig, head, id } = this.state;
    const ok = (base - 1 <= contig && contig <= head) || (base === 0 && contig === 0);
    if (!ok || [...this.held.keys()].some((seq) => seq <= contig + 1)) throw new Error(`tail of ${id} is out of order`);
  }
}
