/** Error and close codes; the thousands say what a client does: docs/errors.md. */

export type Action = "fix" | "retry" | "reconnect" | "sign_in" | "sync";

export const FORBIDDEN = 1007;
export const BLOCKED = 1014;
export const UNAVAILABLE = 2002;
export const RATE_LIMITED = 2003;
export const GOING_AWAY = 3001;
export const SESSION_REPLACED = 3004;
export const HEARTBEAT_LOST = 3005;
export const HELLO_TIMEOUT = 3006;
export const TOKEN_INVALID = 4001;
export const DEVICE_REVOKED = 4003;
export const RESYNC = 5001;

export const CLOSE_NORMAL = 1000;
export const CLOSE_TRY_LATER = 1013;
export const CLOSE_SIGN_IN = 4401;

/** What a client does about an error; what is outside of the ranges is not repeated. */
export function actionOf(code: number): Action {
  const actions: Record<number, Action> = { 2: "retry", 3: "reconnect", 4: "sign_in", 5: "sync" };
  return actions[Math.floor(code / 1000)] ?? "fix";
}
