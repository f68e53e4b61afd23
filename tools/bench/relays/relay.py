"""What both bare relays do: pairs (or rooms) of clients, five WebSocket frames a message, nothing kept.

A client says ``{"op":"hello","name":…,"peer":…}`` and is answered ``{"op":"welcome"}``; everything after that has the form of Homing's
own frames, so that the same load can drive both: ``send`` goes to the peer as ``message`` and is answered with ``sent``; the peer's ``ack``
goes back to whoever wrote that message as ``receipts``. With ``room`` in place of ``peer`` a message goes to all others of that room.
"""

from __future__ import annotations

import time
from typing import Generic, TypeVar

import msgspec
from homing import ids
from homing.protocol import Ack, Entry, Mark, Message, Receipts, Send, Sent

AUTHORS_KEPT = 1024
"""Messages of a room whose author is remembered for the receipt."""


class Hello(msgspec.Struct, tag_field="op", tag="hello"):
    name: str
    peer: str = ""
    room: str = ""


class Welcome(msgspec.Struct, tag_field="op", tag="welcome"):
    user: str
    conversation: str


M = TypeVar("M")


class Room(Generic[M]):
    """A conversation: who is here, and the number of the last message."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.members: dict[M, str] = {}
        self.seq = 0
        self.authors: dict[int, M] = {}


class Relay(Generic[M]):
    """Frames in, frames for whom out. ``M`` is the shell's socket."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Hello | Send | Ack)
        self._encode = msgspec.json.Encoder().encode
        self._rooms: dict[str, Room[M]] = {}
        self._room_of: dict[M, Room[M]] = {}

    def on_frame(self, member: M, data: bytes) -> list[tuple[M, bytes]]:
        frame = self._decoder.decode(data)
        if isinstance(frame, Send):
            return self._on_send(member, frame)
        if isinstance(frame, Ack):
            return self._on_ack(member, frame)
        return self._on_hello(member, frame)

    def on_gone(self, member: M) -> None:
        room = self._room_of.pop(member, None)
        if room is not None:
            room.members.pop(member, None)
            if not room.members:
                del self._rooms[room.conversation]

    def _on_hello(self, member: M, frame: Hello) -> list[tuple[M, bytes]]:
        me = ids.user_id(frame.name)
        key = ids.group_id(ids.user_id(frame.room).encode()[:16]) if frame.room else ids.direct_id(me, ids.user_id(frame.peer))
        room = self._rooms.setdefault(key, Room(key))
        room.members[member] = me
        self._room_of[member] = room
        return [(member, self._encode(Welcome(me, key)))]

    def _on_send(self, member: M, frame: Send) -> list[tuple[M, bytes]]:
        room = self._room_of[member]
        room.seq += 1
        room.authors[room.seq] = member
        room.authors.pop(room.seq - AUTHORS_KEPT, None)
        entry = Entry(
            conversation=room.conversation, seq=room.seq, message_id=f"{room.conversation}.{room.seq}.1", sender=room.members[member],
            id=frame.id, type=frame.type, body=frame.body, ts=time.time_ns() // 1_000_000, ordinal=room.seq, sent_ts=frame.ts,
        )  # fmt: skip
        message = self._encode(Message(entry=entry))
        out = [(other, message) for other in room.members if other is not member]
        out.append((member, self._encode(Sent(id=frame.id, entry=entry))))
        return out

    def _on_ack(self, member: M, frame: Ack) -> list[tuple[M, bytes]]:
        room = self._room_of[member]
        author = room.authors.get(frame.seq)
        if author is None:
            return []
        marks = [Mark(user=room.members[member], delivered=frame.seq, read=0)]
        return [(author, self._encode(Receipts(conversation=room.conversation, marks=marks)))]
