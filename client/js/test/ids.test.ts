import "./globals";

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import * as ids from "../src/ids";
import { sha256 } from "../src/sha256";

test("sha256 is node's, at every length around a block's end", () => {
  for (let length = 0; length < 200; length++) {
    const data = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255);
    assert.deepEqual(Buffer.from(sha256(data)).toString("hex"), createHash("sha256").update(data).digest("hex"), `${length} bytes`);
  }
});

test("a direct conversation is the same in either order, of its kind, and in the slot of one of the two", () => {
  const a = "0f200000000000000000000000000004", b = "abcc0000000000000000000000000002";
  const id = ids.directId(a, b);
  assert.equal(id, ids.directId(b, a));
  assert.ok(ids.isId(id));
  assert.equal(ids.kindOf(id), ids.DIRECT);
  assert.ok([a, b].some((user) => parseInt(user.slice(0, 4), 16) >> 2 === parseInt(id.slice(0, 4), 16) >> 2));
});

test("a group's id is of its kind", () => {
  assert.equal(ids.kindOf(ids.groupId(new Uint8Array(16).fill(255))), ids.GROUP);
  assert.equal(ids.groupId(Uint8Array.from({ length: 16 }, (_, i) => i)), "0002" + "02030405060708090a0b0c0d0e0f");
});

test("a user's id follows from the handle, as in the Python library", () => {
  assert.equal(ids.userId("maya"), "94d0d759f66113f3f466bc82596196a0");
  assert.equal(ids.userId(" MAYA "), ids.userId("maya"));
  assert.equal(ids.kindOf(ids.userId("theo")), ids.USER);
  assert.throws(() => ids.userId("Ärne"), TypeError);
});
