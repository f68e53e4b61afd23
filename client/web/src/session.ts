/** Who is signed in here, kept in `localStorage`: the accounts over HTTP, and where one client of a page keeps what is its own. */

import { Accounts, type Session } from "homing-client";

/** What is open, as the part of an address behind `#`. */
export interface Address {
  get(): string;
  set(hash: string, replace: boolean): void;
}
export interface Space {
  accounts: Accounts;
  address: Address;
  /** Whose client it is where a page holds several, "" otherwise: it tells their landmarks apart. */
  label: string;
  /** Its element, in which its keys and its focus stay; the whole page unless it says otherwise. */
  element: () => HTMLElement;
  /** The name of a device's database. */
  databaseOf(user: string): string;
  /** An id that no other client of the page has. */
  idOf(name: string): string;
}

const pageAddress: Address = {
  get: () => location.hash,
  set(hash, replace) {
    if (replace) history.replaceState(null, "", hash);
    else location.hash = hash;
  },
};

/** A client that has the page to itself. */
export const wholePage: Space = {
  accounts: accountsAt("homing.session"),
  address: pageAddress,
  label: "",
  element: () => document.body,
  databaseOf: (user) => `homing-${user}`,
  idOf: (name) => name,
};

/** The accounts whose session lies under this key. */
export function accountsAt(key: string): Accounts {
  return new Accounts("", {
    get: () => read(key),
    set(session) {
      if (session) localStorage.setItem(key, JSON.stringify(session));
      else localStorage.removeItem(key);
    },
  });
}

function read(key: string): Session | null {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null") as Session | null;
  } catch {
    return null;
  }
}

/** What the list of devices calls this one. */
export function deviceName(): string {
  const agent = navigator.userAgent;
  const browser = ["Firefox", "Edg", "Chrome", "Safari"].find((name) => agent.includes(name)) ?? "Browser";
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac", "Linux"].find((name) => agent.includes(name));
  return (browser === "Edg" ? "Edge" : browser) + (system ? ` on ${system}` : "");
}
