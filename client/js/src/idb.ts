/**
 * The store of a browser: one IndexedDB database a user. Structured cloning copies what is put before `put` returns.
 */

import type { Entry } from "./protocol";
import type { ConversationState, MarkState, OutboxItem } from "./state";
import { StoreFailed, type Batch, type Failed, type PersonState, type Store, type Stored } from "./store";

const VERSION = 1;
const TABLES = ["meta", "conversations", "marks", "outbox", "entries", "people", "failed", "drafts"] as const;

interface Meta {
  user: string;
  cursor: string | null;
  touches: number;
}
type QueuedItem = OutboxItem & { id: string; number: number };

export class IdbStore implements Store {
  private db: IDBDatabase | null = null;
  /** Request id → its place in the queue. */
  private readonly numbers = new Map<string, number>();
  private number = 0;

  constructor(private readonly name: string, private readonly factory: IDBFactory = indexedDB) {}

  async open(): Promise<Stored> {
    const opening = this.factory.open(this.name, VERSION);
    opening.onupgradeneeded = () => {
      const db = opening.result;
      db.createObjectStore("meta");
      db.createObjectStore("conversations", { keyPath: "id" });
      db.createObjectStore("marks", { keyPath: ["conversation", "user"] });
      db.createObjectStore("outbox", { keyPath: "id" });
      db.createObjectStore("entries", { keyPath: ["conversation", "seq"] });
      db.createObjectStore("people", { keyPath: "user" });
      db.createObjectStore("failed", { keyPath: "id" });
      db.createObjectStore("drafts");
    };
    const db = (this.db = await answer(opening));
    db.onversionchange = () => db.close(); // another page wants to upgrade or delete it
    const t = db.transaction(TABLES, "readonly");
    const all = <T>(name: string): Promise<T[]> => answer(t.objectStore(name).getAll() as IDBRequest<T[]>);
    const [meta, conversations, marks, outbox, people, failed, texts, keys] = await Promise.all([
      answer(t.objectStore("meta").get("core") as IDBRequest<Meta | undefined>),
      all<ConversationState>("conversations"), all<MarkState>("marks"), all<QueuedItem>("outbox"), all<PersonState>("people"),
      all<Failed>("failed"), all<string>("drafts"), answer(t.objectStore("drafts").getAllKeys()),
    ]);
    outbox.sort((a, b) => a.number - b.number);
    for (const item of outbox) this.numbers.set(item.id, (this.number = item.number));
    const queue = outbox.map(({ frame, conversation, attempts, seen }) => ({ frame, conversation, attempts, seen }));
    const drafts = new Map(keys.map((key, i) => [String(key), texts[i]!]));
    return { core: meta ? { ...meta, conversations, marks, outbox: queue } : null, people, failed, drafts };
  }

  async write(batch: Batch): Promise<void> {
    if (!this.db) throw new StoreFailed("the store is not open");
    const { changes, entries = [], people = [], failed = [], unfailed = [], drafts = new Map<string, string>() } = batch;
    // What a person wrote must outlive a power cut; the rest is only a copy of what the cluster has.
    const durability = changes?.outbox.length ? "strict" : "default";
    let t: IDBTransaction;
    try {
      t = this.db.transaction(TABLES, "readwrite", { durability });
    } catch (error) {
      throw new StoreFailed(String(error));
    }
    const table = (name: (typeof TABLES)[number]): IDBObjectStore => t.objectStore(name);
    if (changes) {
      const meta: Meta = { user: changes.user, cursor: changes.cursor, touches: changes.touches };
      table("meta").put(meta, "core");
      for (const c of changes.conversations) table("conversations").put(c);
      for (const m of changes.marks) table("marks").put(m);
      for (const item of changes.outbox) {
        const id = item.frame.id;
        if (!this.numbers.has(id)) this.numbers.set(id, ++this.number);
        const queued: QueuedItem = { ...item, id, number: this.numbers.get(id)! };
        table("outbox").put(queued);
      }
      for (const id of changes.answered) {
        table("outbox").delete(id);
        this.numbers.delete(id);
      }
    }
    for (const e of entries) table("entries").put(e);
    for (const p of people) table("people").put(p);
    for (const f of failed) table("failed").put(f);
    for (const id of unfailed) table("failed").delete(id);
    for (const [conversation, text] of drafts) if (text) table("drafts").put(text, conversation); else table("drafts").delete(conversation);
    await new Promise<void>((resolve, reject) => {
      t.oncomplete = () => resolve();
      t.onabort = t.onerror = () => reject(new StoreFailed(t.error?.message ?? "the browser could not store it"));
    });
  }

  async entries(conversation: string, before: number, limit: number): Promise<Entry[]> {
    if (!this.db) throw new StoreFailed("the store is not open");
    const range = IDBKeyRange.bound([conversation, 0], [conversation, before], false, true);
    const found: Entry[] = [];
    const cursor = this.db.transaction("entries", "readonly").objectStore("entries").openCursor(range, "prev");
    await new Promise<void>((resolve, reject) => {
      cursor.onerror = () => reject(new StoreFailed(cursor.error?.message ?? "the browser could not read it"));
      cursor.onsuccess = () => {
        const at = cursor.result;
        if (!at || found.push(at.value as Entry) >= limit) resolve();
        else at.continue();
      };
    });
    return found.reverse();
  }

  close(): Promise<void> {
    this.db?.close();
    this.db = null;
    return Promise.resolve();
  }
}

/** Throws a user's database away, when the device is signed out. */
export function forget(name: string, factory: IDBFactory = indexedDB): Promise<void> {
  return new Promise((resolve) => {
    const deleting = factory.deleteDatabase(name);
    deleting.onsuccess = deleting.onerror = deleting.onblocked = () => resolve();
  });
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(new StoreFailed(request.error?.message ?? "the browser's database failed"));
  });
}
