/**
 * The rows of one open conversation: entries without a hole, then what waits in the outbox, then what was refused.
 *
 * Laws:
 *   - Rows only grow at their ends; a row keeps its key from the echo to the last tick, so that nothing on the screen jumps.
 *   - The divider is set once, when the conversation is opened.
 */

import { signal } from "@preact/signals";
import { adjacentBelow, unreadOf, type Client, type Entry, type Event } from "homing-client";

export const PAGE = 50;
/** How far back opening looks for the first unread message. */
export const UNREAD_ENTRIES_MAX = 1_000;
/** Entries held by the page; past it the newest are let go, and come back when one scrolls to them. */
export const HELD_ENTRIES_MAX = 20_000;

export interface Row {
  key: string;
  kind: "entry" | "queued" | "failed";
  id: string;
  seq: number;
  ordinal: number;
  sender: string;
  type: string;
  body: string;
  ts: number;
  reason: string;
}

export class Timeline {
  readonly rows = signal<Row[]>([]);
  readonly state = signal<"loading" | "ready" | "offline">("loading");
  /** What lies before the first unread row is there: the list may be shown. */
  readonly opened = signal(false);
  /** The beginning of the conversation is there. */
  readonly complete = signal(false);
  /** The key of the first unread row at the time of opening. */
  readonly divider = signal<string | null>(null);
  private entries: Entry[] = [];
  private atEnd = true;
  private loading: Promise<void> | null = null;

  constructor(private readonly client: Client, readonly conversation: string) {}

  private get known() {
    return this.client.core.conversations.get(this.conversation);
  }

  /** Loads the end, and as far back as something is unread. */
  async open(): Promise<void> {
    const state = this.known;
    const unread = state ? unreadOf(state, this.client.user) : 0;
    const read = state?.read ?? 0;
    await this.latest();
    while (unread > 0 && !this.complete.value && this.state.value === "ready" && (this.entries[0]?.seq ?? 0) > read + 1 && this.entries.length < UNREAD_ENTRIES_MAX) {
      const before = this.entries.length;
      await this.older();
      if (this.entries.length === before) break;
    }
    if (unread > 0) {
      const first = this.entries.find((e) => e.seq > read && e.sender !== this.client.user);
      this.divider.value = first ? keyOf(first, this.client.user) : null;
    }
    if (this.state.value === "loading") this.state.value = "ready";
    this.publish();
    this.opened.value = true;
  }

  /** Starts again from the newest entries. */
  async latest(): Promise<void> {
    const state = this.known;
    const from = (state?.base ? state.contig : state?.last?.seq ?? 0) + 1;
    this.atEnd = true;
    this.entries = [];
    this.complete.value = !state || from <= 1;
    if (state?.last && state.last.seq === from - 1 && !state.base) this.entries = [state.last];
    await this.older();
    this.publish();
  }

  /** Loads the page above. */
  older(): Promise<void> {
    if (this.complete.value) return Promise.resolve();
    return (this.loading ??= this.loadOlder().finally(() => (this.loading = null)));
  }

  private async loadOlder(): Promise<void> {
    const state = this.known;
    const before = this.entries[0]?.seq ?? (state?.contig ?? 0) + 1;
    let page: Entry[];
    try {
      const offline = this.client.state !== "live" && this.client.state !== "syncing";
      // Without a network: what is here, as far as it reaches.
      page = offline ? adjacentBelow(await this.client.stored(this.conversation, before, PAGE), before) : await this.client.history(this.conversation, before, PAGE);
      if (offline && !page.length && before > 1) {
        this.state.value = "offline";
        return;
      }
    } catch {
      this.state.value = "offline";
      return;
    }
    const first = this.entries[0]?.seq ?? Infinity;
    page = page.filter((e) => e.seq < first);
    if (!page.length || page[0]!.seq <= 1) this.complete.value = true;
    // What came meanwhile is below already.
    this.entries = [...page, ...this.entries];
    if (this.entries.length > HELD_ENTRIES_MAX) {
      this.entries.length = HELD_ENTRIES_MAX;
      this.atEnd = false;
    }
    this.state.value = "ready";
    this.publish();
  }

  get hasNewest(): boolean {
    return this.atEnd;
  }

  on(event: Event): void {
    if (event.kind === "Shown" && event.entry.conversation === this.conversation) {
      const last = this.entries[this.entries.length - 1];
      if (this.atEnd && (!last || event.entry.seq > last.seq)) this.entries.push(event.entry);
    } else if (event.kind === "Resumed" || (event.kind === "StateChanged" && event.state === "live")) {
      if (this.state.value === "offline") void this.older();
      return;
    }
    this.publish();
  }

  private publish(): void {
    const me = this.client.user;
    const rows = this.entries.map((e) => rowOf(e, me));
    const own = new Set(this.entries.slice(-200).filter((e) => e.sender === me).map((e) => e.id));
    for (const { frame, conversation } of this.client.core.outbox.items()) {
      if (conversation !== this.conversation || frame.op !== "send" || own.has(frame.id)) continue;
      rows.push(waiting("queued", frame.id, frame.body, frame.ts ?? 0, me, ""));
    }
    for (const f of this.client.failed.values()) if (f.conversation === this.conversation) rows.push(waiting("failed", f.id, f.body, f.ts, me, f.reason));
    this.rows.value = rows;
  }
}

function keyOf(entry: Entry, me: string): string {
  return entry.sender === me ? `m${entry.id}` : `s${entry.seq}`;
}

function rowOf(e: Entry, me: string): Row {
  const { id, seq, ordinal, sender, ts, type = "text", body = "" } = e;
  return { key: keyOf(e, me), kind: "entry", id, seq, ordinal, sender, type, body, ts, reason: "" };
}

function waiting(kind: "queued" | "failed", id: string, body: string, ts: number, sender: string, reason: string): Row {
  return { key: `m${id}`, kind, id, seq: 0, ordinal: 0, sender, type: "text", body, ts, reason };
}
