import assert from "node:assert/strict";
import { test } from "node:test";

import { Accounts, Problem, type Session } from "../src/accounts";
import { SignInStopped } from "../src/client";

type Answer = [status: number, body: unknown];

/** Accounts whose cluster answers with what the test says; `asked` notes method, path and token. */
function rig(session: Partial<Session> | null, answer: (path: string, token: string) => Answer) {
  const asked: string[] = [];
  const kept = { session: session ? ({ user: "u", refresh_token: "r1", access_token: "a1", access_until_ms: Date.now() + 600_000, ...session } as Session) : null };
  const fetcher = ((url: string, init: RequestInit) => {
    const token = String((init.headers as Record<string, string>)["Authorization"] ?? "").replace("Bearer ", "");
    asked.push(`${init.method} ${url} ${token}`.trim());
    const [status, body] = answer(url, token);
    return Promise.resolve(new Response(body === null ? null : JSON.stringify(body), { status }));
  }) as typeof fetch;
  const keep = { get: () => kept.session, set: (s: Session | null) => void (kept.session = s) };
  return { accounts: new Accounts("", keep, fetcher), asked, kept };
}

const RENEWED = { user: "u", handle: "h", name: "", device: "d", access_token: "a2", access_expires_s: 600, refresh_token: "r2", refresh_expires_s: 1 };

test("several requests with an old token renew it once", async () => {
  const { accounts, asked, kept } = rig({ access_until_ms: 0 }, (path) => (path.endsWith("refresh") ? [200, RENEWED] : [201, { ticket: "t" }]));
  assert.deepEqual(await Promise.all([accounts.ticket(), accounts.ticket()]), ["t", "t"]);
  assert.deepEqual(asked, ["POST /v1/sessions/refresh", "POST /v1/tickets a2", "POST /v1/tickets a2"]);
  assert.equal(kept.session?.refresh_token, "r2");
});

test("an access token that is refused is renewed, and the request repeated", async () => {
  const { accounts, asked } = rig({}, (path, token) => {
    if (path.endsWith("refresh")) return [200, RENEWED];
    return token === "a1" ? [401, { code: 4002, detail: "old" }] : [201, { ticket: "t" }];
  });
  assert.equal(await accounts.ticket(), "t");
  assert.equal(asked.length, 3);
});

test("a revoked device is forgotten, and there is no token any more", async () => {
  const { accounts, kept } = rig({}, () => [401, { code: 4003, detail: "signed out" }]);
  await assert.rejects(accounts.ticket(), SignInStopped);
  assert.equal(kept.session, null);
});

test("a server that cannot be asked ends no session", async () => {
  const { accounts, kept } = rig({ access_until_ms: 0 }, () => [503, { code: 2002, detail: "busy", retry_after_ms: 1000 }]);
  await assert.rejects(accounts.ticket(), (error) => error instanceof Problem && error.status === 503 && error.retryAfterMs === 1000);
  assert.equal(kept.session?.refresh_token, "r1");
});

test("devices, profile and privacy; a new name is that of the session too", async () => {
  const me = { user: "u", handle: "h", name: "New", about: "", created_ts: 1 };
  const { accounts, asked, kept } = rig({ name: "Old" }, (path) => (path.endsWith("/v1/devices") ? [200, { devices: [{ device: "d", current: true }] }] : path.endsWith("/v1/me") ? [200, me] : [200, null]));
  assert.equal((await accounts.devices())[0]?.current, true);
  await accounts.renameDevice("d", "Desk");
  await accounts.revokeDevice("d");
  await accounts.changeMe({ name: "New" });
  await accounts.changePrivacy({ online: "nobody" });
  await accounts.removeContact("b");
  await accounts.changePassword("old", "new", false);
  assert.equal(kept.session?.name, "New");
  assert.deepEqual(asked.map((a) => a.replace(" a1", "")), [
    "GET /v1/devices", "PATCH /v1/devices/d", "DELETE /v1/devices/d", "PATCH /v1/me", "PATCH /v1/privacy", "DELETE /v1/contacts/b", "PUT /v1/me/password",
  ]);
});

test("somebody who does not exist is nobody, a refusal names its field", async () => {
  const { accounts } = rig({}, (path) => (path.includes("users") ? [404, { code: 1006, detail: "no" }] : [422, { code: 1003, detail: "too short", field: "password" }]));
  assert.equal(await accounts.find("bob"), null);
  await assert.rejects(accounts.register("bob", "x", "", ""), (error) => error instanceof Problem && error.field === "password");
});
