/** The shell: a client over a socket that the test holds, with the store in memory and in a browser's database. */

import "fake-indexeddb/auto";

import "./globals";

import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, SignInStopped, type Event } from "../src/client";
import { IdbStore } from "../src/idb";
import * as ids from "../src/ids";
import type { ClientFrame, Entry, ServerFrame } from "../src/protocol";
import type { OpenSocket, SocketEvents } from "../src/socket";
import { websocketUrl } from "../src/socket";
import { MemoryStore, StoreFailed, type Batch, type Store } from "../src/store";

const ME = "0f200000000000000000000000000004";
const BOB = "abcc0000000000000000000000000002";
const CHAT = ids.directId(ME, BOB);

function entry(seq: number, sender = BOB, id = `x${seq}`): Entry {
  return { conversation: CHAT, seq, message_id: `${CHAT}.${seq}.1`, sender, id, body: `no ${seq}`, ts: seq, ordinal: seq };
}

/** A server that says only what the test says. */
class Wire {
  frames: ClientFrame[] = [];
  urls: string[] = [];
  events: SocketEvents | null = null;
  readonly open: OpenSocket = (url, events) => {
    this.urls.push(url);
    this.events = events;
    queueMicrotask(() => events.opened());
    return { send: (frame) => this.frames.push(frame), close: () => (this.events = null) };
  };

  give(...frames: ServerFrame[]): void {
    for (const frame of frames) this.events!.frame(frame);
  }

  taken(): ClientFrame[] {
    return this.frames.splice(0);
  }

  welcome(): void {
    this.give({ op: "welcome", session: "s", user: ME, device: "d", node: "n", time: 0, heartbeat_ms: 10_000, name: "Me" }, { op: "synced", cursor: "c1" });
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function live(store: Store = new MemoryStore()): Promise<{ client: Client; wire: Wire; events: Event[] }> {
  const wire = new Wire();
  const events: Event[] = [];
  const client = new Client({ url: "ws://a", getToken: () => Promise.resolve("ticket"), store, openSocket: wire.open, random: () => 0 });
  client.listen((event) => events.push(event));
  await client.open();
  await settled();
  assert.equal(wire.frames[0]?.op, "hello");
  wire.welcome();
  await settled();
  wire.taken();
  assert.equal(client.state, "live");
  return { client, wire, events };
}

for (const kind of ["memory", "indexeddb"]) {
  const make = (name: string): Store => (kind === "memory" ? new MemoryStore() : new IdbStore(name));

  test(`${kind}: what was sent without a connection survives a reload, in order, with its id and after`, async () => {
    const store = make("reload");
    const { client, wire } = await live(store);
    wire.give({ op: "message", entry: entry(1) });
    await settled();
    wire.events!.closed(1006, "cut");
    await client.send(BOB, "first", "m1");
    await client.send(BOB, "second", "m2");
    client.setDraft(CHAT, "thi");
    await settled();
    await client.close();

    const again = new Client({ url: "ws://a", getToken: () => Promise.resolve("t"), store, openSocket: wire.open });
    await again.open(false);
    assert.deepEqual(again.core.outbox.items().map((i) => [i.frame.id, i.frame.op === "send" && i.frame.after]), [["m1", 1], ["m2", 1]]);
    assert.equal(again.drafts.get(CHAT), "thi");
    assert.equal(again.core.cursor, "c1");
    assert.deepEqual((await again.stored(CHAT, 99)).map((e) => e.body), ["no 1"]);
    wire.taken();
    again.connect();
    await settled();
    wire.welcome();
    await settled();
    assert.deepEqual(wire.taken().map((f) => f.op).filter((op) => op === "send"), ["send"], "one at a time");
    wire.give({ op: "sent", id: "m1", entry: entry(2, ME, "m1") });
    await settled();
    const [next] = wire.taken().filter((f) => f.op === "send");
    assert.equal(next?.op === "send" && next.id, "m2");
    await again.close();
  });

  test(`${kind}: a refused message stays as failed, over a reload, until it is tried again`, async () => {
    const store = make("failed");
    const { client, wire, events } = await live(store);
    await client.send(BOB, "no", "m1");
    wire.give({ op: "error", code: 1007, name: "forbidden", message: "not him", id: "m1" });
    await settled();
    assert.ok(events.some((e) => e.kind === "Failed" && e.failed.body === "no"));
    await client.close();

    const again = new Client({ url: "ws://a", getToken: () => Promise.resolve("t"), store, openSocket: wire.open });
    await again.open(false);
    assert.equal(again.failed.get("m1")?.reason, "not him");
    await again.retry("m1");
    await settled();
    assert.equal(again.failed.size, 0);
    assert.deepEqual(again.core.outbox.items().map((i) => i.frame.op === "send" && i.frame.body), ["no"]);
    await again.close();
    const third = await store.open();
    assert.equal(third.failed.length, 0);
  });

  test(`${kind}: entries come back in order, the newest below`, async () => {
    const store = make("entries");
    await store.open();
    await store.write({ entries: [3, 1, 2, 10, 9].map((seq) => entry(seq)) });
    assert.deepEqual((await store.entries(CHAT, 10, 2)).map((e) => e.seq), [3, 9]);
    assert.deepEqual((await store.entries(CHAT, 1, 2)).map((e) => e.seq), []);
    assert.deepEqual((await store.entries(ME, 10, 2)).map((e) => e.seq), []);
  });
}

test("nothing is acknowledged or told before it is stored", async () => {
  let release: () => void = () => undefined;
  const memory = new MemoryStore();
  const store: Store = {
    open: () => memory.open(),
    entries: (...args) => memory.entries(...args),
    close: () => memory.close(),
    write: async (batch: Batch) => {
      if (batch.entries?.length) await new Promise<void>((resolve) => (release = resolve));
      await memory.write(batch);
    },
  };
  const { client, wire, events } = await live(store);
  wire.give({ op: "message", entry: entry(1) });
  await settled();
  assert.deepEqual(wire.taken(), []);
  assert.ok(!events.some((e) => e.kind === "Shown"));
  release();
  await settled();
  assert.deepEqual(wire.taken(), [{ op: "ack", conversation: CHAT, seq: 1 }]);
  assert.ok(events.some((e) => e.kind === "Shown"));
  await client.close();
});

test("a store that fails gives the connection up, and what came is written later", async () => {
  const memory = new MemoryStore();
  let broken = false;
  const store: Store = {
    open: () => memory.open(),
    entries: (...args) => memory.entries(...args),
    close: () => memory.close(),
    write: (batch: Batch) => (broken ? Promise.reject(new StoreFailed("full")) : memory.write(batch)),
  };
  const { client, wire, events } = await live(store);
  broken = true;
  wire.give({ op: "message", entry: entry(1) });
  await settled();
  assert.equal(client.state, "closed");
  assert.deepEqual(wire.taken(), []);
  await assert.rejects(client.send(BOB, "x"), StoreFailed);
  assert.equal(client.core.outbox.size, 0, "what the caller takes as not sent must not be sent");
  broken = false;
  client.connect();
  await settled();
  wire.welcome();
  await settled();
  assert.deepEqual((await client.stored(CHAT, 9)).map((e) => e.seq), [1]);
  assert.ok(events.some((e) => e.kind === "Shown" && e.entry.seq === 1));
  await client.close();
});

test("history comes from the store as far as it reaches, then from the cluster, and is kept", async () => {
  const { client, wire } = await live();
  wire.give({ op: "message", entry: entry(5) });
  await settled();
  wire.taken();
  const asked = client.history(CHAT, 5, 3);
  await settled();
  const [fetch] = wire.taken();
  assert.deepEqual({ ...fetch, id: "" }, { op: "fetch", id: "", conversation: CHAT, to_seq: 4, limit: 3 });
  wire.give({ op: "entries", id: (fetch as { id: string }).id, conversation: CHAT, entries: [entry(2), entry(3), entry(4)], head: 5 });
  assert.deepEqual((await asked).map((e) => e.seq), [2, 3, 4]);
  await settled();
  assert.deepEqual((await client.history(CHAT, 5, 3)).map((e) => e.seq), [2, 3, 4]);
  assert.deepEqual(wire.taken(), []);
  await client.close();
});

test("who is here and who types: said, told, and taken back with the connection", async () => {
  let clock = 0;
  const wire = new Wire();
  const events: Event[] = [];
  const client = new Client({ url: "ws://a", getToken: () => Promise.resolve("t"), store: new MemoryStore(), openSocket: wire.open, random: () => 0, now: () => clock });
  client.listen((event) => events.push(event));
  client.typing(BOB, "typing"); // before it is open: nothing
  await client.open();
  client.watch([BOB]);
  await settled();
  wire.welcome();
  await settled();
  assert.deepEqual(wire.taken().slice(1), [{ op: "watch", users: [BOB] }]);
  client.typing(BOB, "typing");
  client.typing(BOB, "typing");
  await settled();
  await client.send(BOB, "hi", "m1");
  await settled();
  assert.deepEqual(wire.taken().map((f) => (f.op === "typing" ? f.kind : f.op)), ["typing", "stopped", "send"]);
  wire.give({ op: "presence", people: [{ user: BOB, state: "online" }] }, { op: "typing", conversation: CHAT, user: BOB, kind: "recording", ms: 6000 });
  await settled();
  assert.equal(client.presenceOf(BOB).state, "online");
  assert.deepEqual(client.typingIn(CHAT).map(({ user, kind }) => [user, kind]), [[BOB, "recording"]]);
  wire.give({ op: "message", entry: entry(1) });
  await settled();
  assert.deepEqual(client.typingIn(CHAT), [], "he has said it");
  events.length = 0;
  clock = 10;
  wire.give({ op: "reconnect", after_ms: 5_000 });
  await settled();
  assert.deepEqual([client.state, client.presenceOf(BOB).state], ["waiting", "unknown"]);
  assert.ok(events.some((e) => e.kind === "PresenceChanged" && e.state === "unknown"));
  clock = 20;
  client.connect();
  await settled();
  wire.welcome();
  await settled();
  assert.ok(wire.taken().some((f) => f.op === "watch" && f.users[0] === BOB), "said again");
  await client.block(BOB);
  await client.close();
});

test("who is taken out of a group while he looks knows it at once, and again when he is back", async () => {
  const { client, wire } = await live();
  const group = ids.groupId(new Uint8Array(16));
  const change = (seq: number, type: string, body: object): ServerFrame => ({ op: "message", entry: { ...entry(seq), conversation: group, type: `group.${type}`, body: JSON.stringify(body), ordinal: 0 } });
  const state = () => client.core.conversations.get(group)!;
  wire.give({ op: "heads", heads: [{ conversation: group, seq: 1, ordinal: 0, title: "P", last: { ...entry(1), conversation: group } }] });
  wire.give(change(2, "role", { members: [ME], role: "admin" }), change(3, "remove", { members: [BOB] }));
  await settled();
  assert.deepEqual([state().role, state().until_seq], ["admin", null]);
  wire.give(change(4, "remove", { members: [ME] }));
  await settled();
  assert.equal(state().until_seq, 4);
  wire.give(change(5, "add", { members: [ME] }));
  await settled();
  assert.deepEqual([state().role, state().until_seq], ["member", null]);
  await client.close();
});

test("no token is the end, another error is not", async () => {
  let error: Error = new Error("network");
  const wire = new Wire();
  const client = new Client({ url: "ws://a", getToken: () => Promise.reject(error), store: new MemoryStore(), openSocket: wire.open, random: () => 0 });
  await client.open();
  await settled();
  assert.equal(client.state, "waiting");
  error = new SignInStopped("revoked");
  await new Promise((resolve) => setTimeout(resolve, 520));
  await settled();
  assert.deepEqual([client.state, client.core.session.reason], ["closed", "revoked"]);
  assert.deepEqual(wire.urls, []);
  await client.close();
});

test("another address is tried after a failure, and a page stays where it came from", async () => {
  const wire = new Wire();
  let clock = 0;
  const client = new Client({
    url: ["ws://a", "ws://b"], getToken: () => Promise.resolve("t"), store: new MemoryStore(), openSocket: wire.open,
    followsUrls: false, now: () => clock, random: () => 0,
  });
  await client.open();
  await settled();
  wire.events!.closed(1006, "cut");
  await settled();
  clock += 1;
  client.connect();
  await settled();
  wire.welcome();
  await settled();
  wire.give({ op: "reconnect", after_ms: 0, url: "ws://elsewhere" });
  await settled();
  clock += 2;
  client.connect();
  await settled();
  assert.deepEqual(wire.urls, ["ws://a", "ws://b", "ws://b"]);
  await client.close();
});

test("addresses are completed", () => {
  assert.equal(websocketUrl("http://h:1"), "ws://h:1/v1/ws");
  assert.equal(websocketUrl("https://h/"), "wss://h/v1/ws");
  assert.equal(websocketUrl("h:1"), "ws://h:1/v1/ws");
});
