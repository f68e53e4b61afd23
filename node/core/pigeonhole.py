"""What waits for a device that polls, and how far it has fetched it (``GET /v1/events``): frames in, batches out.

Owns the two cursors that a poller holds in one text: which batch of this pigeonhole it has, and the sync cursor that goes with it, by which
any other node goes on. It must not know HTTP or a session.

Laws:
    * A batch is given again, the same, until the next cursor says that it has arrived: an answer may be lost.
    * The sync cursor never passes a frame that was not given before it (P2): what is lost with this process is listed by the next one.
    * Frames and bytes are bounded, those that were given and are not acknowledged included (P7).
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

import msgspec
from msgspec import Struct

CURSOR_PATTERN = r"^[0-9a-f]{16}\.[0-9]{1,12}\.[0-9]{1,15}$"
_CURSOR = re.compile(CURSOR_PATTERN)
_PONG = b'{"op":"pong"'
_SYNCED = b'{"op":"synced"'


class Cursor(NamedTuple):
    """What a poller holds; it never looks into the text."""

    hole: str
    n: int
    """The last batch that it has."""
    sync: int
    """Cluster time, ms: everything before has been given, or listed."""

    def text(self) -> str:
        return f"{self.hole}.{self.n}.{self.sync}"


class Batch(NamedTuple):
    """One answer."""

    frames: list[bytes]
    cursor: Cursor


class _Synced(Struct):
    cursor: str | None = None


_decode_synced = msgspec.json.Decoder(_Synced).decode


def parse_cursor(text: str) -> Cursor:
    """Raises ValueError: this was never a cursor of this service."""
    if not _CURSOR.fullmatch(text):
        raise ValueError("this is not a cursor of this service")
    hole, n, sync = text.split(".")
    return Cursor(hole, int(n), int(sync))


class Pigeonhole:
    """One device's."""

    __slots__ = ("_frames_max", "_given", "_waiting", "bytes", "bytes_max", "n", "name", "sync", "synced")

    def __init__(self, name: str, sync: int, frames_max: int, bytes_max: int) -> None:
        """``name``: 16 hexadecimal digits that no other hole has; ``sync``: the cursor that the device brought, 0 without one."""
        self.name = name
        self.n = 0
        """The last batch that was given."""
        self.sync = sync
        self.synced = False
        """The list of what changed while the device was away is complete in here."""
        self.bytes = 0
        self.bytes_max = bytes_max
        self._frames_max = frames_max
        self._given: list[bytes] = []
        self._waiting: deque[bytes] = deque()

    def put(self, frame: bytes) -> bool:
        """Takes a frame, as JSON; False: it has no room for it."""
        if len(self._given) + len(self._waiting) >= self._frames_max or self.bytes + len(frame) > self.bytes_max:
            return False
        if frame.startswith(_SYNCED):
            self.synced = True
        self._waiting.append(frame)
        self.bytes += len(frame)
        if not self._given:
            self._pass_pongs()
        return True

    def knows(self, cursor: Cursor) -> bool:
        """Whether the poller goes on here: it has the last batch, or all but that one. Else it starts from its sync cursor anew."""
        return cursor.hole == self.name and (cursor.n == self.n or (cursor.n == self.n - 1 and bool(self._given)))

    def accept(self, cursor: Cursor) -> None:
        """The poller has what ``cursor`` says, which this hole ``knows``."""
        if cursor.n == self.n:
            self.bytes -= sum(map(len, self._given))
            self._given = []
            self._pass_pongs()

    def has_something(self) -> bool:
        return bool(self._given or self._waiting)

    def take(self, bytes_max: int) -> Batch:
        """The batch that has not arrived, or the next one: frames of at most ``bytes_max`` bytes, at least one if there is one."""
        if not self._given:
            self._fill(bytes_max)
        return Batch(list(self._given), Cursor(self.name, self.n, self.sync))

    def _fill(self, bytes_max: int) -> None:
        waiting, given, room = self._waiting, self._given, bytes_max
        while waiting and (not given or len(waiting[0]) <= room):
            frame = waiting.popleft()
            if self._passes(frame):
                self.bytes -= len(frame)
                continue
            room -= len(frame)
            given.append(frame)
        if given:
            self.n += 1

    def _pass_pongs(self) -> None:
        """A pong moves the sync cursor and is nothing to tell."""
        while self._waiting and self._waiting[0].startswith(_PONG):
            frame = self._waiting.popleft()
            self.bytes -= len(frame)
            self._passes(frame)

    def _passes(self, frame: bytes) -> bool:
        """Takes the cursor that a frame brings; True: that was all that it brings."""
        is_pong = frame.startswith(_PONG)
        if is_pong or frame.startswith(_SYNCED):
            self.sync = int(_decode_synced(frame).cursor or self.sync)
        return is_pong
