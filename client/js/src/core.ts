/**
 * The client without I/O: every rule of sync, order, resend and receipts, the same as the Python library's (client/homing/core.py); cases
 * in tests/contract/client_cases test both. No clock, no randomness, no sockets: a shell hands over frames and the time (seconds), and
 * carries out the effects.
 *
 *     core.start(now)                      → [.., Connect]
 *     core.connected(now, token)           → [Transmit(hello)]
 *     core.frame(frame, now)               → effects; several frames may come before one
 *     core.flush(now)                      → what goes out: acks and read marks, requests, questions, fetches
 *     core.disconnected(now, code, reason) → the socket is gone (or never came)
 *     core.request(..), send, read, ask    → queued; they go out with the next `flush`
 *     core.tick(now)                       → when `nextDeadline()` has passed; includes `flush`
 *
 * Laws:
 *   - A queued request goes out under the same id and `after` until it is answered; only a `resync` gives it a newer `after`.
 *   - A shell stores entries between the frames and their `flush`: an ack then never says more than the disk holds.
 */

import * as codes from "./codes";
import { close, transmit, type Effect, type TypingKind } from "./effects";
import * as ids from "./ids";
import { DEFAULTS, type Limits } from "./limits";
import { Log } from "./log";
import { Marks } from "./marks";
import { Outbox } from "./outbox";
import { HAVE_MAX, type Entries, type Entry, type ErrorFrame, type Heads, type Hello, type Question, type Receipts, type Reconnect, type Request, type ServerFrame, type Welcome } from "./protocol";
import { Presence } from "./presence";
import { Questions } from "./questions";
import { RequestInvalid, validate } from "./requests";
import { Resync } from "./resync";
import { earliest, Session } from "./session";
import { Dirty, NO_STATE, type Changes, type ConversationState, type CoreState, type OutboxItem } from "./state";
import { Typing } from "./typing";

export interface CoreOptions {
  /** "" before the first welcome ever: then nothing can be sent to a user. */
  user?: string;
  random: () => number;
  /** What `export` gave before a restart. */
  state?: CoreState | null;
  limits?: Partial<Limits>;
  client?: string;
  /** The shell calls `takeChanges` now and then. */
  trackChanges?: boolean;
  /** How many addresses the shell takes in turn: the back-off grows when all of them have failed. */
  addresses?: number;
}

export class ClientCore {
  user: string;
  cursor: string | null;
  /** As the own token says. */
  ownName = "";
  /** On a new device with many conversations: what to ask `fetch_heads` for, to list those that hello did not. */
  more: string | null = null;
  readonly limits: Limits;
  readonly session: Session;
  readonly marks: Marks;
  readonly outbox: Outbox;
  readonly presence: Presence;
  readonly typing: Typing;
  readonly conversations: ReadonlyMap<string, ConversationState>;
  private readonly dirty = new Dirty();
  private readonly log: Log;
  private readonly questions: Questions;
  private readonly resync: Resync;
  private readonly client: string;
  private readonly trackChanges: boolean;
  private synced = false;
  private have = new Set<string>();

  constructor(options: CoreOptions) {
    const state = options.state ?? NO_STATE;
    this.user = options.user || state.user;
    this.cursor = state.cursor;
    this.client = options.client ?? "";
    this.trackChanges = options.trackChanges ?? false;
    this.limits = { ...DEFAULTS, ...options.limits };
    this.session = new Session(this.limits, options.random, options.addresses ?? 1);
    this.marks = new Marks(state.marks, state.conversations, this.dirty, this.limits);
    for (const item of state.outbox) item.attempts = Math.max(1, item.attempts); // it may have gone out and not been noted
    this.outbox = new Outbox(this.limits, state.outbox);
    this.presence = new Presence(this.limits);
    this.typing = new Typing(this.limits);
    this.resync = new Resync(this.limits, this.outbox);
    this.questions = new Questions(this.limits);
    this.log = new Log(state.conversations, this.marks, this.limits, this.dirty, state.touches, (entry) => this.met(entry));
    this.log.user = this.user;
    this.conversations = this.log.conversations;
  }

  // ---------------------------------------------------------------- the connection

  /** Begins to connect, from idle or closed; while it waits: waits no longer. */
  start(now: number): Effect[] {
    return this.session.start(now);
  }

  /** A socket is open: hello. */
  connected(now: number, token: string): Effect[] {
    this.session.connected(now);
    const held = [...this.conversations.values()].filter((s) => s.contig).sort((a, b) => b.touched - a.touched);
    const have: Record<string, number> = {};
    for (const s of held.slice(0, HAVE_MAX)) have[s.id] = s.contig;
    this.have = new Set(Object.keys(have));
    const hello: Hello = { op: "hello", token, have };
    if (this.cursor !== null) hello.cursor = this.cursor;
    if (this.client) hello.client = this.client;
    return [transmit(hello)];
  }

  /** The socket is gone, or could not be opened. Ignored when the core itself gave it up. */
  disconnected(now: number, code = 0, reason = ""): Effect[] {
    const signIn = code === codes.CLOSE_SIGN_IN;
    return this.lost(signIn ? this.session.signIn(code, reason, now) : this.session.lost(code, reason, now));
  }

  /** The program is done (or has no token any more). What is queued stays in the state. */
  close(_now: number, code = 0, reason = "closed"): Effect[] {
    const hadSocket = ["connecting", "syncing", "live"].includes(this.session.state);
    return [...(hadSocket ? [close(codes.CLOSE_NORMAL, "")] : []), ...this.lost(this.session.close(code, reason))];
  }

  /** Does what is due by time. */
  tick(now: number): Effect[] {
    const effects = this.lost(this.session.tick(now));
    this.log.catchup.expire(now);
    this.resync.expire(now);
    return [...effects, ...this.flush(now)];
  }

  /** When `tick` should be called; a time in the past: there is something to do already. */
  nextDeadline(): number | null {
    const session = this.session.nextDeadline();
    if (!this.session.welcomed) return session;
    const parts = [this.presence, this.typing, this.marks, this.outbox, this.questions, this.log.catchup, this.resync];
    return earliest(session, this.isCaughtUp ? 0 : null, ...parts.map((part) => part.nextDeadline()));
  }

  /** What waits to go out, and whether the client is caught up. */
  flush(now: number): Effect[] {
    if (!this.session.welcomed) return [];
    const effects: Effect[] = [];
    this.presence.flush(now, effects);
    this.typing.flush(now, effects);
    for (const item of this.outbox.due(now)) effects.push(transmit(item.frame));
    this.questions.flush(now, effects);
    this.log.flush(now, effects);
    this.resync.flush(now, effects);
    this.marks.flush(this.conversations, now, effects);
    if (this.isCaughtUp) effects.push(...this.session.caughtUp(now));
    if (!this.trackChanges) this.dirty.clear();
    return this.withEnds(effects);
  }

  private get isCaughtUp(): boolean {
    return this.session.state === "syncing" && this.synced && !this.log.catchup.behind;
  }

  // ---------------------------------------------------------------- requests

  /** Queues a message or a group operation; its `after` is fixed here. Throws OutboxFull, RequestInvalid. */
  request(request: Request): void {
    validate(request);
    const conversation = this.conversationOf(request);
    // The entry will lie above whatever head is known now; 0 is always true.
    const frame = request.op === "group_create" ? request : { ...request, after: this.conversations.get(conversation)?.head ?? 0 };
    this.outbox.add({ frame, conversation, attempts: 0, seen: null });
    this.dirty.outbox.add(frame.id);
    if (frame.op === "send") this.typing.stop(conversation);
    const target = targetOf(frame);
    if (target !== conversation) {
      this.log.tail(conversation).state.peer = target;
      this.dirty.conversations.add(conversation);
    }
  }

  /** The conversation that a request goes to. */
  conversationOf(frame: Request): string {
    return this.conversationWith(targetOf(frame));
  }

  /** Of a user the direct conversation with him; a conversation is itself. */
  private conversationWith(id: string): string {
    if (ids.kindOf(id) !== ids.USER) return id;
    if (!this.user) throw new RequestInvalid("the own user is not known before the first welcome");
    return ids.directId(this.user, id);
  }

  /** The program wants to know whether these people are here, and of nobody else. */
  watch(users: readonly string[]): void {
    this.presence.watch(users);
  }

  /** The user writes or records, or stopped to; said with the next `flush`, and passed over while there is no session. `to`: a conversation or a user. */
  type(to: string, kind: TypingKind, now: number): void {
    if (this.session.welcomed) this.typing.say(to, this.conversationWith(to), kind, now);
  }

  /** The user has seen everything up to `seq` (and its `ordinal`, if the caller knows it). */
  read(conversation: string, seq: number, ordinal: number | null = null): Effect[] {
    const state = this.conversations.get(conversation);
    return state ? this.marks.read(state, Math.min(seq, state.head), ordinal, this.user, true) : [];
  }

  /** Takes back a request that could not be made safe; false: it went out already. */
  withdraw(id: string): boolean {
    const item = this.outbox.get(id);
    if (!item || item.attempts) return false;
    this.answered(id);
    return true;
  }

  /** Asks a question: `Answered` or `Refused` under its id. It is asked again after a reconnect until `cancel`. */
  ask(question: Question): void {
    this.questions.ask(question);
  }

  /** Nobody waits for this question's answer any more. */
  cancel(id: string): void {
    this.questions.close(id);
  }

  /** A group's title, learnt by a question. */
  name(conversation: string, title: string): Effect[] {
    const state = this.conversations.get(conversation);
    if (!state || state.title === title) return [];
    state.title = title;
    this.dirty.conversations.add(conversation);
    return [{ kind: "ConversationChanged", conversation }];
  }

  // ---------------------------------------------------------------- state

  /** Everything that a restart needs; shares its parts with the core. */
  export(): CoreState {
    return {
      user: this.user,
      cursor: this.cursor,
      touches: this.log.touches,
      conversations: [...this.conversations.values()],
      marks: this.marks.export(),
      outbox: this.outbox.items(),
    };
  }

  /** What must be written to disk, null: nothing. Shares its parts with the core: a store copies them before the core goes on. */
  takeChanges(): Changes | null {
    const dirty = this.dirty;
    if (!dirty.any) return null;
    const queued = [...dirty.outbox];
    const changes: Changes = {
      user: this.user,
      cursor: this.cursor,
      touches: this.log.touches,
      conversations: [...dirty.conversations].map((id) => this.conversations.get(id)!),
      marks: [...dirty.marks].map((key) => {
        const [conversation, user] = key.split(" ") as [string, string];
        const [delivered, read] = this.marks.others.get(conversation)!.get(user)!;
        return { conversation, user, delivered, read };
      }),
      outbox: queued.map((id) => this.outbox.get(id)).filter((item): item is OutboxItem => item !== undefined),
      answered: queued.filter((id) => !this.outbox.has(id)),
    };
    dirty.clear();
    return changes;
  }

  /** What `takeChanges` gave could not be written: the next call gives it again. */
  notWritten(changes: Changes): void {
    this.dirty.restore(changes);
  }

  /** Asserts the invariants; tests call it after every step. */
  check(): void {
    for (const part of [this.presence, this.typing, this.outbox, this.resync, this.questions, this.log]) part.check();
    if (this.session.state === "live" && !(this.session.welcomed && this.synced)) throw new Error("live without being synced");
  }

  // ---------------------------------------------------------------- frames

  /** Handles one frame of the server. Answers wait for `flush`. What cannot be understood is passed over: a newer server may say more. */
  frame(f: ServerFrame, now: number): Effect[] {
    return ["connecting", "syncing", "live"].includes(this.session.state) ? this.withEnds(this.handle(f, now)) : [];
  }

  /** Whoever says something has stopped typing it. */
  private withEnds(effects: Effect[]): Effect[] {
    return effects.flatMap((effect) => (effect.kind === "Shown" ? [effect, ...this.typing.entry(effect.entry)] : [effect]));
  }

  private handle(f: ServerFrame, now: number): Effect[] {
    switch (f.op) {
      case "welcome":
        return this.onWelcome(f, now);
      case "heads":
        return this.onHeads(f, now);
      case "synced":
        this.synced = true;
        this.log.catchup.wantAll(now);
        return this.newCursor(f.cursor, f.marks_ms ?? 0, now);
      case "message":
        return this.log.take(f.entry, now);
      case "sent": {
        const mine: Effect[] = this.outbox.has(f.id) && this.answered(f.id) ? [{ kind: "Stored", id: f.id, entry: f.entry }] : [];
        return [...mine, ...this.log.take(f.entry, now)];
      }
      case "head":
        this.log.grown(f.conversation, f.seq, now);
        return [];
      case "presence":
        return this.presence.take(f);
      case "typing":
        return f.user === this.user ? [] : this.typing.take(f, now);
      case "receipts":
        return this.onReceipts(f);
      case "entries":
        return this.onEntries(f, now);
      case "members":
      case "person":
        return this.questions.close(f.id) ? [{ kind: "Answered", id: f.id, frame: f }] : [];
      case "pong":
        this.session.pong();
        // A cursor before `synced` would cover changes that were not listed yet.
        return f.cursor && this.synced ? this.newCursor(f.cursor, f.marks_ms ?? 0, now) : [];
      case "error":
        return this.onError(f, now);
      case "reconnect":
        return this.onReconnect(f, now);
      default:
        return [];
    }
  }

  private onWelcome(f: Welcome, now: number): Effect[] {
    if (this.session.welcomed) return [];
    if (this.user && this.user !== f.user) return this.close(now, codes.FORBIDDEN, "the stored state belongs to another user");
    this.dirty.session ||= this.user !== f.user;
    this.user = this.log.user = f.user;
    this.ownName = f.name ?? "";
    this.log.catchup.welcome(now);
    this.presence.welcome();
    this.marks.welcome(this.conversations);
    return this.session.welcome(f.heartbeat_ms, now);
  }

  private newCursor(cursor: string, marksMs: number, now: number): Effect[] {
    this.cursor = cursor;
    this.dirty.session = true;
    // The server counts from when a mark came; it went out up to a heartbeat's time limit earlier.
    this.marks.durable(now - marksMs / 1000 - this.session.silenceS, this.conversations);
    return [{ kind: "CursorChanged", cursor }];
  }

  private onReconnect(f: Reconnect, now: number): Effect[] {
    const reason = f.reason || "asked to reconnect";
    const url = f.url ?? null;
    const lost = this.session.lost(codes.GOING_AWAY, reason, now, { delayS: f.after_ms / 1000, url });
    return this.lost([close(codes.CLOSE_NORMAL, reason, url === null), ...lost]);
  }

  /** After anything that may have ended the session: what was under way is not any more. */
  private lost(effects: Effect[]): Effect[] {
    if (this.session.welcomed) return effects;
    this.synced = false;
    for (const part of [this.log.catchup, this.resync, this.questions, this.outbox]) part.lost();
    return [...effects, ...this.presence.lost(), ...this.typing.lost()];
  }

  private onHeads(f: Heads, now: number): Effect[] {
    const effects: Effect[] = [];
    const listed = typeof f.id === "string";
    const newDevice = this.cursor === null;
    for (const head of f.heads) {
      const streamed = this.have.has(head.conversation) && !this.synced;
      effects.push(...this.log.head(head, listed, newDevice, now, streamed));
    }
    if (!listed) this.more = f.more || this.more;
    else if (this.questions.close(f.id!)) effects.push({ kind: "Answered", id: f.id!, frame: f });
    return effects;
  }

  private onReceipts(f: Receipts): Effect[] {
    const others = f.marks.filter(([user]) => user !== this.user);
    const effects = others.length ? this.marks.take(f.conversation, others) : [];
    const state = this.conversations.get(f.conversation);
    if (state && others.length < f.marks.length) {
      const own = Math.max(...f.marks.filter(([user]) => user === this.user).map(([, , read]) => read));
      effects.push(...this.marks.read(state, own, null, this.user, false));
    }
    return effects;
  }

  /** Remembers where a request's entry lies; the request itself waits for `sent`, which says that all members have it. */
  private met(entry: Entry): void {
    const item = entry.sender === this.user ? this.outbox.get(entry.id) : undefined;
    if (!item || item.conversation !== entry.conversation) return;
    item.seen = entry;
    this.dirty.outbox.add(entry.id);
  }

  private onEntries(f: Entries, now: number): Effect[] {
    if (this.log.catchup.has(f.id)) return this.log.page(f, now);
    if (this.resync.has(f.id)) {
      const { request, own, tooFar } = this.resync.page(f, this.user);
      this.dirty.outbox.add(request);
      if (own !== null) {
        this.answered(request);
        return [{ kind: "Stored", id: request, entry: own }];
      }
      const error: ErrorFrame = { op: "error", code: codes.RESYNC, name: "resync", message: "too old to be sent again safely", id: request };
      return tooFar ? this.giveUp(request, error) : [];
    }
    if (!this.questions.close(f.id)) return [];
    if (this.conversations.get(f.conversation)?.base) this.log.grown(f.conversation, f.head, now + this.limits.gap_wait_s);
    return [{ kind: "Answered", id: f.id, frame: f }];
  }

  // ---------------------------------------------------------------- refusals

  private onError(f: ErrorFrame, now: number): Effect[] {
    const action = codes.actionOf(f.code);
    if (action === "reconnect") return this.lost([close(codes.CLOSE_NORMAL, f.name), ...this.session.lost(f.code, f.name, now)]);
    if (action === "sign_in") return this.lost([close(codes.CLOSE_NORMAL, f.name), ...this.session.signIn(f.code, f.name, now)]);
    if (!this.session.welcomed) {
      const lost = this.session.lost(f.code, f.name, now, { extraS: (f.retry_after_ms ?? 0) / 1000 });
      return this.lost([close(codes.CLOSE_NORMAL, f.name, true), ...lost]);
    }
    return typeof f.id === "string" ? this.onRefusal(f.id, f, action, now) : this.onComplaint(f, action, now);
  }

  /** Of what has no id: marks name their conversation, a ping nothing. */
  private onComplaint(f: ErrorFrame, action: codes.Action, now: number): Effect[] {
    if (action === "retry" && f.conversation) this.marks.putOff(f.conversation, now + this.retryS(f, 0), this.conversations);
    else if (f.code === codes.RATE_LIMITED) this.session.pingAgain(now + this.retryS(f, 0));
    else return [{ kind: "Refused", id: "", error: f }];
    return [];
  }

  private onRefusal(id: string, f: ErrorFrame, action: codes.Action, now: number): Effect[] {
    const fix = action === "fix";
    const at = now + this.retryS(f, 0);
    if (this.questions.has(id)) {
      if (fix) {
        this.questions.close(id);
        return [{ kind: "Refused", id, error: f }];
      }
      this.questions.again(id, at);
    } else if (this.log.catchup.has(id)) {
      if (fix) return this.log.catchup.refused(id);
      this.log.catchup.again(id, at);
    } else if (this.resync.has(id)) {
      if (fix) return this.giveUp(this.resync.refused(), f);
      this.resync.again(at);
    } else {
      const item = this.outbox.get(id);
      if (item) return this.requestRefused(item, f, action, now);
    }
    return [];
  }

  private requestRefused(item: OutboxItem, f: ErrorFrame, action: codes.Action, now: number): Effect[] {
    const id = item.frame.id;
    if (action === "retry") this.outbox.postpone(id, now + this.retryS(f, item.attempts));
    else if (action === "sync" && item.frame.op !== "group_create") {
      if (item.seen !== null) {
        this.answered(id);
        return [{ kind: "Stored", id, entry: item.seen }];
      }
      this.resync.start(item, now);
    } else return this.giveUp(id, f);
    return [];
  }

  private giveUp(id: string, error: ErrorFrame): Effect[] {
    this.answered(id);
    return [{ kind: "Refused", id, error }];
  }

  private answered(id: string): boolean {
    this.resync.drop(id);
    this.dirty.outbox.add(id);
    return this.outbox.pop(id) !== undefined;
  }

  private retryS(f: ErrorFrame, attempts: number): number {
    if (typeof f.retry_after_ms === "number") return f.retry_after_ms / 1000;
    return Math.min(this.limits.retry_max_s, this.limits.retry_s * 2 ** Math.min(attempts, 10));
  }
}

/** The conversation or user that a request names. */
function targetOf(frame: Request): string {
  if (frame.op === "send") return frame.to;
  return "conversation" in frame ? frame.conversation : frame.user;
}
