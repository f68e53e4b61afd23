/**
 * Drives one core: the clock, the socket, the store, and the order between them; and what a program sees of it.
 *
 *     const client = new Client({ url: "ws://127.0.0.1:7401", getToken, store: new IdbStore("me") });
 *     client.listen((event) => …);
 *     await client.open();
 *     await client.send(user, "hello");   // safe in the outbox; resends by itself
 *
 * Laws:
 *   - Frames are handled, then what came of them is written, then the program is told and acks go out: nothing is acknowledged or told
 *     that the store could lose.
 *   - One write at a time. What could not be written stays to be written with what comes next; until then the connection is given up.
 */

import * as codes from "./codes";
import { ClientCore } from "./core";
import type { Effect, State, TypingKind } from "./effects";
import * as ids from "./ids";
import type { Limits } from "./limits";
import { Names } from "./names";
import type { Answer, Entries, Entry, ErrorFrame, Heads, MemberInfo, MembersPage, Question, Request, ServerFrame } from "./protocol";
import type { Known } from "./presence";
import { openSocket, type OpenSocket, type Socket } from "./socket";
import { StoreFailed, type Batch, type Failed, type Store } from "./store";

export const ANSWER_WAIT_MS = 30_000;
export const TOKEN_WAIT_MS = 30_000;

/** Thrown by `getToken`: there will be no token. The client closes; any other error makes it try again later. */
export class SignInStopped extends Error {}
/** What was asked cannot be fetched now: not connected for too long, or closed. */
export class Unavailable extends Error {}
export class RequestRefused extends Error {
  constructor(readonly error: ErrorFrame) {
    super(error.message || error.name);
  }
}

export interface ClientOptions {
  /** A node's or load balancer's address, or several: another one is taken when a connection fails. */
  url: string | readonly string[];
  /** Gives a valid token or ticket; called before every connection. */
  getToken: (fresh: boolean) => Promise<string>;
  store: Store;
  /** The own user's id, to send before the first connection ever. */
  user?: string;
  program?: string;
  limits?: Partial<Limits>;
  /** Whether a `reconnect` may send us to an address that is not in `url`. A browser's page may only reach its own origin. */
  followsUrls?: boolean;
  openSocket?: OpenSocket;
  /** Seconds that never go back. */
  now?: () => number;
  random?: () => number;
}

/** What happens: the core's facts, and what only a shell knows. */
export type Event =
  | Exclude<Effect, { kind: "Transmit" | "Connect" | "Close" | "Answered" }>
  | { kind: "Queued"; id: string; conversation: string }
  | { kind: "Withdrawn"; id: string; conversation: string }
  | { kind: "Failed"; failed: Failed }
  | { kind: "Named"; user: string; name: string }
  | { kind: "StoreTrouble"; reason: string };

type Told = Effect | { kind: "Failed"; failed: Failed };

interface Waiting {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  timer: ReturnType<typeof setTimeout>;
}

export class Client {
  core: ClientCore;
  readonly names = new Names();
  /** Messages that were refused for good, by id. */
  readonly failed = new Map<string, Failed>();
  readonly drafts = new Map<string, string>();
  isOpen = false;
  private readonly urls: readonly string[];
  private urlNumber = 0;
  private attempt = 0;
  private socket: Socket | null = null;
  private incoming: ServerFrame[] = [];
  private unwritten: Entry[] = [];
  private untold: Told[] = [];
  private side: Batch = {};
  private working: Promise<void> | null = null;
  private isDue = false;
  /** Messages in the outbox, to be shown with their text should they be refused. */
  private readonly queued = new Map<string, Omit<Failed, "code" | "reason">>();
  private writes: Promise<void> = Promise.resolve();
  private writing = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private readonly waiting = new Map<string, Waiting>();
  private readonly listeners = new Set<(event: Event) => void>();
  private readonly now: () => number;

  constructor(private readonly options: ClientOptions) {
    this.urls = typeof options.url === "string" ? [options.url] : options.url;
    this.now = options.now ?? (() => performance.now() / 1000);
    this.core = this.newCore(null);
  }

  private newCore(state: ConstructorParameters<typeof ClientCore>[0]["state"]): ClientCore {
    const { user, limits, program, random = Math.random } = this.options;
    return new ClientCore({ user, random, state, limits, client: program, trackChanges: true, addresses: this.urls.length });
  }

  // ---------------------------------------------------------------- life

  /** Opens the store and (unless told not to) begins to connect. Throws StoreFailed. */
  async open(connect = true): Promise<void> {
    const stored = await this.options.store.open();
    if (this.options.user && stored.core?.user && stored.core.user !== this.options.user) throw new StoreFailed("the store belongs to another user");
    this.core = this.newCore(stored.core);
    for (const item of this.core.outbox.items()) this.noteQueued(item.frame, item.conversation);
    this.names.load(stored.people);
    for (const f of stored.failed) this.failed.set(f.id, f);
    for (const [conversation, text] of stored.drafts) this.drafts.set(conversation, text);
    this.isOpen = true;
    if (connect) this.connect();
  }

  /** Begins to connect; while it waits to try again: tries at once, because the user or the network came back. */
  connect(): void {
    if (!this.isOpen) return;
    this.apply(this.core.start(this.now()));
    this.wake();
  }

  /** Ends the connection; the store stays open, and what is sent is queued. */
  disconnect(code = 0, reason = "closed"): void {
    this.apply(this.core.close(this.now(), code, reason));
  }

  /** Ends everything. What is queued stays in the store. */
  async close(): Promise<void> {
    if (!this.isOpen) return;
    this.disconnect();
    this.isOpen = false;
    if (this.timer !== null) clearTimeout(this.timer);
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(new Unavailable("the client was closed"));
    }
    this.waiting.clear();
    await this.persist().catch(() => undefined); // what came last will come again
    await this.options.store.close();
  }

  /** Calls `listener` with everything that happens from now on; returns how to stop that. */
  listen(listener: (event: Event) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private tell(event: Event): void {
    for (const listener of [...this.listeners]) listener(event);
  }

  // ---------------------------------------------------------------- what a program sees

  get state(): State {
    return this.core.session.state;
  }

  get user(): string {
    return this.core.user;
  }

  /** Seconds until it tries to connect again, null: it does not wait for that. */
  get retryInS(): number | null {
    const at = this.core.session.connectAt;
    return at !== null && this.state === "waiting" ? Math.max(0, at - this.now()) : null;
  }

  /** The name of somebody, "" while it is not known: then it is asked for, and a `Named` event brings it. */
  nameOf(user: string): string {
    if (this.isOpen && this.names.isDue(user, Date.now())) {
      const id = ids.newId();
      this.names.ask(id, user);
      this.core.ask({ op: "fetch_person", id, user });
      this.wake();
    }
    return this.names.of(user);
  }

  /** A name that was learnt elsewhere, for instance when somebody was looked up. */
  learnName(user: string, name: string): void {
    if (this.names.tell(user, name, Date.now())) this.tell({ kind: "Named", user, name });
    this.wake();
  }

  /** Queues a message to a user (id or handle) or into a conversation; resolves once it is safe in the outbox. Throws OutboxFull, RequestInvalid, StoreFailed. */
  send(to: string, body: string, id = ids.newId()): Promise<string> {
    return this.request({ op: "send", id, to: ids.isId(to) ? to : ids.userId(to), body, type: "text", ts: Date.now() });
  }

  /** Makes a group with these users; resolves to its conversation. */
  async createGroup(title: string, members: readonly string[]): Promise<string> {
    const conversation = ids.groupId(crypto.getRandomValues(new Uint8Array(16)));
    await this.request({ op: "group_create", id: ids.newId(), conversation, title, members: [...members] });
    return conversation;
  }

  async request(frame: Request): Promise<string> {
    if (!this.isOpen) throw new Unavailable("the client is not open");
    this.core.request(frame);
    const conversation = this.core.conversationOf(frame);
    this.noteQueued(frame, conversation);
    this.tell({ kind: "Queued", id: frame.id, conversation });
    try {
      await this.persist();
    } catch (error) {
      if (this.core.withdraw(frame.id)) {
        this.queued.delete(frame.id);
        this.tell({ kind: "Withdrawn", id: frame.id, conversation });
        throw error;
      }
    }
    this.flush();
    return frame.id;
  }

  /** Neither of the two can say anything to the other until this is taken back. */
  block(user: string): Promise<string> {
    return this.request({ op: "block", id: ids.newId(), user });
  }

  unblock(user: string): Promise<string> {
    return this.request({ op: "unblock", id: ids.newId(), user });
  }

  /** From now on `PresenceChanged` tells of these people (the first 256 of them), and of nobody else. */
  watch(users: readonly string[]): void {
    this.core.watch(users);
    this.wake();
  }

  /** What is known of somebody who is watched. */
  presenceOf(user: string): Readonly<Known> {
    return this.core.presence.of(user);
  }

  /** The user writes or records, or stopped to. Call it with every key: it is said as often as it must be, and ends by itself. */
  typing(to: string, kind: TypingKind): void {
    if (!this.isOpen) return;
    this.core.type(to, kind, this.now());
    this.wake();
  }

  /** Who writes or records in a conversation now; `TypingChanged` tells when that is another. */
  typingIn(conversation: string): { user: string; kind: TypingKind }[] {
    return this.core.typing.in(conversation);
  }

  /** Tries a refused message again, as a new one. */
  async retry(id: string): Promise<void> {
    const failed = this.failed.get(id);
    if (!failed) return;
    this.discard(id);
    await this.send(failed.to, failed.body);
  }

  /** Throws a refused message away. */
  discard(id: string): void {
    const failed = this.failed.get(id);
    if (!failed || !this.failed.delete(id)) return;
    (this.side.unfailed ??= []).push(id);
    this.tell({ kind: "Withdrawn", id, conversation: failed.conversation });
    this.wake();
  }

  setDraft(conversation: string, text: string): void {
    if ((this.drafts.get(conversation) ?? "") === text) return;
    if (text) this.drafts.set(conversation, text);
    else this.drafts.delete(conversation);
    (this.side.drafts ??= new Map()).set(conversation, text);
    this.wake();
  }

  read(conversation: string, seq: number, ordinal: number | null = null): void {
    this.apply(this.core.read(conversation, seq, ordinal));
    this.wake();
  }

  /** The newest `limit` entries below `before`, ascending; from the store, and where that has a hole from the cluster. [] at the beginning. */
  async history(conversation: string, before: number, limit = 50): Promise<Entry[]> {
    if (before <= 1) return [];
    const held = await this.options.store.entries(conversation, before, limit);
    const adjacent = adjacentBelow(held, before);
    if (adjacent.length >= limit / 2 || adjacent[0]?.seq === 1) return adjacent;
    const page = (await this.ask({ op: "fetch", id: ids.newId(), conversation, to_seq: before - 1, limit })) as Entries;
    const entries = page.entries.filter((e) => e.seq < before).sort((a, b) => a.seq - b.seq);
    (this.side.entries ??= []).push(...entries);
    this.wake();
    return entries;
  }

  /** What is in the store only, for reading without a network. */
  stored(conversation: string, before: number, limit = 50): Promise<Entry[]> {
    return this.options.store.entries(conversation, before, limit);
  }

  async members(conversation: string): Promise<MemberInfo[]> {
    const page = (await this.ask({ op: "fetch_members", id: ids.newId(), conversation })) as MembersPage;
    if (page.title) this.apply(this.core.name(conversation, page.title));
    return page.members;
  }

  /** Fetches older conversations into the list. False: there are no more. */
  async moreConversations(limit = 50): Promise<boolean> {
    if (this.core.more === null) return false;
    const page = (await this.ask({ op: "fetch_heads", id: ids.newId(), before: this.core.more, limit })) as Heads;
    this.core.more = page.more ?? null;
    return true;
  }

  private ask(question: Question): Promise<Answer> {
    if (!this.isOpen) return Promise.reject(new Unavailable("the client is not open"));
    this.core.ask(question);
    this.flush();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(question.id);
        this.core.cancel(question.id);
        reject(new Unavailable(`no answer within ${ANSWER_WAIT_MS / 1000} s (${this.state})`));
      }, ANSWER_WAIT_MS);
      this.waiting.set(question.id, { resolve, reject, timer });
    });
  }

  private settle(id: string): Waiting | undefined {
    const waiting = this.waiting.get(id);
    if (waiting) clearTimeout(waiting.timer);
    this.waiting.delete(id);
    return waiting;
  }

  // ---------------------------------------------------------------- effects

  private apply(effects: readonly Told[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case "Transmit":
          this.socket?.send(effect.frame);
          break;
        case "Connect":
          void this.openConnection(this.options.followsUrls === false ? null : effect.url, effect.fresh_token);
          break;
        case "Close":
          if (effect.elsewhere) this.urlNumber += 1;
          this.drop(effect.code);
          break;
        case "Answered":
          this.onAnswer(effect.id, effect.frame);
          break;
        case "Refused":
          if (!this.onRefusal(effect.id, effect.error)) this.tell(effect);
          break;
        case "Shown":
          this.names.spoke(effect.entry.sender, Date.now());
          this.tell(effect);
          break;
        case "StateChanged":
          if (effect.state === "syncing") this.names.tell(this.core.user, this.core.ownName, Date.now());
          this.tell(effect);
          break;
        default:
          this.tell(effect);
      }
    }
    this.arm();
  }

  private onAnswer(id: string, frame: Answer): void {
    const user = this.names.end(id);
    if (user !== undefined) {
      const name = frame.op === "person" ? frame.name ?? "" : "";
      if (this.names.tell(user, name, Date.now())) this.tell({ kind: "Named", user, name });
      void this.wake(); // it is written, even when nothing else comes
    } else this.settle(id)?.resolve(frame);
  }

  /** Whether the refusal was somebody's who waits. */
  private onRefusal(id: string, error: ErrorFrame): boolean {
    const user = this.names.end(id);
    if (user !== undefined) {
      this.names.tell(user, "", Date.now());
      return true;
    }
    const waiting = this.settle(id);
    waiting?.reject(new RequestRefused(error));
    return waiting !== undefined;
  }

  // ---------------------------------------------------------------- the connection

  private async openConnection(url: string | null, fresh: boolean): Promise<void> {
    const attempt = ++this.attempt;
    let token: string;
    try {
      token = await within(this.options.getToken(fresh), TOKEN_WAIT_MS);
    } catch (error) {
      if (attempt !== this.attempt) return;
      const reason = error instanceof Error ? error.message : String(error);
      if (error instanceof SignInStopped) this.apply(this.core.close(this.now(), codes.TOKEN_INVALID, reason));
      else this.apply(this.core.disconnected(this.now(), codes.CLOSE_TRY_LATER, reason));
      return;
    }
    if (attempt !== this.attempt || this.state !== "connecting") return;
    const socket = (this.options.openSocket ?? openSocket)(url ?? this.urls[this.urlNumber % this.urls.length]!, {
      opened: () => {
        if (attempt === this.attempt) this.apply(this.core.connected(this.now(), token));
      },
      frame: (frame) => {
        if (attempt !== this.attempt) return;
        this.incoming.push(frame);
        this.wake();
      },
      closed: (code, reason) => {
        if (attempt === this.attempt) void this.onClosed(attempt, code, reason);
      },
    });
    this.socket = socket;
  }

  private async onClosed(attempt: number, code: number, reason: string): Promise<void> {
    while (this.incoming.length && attempt === this.attempt && this.isOpen) await this.wake(); // what came before the end counts
    if (attempt !== this.attempt) return;
    this.socket = null;
    this.urlNumber += 1;
    this.apply(this.core.disconnected(this.now(), code, reason));
  }

  /** The core gives the socket up: nothing that came from it and was not handled counts any more. */
  private drop(code: number): void {
    this.attempt += 1;
    this.incoming = [];
    this.socket?.close(code);
    this.socket = null;
  }

  // ---------------------------------------------------------------- the loop: handle, write, tell, acknowledge

  /** Has what came handled, what changed written and what waits sent, soon; resolves when that is done. */
  private wake(): Promise<void> {
    this.isDue = true;
    return (this.working ??= this.workAll().finally(() => (this.working = null)));
  }

  private async workAll(): Promise<void> {
    await Promise.resolve(); // what comes in the same turn is handled together
    while (this.isDue && this.isOpen) {
      this.isDue = false;
      try {
        await this.work();
      } catch (error) {
        this.giveUp(error);
      }
    }
  }

  private async work(): Promise<void> {
    while (this.incoming.length) {
      const effects = this.core.frame(this.incoming.shift()!, this.now());
      this.note(effects);
      // The socket may be given up: carry that out before anything else that came from it.
      if (effects.some((effect) => effect.kind === "StateChanged")) break;
    }
    this.isDue ||= this.incoming.length > 0;
    await this.persist();
    const told = this.untold;
    this.untold = [];
    this.apply(told);
    this.flush();
  }

  private giveUp(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.tell({ kind: "StoreTrouble", reason });
    const closing = this.untold.filter((e) => e.kind === "Close");
    this.untold = this.untold.filter((e) => !["Transmit", "Connect", "Close", "StateChanged"].includes(e.kind));
    this.apply([...closing, ...this.core.close(this.now(), codes.UNAVAILABLE, reason)]);
  }

  /** Effects that wait for the store. */
  private note(effects: readonly Effect[]): void {
    for (const effect of effects) {
      this.untold.push(effect);
      if (effect.kind === "Shown") this.unwritten.push(effect.entry);
      else if (effect.kind === "Stored") this.queued.delete(effect.id);
      else if (effect.kind === "Refused") this.noteFailed(effect.id, effect.error);
    }
  }

  private noteFailed(id: string, error: ErrorFrame): void {
    const sent = this.queued.get(id);
    if (!sent || !this.queued.delete(id)) return;
    const failed: Failed = { ...sent, code: error.code, reason: error.message || error.name };
    this.failed.set(id, failed);
    (this.side.failed ??= []).push(failed);
    this.untold.push({ kind: "Failed", failed });
  }

  private noteQueued(frame: Request, conversation: string): void {
    if (frame.op !== "send") return;
    this.queued.set(frame.id, { id: frame.id, conversation, to: frame.to, body: frame.body, ts: frame.ts ?? 0 });
  }

  private flush(): void {
    if (!this.writing && !this.unwritten.length && this.isOpen) this.applyLate(this.core.flush(this.now()));
  }

  /** Effects of time, not of frames: entries are rarely among them, but are stored first too. */
  private applyLate(effects: readonly Effect[]): void {
    if (effects.some((e) => e.kind === "Shown")) {
      this.note(effects);
      void this.wake();
    } else this.apply(effects);
  }

  /** Writes all that is not written yet, after whatever is being written. Throws StoreFailed. */
  private persist(): Promise<void> {
    const writing = this.writes.then(() => this.writeAll());
    this.writes = writing.catch(() => undefined);
    return writing;
  }

  private async writeAll(): Promise<void> {
    const changes = this.core.takeChanges();
    const people = this.names.takeChanges();
    const side = this.side;
    const entries = [...this.unwritten, ...(side.entries ?? [])];
    if (!changes && !people.length && !entries.length && !side.drafts && !side.failed && !side.unfailed) return;
    const shown = this.unwritten;
    this.unwritten = [];
    this.side = {};
    this.writing += 1;
    try {
      await this.options.store.write({ ...side, changes, people, entries });
    } catch (error) {
      if (changes) this.core.notWritten(changes);
      this.names.notWritten(people);
      this.unwritten = [...shown, ...this.unwritten];
      this.side = { ...side, ...this.side };
      throw error;
    } finally {
      this.writing -= 1;
    }
  }

  // ---------------------------------------------------------------- time

  private arm(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    const deadline = this.core.nextDeadline();
    if (deadline === null || !this.isOpen) return;
    const waitMs = Math.min(2 ** 31 - 1, Math.max(0, (deadline - this.now()) * 1000));
    this.timer = setTimeout(() => this.onTimer(), waitMs);
  }

  private onTimer(): void {
    this.timer = null;
    // What waits goes out when the store is done; a slow disk must not make this spin.
    if (this.writing || this.unwritten.length) {
      if (this.unwritten.length && !this.writing) void this.wake();
      this.timer = setTimeout(() => this.onTimer(), 10);
      return;
    }
    this.applyLate(this.core.tick(this.now()));
  }
}

/** The part of `entries` (ascending) that reaches up to `before` without a hole. */
export function adjacentBelow(entries: readonly Entry[], before: number): Entry[] {
  let first = entries.length;
  for (let seq = before - 1; first > 0 && entries[first - 1]!.seq === seq; seq--) first--;
  return entries.slice(first);
}

function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error("no token in time")), ms)));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
