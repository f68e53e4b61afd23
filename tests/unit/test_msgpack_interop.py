"""What goes over the wire is msgpack as others read it: the reference implementation agrees in both directions."""

from __future__ import annotations

import msgpack
import msgspec
from homing.protocol import Entry, Message, Send, Sent

from node.core.frames import Deliver, NodeFrame
from node.edge.codec import EncodedEntry, decode, encode, message_frame
from storage.store import EntryRow

ENTRY = Entry(conversation="0" * 32, seq=1, message_id="x", sender="1" * 32, id="c", body="Grüße 🐦", ts=2**41, ordinal=1)


def test_a_client_that_packs_with_msgpack_is_understood() -> None:
    frame = decode(msgpack.packb({"op": "send", "id": "c", "to": "0" * 32, "body": "Grüße 🐦", "after": None}), binary=True)
    assert isinstance(frame, Send) and frame.body == "Grüße 🐦"


def test_what_the_node_sends_is_read_by_msgpack() -> None:
    plain = msgpack.unpackb(message_frame(EncodedEntry(ENTRY), binary=True))
    assert plain["op"] == "message" and plain["entry"]["body"] == "Grüße 🐦" and plain["entry"]["ts"] == 2**41
    assert msgpack.unpackb(encode(Sent(id="c", entry=ENTRY), binary=True))["id"] == "c"
    assert msgpack.unpackb(encode(Message(entry=ENTRY), binary=True)) == plain


def test_mesh_frames_are_arrays_with_their_tag_first() -> None:
    row = EntryRow("0" * 32, 1, 1, "1" * 32, "c", "text", "b", 5, 1)
    plain = msgpack.unpackb(msgspec.msgpack.encode(Deliver(row, 5, 0, None)))
    assert plain[0] == 5 and plain[1][2] == 1 and plain[4] is None
    assert msgspec.msgpack.decode(msgpack.packb(plain), type=NodeFrame) == Deliver(row, 5, 0, None)
