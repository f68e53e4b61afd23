/**
 * What one client shows, as signals, and what a person may do with it. Owns the client; knows nothing of elements.
 *
 * Laws:
 *   - A component reads signals only; whatever the client tells is turned into them here, once per turn.
 *   - Nothing of it belongs to the whole page: a page may hold several (demo.tsx), each in a space of its own.
 */

import { batch, computed, effect, signal, type Signal } from "@preact/signals";
import { Client, codes, forget, IdbStore, ids, MemoryStore, unreadOf, type ConversationState, type Event, type MemberInfo, type Request, type Session, type State, type Store, type TypingKind } from "homing-client";
import { createContext } from "preact";
import { useContext } from "preact/hooks";

import { blocksIn, People, type Blocks } from "./people";
import type { Space } from "./session";
import { Timeline } from "./timeline";

export type Place = { conversation: string; peer: string } | null;
export type Dialog = "group" | "menu" | "members" | "person" | "profile" | "contacts" | "privacy" | "devices" | "password" | null;
/** Peers of the list who are watched: as many as somebody may scroll through without waiting, less than the protocol's 256. */
const WATCHED_PEERS_MAX = 150;
const WATCH_MAX = 256;
const NOBODY: Blocks = { mine: false, theirs: false };
export interface Connection {
  state: State;
  reason: string;
  code: number;
  retryAt: number | null;
}
export interface Item {
  state: ConversationState;
  title: string;
  at: number;
  unread: number;
  draft: string;
  /** The newest thing that waits in the outbox, or was refused. */
  waiting: { body: string; failed: boolean } | null;
}

export const ModelContext = createContext<Model | null>(null);

/** The model of the client that a component belongs to. */
export function useModel(): Model {
  const model = useContext(ModelContext);
  if (!model) throw new Error("this component belongs to no client");
  return model;
}

export class Model {
  readonly session: Signal<Session | null>;
  readonly notice = signal("");
  readonly connection = signal<Connection>({ state: "idle", reason: "", code: 0, retryAt: null });
  readonly place = signal<Place>(null);
  readonly dialog = signal<Dialog>(null);
  /** Where the open dialog was opened from, null: the page. */
  readonly backTo = signal<Dialog>(null);
  /** Whom the dialog is about. */
  readonly subject = signal("");
  /** What is looked for in the list. */
  readonly query = signal("");
  readonly people: People;
  readonly timeline = signal<Timeline | null>(null);
  /** Another page of this browser uses the device. */
  readonly elsewhere = signal(false);
  readonly ready = signal(false);
  /** Rises when a conversation, a name, or the outbox changed. */
  readonly listRevision = signal(0);
  readonly nameRevision = signal(0);
  readonly announcement = signal("");
  readonly storeTrouble = signal("");
  /** A change that was refused when nobody waited for it any more. */
  readonly refusal = signal("");

  private client: Client | null = null;
  private releaseLock: (() => void) | null = null;
  private unlisten: (() => void) | null = null;
  private isDue = false;
  private readonly peers = new Map<string, string>();
  private readonly members = new Map<string, { list: MemberInfo[]; isStale: boolean; isAsked: boolean }>();
  private readonly waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  private unwatch: (() => void) | null = null;

  /** `space`: where this client keeps what is its own, and under which address it stands. */
  constructor(readonly space: Space) {
    this.session = signal(space.accounts.session);
    this.people = new People(() => this.client, space.accounts);
  }

  get accounts() {
    return this.space.accounts;
  }

  readonly theClient = (): Client => {
    if (!this.client) throw new Error("nobody is signed in");
    return this.client;
  };

  /** What a landmark is called: told apart where a page holds several clients. */
  readonly label = (text: string): string => (this.space.label ? `${text} (${this.space.label})` : text);

  /** Whether what appears may take the focus: it is nowhere, or in this client already. */
  readonly mayFocus = (): boolean => {
    const at = document.activeElement;
    return !at || at === document.body || this.space.element().contains(at);
  };

  // ---------------------------------------------------------------- life

  /** Opens the signed-in person's device, unless another page holds it. `steal`: takes it from that page. */
  readonly start = async (steal = false): Promise<void> => {
    const who = this.session.value;
    if (!who || this.client) return;
    const database = this.space.databaseOf(who.user);
    if (!(await this.lock(database, steal))) {
      this.elsewhere.value = true;
      return;
    }
    this.elsewhere.value = false;
    const opened = await this.openClient(who, new IdbStore(database)).catch(async (error: unknown) => {
      this.storeTrouble.value = `This browser keeps no history (${String(error)}); everything is fetched again.`;
      return this.openClient(who, new MemoryStore());
    });
    this.client = opened;
    this.unlisten = opened.listen(this.onEvent);
    this.people.recall();
    opened.connect();
    this.ready.value = true;
    this.unwatch = effect(() => opened.watch(this.onScreen()));
    this.onPlace();
  };

  private async openClient(who: Session, store: Store): Promise<Client> {
    const opened = new Client({
      url: location.origin, getToken: () => this.accounts.ticket(), store, user: who.user, program: "homing-web/0.1", followsUrls: false,
    });
    await opened.open(false);
    return opened;
  }

  /** One page at a time uses a device. Where the browser has no locks, nobody is kept out. */
  private lock(name: string, steal: boolean): Promise<boolean> {
    if (!navigator.locks) return Promise.resolve(true);
    return new Promise((resolve) => {
      const hold = (granted: Lock | null): Promise<void> | undefined => {
        resolve(granted !== null);
        return granted ? new Promise<void>((release) => (this.releaseLock = release)) : undefined;
      };
      const held = navigator.locks.request(name, steal ? { steal } : { ifAvailable: true }, hold);
      held.catch(() => void this.stop().then(() => (this.elsewhere.value = true))); // another page took it
    });
  }

  private async stop(): Promise<void> {
    const old = this.client;
    this.unlisten?.();
    this.unwatch?.();
    this.client = null;
    batch(() => {
      this.ready.value = false;
      this.timeline.value = null;
      this.connection.value = { state: "idle", reason: "", code: 0, retryAt: null };
    });
    this.peers.clear();
    this.members.clear();
    this.waiting.clear();
    await old?.close();
  }

  readonly signedIn = (who: Session): void => {
    this.session.value = who;
    this.notice.value = "";
    void navigator.storage?.persist?.().catch(() => false);
    void this.start();
  };

  /** Takes a session that was not asked for here: of a new device, so nothing is kept of an older one. */
  readonly adopt = async (answer: Omit<Session, "access_until_ms"> & { access_expires_s: number }): Promise<void> => {
    await this.stop();
    this.releaseLock?.();
    await forget(this.space.databaseOf(answer.user));
    this.session.value = this.accounts.adopt(answer);
    this.notice.value = "";
    await this.start(true);
  };

  readonly signOut = async (message = "", forgetting = true): Promise<void> => {
    const who = this.session.value;
    await this.accounts.signOut().catch(() => undefined);
    await this.stop();
    this.releaseLock?.();
    if (who && forgetting) {
      this.people.forget(who.user);
      await forget(this.space.databaseOf(who.user));
    }
    batch(() => {
      this.session.value = null;
      this.dialog.value = null;
      this.query.value = "";
      this.notice.value = message;
      this.go(null);
    });
  };

  // ---------------------------------------------------------------- what the client tells

  private changed(): void {
    if (this.isDue) return;
    this.isDue = true;
    queueMicrotask(() => {
      this.isDue = false;
      this.listRevision.value += 1;
    });
  }

  private readonly onEvent = (event: Event): void => {
    switch (event.kind) {
      case "StateChanged": {
        const wait = this.theClient().retryInS;
        this.connection.value = { state: event.state, reason: event.reason, code: event.code, retryAt: wait === null ? null : Date.now() + wait * 1000 };
        if (event.state === "closed" && !this.accounts.session) {
          const revoked = event.code === codes.DEVICE_REVOKED;
          void this.signOut("This device was signed out. Please sign in again.", revoked);
        } else if (event.state === "closed" && event.code === codes.DEVICE_REVOKED) void this.signOut("This device was signed out.");
        if (event.state === "live") this.people.loadOnce();
        return;
      }
      case "Named":
        this.nameRevision.value += 1;
        return;
      case "PresenceChanged":
      case "TypingChanged":
        this.people.moved();
        return;
      case "Stored":
        this.settle(event.id)?.resolve();
        break;
      case "Refused":
        this.refused(event.id, event.error.message || event.error.name);
        break;
      case "StoreTrouble":
        this.storeTrouble.value = `This browser could not store what came: ${event.reason}`;
        return;
      case "Shown":
        if (event.entry.type?.startsWith("group.")) this.outdated(event.entry.conversation);
        this.announce(event.entry.conversation, event.entry.sender, event.entry.body ?? "", event.entry.type ?? "text");
        break;
    }
    this.timeline.value?.on(event);
    this.changed();
  };

  private announce(conversation: string, sender: string, body: string, type: string): void {
    const my = this.theClient();
    if (sender === my.user || type !== "text" || my.state !== "live") return;
    this.announcement.value = `${this.nameOf(sender)}: ${body.slice(0, 200)}${conversation === this.place.value?.conversation ? "" : " (another chat)"}`;
  }

  // ---------------------------------------------------------------- names and conversations

  readonly nameOf = (user: string): string => {
    void this.nameRevision.value;
    if (!user) return "";
    const me = this.session.value;
    if (user === me?.user) return me.name || me.handle;
    return this.people.contacts.value.get(user) || this.client?.nameOf(user) || `Somebody (${user.slice(4, 9)})`;
  };

  readonly titleOf = (conversation: string, peer: string): string => {
    const state = this.client?.core.conversations.get(conversation);
    if (ids.kindOf(conversation) === ids.DIRECT) return this.nameOf(peer || this.peerOf(conversation));
    if (state && !state.title && state.until_seq === null) this.rolesOf(conversation); // one was added: the list of members has the title
    return state?.title || "Group";
  };

  readonly peerOf = (conversation: string): string => {
    return this.client?.core.conversations.get(conversation)?.peer || this.peers.get(conversation) || "";
  };

  /** The list, the most recently active first. */
  readonly items = computed<Item[]>(() => {
    void this.listRevision.value;
    void this.nameRevision.value;
    const client = this.client;
    if (!this.ready.value || !client) return [];
    const waiting = new Map<string, { body: string; failed: boolean; ts: number }>();
    const note = (conversation: string, body: string, ts: number, failed: boolean): void => {
      if ((waiting.get(conversation)?.ts ?? 0) <= ts) waiting.set(conversation, { body, failed, ts });
    };
    for (const f of client.failed.values()) note(f.conversation, f.body, f.ts, true);
    for (const { frame, conversation } of client.core.outbox.items()) if (frame.op === "send") note(conversation, frame.body, frame.ts ?? 0, false);
    const all: Item[] = [];
    for (const state of client.core.conversations.values()) {
      const queued = waiting.get(state.id) ?? null;
      const draft = client.drafts.get(state.id) ?? "";
      if (!state.last && !state.head && !queued && !draft && !state.title) continue;
      const at = Math.max(state.last?.ts ?? 0, queued?.ts ?? 0);
      all.push({ state, title: this.titleOf(state.id, state.peer), at, unread: unreadOf(state, client.user), draft, waiting: queued });
    }
    return all.sort((a, b) => b.at - a.at || b.state.touched - a.state.touched);
  });

  readonly unreadTotal = computed(() => this.items.value.reduce((sum, item) => sum + (item.unread ? 1 : 0), 0));

  /** A group's members, [] until they are known. */
  readonly membersOf = (conversation: string): string[] => this.rolesOf(conversation).map((member) => member.user);

  /** The same with their roles. What is known stays until a newer list is there. */
  readonly rolesOf = (conversation: string): MemberInfo[] => {
    void this.listRevision.value;
    const known = this.members.get(conversation) ?? { list: [], isStale: true, isAsked: false };
    if (!known.isStale || known.isAsked || !this.client) return known.list;
    this.members.set(conversation, { list: known.list, isStale: false, isAsked: true });
    this.client.members(conversation).then(
      (list) => {
        const isStale = this.members.get(conversation)?.isStale ?? false; // it changed meanwhile
        this.members.set(conversation, { list, isStale, isAsked: false });
        this.changed();
      },
      () => this.members.set(conversation, { list: known.list, isStale: true, isAsked: false }),
    );
    return known.list;
  };

  private outdated(conversation: string): void {
    const known = this.members.get(conversation);
    if (known) known.isStale = true;
  }

  /** Who has blocked whom in a direct conversation. */
  readonly blocksOf = (conversation: string): Blocks => {
    void this.listRevision.value;
    const me = this.session.value?.user ?? "";
    if (ids.kindOf(conversation) !== ids.DIRECT) return NOBODY;
    const line = this.timeline.value;
    if (line?.conversation === conversation && line.hasNewest && line.rows.value.length) return blocksIn(line.rows.value, me);
    const last = this.client?.core.conversations.get(conversation)?.last;
    return last ? blocksIn([{ kind: "entry", sender: last.sender, type: last.type ?? "text" }], me) : NOBODY;
  };

  /** Whose presence can be seen now: the dialog's, the chat's, and the list's from its top. */
  private onScreen(): string[] {
    const at = this.place.value;
    const dialog = this.dialog.value;
    const users = dialog === "person" ? [this.subject.value] : dialog === "contacts" ? [...this.people.contacts.value.keys()] : [];
    if (dialog === "members" && at) users.push(...this.membersOf(at.conversation));
    if (at) users.unshift(this.peerOf(at.conversation));
    users.push(...this.items.value.slice(0, WATCHED_PEERS_MAX).map((item) => item.state.peer));
    const me = this.session.value?.user;
    return [...new Set(users)].filter((user) => user && user !== me).slice(0, WATCH_MAX);
  }

  /** Makes a change that is an entry; resolves when it is stored. Throws what it was refused with. */
  readonly perform = async (frame: Request): Promise<void> => {
    const done = new Promise<void>((resolve, reject) => this.waiting.set(frame.id, { resolve, reject }));
    done.catch(() => undefined);
    try {
      await this.theClient().request(frame);
    } catch (error) {
      this.waiting.delete(frame.id);
      throw error;
    }
    await done;
  };

  /** Who waits for it says so; a message says it itself; the rest stands in the banner, for instance after a reload. */
  private refused(id: string, reason: string): void {
    const waiting = this.settle(id);
    if (waiting) waiting.reject(new Error(reason));
    else if (id && !this.theClient().failed.has(id)) this.refusal.value = `A change was refused: ${reason}`;
  }

  private settle(id: string) {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    return waiting;
  }

  // ---------------------------------------------------------------- dialogs

  /** Opens a dialog, over the one that is open: that one comes back with `back`. */
  readonly show = (dialog: Dialog, subject = ""): void => {
    batch(() => {
      this.backTo.value = this.dialog.value;
      this.dialog.value = dialog;
      if (subject) this.subject.value = subject;
    });
  };

  readonly back = (): void => {
    batch(() => {
      this.dialog.value = this.backTo.value;
      this.backTo.value = null;
    });
  };

  /** How far a message of one's own has come: every other member's marks count. */
  readonly progress = (conversation: string, seq: number): "sent" | "delivered" | "read" => {
    const others = ids.kindOf(conversation) === ids.DIRECT ? [this.peerOf(conversation)] : this.membersOf(conversation).filter((user) => user !== this.client?.user);
    const marks = this.client?.core.marks.others.get(conversation);
    if (!marks || !others.length) return "sent";
    const all = (which: 0 | 1): boolean => others.every((user) => (marks.get(user)?.[which] ?? 0) >= seq);
    return all(1) ? "read" : all(0) ? "delivered" : "sent";
  };

  // ---------------------------------------------------------------- places

  /** `#/c/conversation`, or `#/u/user` for somebody to whom nothing was said yet. */
  readonly go = (to: string | null, replace = false): void => {
    const hash = to ? `#/${ids.kindOf(to) === ids.USER ? "u" : "c"}/${to}` : "#/";
    if (this.space.address.get() !== hash) this.space.address.set(hash, replace);
    this.onPlace();
  };

  readonly onPlace = (): void => {
    if (!this.client) return;
    const [, kind, id] = /^#\/([cu])\/([0-9a-f]{32})$/.exec(this.space.address.get()) ?? [];
    const conversation = id && (kind === "u" ? ids.directId(this.client.user || this.session.value!.user, id) : id);
    if (!conversation) {
      batch(() => {
        this.place.value = null;
        this.timeline.value = null;
      });
      return;
    }
    if (kind === "u") this.peers.set(conversation, id);
    if (this.place.value?.conversation === conversation && this.timeline.value) return;
    batch(() => {
      this.place.value = { conversation, peer: kind === "u" ? id : this.peerOf(conversation) };
      this.timeline.value = new Timeline(this.theClient(), conversation);
    });
    void this.timeline.value?.open();
  };

  readonly say = async (body: string): Promise<void> => {
    const at = this.place.value;
    if (!at || !body.trim()) return;
    await this.theClient().send(this.targetOf(at.conversation), body);
  };

  /** The own user writes in a chat, or stopped to. */
  readonly type = (conversation: string, kind: TypingKind): void => {
    this.client?.typing(this.targetOf(conversation), kind);
  };

  /** A direct conversation is named by its peer: it may not exist yet. */
  private targetOf(conversation: string): string {
    return (ids.kindOf(conversation) === ids.DIRECT && this.peerOf(conversation)) || conversation;
  }
}
