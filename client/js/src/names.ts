/**
 * What people are called, as their homes tell. A home is asked about somebody at most once a day; about one it knew nothing of also when he
 * has said something since, at most once a minute. Times are ms since 1970 by the device's own clock, for they must outlive the page.
 */

import type { PersonState } from "./store";

export const PEOPLE_MAX = 20_000;
export const AGAIN_MS = 86_400_000;
export const STRANGER_AGAIN_MS = 60_000;

export class Names {
  private readonly known = new Map<string, PersonState>();
  private readonly asked = new Map<string, string>();
  private readonly underWay = new Set<string>();
  private readonly spokeAt = new Map<string, number>();
  private readonly changed = new Set<string>();

  load(people: readonly PersonState[]): void {
    for (const p of people) this.known.set(p.user, p);
  }

  /** "" where it is not known. */
  of(user: string): string {
    return this.known.get(user)?.name ?? "";
  }

  spoke(user: string, nowMs: number): void {
    if (!this.of(user)) this.spokeAt.set(user, nowMs);
    if (this.spokeAt.size > PEOPLE_MAX) this.spokeAt.clear();
  }

  isDue(user: string, nowMs: number): boolean {
    if (!user || this.underWay.has(user)) return false;
    const p = this.known.get(user);
    if (!p || !p.asked_ms || p.asked_ms > nowMs) return true;
    if (nowMs - p.asked_ms >= AGAIN_MS) return true;
    return !p.name && (this.spokeAt.get(user) ?? 0) > p.asked_ms && nowMs - p.asked_ms >= STRANGER_AGAIN_MS;
  }

  ask(question: string, user: string): void {
    this.asked.set(question, user);
    this.underWay.add(user);
  }

  /** The question was answered or refused: whom it was about. */
  end(question: string): string | undefined {
    const user = this.asked.get(question);
    this.asked.delete(question);
    if (user) this.underWay.delete(user);
    return user;
  }

  /** He is called so; "": his home does not know. Returns whether that is new. */
  tell(user: string, name: string, nowMs: number): boolean {
    const old = this.known.get(user);
    const isNew = name !== "" && old?.name !== name;
    this.known.delete(user);
    this.known.set(user, { user, name: name || old?.name || "", asked_ms: nowMs });
    this.changed.add(user);
    if (this.known.size > PEOPLE_MAX) this.known.delete(this.known.keys().next().value as string);
    return isNew;
  }

  takeChanges(): PersonState[] {
    const people = [...this.changed].map((user) => this.known.get(user)).filter((p): p is PersonState => p !== undefined);
    this.changed.clear();
    return people;
  }

  notWritten(people: readonly PersonState[]): void {
    for (const p of people) this.changed.add(p.user);
  }
}
