/**
 * Other people as this client knows them: the address book, who they say they are, whether they are here, what they are writing, and who
 * has blocked whom. Owns what is fetched over HTTP and the set that is watched; knows nothing of elements.
 *
 * Laws:
 *   - A name of the own address book goes before the one that somebody gave himself.
 *   - Watched is who is on the screen, nobody else.
 */

import { batch, signal } from "@preact/signals";
import type { Accounts, Client, Known, Person, TypingKind } from "homing-client";

import type { Row } from "./timeline";

/** Names that a page keeps for the time without a network; of a larger address book the others come with it. */
const KEPT_MAX = 1_000;
const PERSONS_MAX = 500;

export interface Blocks {
  mine: boolean;
  theirs: boolean;
}

export class People {
  /** User → what the own address book calls him; "" as he calls himself. */
  readonly contacts = signal<ReadonlyMap<string, string>>(new Map());
  /** Those who were looked up, by user. */
  readonly persons = signal<ReadonlyMap<string, Person>>(new Map());
  /** Rises when somebody came, left, or began or ended to type. */
  readonly revision = signal(0);

  private isLoaded = false;

  constructor(private readonly client: () => Client | null, private readonly accounts: Accounts) {}

  presenceOf(user: string): Readonly<Known> {
    void this.revision.value;
    return this.client()?.presenceOf(user) ?? { state: "unknown", last_seen: null };
  }

  typingIn(conversation: string): { user: string; kind: TypingKind }[] {
    void this.revision.value;
    return this.client()?.typingIn(conversation) ?? [];
  }

  moved(): void {
    this.revision.value += 1;
  }

  // ---------------------------------------------------------------- the address book

  private get key(): string {
    return `homing.contacts.${this.accounts.session?.user ?? ""}`;
  }

  /** What was known when the page was closed. */
  recall(): void {
    try {
      this.contacts.value = new Map(JSON.parse(localStorage.getItem(this.key) ?? "[]") as [string, string][]);
    } catch {
      this.contacts.value = new Map();
    }
  }

  async load(): Promise<void> {
    const list = await this.accounts.contacts();
    this.isLoaded = true;
    this.know(new Map(list.map((c) => [c.user, c.name])));
  }

  /** Once a page: a node that comes back must not be asked by all its clients at once. */
  loadOnce(): void {
    if (!this.isLoaded) void this.load().catch(() => undefined); // what was known stays
  }

  async addContact(user: string, name: string): Promise<void> {
    await this.accounts.addContact(user, name);
    this.know(new Map([...this.contacts.value, [user, name]]));
  }

  async removeContact(user: string): Promise<void> {
    await this.accounts.removeContact(user);
    this.know(new Map([...this.contacts.value].filter(([other]) => other !== user)));
  }

  private know(contacts: ReadonlyMap<string, string>): void {
    if (!this.accounts.session) return; // signed out meanwhile
    this.contacts.value = contacts;
    try {
      localStorage.setItem(this.key, JSON.stringify([...contacts].slice(0, KEPT_MAX)));
    } catch {
      // then they come with the network
    }
  }

  /** Somebody signed out: nothing of his stays. `user`: who it was. */
  forget(user: string): void {
    localStorage.removeItem(`homing.contacts.${user}`);
    this.isLoaded = false;
    batch(() => {
      this.contacts.value = new Map();
      this.persons.value = new Map();
    });
  }

  // ---------------------------------------------------------------- who somebody is

  /** Asks who somebody is; what is known already stays until the answer comes. */
  async look(user: string): Promise<void> {
    this.learn(await this.accounts.person(user));
  }

  learn(person: Person): void {
    const others = [...this.persons.value].filter(([user]) => user !== person.user);
    this.persons.value = new Map([...others.slice(1 - PERSONS_MAX), [person.user, person]]);
  }
}

/**
 * Who has blocked whom in a direct conversation, from the end of its rows: while one of the two has blocked, nothing else is said, so what
 * lies before the last thing that was said does not count.
 */
export function blocksIn(rows: readonly Pick<Row, "kind" | "sender" | "type">[], me: string): Blocks {
  const last = new Map<boolean, boolean>();
  for (let i = rows.length - 1; i >= 0; i--) {
    const { kind, sender, type } = rows[i]!;
    if (kind !== "entry") continue;
    if (!type.startsWith("direct.")) break;
    const isMine = sender === me;
    if (!last.has(isMine)) last.set(isMine, type === "direct.block");
  }
  return { mine: last.get(true) ?? false, theirs: last.get(false) ?? false };
}
