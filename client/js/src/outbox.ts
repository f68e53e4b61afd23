/**
 * The queued requests and when each goes out (again).
 *
 * Laws: requests of one conversation go out in the order in which they were queued; a request leaves only by an answer; `after` stays what
 * it was when the request was queued, only a `resync` gives it a newer one.
 */

import type { Limits } from "./limits";
import { earliest } from "./session";
import type { OutboxItem } from "./state";

/** Too much waits to be answered; nothing was queued. */
export class OutboxFull extends Error {}

interface Queued {
  item: OutboxItem;
  sentAt: number | null;
  notBefore: number;
}

export class Outbox {
  private readonly all = new Map<string, Queued>();
  private readonly queues = new Map<string, Queued[]>();
  private inFlight = 0;

  constructor(private readonly limits: Limits, items: readonly OutboxItem[] = []) {
    for (const item of items) this.put(item);
  }

  get size(): number {
    return this.all.size;
  }

  has(id: string): boolean {
    return this.all.has(id);
  }

  items(): OutboxItem[] {
    return [...this.all.values()].map((q) => q.item);
  }

  get(id: string): OutboxItem | undefined {
    return this.all.get(id)?.item;
  }

  add(item: OutboxItem): void {
    if (this.all.has(item.frame.id)) throw new Error(`a request with the id ${item.frame.id} is already queued`);
    if (this.all.size >= this.limits.outbox_requests_max) throw new OutboxFull(`${this.all.size} requests wait to be answered`);
    this.put(item);
  }

  private put(item: OutboxItem): void {
    const queued: Queued = { item, sentAt: null, notBefore: 0 };
    this.all.set(item.frame.id, queued);
    const queue = this.queues.get(item.conversation);
    if (queue) queue.push(queued);
    else this.queues.set(item.conversation, [queued]);
  }

  /** Takes out an answered request; undefined: it is not (or no longer) ours. */
  pop(id: string): OutboxItem | undefined {
    const queued = this.all.get(id);
    if (!queued) return undefined;
    this.all.delete(id);
    this.land(queued);
    const queue = this.queues.get(queued.item.conversation)!;
    queue.splice(queue.indexOf(queued), 1);
    if (!queue.length) this.queues.delete(queued.item.conversation);
    return queued.item;
  }

  /** The request goes out again at `until`. */
  postpone(id: string, until: number): void {
    const queued = this.all.get(id);
    if (!queued) return;
    this.land(queued);
    queued.notBefore = until;
  }

  /** Gives the request a newer `after`, and lets it go out at once. */
  renew(id: string, after: number): void {
    const item = this.all.get(id)!.item;
    item.frame = { ...item.frame, after } as OutboxItem["frame"];
    this.postpone(id, 0);
  }

  /** What was under way is not: all goes out again. */
  lost(): void {
    for (const queued of this.all.values()) {
      queued.sentAt = null;
      queued.notBefore = 0;
    }
    this.inFlight = 0;
  }

  /** The requests to put on the wire now; they count as under way from here on. */
  due(now: number): OutboxItem[] {
    const result: OutboxItem[] = [];
    for (const queue of this.queues.values()) {
      for (const queued of queue.slice(0, this.limits.inflight_per_conversation)) {
        if (queued.sentAt !== null) {
          if (now < queued.sentAt + this.limits.answer_wait_s) continue;
          this.land(queued);
        }
        if (now < queued.notBefore) break;
        if (this.inFlight >= this.limits.inflight_requests_max) return result;
        queued.sentAt = now;
        this.inFlight += 1;
        queued.item.attempts += 1;
        result.push(queued.item);
      }
    }
    return result;
  }

  /** When `due` has something to give, as far as that depends on time. */
  nextDeadline(): number | null {
    const times: number[] = [];
    const hasRoom = this.inFlight < this.limits.inflight_requests_max;
    for (const queue of this.queues.values()) {
      let blocked = false; // what is put off holds up those behind it
      for (const queued of queue.slice(0, this.limits.inflight_per_conversation)) {
        if (queued.sentAt !== null) times.push(queued.sentAt + this.limits.answer_wait_s);
        else if (hasRoom && !blocked) {
          times.push(queued.notBefore);
          blocked = true;
        }
      }
    }
    return earliest(...times.filter((t) => t < Infinity));
  }

  private land(queued: Queued): void {
    if (queued.sentAt === null) return;
    queued.sentAt = null;
    this.inFlight -= 1;
  }

  check(): void {
    const flying = [...this.all.values()].filter((q) => q.sentAt !== null).length;
    if (flying !== this.inFlight || flying > this.limits.inflight_requests_max) throw new Error("the outbox' counts are wrong");
  }
}
