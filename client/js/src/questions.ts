/**
 * Questions of the program (a page of history, of heads, of members, a name): asked until answered, over reconnects too.
 *
 * Law: at most `asks_max` are under way, the others wait their turn; names give way to what somebody waits for at the screen.
 */

import { transmit, type Effect } from "./effects";
import type { Limits } from "./limits";
import { OutboxFull } from "./outbox";
import type { Question } from "./protocol";
import { earliest } from "./session";

export class Questions {
  private readonly open = new Map<string, Question>();
  /** When those under way are asked again. */
  private readonly due = new Map<string, number>();
  private readonly waiting = new Set<string>();
  private readonly names = new Set<string>();

  constructor(private readonly limits: Limits) {}

  has(id: string): boolean {
    return this.open.has(id);
  }

  ask(question: Question): void {
    if (this.open.size >= this.limits.asks_max + this.limits.asks_waiting_max) throw new OutboxFull(`${this.open.size} questions wait to be answered`);
    this.open.set(question.id, question);
    (question.op === "fetch_person" ? this.names : this.waiting).add(question.id);
  }

  /** Answered, refused or no longer of interest; false: nobody asked. */
  close(id: string): boolean {
    if (!this.open.delete(id)) return false;
    this.due.delete(id);
    this.waiting.delete(id);
    this.names.delete(id);
    return true;
  }

  again(id: string, at: number): void {
    if (this.due.has(id)) this.due.set(id, at);
  }

  lost(): void {
    for (const id of this.due.keys()) this.due.set(id, 0);
  }

  flush(now: number, effects: Effect[]): void {
    for (let queue = this.next(); queue !== null; queue = this.next()) {
      const id = queue.values().next().value as string;
      queue.delete(id);
      this.due.set(id, 0);
    }
    for (const [id, at] of this.due) {
      if (at > now) continue;
      this.due.set(id, now + this.limits.answer_wait_s);
      effects.push(transmit(this.open.get(id)!));
    }
  }

  /** The queue whose first question may go on its way. */
  private next(): Set<string> | null {
    const room = this.limits.asks_max - this.due.size;
    if (this.waiting.size && room > 0) return this.waiting;
    return this.names.size && room > this.limits.asks_reserved ? this.names : null;
  }

  nextDeadline(): number | null {
    return this.next() !== null ? 0 : earliest(...this.due.values());
  }

  check(): void {
    if (this.due.size > this.limits.asks_max || this.open.size !== this.due.size + this.waiting.size + this.names.size)
      throw new Error("the questions' counts are wrong");
  }
}
