/**
 * Who is writing or recording: what the own user does, said no more often than it has to be, and what others do, shown no longer than it
 * is true. Nothing of it is kept or repeated over a reconnect.
 *
 * Laws:
 *   - One conversation at a time is said to be written in. It is said again every `typing_again_s`, and ends by the program, by a message
 *     that is sent there, or by itself: typing `typing_idle_s` after the last key, recording after `recording_max_s`.
 *   - What others do ends by their word, by an entry of theirs, after the time that the server named, and with the session.
 */

import { transmit, type Effect, type TypingKind } from "./effects";
import type { Limits } from "./limits";
import type { Entry, TypingFrame } from "./protocol";
import { earliest } from "./session";

interface Said {
  /** As the program named it: a conversation or a user. */
  to: string;
  conversation: string;
  kind: TypingKind;
  /** When it is to be said (again). */
  due: number;
  until: number;
  isKnown: boolean;
}
interface Shown {
  conversation: string;
  user: string;
  kind: TypingKind;
  until: number;
}

export class Typing {
  private said: Said | null = null;
  private readonly ended = new Set<string>();
  private notBefore = 0;
  /** In the order in which they began. */
  private readonly shown = new Map<string, Shown>();

  constructor(private readonly limits: Limits) {}

  /** Who is at it in a conversation, and what he does. */
  in(conversation: string): { user: string; kind: TypingKind }[] {
    return [...this.shown.values()].filter((s) => s.conversation === conversation);
  }

  /** The user does this in a conversation; `to`: as it is to be named. */
  say(to: string, conversation: string, kind: TypingKind, now: number): void {
    if (kind === "stopped") return this.stop(conversation);
    if (this.said && this.said.conversation !== conversation) this.stop(this.said.conversation);
    const until = now + (kind === "typing" ? this.limits.typing_idle_s : this.limits.recording_max_s);
    if (this.said?.kind === kind) this.said.until = until;
    else this.said = { to, conversation, kind, due: Math.max(now, this.notBefore), until, isKnown: this.said?.isKnown ?? false };
  }

  /** The user is done in this conversation: he stopped, or sent what he wrote. */
  stop(conversation: string): void {
    if (this.said?.conversation !== conversation) return;
    if (this.said.isKnown) this.ended.add(this.said.to);
    this.said = null;
  }

  take(f: TypingFrame, now: number): Effect[] {
    const { conversation, user, kind } = f;
    const key = `${conversation} ${user}`;
    const old = this.shown.get(key);
    if (kind === "stopped") return this.end(key);
    if (!old && this.shown.size >= this.limits.typing_shown_max) return [];
    const until = now + Math.min(f.ms / 1000, this.limits.typing_shown_s);
    this.shown.set(key, { conversation, user, kind, until });
    return old?.kind === kind ? [] : [{ kind: "TypingChanged", conversation, user, activity: kind }];
  }

  /** Somebody said something: he is not at it any more. */
  entry(entry: Entry): Effect[] {
    return this.end(`${entry.conversation} ${entry.sender}`);
  }

  private end(key: string): Effect[] {
    const old = this.shown.get(key);
    this.shown.delete(key);
    return old ? [{ kind: "TypingChanged", conversation: old.conversation, user: old.user, activity: "stopped" }] : [];
  }

  lost(): Effect[] {
    this.said = null;
    this.ended.clear();
    this.notBefore = 0;
    return [...this.shown.keys()].flatMap((key) => this.end(key));
  }

  flush(now: number, effects: Effect[]): void {
    for (const [key, { until }] of [...this.shown]) if (now >= until) effects.push(...this.end(key));
    if (this.said && now >= this.said.until) this.stop(this.said.conversation);
    for (const to of this.ended) effects.push(transmit({ op: "typing", conversation: to, kind: "stopped" }));
    this.ended.clear();
    const said = this.said;
    if (!said || now < said.due) return;
    said.isKnown = true;
    said.due = now + this.limits.typing_again_s;
    this.notBefore = now + this.limits.typing_pace_s;
    effects.push(transmit({ op: "typing", conversation: said.to, kind: said.kind }));
  }

  nextDeadline(): number | null {
    const said = this.said ? Math.min(this.said.due, this.said.until) : null;
    return earliest(this.ended.size ? 0 : null, said, ...[...this.shown.values()].map((s) => s.until));
  }

  check(): void {
    if (this.shown.size > this.limits.typing_shown_max) throw new Error("too many are shown as typing");
  }
}
