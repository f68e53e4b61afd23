/** Who is signed in here, kept in `localStorage`: the accounts over HTTP, and the name of this device's database. */

import { Accounts, type Session } from "homing-client";

const KEY = "homing.session";

function read(): Session | null {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "null") as Session | null;
  } catch {
    return null;
  }
}

function write(session: Session | null): void {
  if (session) localStorage.setItem(KEY, JSON.stringify(session));
  else localStorage.removeItem(KEY);
}

export const accounts = new Accounts("", { get: read, set: write });

export function databaseOf(user: string): string {
  return `homing-${user}`;
}

/** What the list of devices calls this one. */
export function deviceName(): string {
  const agent = navigator.userAgent;
  const browser = ["Firefox", "Edg", "Chrome", "Safari"].find((name) => agent.includes(name)) ?? "Browser";
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac", "Linux"].find((name) => agent.includes(name));
  return (browser === "Edg" ? "Edge" : browser) + (system ? ` on ${system}` : "");
}
