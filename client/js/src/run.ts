/**
 * The short way for a program that says something and ends:
 *
 *     import { run } from "./client/js/homing.js";
 *     const entry = await run((me) => me.send("bob", "hello"));
 */

import { Client, SignInStopped } from "./client";
import type { Entry } from "./protocol";
import type { OpenSocket } from "./socket";
import { MemoryStore } from "./store";

export const URL = "ws://127.0.0.1:7401";
/** How long it is waited for a connection, and for what was sent to be stored. */
export const WAIT_MS = 30_000;

export interface RunOptions {
  /** Left out: $HOMING_URL (with commas between several), the page's own origin, or the first node that `./run` starts. */
  url?: string | readonly string[];
  /** Left out: $HOMING_TOKEN. */
  token?: string;
}

/**
 * Connects, calls `main` with the client once it is live, and disconnects. Where `main` gives the id of something it sent, that is waited
 * for: the result is its entry, and the cluster has it for good.
 */
export async function run<T>(main: (me: Client) => T, { url = defaultUrl(), token }: RunOptions = {}): Promise<Awaited<T> extends string ? Entry : Awaited<T>> {
  const found = token ?? environment("HOMING_TOKEN");
  const getToken = async (): Promise<string> => {
    if (!found) throw new SignInStopped("no token: neither given nor in $HOMING_TOKEN (homing token NAME prints one)");
    return found;
  };
  const client = new Client({ url, getToken, store: new MemoryStore(), program: "homing-js/0.1", openSocket: await socketOfNode() });
  const outcomes = new Outcomes(client);
  try {
    await client.open();
    await outcomes.live();
    const given = await main(client);
    return (typeof given === "string" ? await outcomes.stored(given) : given) as Awaited<T> extends string ? Entry : Awaited<T>;
  } finally {
    await client.close();
  }
}

/** What became of what was sent, and of the connection. */
class Outcomes {
  private readonly known = new Map<string, Entry | Error>();
  private look: () => void = () => undefined;

  constructor(private readonly client: Client) {
    client.listen((event) => {
      if (event.kind === "Stored") this.known.set(event.id, event.entry);
      else if (event.kind === "Failed") this.known.set(event.failed.id, new Error(event.failed.reason));
      this.look();
    });
  }

  live(): Promise<unknown> {
    return this.until(() => this.client.state === "live" || null);
  }

  stored(id: string): Promise<Entry> {
    return this.until(() => {
      const outcome = this.known.get(id);
      if (outcome instanceof Error) throw outcome;
      return outcome ?? null;
    });
  }

  private until<R>(get: () => R | null): Promise<R> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.look = () => undefined;
        settle();
      };
      const timer = setTimeout(() => end(() => reject(new Error(`no answer within ${WAIT_MS / 1000} s: ${this.reason}`))), WAIT_MS);
      this.look = () => {
        try {
          const found = get();
          if (found !== null) end(() => resolve(found));
          else if (this.client.state === "closed") end(() => reject(new Error(`closed: ${this.reason}`)));
        } catch (error) {
          end(() => reject(error as Error));
        }
      };
      this.look();
    });
  }

  private get reason(): string {
    return this.client.core.session.reason || this.client.state;
  }
}

function environment(name: string): string {
  return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name] ?? "";
}

function defaultUrl(): string | string[] {
  const listed = environment("HOMING_URL").split(",").map((text) => text.trim()).filter(Boolean);
  return listed.length ? listed : (globalThis as { location?: { origin?: string } }).location?.origin ?? URL;
}

/** Node has no `WebSocket` of its own before 22. */
async function socketOfNode(): Promise<OpenSocket | undefined> {
  return "WebSocket" in globalThis ? undefined : (await import("./node_socket")).nodeSockets();
}
