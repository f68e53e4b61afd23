/**
 * Which tails are behind, and the pages asked for to complete them. Knows tails, nothing of requests or marks.
 *
 * A tail that is behind is wanted at a time: at once when a head says so, after `gap_wait_s` when an entry overtook others. One page a
 * conversation is under way, `fetches_max` over all, the lowest missing range first.
 */

import { transmit, type Effect } from "./effects";
import type { Limits } from "./limits";
import type { Entries, Entry } from "./protocol";
import { earliest } from "./session";
import type { Tail } from "./tail";

interface Page {
  conversation: string;
  first: number;
  last: number;
  sentAt: number;
}

export class Catchup {
  private readonly wanted = new Map<string, number>();
  private readonly pages = new Map<string, Page>();
  private readonly paging = new Set<string>();
  private number = 0;
  /** Entries held above holes, over all tails. */
  held = 0;

  constructor(private readonly limits: Limits, private readonly tails: ReadonlyMap<string, Tail>) {}

  /** Whether a request id is a page's. */
  has(id: string): boolean {
    return this.pages.has(id);
  }

  /** Whether anything is missing. */
  get behind(): boolean {
    return this.wanted.size > 0;
  }

  /** The tail is behind: asks for what it lacks at `at`, or before if that was said. */
  want(tail: Tail, at: number): void {
    const { id, contig, head } = tail.state;
    if (contig < head) this.wanted.set(id, Math.min(at, this.wanted.get(id) ?? at));
  }

  /** The tail moved: is it complete? */
  settle(tail: Tail): void {
    if (tail.state.contig >= tail.state.head) this.wanted.delete(tail.state.id);
  }

  /** Waits for nothing any more. */
  wantAll(now: number): void {
    for (const [id, at] of this.wanted) this.wanted.set(id, Math.min(at, now));
  }

  welcome(now: number): void {
    for (const tail of this.tails.values()) if (tail.state.base) this.want(tail, now);
  }

  /** The session is gone, and with it what was asked. */
  lost(): void {
    this.wanted.clear();
    this.pages.clear();
    this.paging.clear();
  }

  /** Takes an entry that came by itself; past the bounds only its number, and it is fetched later. */
  hold(tail: Tail, entry: Entry): void {
    const room = tail.held.size < this.limits.held_entries_max && this.held < this.limits.held_total_max;
    if (room || entry.seq === tail.state.contig + 1) {
      const before = tail.held.size;
      tail.hold(entry);
      this.held += tail.held.size - before;
    } else tail.raiseHead(entry.seq);
  }

  /** Asks for what is due. Returns tails that skipped what is too far back. */
  flush(now: number, effects: Effect[]): Tail[] {
    const skipped: Tail[] = [];
    if (this.pages.size >= this.limits.fetches_max) return skipped;
    for (const [id, at] of [...this.wanted]) {
      if (at > now || this.paging.has(id)) continue;
      const tail = this.tails.get(id)!;
      if (this.skip(tail, effects)) skipped.push(tail);
      else this.ask(tail, now, effects);
      if (this.pages.size >= this.limits.fetches_max) break;
    }
    return skipped;
  }

  private skip(tail: Tail, effects: Effect[]): boolean {
    const { id, contig, head } = tail.state;
    const behind = head - contig - this.limits.catchup_entries_max;
    if (behind <= 0) return false;
    effects.push({ kind: "Gap", conversation: id, from_seq: contig + 1, to_seq: contig + behind, reason: "too_many" });
    const before = tail.held.size;
    tail.skipTo(contig + behind);
    this.held += tail.held.size - before;
    return true;
  }

  private ask(tail: Tail, now: number, effects: Effect[]): void {
    const conversation = tail.state.id;
    const missing = tail.missing(this.limits.fetch_entries);
    if (missing === null) {
      this.wanted.delete(conversation);
      return;
    }
    const [first, last] = missing;
    const id = `~${++this.number}`;
    this.pages.set(id, { conversation, first, last, sentAt: now });
    this.paging.add(conversation);
    effects.push(transmit({ op: "fetch", id, conversation, from_seq: first, to_seq: last, limit: this.limits.fetch_entries }));
  }

  /** A page came: its tail may have something to show now. */
  page(f: Entries, now: number): [Tail, Effect[]] {
    const page = this.close(f.id);
    const tail = this.tails.get(page.conversation)!;
    const state = tail.state;
    tail.raiseHead(f.head);
    const before = tail.held.size;
    const contig = state.contig;
    const entries = f.entries.filter((e) => page.first <= e.seq && e.seq <= page.last && e.conversation === state.id);
    for (const entry of entries) tail.hold(entry);
    if (f.head >= page.first) {
      // An empty page says that nothing of the range is ours to see; one that starts late may have been cut below.
      const lowest = entries.length ? Math.min(...entries.map((e) => e.seq)) : page.first;
      tail.void(lowest, Math.min(page.last, f.head));
    }
    this.held += tail.held.size - before;
    // A home that does not know of what others said is not the right one (any more): give it a moment.
    this.wanted.set(state.id, f.head < page.first ? now + this.limits.retry_s : now);
    this.settle(tail);
    const gap: Effect = { kind: "Gap", conversation: state.id, from_seq: contig + 1, to_seq: state.contig, reason: "not_visible" };
    return [tail, state.contig > contig ? [gap] : []];
  }

  /** The range is not ours to see. */
  refused(id: string): Effect[] {
    const tail = this.tails.get(this.close(id).conversation)!;
    const [first, last] = [tail.state.contig + 1, tail.state.head];
    this.held -= tail.held.size;
    tail.forgetAbove();
    this.settle(tail);
    return first <= last ? [{ kind: "Gap", conversation: tail.state.id, from_seq: first, to_seq: last, reason: "not_visible" }] : [];
  }

  /** The page could not be given: asks again at `at`. */
  again(id: string, at: number): void {
    this.wanted.set(this.close(id).conversation, at);
  }

  /** Gives up waiting for pages that do not come. */
  expire(now: number): void {
    for (const [id, page] of [...this.pages]) if (now >= page.sentAt + this.limits.answer_wait_s) this.again(id, now);
  }

  nextDeadline(): number | null {
    const times = [...this.pages.values()].map((p) => p.sentAt + this.limits.answer_wait_s);
    if (this.pages.size < this.limits.fetches_max) for (const [id, at] of this.wanted) if (!this.paging.has(id)) times.push(at);
    return earliest(...times);
  }

  private close(id: string): Page {
    const page = this.pages.get(id)!;
    this.pages.delete(id);
    this.paging.delete(page.conversation);
    return page;
  }

  check(): void {
    let held = 0;
    for (const tail of this.tails.values()) held += tail.held.size;
    if (held !== this.held || this.pages.size > this.limits.fetches_max) throw new Error("the catch-up's counts are wrong");
  }
}
