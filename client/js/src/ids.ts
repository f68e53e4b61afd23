/** Identifiers: 32 lower-case hexadecimal digits. The first 14 bits are the slot, the next two the kind, the others a hash or random. */

import { sha256 } from "./sha256";

export const USER = 0;
export const DIRECT = 1;
export const GROUP = 2;

export function isId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

export function kindOf(id: string): number {
  return parseInt(id.slice(0, 4), 16) & 3;
}

/** The id of the account with this handle. Handles are ASCII: how other names are folded is the server's affair. */
export function userId(handle: string): string {
  const folded = handle.trim().normalize("NFKC").toLowerCase();
  if (!/^[\x21-\x7e]+$/.test(folded)) throw new TypeError(`not a handle: ${handle}`);
  const digest = sha256(new TextEncoder().encode(`homing.user\0${folded}`));
  return make(((digest[0]! << 8) | digest[1]!) & ~3, digest.subarray(2));
}

/** The id of the direct conversation of two users, in either order. */
export function directId(a: string, b: string): string {
  const [first, second] = a < b ? [a, b] : [b, a];
  const digest = sha256(new TextEncoder().encode(`homing.direct\0${first}${second}`));
  const slotDigits = parseInt((digest[0]! & 1 ? second : first).slice(0, 4), 16);
  return make((slotDigits & ~3) | DIRECT, digest.subarray(1));
}

/** A new group's id from 16 random bytes. */
export function groupId(random: Uint8Array): string {
  return make((((random[0]! << 8) | random[1]!) & ~3) | GROUP, random.subarray(2));
}

/** A new client message id. */
export function newId(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

function make(first: number, rest: Uint8Array): string {
  return first.toString(16).padStart(4, "0") + hex(rest.subarray(0, 14));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
