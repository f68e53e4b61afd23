"""The HTTP side of a listening port: aiohttp, given transports that somebody else accepted, and giving back those that become WebSockets.

Owns the aiohttp server and the way back: a proxy that keeps its connections open sends a WebSocket request down one that has already
carried other requests, so such a request may turn up here and not at the front.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from node.edge.upgrade import WS_PATH, Accepted, Head, Refused, negotiate
from node.edge.websocket import EdgeLimits
from router.malformed import SERVER_LOG


class Upgrader(Protocol):
    """The edge, as its HTTP side sees it."""

    limits: EdgeLimits
    subprotocol_required: bool

    def upgrade(self, transport: asyncio.Transport, accepted: Accepted, rest: bytes) -> None: ...


class HttpSide:
    """Serves an aiohttp application on transports handed to it."""

    def __init__(self, app: web.Application, upgrader: Upgrader) -> None:
        self._upgrader = upgrader
        app.router.add_route("*", WS_PATH, self._late_upgrade)
        # A request that outlives its client may be in the middle of a write: it is not cancelled, which is the default.
        self._runner = web.AppRunner(app, access_log=None, logger=SERVER_LOG, keepalive_timeout=upgrader.limits.http_idle_s)

    async def start(self) -> None:
        await self._runner.setup()

    async def stop(self) -> None:
        await self._runner.cleanup()

    def connections(self) -> int:
        return len(self._server().connections)

    def serve(self, transport: asyncio.Transport, data: bytes) -> None:
        """Takes the transport over; ``data`` is what came in so far."""
        protocol = self._server()()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def _server(self) -> web.Server:
        server = self._runner.server
        assert isinstance(server, web.Server), "start() comes first"
        return server

    async def _late_upgrade(self, request: web.Request) -> web.StreamResponse:
        answer = negotiate(head_of(request), self._upgrader.limits.origins, self._upgrader.subprotocol_required)
        if isinstance(answer, Refused):
            return web.Response(status=answer.status, text=answer.reason + "\n", headers=dict(answer.headers))
        protocol, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        tail = _Tail()
        protocol.set_parser(tail)  # type: ignore[arg-type]  # it is only fed
        protocol.transport = None  # so that it does not close what is no longer its own
        protocol.connection_lost(None)
        self._upgrader.upgrade(transport, answer, tail.data)
        return _Taken()


def head_of(request: web.Request) -> Head:
    """An aiohttp request's head as ``negotiate`` wants it."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return Head(request.method, request.raw_path, f"HTTP/{request.version.major}.{request.version.minor}", headers)


class _Taken(web.Response):
    """The answer to a request whose connection is now somebody else's: aiohttp takes it for a client that went away."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        _gone()


def _gone() -> NoReturn:
    raise ConnectionResetError("upgraded")


class _Tail:
    """Collects what came in behind the upgrade request."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        pass
