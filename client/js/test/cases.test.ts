/** The cases that the client cores of all languages must pass, on this one; tests/contract/client_cases/README.md says what a case is. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { ClientCore } from "../src/core";
import type { Effect, TypingKind } from "../src/effects";
import type { Limits } from "../src/limits";
import type { Question, Request, ServerFrame } from "../src/protocol";
import { RequestInvalid } from "../src/requests";
import type { CoreState } from "../src/state";

const CASES = "../../tests/contract/client_cases";
/** What a frame may leave out, and what that means. */
const DEFAULTS: Record<string, unknown> = { from_seq: 1, limit: 50, type: "text", ts: 0, client: "" };

interface Step {
  at: number;
  call: string;
  token?: string;
  frames?: ServerFrame[];
  frame?: Request & Question;
  flush?: boolean;
  invalid?: boolean;
  users?: string[];
  to?: string;
  activity?: TypingKind;
  conversation?: string;
  seq?: number;
  code?: number;
  reason?: string;
  expect?: unknown[];
  deadline: number | null;
}
interface Case {
  name: string;
  user: string;
  random: number;
  limits?: Partial<Limits>;
  steps: Step[];
}

class Device {
  core: ClientCore;

  constructor(private readonly given: Case) {
    this.core = this.make(null);
  }

  private make(state: CoreState | null): ClientCore {
    return new ClientCore({ user: this.given.user, random: () => this.given.random, limits: this.given.limits, state });
  }

  do(step: Step): Effect[] {
    const { core } = this;
    const now = step.at;
    const effects: Effect[] = [];
    switch (step.call) {
      case "start": return core.start(now);
      case "tick": return core.tick(now);
      case "connected": return core.connected(now, step.token!);
      case "disconnected": return core.disconnected(now, step.code, step.reason);
      case "close": return core.close(now);
      case "restart":
        this.core = this.make(JSON.parse(JSON.stringify(core.export())) as CoreState);
        return [];
      case "frames":
        for (const frame of step.frames!) effects.push(...core.frame(frame, now));
        break;
      case "request": core.request(step.frame!); break;
      case "read": effects.push(...core.read(step.conversation!, step.seq!)); break;
      case "ask": core.ask(step.frame!); break;
      case "watch": core.watch(step.users!); break;
      case "typing": core.type(step.to!, step.activity!, now); break;
      default: throw new Error(`there is no call ${step.call}`);
    }
    return step.flush === false ? effects : [...effects, ...core.flush(now)];
  }
}

/** Effects as a case names them: frames without what has its default. */
function plain(effects: Effect[]): unknown[] {
  return effects.map((effect) => {
    if (effect.kind !== "Transmit") return effect;
    const kept = Object.entries(effect.frame).filter(([key, value]) => DEFAULTS[key] !== value && !(key === "have" && !Object.keys(value as object).length));
    return { kind: "Transmit", frame: Object.fromEntries(kept) };
  });
}

for (const file of readdirSync(CASES).filter((name) => name.endsWith(".json")).sort()) {
  for (const given of JSON.parse(readFileSync(`${CASES}/${file}`, "utf8")) as Case[]) {
    test(`${file}: ${given.name}`, () => {
      const device = new Device(given);
      given.steps.forEach((step, number) => {
        const where = `step ${number}: ${step.call} at ${step.at}`;
        if (step.invalid) assert.throws(() => device.do(step), RequestInvalid, where);
        else assert.deepEqual(plain(device.do(step)), step.expect, where);
        device.core.check();
        const deadline = device.core.nextDeadline();
        assert.equal(deadline === null, step.deadline === null, where);
        if (deadline !== null) assert.ok(Math.abs(deadline - step.deadline!) < 1e-6, `${where}: deadline ${deadline}, not ${step.deadline}`);
      });
    });
  }
}
