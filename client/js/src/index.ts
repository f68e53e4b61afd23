/** The client library of Homing: see README.md beside this folder. */

export * as codes from "./codes";
export * as ids from "./ids";
export { Accounts, Problem, type Audience, type Blocked, type Contact, type Device, type Keep, type Me, type Person, type Privacy, type Session } from "./accounts";
export { adjacentBelow, Client, RequestRefused, SignInStopped, Unavailable, type ClientOptions, type Event } from "./client";
export { ClientCore, type CoreOptions } from "./core";
export type { Effect, PresenceState, State, TypingKind } from "./effects";
export { forget, IdbStore } from "./idb";
export { DEFAULTS, type Limits } from "./limits";
export { titleOf } from "./log";
export { OutboxFull } from "./outbox";
export * from "./protocol";
export type { Known } from "./presence";
export { RequestInvalid } from "./requests";
export { unreadOf, type ConversationState, type CoreState, type OutboxItem } from "./state";
export { MemoryStore, StoreFailed, type Batch, type Failed, type PersonState, type Store, type Stored } from "./store";
