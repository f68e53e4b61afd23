import "./globals";

import assert from "node:assert/strict";
import { test } from "node:test";

import { unreadOf } from "../src/index";
import type { Entry } from "../src/protocol";
import { newConversation } from "../src/state";

const by = (sender: string): Entry => ({ conversation: "c", seq: 3, message_id: "c.3.1", sender, id: "x", ts: 0, ordinal: 3 });

test("what one has said oneself, on whatever device, is not unread", () => {
  const state = { ...newConversation("c"), ordinal: 3, read_ordinal: 1 };
  assert.equal(unreadOf({ ...state, last: by("bob") }, "me"), 2);
  assert.equal(unreadOf({ ...state, last: by("me") }, "me"), 0);
  assert.equal(unreadOf({ ...state, last: null, read_ordinal: 4 }, "me"), 0);
});
