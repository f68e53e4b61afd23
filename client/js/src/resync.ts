/**
 * `resync`: the server cannot tell whether it has a request's entry, because the request's `after` lies too far back. The client looks for
 * its own entry itself, from the head down to `after`. Found, the request is answered; not found, it goes out again with the head as its
 * `after`. One search at a time.
 */

import { transmit, type Effect } from "./effects";
import type { Limits } from "./limits";
import type { Outbox } from "./outbox";
import type { Entries, Entry, Fetch } from "./protocol";
import { earliest } from "./session";
import type { OutboxItem } from "./state";

interface Search {
  at: number;
  to: number | null;
  head: number;
  looked: number;
  page: string;
}

export class Resync {
  private readonly searches = new Map<string, Search>();
  private asking: { request: string; at: number } | null = null;
  private number = 0;

  constructor(private readonly limits: Limits, private readonly outbox: Outbox) {}

  /** Whether a request id is a page's of the search. */
  has(id: string): boolean {
    return this.asking !== null && this.searches.get(this.asking.request)?.page === id;
  }

  /** The request was answered with `resync`: it waits until the log is searched. */
  start(item: OutboxItem, now: number): void {
    this.outbox.postpone(item.frame.id, Infinity);
    if (!this.searches.has(item.frame.id)) this.searches.set(item.frame.id, { at: now, to: null, head: 0, looked: 0, page: "" });
  }

  /** The request was answered meanwhile. */
  drop(request: string): void {
    if (this.searches.delete(request) && this.asking?.request === request) this.asking = null;
  }

  lost(): void {
    this.asking = null;
    for (const search of this.searches.values()) {
      search.at = 0;
      search.page = "";
    }
  }

  /** Asks for the next page, if one is due. */
  flush(now: number, effects: Effect[]): void {
    if (this.asking !== null) return;
    for (const [request, search] of this.searches) {
      const item = this.outbox.get(request);
      if (search.at > now || !item) continue;
      search.page = `?${++this.number}`;
      this.asking = { request, at: now };
      // After a single refused attempt there can be no entry: only the head is needed.
      const limit = item.attempts <= 1 ? 1 : this.limits.fetch_entries;
      const frame: Fetch = { op: "fetch", id: search.page, conversation: item.conversation, from_seq: afterOf(item) + 1, limit };
      if (search.to !== null) frame.to_seq = search.to;
      effects.push(transmit(frame));
      return;
    }
  }

  /** A page came. Returns the request, its entry if it was found, and whether the search went too far. */
  page(f: Entries, user: string): { request: string; own: Entry | null; tooFar: boolean } {
    const request = this.asking!.request;
    this.asking = null;
    const search = this.searches.get(request)!;
    const item = this.outbox.get(request)!;
    search.head = Math.max(search.head, f.head);
    search.looked += f.entries.length;
    const lowest = f.entries.length ? Math.min(...f.entries.map((e) => e.seq)) : 0;
    const own = f.entries.find((e) => e.id === request && e.sender === user) ?? null;
    let tooFar = false;
    if (own === null) {
      if (item.attempts <= 1 || lowest <= afterOf(item) + 1) {
        this.drop(request);
        this.outbox.renew(request, search.head);
      } else if (search.looked >= this.limits.search_entries_max) tooFar = true;
      else search.to = lowest - 1;
    }
    return { request, own, tooFar };
  }

  /** The log may not be read. Returns the request. */
  refused(): string {
    return this.asking!.request;
  }

  again(at: number): void {
    this.searches.get(this.asking!.request)!.at = at;
    this.asking = null;
  }

  expire(now: number): void {
    if (this.asking !== null && now >= this.asking.at + this.limits.answer_wait_s) this.again(now);
  }

  nextDeadline(): number | null {
    if (this.asking !== null) return this.asking.at + this.limits.answer_wait_s;
    return earliest(...[...this.searches.values()].map((s) => s.at));
  }

  check(): void {
    for (const request of this.searches.keys()) if (!this.outbox.has(request)) throw new Error(`a search for ${request}, which is not queued`);
  }
}

function afterOf(item: OutboxItem): number {
  return item.frame.op === "group_create" ? 0 : item.frame.after ?? 0;
}
