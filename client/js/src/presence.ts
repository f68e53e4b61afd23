/**
 * Who is here: the people whom the program watches, and what the cluster says of them. Knows nothing of conversations.
 *
 * Laws:
 *   - The server is told the whole set, again after each welcome, and at most once in `watch_pace_s`.
 *   - Nothing is known of who is not watched, and of nobody while there is no session: who was online then may not be any more.
 */

import { transmit, type Effect, type PresenceState } from "./effects";
import type { Limits } from "./limits";
import { WATCH_MAX, type PresenceFrame } from "./protocol";

export interface Known {
  state: PresenceState;
  /** Cluster time in ms. */
  last_seen: number | null;
}

const UNKNOWN: Readonly<Known> = { state: "unknown", last_seen: null };

export class Presence {
  private wanted: string[] = [];
  /** What this session was told last. */
  private said: string[] = [];
  private notBefore = 0;
  private readonly known = new Map<string, Known>();

  constructor(private readonly limits: Limits) {}

  of(user: string): Readonly<Known> {
    return this.known.get(user) ?? UNKNOWN;
  }

  /** These from now on, the first `WATCH_MAX` of them. */
  watch(users: readonly string[]): void {
    this.wanted = [...new Set(users)].slice(0, WATCH_MAX);
    for (const user of [...this.known.keys()]) if (!this.wanted.includes(user)) this.known.delete(user);
  }

  welcome(): void {
    this.said = [];
    this.notBefore = 0;
  }

  take(f: PresenceFrame): Effect[] {
    const effects: Effect[] = [];
    for (const { user, state, last_seen = null } of f.people) {
      const old = this.of(user);
      if (!this.wanted.includes(user) || (old.state === state && old.last_seen === last_seen)) continue;
      this.known.set(user, { state, last_seen });
      effects.push({ kind: "PresenceChanged", user, state, last_seen });
    }
    return effects;
  }

  lost(): Effect[] {
    const before = [...this.known].filter(([, known]) => known.state !== "unknown");
    this.known.clear();
    return before.map(([user]) => ({ kind: "PresenceChanged", user, ...UNKNOWN }));
  }

  flush(now: number, effects: Effect[]): void {
    if (!this.isDue || now < this.notBefore) return;
    this.said = this.wanted;
    this.notBefore = now + this.limits.watch_pace_s;
    effects.push(transmit({ op: "watch", users: this.said }));
  }

  nextDeadline(): number | null {
    return this.isDue ? this.notBefore : null;
  }

  private get isDue(): boolean {
    return this.wanted.length !== this.said.length || this.wanted.some((user) => !this.said.includes(user));
  }

  check(): void {
    if (this.wanted.length > WATCH_MAX || [...this.known.keys()].some((user) => !this.wanted.includes(user))) throw new Error("somebody is known who is not watched");
  }
}
