"""What a process knows of one other name: the link to its present incarnation, the handshake towards it, what is held for a newer table.

Laws of the handshake:

* A link comes up only on a hello that echoes our present nonce for that name, and the nonce changes whenever one comes up: an
  incarnation takes a name over only if it was alive after the one before it came up. A hello that was delayed in the network, or lay
  in the queue of a process that died, cannot.
* An incarnation that was replaced or closed is retired: it is never talked to again (the last 64 of a name are remembered).
* A hello with a nonce is answered by one hello; one without is not. So hellos never breed.
"""

from __future__ import annotations

from collections import deque
from math import inf

from router.link import Link
from router.packets import Data

RETIRED_MAX = 64


class Neighbour:
    """One other name. The mesh moves its fields; here is what they mean."""

    __slots__ = (
        "answered_at",
        "endpoint",
        "expected_incarnation",
        "heap_at",
        "held",
        "held_bytes",
        "held_frames",
        "hello_due",
        "hello_wait_s",
        "link",
        "name",
        "newest_epoch",
        "nonce",
        "peer_nonce",
        "retired",
        "table",
        "wanted",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.endpoint = ""
        """Where hellos go; "" = only the peer itself can tell us."""
        self.expected_incarnation = ""
        """The incarnation that the owner's table names, "" if it did not say."""
        self.wanted = False
        """Whether the owner asked for this peer (``connect``): hellos are repeated until it answers."""
        self.link: Link | None = None
        self.retired: deque[str] = deque(maxlen=RETIRED_MAX)
        self.nonce = 1
        self.peer_nonce = 0
        """The last nonce the peer asked to be echoed."""
        self.hello_due = inf
        self.hello_wait_s = 0.0
        self.answered_at = -inf
        """When a packet other than a hello was last answered by a hello (bounded rate)."""
        self.held: deque[Data] = deque()
        """Packets of an epoch above ours, in order of arrival, at most a window's worth."""
        self.held_frames = self.held_bytes = 0
        self.newest_epoch = 0
        """The highest epoch seen in a packet of the present incarnation."""
        self.table: bytes | None = None
        """A table for the peer that waits for the next poll."""
        self.heap_at = inf
        """The earliest entry of this neighbour in the mesh's timer heap."""

    def hold(self, data: Data, frames_max: int, bytes_max: int) -> bool:
        """Keeps a packet for later; False if there is no room (the peer sends it again)."""
        size = sum(map(len, data.frames))
        if self.held and (self.held_frames + len(data.frames) > frames_max or self.held_bytes + size > bytes_max):
            return False
        if len(self.held) >= frames_max:
            return False
        self.held.append(data)
        self.held_frames += len(data.frames)
        self.held_bytes += size
        return True

    def release(self, epoch: int) -> list[Data]:
        """The held packets up to ``epoch``, in order of arrival."""
        held, self.held = self.held, deque()
        self.held_frames = self.held_bytes = 0
        ready = [data for data in held if data.epoch <= epoch]
        for data in held:
            if data.epoch > epoch:
                self.held.append(data)
                self.held_frames += len(data.frames)
                self.held_bytes += sum(map(len, data.frames))
        return ready

    def retire(self, incarnation: str) -> None:
        """``incarnation`` is over; if it was the present one, the link and all that waits for it goes."""
        if incarnation not in self.retired:
            self.retired.append(incarnation)
        if self.link is not None and self.link.peer.incarnation == incarnation:
            self.link = None
            self.held.clear()
            self.held_frames = self.held_bytes = self.newest_epoch = 0
            self.table = None

    def soon(self) -> float:
        """When there is something to put on the wire; -inf = at once, inf = nothing."""
        if self.link is None:
            return inf
        return -inf if self.table is not None else self.link.soon()

    def later(self) -> float:
        """When the mesh must look at this neighbour for a slow timer."""
        return min(self.hello_due, self.link.later() if self.link is not None else inf)
