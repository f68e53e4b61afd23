/** What the core asks of its shell (transmit, connect, close) and tells it (all others), in the order in which it happened. */

import type { Answer, ClientFrame, Entry, ErrorFrame } from "./protocol";

/** `unknown`: hidden, or not known now; it is shown as nothing, never as offline. */
export type PresenceState = "online" | "offline" | "unknown";
export type TypingKind = "typing" | "recording" | "stopped";
export type State = "idle" | "connecting" | "syncing" | "live" | "waiting" | "closed";

export type Effect =
  /** Put this frame on the socket. */
  | { kind: "Transmit"; frame: ClientFrame }
  /** Open a socket, then call `connected`, or `disconnected` when it fails. No url: the shell's own choice. */
  | { kind: "Connect"; url: string | null; fresh_token: boolean }
  /** Close the socket; nothing that still comes from it may be handed to the core. */
  | { kind: "Close"; code: number; reason: string; elsewhere: boolean }
  /** An entry of a live tail, in seq order, once per device. */
  | { kind: "Shown"; entry: Entry }
  /** Answer to a queued request: one tick. */
  | { kind: "Stored"; id: string; entry: Entry }
  /** A request that will not be repeated; with an empty id a complaint about the session. */
  | { kind: "Refused"; id: string; error: ErrorFrame }
  | { kind: "Answered"; id: string; frame: Answer }
  | { kind: "Delivered"; conversation: string; user: string; seq: number }
  | { kind: "ReadBy"; conversation: string; user: string; seq: number }
  | { kind: "StateChanged"; state: State; code: number; reason: string }
  | { kind: "CursorChanged"; cursor: string }
  /** Somebody who is watched came, left, or is not known of any more. */
  | { kind: "PresenceChanged"; user: string; state: PresenceState; last_seen: number | null }
  /** Somebody began or ended to write or record. */
  | { kind: "TypingChanged"; conversation: string; user: string; activity: TypingKind }
  | { kind: "ConversationChanged"; conversation: string }
  /** `Shown` goes over these: not visible to this user, or too many. */
  | { kind: "Gap"; conversation: string; from_seq: number; to_seq: number; reason: "not_visible" | "too_many" }
  /** Live again, and everything of that time has been shown. */
  | { kind: "Resumed"; offline_s: number };

export function transmit(frame: ClientFrame): Effect {
  return { kind: "Transmit", frame };
}

export function close(code: number, reason: string, elsewhere = false): Effect {
  return { kind: "Close", code, reason, elsewhere };
}
