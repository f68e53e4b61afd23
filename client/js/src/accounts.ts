/**
 * Accounts over HTTP (docs/rest.md): register, sign in, renew, tickets, people, contacts. Keeps the session in what it is given to keep it.
 *
 * Law: of several requests that find the access token too old, one renews it: a refresh token counts once.
 */

import { SignInStopped } from "./client";

export interface Session {
  user: string;
  handle: string;
  name: string;
  device: string;
  access_token: string;
  /** ms since 1970 by this device's clock. */
  access_until_ms: number;
  refresh_token: string;
}
export interface Person {
  user: string;
  handle: string;
  name: string;
  about: string;
}
export interface Contact {
  user: string;
  name: string;
  created_ts: number;
}
export interface Blocked {
  user: string;
  /** About when. */
  since_ts: number;
}
export interface Device {
  device: string;
  name: string;
  created_ts: number;
  /** When it last got a token. */
  seen_ts: number;
  /** It is this one. */
  current: boolean;
}
export interface Me extends Person {
  created_ts: number;
}
export type Audience = "everyone" | "contacts" | "nobody";
/** Who may see what; whoever hides something does not see it of others. */
export interface Privacy {
  last_seen: Audience;
  online: Audience;
}
/** Where the session is kept: `localStorage`, or a map. */
export interface Keep {
  get(): Session | null;
  set(session: Session | null): void;
}

/** A refusal (RFC 9457): `code` as in docs/errors.md, `field` where one is wrong. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: number, message: string, readonly field: string | null, readonly retryAfterMs: number | null) {
    super(message);
  }
}

const RENEW_BEFORE_MS = 60_000;
const REQUEST_MS = 20_000;

export class Accounts {
  private renewing: Promise<Session> | null = null;

  constructor(private readonly base: string, private readonly keep: Keep, private readonly fetcher: typeof fetch = (...args) => fetch(...args)) {}

  get session(): Session | null {
    return this.keep.get();
  }

  /** Takes a session that came from elsewhere. */
  adopt(answer: Omit<Session, "access_until_ms"> & { access_expires_s: number }): Session {
    return this.store(answer);
  }

  async register(handle: string, password: string, name: string, deviceName: string): Promise<Session> {
    return this.begin("/v1/accounts", { handle, password, name, device_name: deviceName });
  }

  async signIn(handle: string, password: string, deviceName: string): Promise<Session> {
    return this.begin("/v1/sessions", { handle, password, device_name: deviceName });
  }

  /** Signs this device out. It is forgotten here even where the cluster cannot be asked. */
  async signOut(): Promise<void> {
    try {
      await this.ask("DELETE", "/v1/sessions/current");
    } finally {
      this.keep.set(null);
    }
  }

  /** What a browser's hello carries. Throws SignInStopped when this device is signed out. */
  async ticket(): Promise<string> {
    return ((await this.ask("POST", "/v1/tickets")) as { ticket: string }).ticket;
  }

  /** Somebody by his handle, null: there is no such account. */
  async find(handle: string): Promise<Person | null> {
    try {
      return (await this.ask("GET", `/v1/users?handle=${encodeURIComponent(handle)}`)) as Person;
    } catch (error) {
      if (error instanceof Problem && (error.status === 404 || error.status === 400 || error.status === 422)) return null;
      throw error;
    }
  }

  async person(user: string): Promise<Person> {
    return (await this.ask("GET", `/v1/users/${user}`)) as Person;
  }

  /** The whole address book, page by page. */
  async contacts(): Promise<Contact[]> {
    const all: Contact[] = [];
    for (let after = ""; ; ) {
      const page = (await this.ask("GET", `/v1/contacts?limit=500${after ? `&after=${after}` : ""}`)) as { contacts: Contact[]; next: string | null };
      all.push(...page.contacts);
      if (!page.next) return all;
      after = page.next;
    }
  }

  async addContact(user: string, name: string): Promise<void> {
    await this.ask("PUT", `/v1/contacts/${user}`, { name });
  }

  async removeContact(user: string): Promise<void> {
    await this.ask("DELETE", `/v1/contacts/${user}`);
  }

  /** Whom one blocks, page by page; a change is here moments after its answer. */
  async blocks(): Promise<Blocked[]> {
    const all: Blocked[] = [];
    for (let after = ""; ; ) {
      const page = (await this.ask("GET", `/v1/blocks?limit=500${after ? `&after=${after}` : ""}`)) as { blocks: Blocked[]; next: string | null };
      all.push(...page.blocks);
      if (!page.next) return all;
      after = page.next;
    }
  }

  async devices(): Promise<Device[]> {
    return ((await this.ask("GET", "/v1/devices")) as { devices: Device[] }).devices;
  }

  async renameDevice(device: string, name: string): Promise<void> {
    await this.ask("PATCH", `/v1/devices/${device}`, { name });
  }

  /** Signs a device out, everywhere, at once. */
  async revokeDevice(device: string): Promise<void> {
    await this.ask("DELETE", `/v1/devices/${device}`);
  }

  async me(): Promise<Me> {
    return (await this.ask("GET", "/v1/me")) as Me;
  }

  async changeMe(change: { name?: string; about?: string }): Promise<Me> {
    const me = (await this.ask("PATCH", "/v1/me", change)) as Me;
    const session = this.keep.get();
    if (session) this.keep.set({ ...session, name: me.name });
    return me;
  }

  /** Sets another password; every other device is signed out unless they are kept. */
  async changePassword(current: string, next: string, keepDevices: boolean): Promise<void> {
    const body = { current, new: next, keep_devices: keepDevices };
    await this.ask("PUT", "/v1/me/password", body);
  }

  async privacy(): Promise<Privacy> {
    return (await this.ask("GET", "/v1/privacy")) as Privacy;
  }

  async changePrivacy(change: Partial<Privacy>): Promise<Privacy> {
    return (await this.ask("PATCH", "/v1/privacy", change)) as Privacy;
  }

  private async begin(path: string, body: object): Promise<Session> {
    return this.store((await this.request("POST", path, body, "")) as Omit<Session, "access_until_ms"> & { access_expires_s: number });
  }

  private store(answer: Omit<Session, "access_until_ms"> & { access_expires_s: number }): Session {
    const { user, handle, name, device, access_token, access_expires_s, refresh_token } = answer;
    const session = { user, handle, name, device, access_token, refresh_token, access_until_ms: Date.now() + access_expires_s * 1000 };
    this.keep.set(session);
    return session;
  }

  private async ask(method: string, path: string, body?: object): Promise<unknown> {
    let session = this.keep.get();
    if (!session) throw new SignInStopped("not signed in");
    if (session.access_until_ms - Date.now() < RENEW_BEFORE_MS) session = await this.renew();
    try {
      return await this.request(method, path, body, session.access_token);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 401) throw error;
      if (error.code !== 4003) session = await this.renew();
      else throw this.ended(error);
      return this.request(method, path, body, session.access_token);
    }
  }

  private renew(): Promise<Session> {
    return (this.renewing ??= this.renewOnce().finally(() => (this.renewing = null)));
  }

  private async renewOnce(): Promise<Session> {
    const session = this.keep.get();
    if (!session) throw new SignInStopped("not signed in");
    try {
      const body = { refresh_token: session.refresh_token };
      return this.store((await this.request("POST", "/v1/sessions/refresh", body, "")) as Session & { access_expires_s: number });
    } catch (error) {
      throw error instanceof Problem && error.status === 401 ? this.ended(error) : error;
    }
  }

  private ended(problem: Problem): SignInStopped {
    this.keep.set(null);
    return new SignInStopped(problem.message);
  }

  private async request(method: string, path: string, body: object | undefined, token: string): Promise<unknown> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (token) headers["Authorization"] = `Bearer ${token}`;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), REQUEST_MS);
    let response: Response;
    let text: string;
    try {
      response = await this.fetcher(this.base + path, { method, headers, body: body && JSON.stringify(body), signal: abort.signal, credentials: "omit" });
      text = await response.text();
    } catch {
      throw new Problem(0, 2002, "The server cannot be reached.", null, null);
    } finally {
      clearTimeout(timer);
    }
    let value: unknown;
    try {
      value = text ? JSON.parse(text) : null;
    } catch {
      throw new Problem(response.status, 2002, "The server's answer cannot be read.", null, null);
    }
    if (response.ok) return value;
    const { code = 2002, detail = response.statusText, field = null, retry_after_ms = null } = (value ?? {}) as Record<string, never>;
    throw new Problem(response.status, code, detail, field, retry_after_ms);
  }
}
