/** The two people of the demo: where each client keeps what is its own, and how a link's code becomes their sessions. */

import { Problem, type Session } from "homing-client";

import { accountsAt, type Address, type Space } from "./session";

export const PEOPLE = 2;
const REQUEST_MS = 20_000;
const NOBODY = ["Left", "Right"] as const;

export type Answer = Omit<Session, "access_until_ms"> & { access_expires_s: number };

/** The code of a link, "" if there is none behind the `#`. */
export function codeOf(hash: string): string {
  return /^#([0-9A-Z]{4}(?:-[0-9A-Z]{4}){2})$/i.exec(hash)?.[1] ?? "";
}

/** The n-th person's part of the page and of the browser's storage. */
export function demoSpace(n: number): Space {
  const key = `homing.demo.${n}`;
  const accounts = accountsAt(key);
  return {
    accounts,
    address: addressAt(`${key}.place`),
    // A name when there is one: a landmark of somebody.
    get label() {
      return accounts.session?.name || NOBODY[n]!;
    },
    element: () => document.getElementById(paneId(n)) ?? document.body,
    databaseOf: (user) => `${key}-${user}`,
    idOf: (name) => `${name}-${n}`,
  };
}

export function paneId(n: number): string {
  return `pane-${n}`;
}

/** The page's own address is the demo's: what a person has open outlives a reload in the tab's storage. */
function addressAt(key: string): Address {
  return {
    get: () => sessionStorage.getItem(key) ?? "",
    set: (hash) => sessionStorage.setItem(key, hash),
  };
}

/** Shows the code; what comes back are the two people's sessions. Throws Problem. */
export async function exchange(code: string): Promise<[Answer, Answer]> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), REQUEST_MS);
  let status = 0;
  let value: { sessions?: Answer[]; code?: number; detail?: string } = {};
  try {
    const body = JSON.stringify({ code });
    const response = await fetch("/demo/sessions", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal: abort.signal, credentials: "omit" });
    status = response.status;
    value = ((await response.json()) ?? {}) as typeof value;
  } catch {
    // the node is not there, or answers what cannot be read: said below
  } finally {
    clearTimeout(timer);
  }
  const [left, right] = value.sessions ?? [];
  if (left && right) return [left, right];
  throw new Problem(status, value.code ?? 2002, value.detail ?? "", null, null);
}
