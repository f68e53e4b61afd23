/**
 * Where a device keeps what it must remember: the interface, and one in memory.
 *
 * Law: a batch is written whole or not at all, and batches in the order in which they were given. What is given is copied before `write`
 * returns, for the core goes on changing it.
 */

import type { Entry } from "./protocol";
import type { Changes, CoreState } from "./state";

/** Somebody whose name is known here, or was asked for. */
export interface PersonState {
  user: string;
  name: string;
  /** When his home last answered: ms since 1970 by this device's clock. */
  asked_ms: number;
}

/** A message that was refused for good: shown until the person repeats it or throws it away. */
export interface Failed {
  id: string;
  conversation: string;
  to: string;
  body: string;
  ts: number;
  code: number;
  reason: string;
}

export interface Stored {
  core: CoreState | null;
  people: PersonState[];
  failed: Failed[];
  drafts: Map<string, string>;
}

export interface Batch {
  changes?: Changes | null;
  entries?: Entry[];
  people?: PersonState[];
  failed?: Failed[];
  /** Ids of failed messages that are gone. */
  unfailed?: string[];
  /** Conversation → text; "": none any more. */
  drafts?: Map<string, string>;
}

export interface Store {
  open(): Promise<Stored>;
  write(batch: Batch): Promise<void>;
  /** The newest `limit` entries below `before`, ascending by seq. */
  entries(conversation: string, before: number, limit: number): Promise<Entry[]>;
  close(): Promise<void>;
}

/** The store cannot be opened, read or written. */
export class StoreFailed extends Error {}

/** Forgets everything with the page. */
export class MemoryStore implements Store {
  private state: CoreState | null = null;
  private readonly logs = new Map<string, Map<number, Entry>>();
  private readonly people = new Map<string, PersonState>();
  private readonly failed = new Map<string, Failed>();
  private readonly drafts = new Map<string, string>();

  open(): Promise<Stored> {
    const drafts = new Map(this.drafts);
    return Promise.resolve({ core: copy(this.state), people: copy([...this.people.values()]), failed: copy([...this.failed.values()]), drafts });
  }

  write(batch: Batch): Promise<void> {
    const { changes, entries = [], people = [], failed = [], unfailed = [], drafts = new Map<string, string>() } = copy(batch);
    if (changes) this.apply(changes);
    for (const entry of entries) {
      let log = this.logs.get(entry.conversation);
      if (!log) this.logs.set(entry.conversation, (log = new Map()));
      log.set(entry.seq, entry);
    }
    for (const p of people) this.people.set(p.user, p);
    for (const f of failed) this.failed.set(f.id, f);
    for (const id of unfailed) this.failed.delete(id);
    for (const [conversation, text] of drafts) if (text) this.drafts.set(conversation, text); else this.drafts.delete(conversation);
    return Promise.resolve();
  }

  private apply(changes: Changes): void {
    const old = this.state ?? { user: "", cursor: null, touches: 0, conversations: [], marks: [], outbox: [] };
    const conversations = merged(old.conversations, changes.conversations, (c) => c.id);
    const marks = merged(old.marks, changes.marks, (m) => `${m.conversation} ${m.user}`);
    const outbox = merged(old.outbox, changes.outbox, (i) => i.frame.id).filter((i) => !changes.answered.includes(i.frame.id));
    this.state = { user: changes.user, cursor: changes.cursor, touches: changes.touches, conversations, marks, outbox };
  }

  entries(conversation: string, before: number, limit: number): Promise<Entry[]> {
    const log = [...(this.logs.get(conversation)?.values() ?? [])].filter((e) => e.seq < before);
    return Promise.resolve(copy(log.sort((a, b) => a.seq - b.seq).slice(-limit)));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function merged<T>(old: readonly T[], changed: readonly T[], key: (item: T) => string): T[] {
  const all = new Map(old.map((item) => [key(item), item]));
  for (const item of changed) all.set(key(item), item);
  return [...all.values()];
}

function copy<T>(value: T): T {
  return structuredClone(value);
}
