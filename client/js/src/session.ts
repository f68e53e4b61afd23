/**
 * The connection as the core sees it: states, back-off, hello's answer, heartbeat. Knows nothing of conversations.
 *
 *     idle -start-> connecting -welcome-> syncing -caught up-> live
 *                     ^  \                  \                 /
 *                     |   `---- lost ------- lost -------- lost
 *                  waiting <------------------'                      any -close-> closed
 */

import * as codes from "./codes";
import { close, transmit, type Effect, type State } from "./effects";
import type { Limits } from "./limits";

export interface Loss {
  /** The server asks to come back after this: nothing is wrong, so the back-off neither counts nor grows if the connection was stable. */
  delayS?: number;
  url?: string | null;
  /** The server is full and asks to wait so much longer. */
  extraS?: number;
}

export class Session {
  state: State = "idle";
  code = 0;
  reason = "";
  welcomed = false;
  connectAt: number | null = null;
  private attempts = 0;
  private refusedTokens = 0;
  private notBefore = 0;
  private url: string | null = null;
  private freshToken = false;
  private welcomeBy: number | null = null;
  private heartbeatS = 0;
  private pingAt: number | null = null;
  private pingedAt: number | null = null;
  private liveSince: number | null = null;
  private lostAt: number | null = null;

  constructor(private readonly limits: Limits, private readonly random: () => number, private readonly addresses = 1) {}

  /** Begins to connect. While it waits for the back-off: waits no longer, except where the server named a time. */
  start(now: number): Effect[] {
    if (this.connectAt !== null) {
      this.connectAt = Math.min(this.connectAt, Math.max(now, this.notBefore));
      return this.tick(now);
    }
    if (this.state !== "idle" && this.state !== "closed") return [];
    this.refusedTokens = this.attempts = 0;
    return this.connect(0, "");
  }

  connected(now: number): void {
    this.welcomeBy = now + this.limits.welcome_wait_s;
  }

  welcome(heartbeatMs: number, now: number): Effect[] {
    this.welcomed = true;
    this.welcomeBy = null;
    this.refusedTokens = 0;
    this.heartbeatS = Math.max(1, heartbeatMs / 1000);
    this.pingAt = now + this.heartbeatS;
    return this.change("syncing", 0, "");
  }

  pong(): void {
    this.pingedAt = null;
  }

  /** The ping came too soon after too much else: the server lives. */
  pingAgain(at: number): void {
    this.pingedAt = null;
    this.pingAt = at;
  }

  caughtUp(now: number): Effect[] {
    const effects = this.change("live", 0, "");
    this.liveSince = now;
    if (this.lostAt !== null) {
      effects.push({ kind: "Resumed", offline_s: now - this.lostAt });
      this.lostAt = null;
    }
    return effects;
  }

  /** The socket is gone or must go: waits, then connects. */
  lost(code: number, reason: string, now: number, { delayS, url = null, extraS = 0 }: Loss = {}): Effect[] {
    if (this.state === "idle" || this.state === "closed" || this.state === "waiting") return [];
    const wasStable = this.liveSince !== null && now - this.liveSince >= this.limits.stable_s;
    if (wasStable) this.attempts = 0;
    if (this.liveSince !== null) this.lostAt = now;
    if (code === codes.SESSION_REPLACED) this.attempts = Math.max(this.attempts, this.limits.replaced_attempts * this.addresses);
    const namedS = Math.min(this.limits.named_wait_max_s, Math.max(delayS ?? 0, extraS));
    const backoffS = wasStable && delayS !== undefined ? 0 : this.backoffS();
    this.forgetSocket();
    this.url = url;
    this.connectAt = now + (delayS !== undefined ? Math.max(backoffS, namedS) : backoffS + namedS);
    this.notBefore = now + Math.max(namedS, this.limits.backoff_min_s);
    return this.change("waiting", code, reason);
  }

  /** The server refuses the token. A revoked device, or a third token refused in a row, is the end. */
  signIn(code: number, name: string, now: number): Effect[] {
    this.refusedTokens += 1;
    if (code === codes.DEVICE_REVOKED || this.refusedTokens > 2) return this.close(code, name);
    this.freshToken = true;
    return this.lost(code, name, now);
  }

  close(code: number, reason: string): Effect[] {
    this.forgetSocket();
    this.connectAt = null;
    return this.change("closed", code, reason);
  }

  tick(now: number): Effect[] {
    if (this.connectAt !== null && now >= this.connectAt) return this.connect(this.code, this.reason);
    if (this.welcomeBy !== null && now >= this.welcomeBy)
      return [close(codes.CLOSE_NORMAL, "no welcome", true), ...this.lost(codes.HELLO_TIMEOUT, "no welcome", now)];
    if (this.pingedAt !== null && now >= this.pingedAt + this.silenceS)
      return [close(codes.CLOSE_NORMAL, "no pong", true), ...this.lost(codes.HEARTBEAT_LOST, "no pong", now)];
    if (this.pingAt !== null && now >= this.pingAt) {
      this.pingAt = now + this.heartbeatS;
      this.pingedAt ??= now;
      return [transmit({ op: "ping" })];
    }
    return [];
  }

  nextDeadline(): number | null {
    return earliest(this.connectAt, this.welcomeBy, this.pingAt, this.pingedAt === null ? null : this.pingedAt + this.silenceS);
  }

  /** How long the other side may be silent before it is given up. */
  get silenceS(): number {
    return 2 * this.heartbeatS;
  }

  private connect(code: number, reason: string): Effect[] {
    const effect: Effect = { kind: "Connect", url: this.url, fresh_token: this.freshToken };
    this.connectAt = this.url = null;
    this.freshToken = false;
    return [...this.change("connecting", code, reason), effect];
  }

  private backoffS(): number {
    const upper = Math.min(this.limits.backoff_max_s, 2 ** Math.floor(this.attempts / this.addresses));
    this.attempts = Math.min(this.attempts + 1, 16 * this.addresses);
    return this.limits.backoff_min_s + this.random() * Math.max(0, upper - this.limits.backoff_min_s);
  }

  private forgetSocket(): void {
    this.welcomed = false;
    this.welcomeBy = this.pingAt = this.pingedAt = this.liveSince = null;
  }

  private change(state: State, code: number, reason: string): Effect[] {
    this.code = code;
    this.reason = reason;
    if (state === this.state) return [];
    this.state = state;
    return [{ kind: "StateChanged", state, code, reason }];
  }
}

/** The smallest that is a time. */
export function earliest(...times: (number | null | undefined)[]): number | null {
  let least: number | null = null;
  for (const t of times) if (t !== null && t !== undefined && (least === null || t < least)) least = t;
  return least;
}
