"""The first protocol on every accepted socket: reads one request head and hands the transport to whoever serves it.

Owns the time and the bytes that a request head may take. WebSocket requests go to the edge's ``upgrade``, everything else to aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol, cast

from node.edge.upgrade import WS_PATH, Accepted, Head, Refused, negotiate, parse_head
from node.edge.websocket import EdgeLimits

END_OF_HEAD = b"\r\n\r\n"


class Owner(Protocol):
    """The edge, as its fronts see it."""

    limits: EdgeLimits
    subprotocol_required: bool
    any_path: bool
    fronts: set[Front | Drain]
    """Sockets that are no connections yet, or never will be."""

    def is_full(self) -> bool: ...
    def upgrade(self, transport: asyncio.Transport, accepted: Accepted, rest: bytes) -> None:
        """Takes the transport over; ``rest`` came behind the head."""

    def serve_http(self, transport: asyncio.Transport, data: bytes) -> None:
        """Takes the transport over; ``data`` is all that came."""


class Front(asyncio.Protocol):
    """Waits for one request head."""

    __slots__ = ("_buffer", "_owner", "_timer", "_transport")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's do not derive from it
        self._transport = transport
        if self._owner.is_full():
            # Not drained: a refusal must not hold a socket when there are too many.
            transport.write(response(Refused(503, "too many connections", (("Retry-After", "5"),))))
            transport.close()
            return
        self._owner.fronts.add(self)
        self._timer = asyncio.get_running_loop().call_later(self._owner.limits.handshake_timeout_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._buffer += data
        end = self._buffer.find(END_OF_HEAD)
        if end > self._owner.limits.head_bytes_max or (end < 0 and len(self._buffer) > self._owner.limits.head_bytes_max):
            self._leave()
            refuse(transport, Refused(431, "request head too large"), self._owner)
        elif end >= 0:
            self._leave()
            self._route(transport, self._buffer, end)

    def _route(self, transport: asyncio.Transport, data: bytes, end: int) -> None:
        target = data[: data.find(b"\r\n")].split(b" ", 2)[1:2]
        is_ours = bool(target) and target[0].partition(b"?")[0] == WS_PATH.encode()
        if not is_ours and not (self._owner.any_path and b"\r\nsec-websocket-key:" in data[:end].lower()):
            self._owner.serve_http(transport, data)
            return
        head = parse_head(data[:end])
        answer = negotiate(head, self._owner.limits.origins, self._owner.subprotocol_required) if isinstance(head, Head) else head
        if isinstance(answer, Refused):
            refuse(transport, answer, self._owner)
        else:
            self._owner.upgrade(transport, answer, data[end + len(END_OF_HEAD) :])

    def abort(self) -> None:
        """Cuts a connection that has not sent its request yet."""
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> None:
        self._owner.fronts.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Drain(asyncio.Protocol):
    """Reads a closing connection dry, so that our last words arrive: a socket closed with unread input resets the connection, and a reset
    can overtake what was sent (RFC 9112 §9.6)."""

    __slots__ = ("_left", "_on_lost", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, limits: EdgeLimits, on_lost: Callable[[Exception | None], None] | None = None) -> None:
        self._transport = transport
        self._left = limits.drain_bytes_max
        self._on_lost = on_lost
        self._timer = asyncio.get_running_loop().call_later(limits.close_timeout_s, transport.abort)
        transport.set_protocol(self)
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self._on_lost is not None:
            self._on_lost(exc)

    def abort(self) -> None:
        self._transport.abort()


def refuse(transport: asyncio.Transport, refused: Refused, owner: Owner) -> None:
    """Answers with an error and closes."""
    transport.write(response(refused))
    drain = Drain(transport, owner.limits, lambda _: owner.fronts.discard(drain))
    owner.fronts.add(drain)


def response(refused: Refused) -> bytes:
    """The HTTP response that says no."""
    body = refused.reason.encode() + b"\n"
    headers = (("Connection", "close"), ("Content-Type", "text/plain"), ("Content-Length", str(len(body))))
    given = {name for name, _ in refused.headers}
    lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in (*refused.headers, *(h for h in headers if h[0] not in given))]
    return "\r\n".join(lines).encode() + END_OF_HEAD + body
