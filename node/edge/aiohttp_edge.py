"""The edge on aiohttp's own WebSocket, behind the same interface: kept so that the choice of a library can be measured again.

aiohttp parses and checks frames in C and hands each message to a coroutine; the coroutine of a connection calls the handler. Messages go
out past aiohttp's writer, which is a coroutine as well: a server's frame is a head of two to ten bytes and the payload.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from itertools import count

from aiohttp import WSMsgType, web
from homing.codes import CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_TRY_LATER, CLOSE_UNSUPPORTED
from homing.protocol import MSGPACK_SUBPROTOCOL

from node.edge.http import head_of
from node.edge.sweep import Sweeper
from node.edge.upgrade import SUBPROTOCOLS, WS_PATH, Refused, negotiate
from node.edge.websocket import CLOSE_ABNORMAL, CLOSE_GOING_AWAY, CLOSE_INTERNAL, Connection, EdgeLimits, Handler, is_close_code

log = logging.getLogger("homing.edge")
_ids = count(1)
_TEXT_HEAD, _BINARY_HEAD, _PING = 0x81, 0x82, b"\x89\x00"


class AiohttpConnection:
    """One client's WebSocket."""

    __slots__ = ("_closing", "_code", "_edge", "_head", "_socket", "_transport", "binary", "id", "pinged", "remote", "seen", "session")

    def __init__(self, edge: AiohttpEdge, socket: web.WebSocketResponse, transport: asyncio.Transport, remote: str) -> None:
        self.id = next(_ids)
        self.binary = socket.ws_protocol == MSGPACK_SUBPROTOCOL
        self.remote = remote
        self.session: object | None = None
        self.seen = edge.sweeper.now
        self.pinged = False
        self._edge = edge
        self._socket = socket
        self._transport = transport
        self._head = _BINARY_HEAD if self.binary else _TEXT_HEAD
        self._closing = False
        self._code = CLOSE_ABNORMAL

    def send(self, data: bytes) -> None:
        if self._closing or self._transport.is_closing():
            return
        size = len(data)
        if size < 126:
            head = bytes((self._head, size))
        elif size < 65_536:
            head = bytes((self._head, 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((self._head, 127)) + size.to_bytes(8, "big")
        self._transport.write(head + data)
        if self._transport.get_write_buffer_size() > self._edge.limits.buffered_bytes_max:
            self._closing, self._code = True, CLOSE_TRY_LATER
            self._edge.loop.call_soon(self._transport.abort)

    def buffered(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        if not self._closing:
            self._closing, self._code = True, code
            self._edge.spawn(self._socket.close(code=code, message=reason.encode()[:123].decode(errors="ignore").encode()))

    def ping(self) -> None:
        if not self._closing and not self._transport.is_closing():
            self._transport.write(_PING)

    def cut(self, code: int) -> None:
        if not self._closing:
            self._closing, self._code = True, code
        self._transport.abort()

    async def run(self) -> int:
        """Passes messages on until the connection ends; returns the close code."""
        handler, socket = self._edge.handler, self._socket
        while True:
            message = await socket.receive()
            self.seen = self._edge.sweeper.now
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                if self._closing:
                    continue
                binary = kind is WSMsgType.BINARY
                if binary != (self._head == _BINARY_HEAD):
                    if not self._edge.accept_both_kinds:
                        self.close(CLOSE_UNSUPPORTED, "binary messages only" if self.binary else "text messages only")
                        continue
                    self._head = _BINARY_HEAD if binary else _TEXT_HEAD
                handler.on_message(self, message.data if binary else message.data.encode())
            elif kind is WSMsgType.CLOSE and not self._closing:
                # aiohttp's own answer is always 1000, and it takes 1006 and 5000 for codes that may be sent.
                good = not message.data or is_close_code(message.data)
                await socket.close(code=(message.data or CLOSE_NORMAL) if good else CLOSE_PROTOCOL, drain=False)
                return socket.close_code or CLOSE_ABNORMAL
            elif kind in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return self._code if self._closing else (socket.close_code or CLOSE_ABNORMAL)


class AiohttpEdge:
    """One listening port, all of it aiohttp's."""

    def __init__(
        self, handler: Handler, app: web.Application, limits: EdgeLimits, subprotocol_required: bool = True, accept_both_kinds: bool = False
    ) -> None:
        limits.check()
        self.limits = limits
        self.handler = handler
        self.subprotocol_required = subprotocol_required
        self.accept_both_kinds = accept_both_kinds
        self.sweeper: Sweeper[AiohttpConnection] = Sweeper(limits, CLOSE_TRY_LATER)
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]  # set by start(), before there is a connection
        app.router.add_route("*", WS_PATH, self._serve)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=limits.http_idle_s, shutdown_timeout=limits.close_timeout_s)
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[bool]] = set()

    def connections(self) -> int:
        return len(self.sweeper)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        self.loop = asyncio.get_running_loop()
        self._sweep()
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=self.limits.backlog)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def stop(self, code: int = CLOSE_GOING_AWAY, reason: str = "") -> None:
        for c in self.sweeper.all():
            c.close(code, reason)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=self.limits.close_timeout_s)
        await self._runner.cleanup()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()

    def spawn(self, coroutine: asyncio._CoroutineLike[bool]) -> None:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        answer = negotiate(head_of(request), self.limits.origins, self.subprotocol_required)
        if isinstance(answer, Refused):
            return web.Response(status=answer.status, text=answer.reason + "\n", headers=dict(answer.headers))
        if len(self.sweeper) >= self.limits.connections_max:
            return web.Response(status=503, text="too many connections\n", headers={"Retry-After": "5"})
        socket = web.WebSocketResponse(
            timeout=self.limits.close_timeout_s,
            autoclose=False,
            compress=False,
            max_msg_size=self.limits.frame_bytes_max,
            protocols=SUBPROTOCOLS,
        )
        await socket.prepare(request)
        assert request.transport is not None
        c = AiohttpConnection(self, socket, request.transport, str(request.remote))
        await self._run(c)
        return socket

    async def _run(self, c: AiohttpConnection) -> None:
        self.sweeper.add(c)
        code = CLOSE_ABNORMAL
        try:
            self.handler.on_open(c)
            code = await c.run()
        except Exception:
            log.exception("handler failed", extra={"connection": c.id})
            c.close(code := CLOSE_INTERNAL, "internal error")
        finally:
            self.sweeper.remove(c)
            self.handler.on_close(c, code)

    def _sweep(self) -> None:
        self.sweeper.step(self.loop.time())
        self._sweep_timer = self.loop.call_later(self.sweeper.step_s, self._sweep)


def _conforms(c: AiohttpConnection) -> Connection:
    """Has mypy compare the class with the interface."""
    return c
