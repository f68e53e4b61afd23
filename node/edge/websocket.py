"""What the node sees of a socket: connections, their handler, and the bounds of both.

Owns the contract between the node and whatever library frames WebSocket messages. It must not know a library, a frame of ours, a user or
a session: here a message is bytes.

Laws:
    * One message in is one call of ``on_message``, one ``send`` is one message out; nothing here is awaited.
    * Calls for one connection come in the order ``on_open``, ``on_message`` any number of times, ``on_close`` exactly once. None of them
      is made from inside ``send`` or ``close``: an owner never finds itself re-entered.
    * After ``close`` was called, or the peer closed, no further ``on_message`` comes and ``send`` does nothing.
    * ``send`` never waits and never fails. Who does not read is closed with 1013 once ``buffered_bytes_max`` are waiting for him, and
      what waited is dropped (promise P7); he catches up from storage.
"""

from __future__ import annotations

import ssl
from typing import Protocol

from msgspec import Struct

CLOSE_GOING_AWAY = 1001
CLOSE_NO_STATUS = 1005
"""Never on the wire: the peer's close frame carried no code."""
CLOSE_ABNORMAL = 1006
"""Never on the wire: the connection ended without a close frame."""
CLOSE_INTERNAL = 1011

KIB = 1024
MIB = 1024 * KIB


class EdgeLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The bounds of one node's edge; the section ``[edge]`` of the configuration."""

    frame_bytes_max: int = 64 * KIB
    """A client's message, fragments put together. The longest legal body is 16,384 characters, at most 48 KiB of UTF-8 with what is
    around it; what is longer is media and goes another way."""
    buffered_bytes_max: int = MIB
    """Bytes that may wait for one reader beside what the kernel holds: four of the node's largest pages (256 KiB each), so that a device
    on a slow line that catches up is not taken for one that does not read."""
    buffered_total_bytes_max: int = 256 * MIB
    """Bytes that may wait for all readers together: past it those with the most waiting are closed, for a thousand readers that stop at
    the same time must not take the process's memory."""
    connections_max: int = 65_536
    """Sockets of all kinds: as many as fit in a process's memory at 24 KiB a signed-in connection (1.5 GiB)."""
    handshake_timeout_s: float = 5.0
    """From accept to a complete request head: a phone on a bad line needs two round trips."""
    head_bytes_max: int = 16 * KIB
    """A request head. Tokens travel in the hello frame, so this holds cookies and proxies' headers."""
    ping_idle_s: float = 15.0
    """A connection that was silent for so long is pinged: a client that cannot say its own heartbeat in time (a browser's hidden tab) need
    not. It also keeps NATs open (they forget TCP after a minute or more)."""
    idle_s: float = 25.0
    """A connection that was silent for so long is half open: nobody answered the ping. With ``node.limits.linger_s`` its user is offline
    for others after 30 s."""
    close_timeout_s: float = 2.0
    """How long a peer may take to answer our close frame before the connection is cut."""
    drain_bytes_max: int = MIB
    """What a closing peer may still send; it is thrown away, and more than this cuts the connection."""
    http_idle_s: float = 30.0
    """An HTTP connection without a request is closed."""
    backlog: int = 4_096
    """Connections that the kernel queues for us: a reconnect storm's half second."""
    origins: frozenset[str] = frozenset()
    """Web origins (``https://chat.example.org``) that may connect beside the node's own host. A browser names its origin, other clients
    do not; without this list another site's page could use a visitor's network position."""

    def check(self, section: str = "edge") -> None:
        """Raises ValueError with the key's path if two limits contradict each other."""
        if self.idle_s <= self.ping_idle_s:
            raise ValueError(f"{section}.idle_s must be longer than {section}.ping_idle_s, or nobody has time to answer a ping")
        if self.buffered_bytes_max < self.frame_bytes_max:
            raise ValueError(f"{section}.buffered_bytes_max must be at least {section}.frame_bytes_max")
        for key in ("frame_bytes_max", "connections_max", "handshake_timeout_s", "head_bytes_max", "ping_idle_s", "close_timeout_s"):
            if getattr(self, key) <= 0:
                raise ValueError(f"{section}.{key} must be more than 0")


class Connection(Protocol):
    """One client's WebSocket."""

    id: int
    """Unique in this process, never used again."""
    binary: bool
    """Whether messages are binary (``homing.v1.msgpack``) or text (``homing.v1.json``)."""
    remote: str
    """The peer's address, for the log."""
    session: object | None
    """The owner's slot: the edge never looks into it."""

    def send(self, data: bytes) -> None:
        """Sends one whole message, text or binary as the sub-protocol says."""

    def buffered(self) -> int:
        """Bytes that the kernel has not taken yet."""

    def close(self, code: int, reason: str = "") -> None:
        """Sends a close frame and ends the connection when the peer has answered it, at the latest after ``close_timeout_s``."""


class Handler(Protocol):
    """What the node is for its edge."""

    def on_open(self, c: Connection) -> None:
        """The handshake is done."""

    def on_message(self, c: Connection, data: bytes) -> None:
        """One whole message: valid UTF-8 if the connection is a text one, at most ``frame_bytes_max`` long."""

    def on_close(self, c: Connection, code: int) -> None:
        """The connection is gone. ``code`` is that of the close frame that ended it, or CLOSE_ABNORMAL without one."""


class Edge(Protocol):
    """A listening port that serves ``/v1/ws`` and an HTTP application."""

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens; returns the port, which is of use when 0 was asked for."""

    def connections(self) -> int:
        """Open WebSocket connections."""

    async def stop(self, code: int = CLOSE_GOING_AWAY, reason: str = "") -> None:
        """Listens no more, closes every connection with ``code`` and returns when all are gone (``close_timeout_s`` at most)."""


def is_close_code(code: int) -> bool:
    """Whether a close frame may carry it (RFC 6455 §7.4 and the IANA registry): 1004 to 1006 and 1015 are never sent."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
