"""The edge on picows: a frame parser in C, and here what RFC 6455 demands beyond it.

picows checks opcodes, masks, lengths, and the size, fragmentation and codes of control frames. It accepts reserved bits, a continuation of
nothing, a new message inside a fragmented one, bad UTF-8, and it does not put fragments together: that is done here.

Laws:
    * The listener of picows *is* the connection, and a message costs one Python call between parser and handler.
    * A connection that broke the protocol is drained, not parsed: after an error picows would parse the same bytes again and again.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import ssl
from itertools import count

from aiohttp import web
from homing.codes import CLOSE_BAD_DATA, CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_TOO_BIG, CLOSE_TRY_LATER, CLOSE_UNSUPPORTED
from homing.protocol import MSGPACK_SUBPROTOCOL
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the class behind ws_create_server; its stub leaves it out

from node.edge.framing import FrameSplitter, are_plain_frames
from node.edge.front import Drain, Front
from node.edge.http import HttpSide
from node.edge.sweep import Sweeper
from node.edge.upgrade import Accepted
from node.edge.websocket import (
    CLOSE_ABNORMAL,
    CLOSE_GOING_AWAY,
    CLOSE_INTERNAL,
    CLOSE_NO_STATUS,
    Connection,
    EdgeLimits,
    Handler,
    is_close_code,
)

TEXT, BINARY, CONTINUATION = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION
PING, PONG, CLOSE = WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE
REASON_BYTES_MAX = 123
READ_BUFFER_BYTES = 2048
"""What each connection holds from the start; picows lets it grow when a longer frame arrives."""

log = logging.getLogger("homing.edge")
# picows makes a logger of its own for every connection out of a Logger, but not out of an adapter: a kilobyte each. It logs each peer's
# mistakes as errors; the edge reports those itself.
_picows_log = logging.LoggerAdapter(logging.Logger("homing.edge.picows", logging.CRITICAL), {})
_ids = count(1)


class PicowsConnection(WSListener):
    """One client's WebSocket."""

    # fmt: off
    __slots__ = (
        "_closing", "_code", "_decoder", "_edge", "_fragments", "_fragments_bytes", "_fragments_kind", "_kind", "_timer", "_transport",
        "binary", "drained", "frame_bytes_max", "id", "pinged", "remote", "seen", "session",
    )
    # fmt: on

    def __init__(self, edge: PicowsEdge, accepted: Accepted, remote: str) -> None:
        self.id = next(_ids)
        self.binary = accepted.subprotocol == MSGPACK_SUBPROTOCOL
        self.remote = remote
        self.session: object | None = None
        self.seen = edge.sweeper.now
        self.pinged = False
        self.drained = False
        """Its protocol is out of the way: nothing more is parsed."""
        self.frame_bytes_max = edge.limits.frame_bytes_max
        self._edge = edge
        self._kind = BINARY if self.binary else TEXT
        self._transport: WSTransport | None = None
        self._closing = False
        self._code = CLOSE_ABNORMAL
        self._timer: asyncio.TimerHandle | None = None
        self._fragments: list[bytes] | None = None
        self._fragments_bytes = 0
        self._fragments_kind = self._kind
        self._decoder: codecs.IncrementalDecoder | None = None

    # ------------------------------------------------------------ what the owner calls

    def send(self, data: bytes) -> None:
        if not self._closing:
            self._transport.send(self._kind, data)  # type: ignore[union-attr]  # set before anybody holds the connection

    def buffered(self) -> int:
        return 0 if self._transport is None else self._transport.underlying_transport.get_write_buffer_size()

    def close(self, code: int, reason: str = "") -> None:
        if self._closing or self._transport is None:
            return
        self._begin_close(code, reason)
        self._timer = self._edge.loop.call_later(self._edge.limits.close_timeout_s, self._transport.underlying_transport.abort)

    # ------------------------------------------------------------ what the sweeper calls

    def ping(self) -> None:
        if not self._closing and self._transport is not None:
            self._transport.send_ping()

    def cut(self, code: int) -> None:
        if self._transport is None:
            return
        if not self._closing:
            self._closing, self._code = True, code
        self._transport.underlying_transport.abort()

    # ------------------------------------------------------------ what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=self._edge.limits.buffered_bytes_max)
        self._edge.sweeper.add(self)
        try:
            self._edge.handler.on_open(self)
        except Exception:
            self._on_bug()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if self._closing:
            if kind is CLOSE:  # the answer to ours
                self._drain()
            return
        self.seen = self._edge.sweeper.now
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.fail(CLOSE_PROTOCOL, "reserved bits are not in use")
        elif kind is self._kind and frame.fin and self._fragments is None:
            data = frame.get_payload_as_bytes()
            if kind is TEXT and not _is_utf8(data):
                self.fail(CLOSE_BAD_DATA, "not UTF-8")
            else:
                self._deliver(data)
        elif kind is TEXT or kind is BINARY:
            self._on_first_fragment(kind, frame)
        elif kind is CONTINUATION:
            self._on_continuation(frame)
        elif kind is PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is CLOSE:
            self._on_close_frame(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.on_lost(None)

    def pause_writing(self) -> None:
        """More than ``buffered_bytes_max`` is waiting: this is called from within ``send``, so the end comes in the loop's next turn."""
        if not self._closing:
            self._closing, self._code = True, CLOSE_TRY_LATER
            log.info("slow reader closed", extra={"connection": self.id, "remote": self.remote, "buffered_bytes": self.buffered()})
        if self._transport is not None:
            self._edge.loop.call_soon(self._transport.underlying_transport.abort)

    def resume_writing(self) -> None:
        pass

    # ------------------------------------------------------------ inside

    def fail(self, code: int, reason: str) -> None:
        """The peer broke the protocol."""
        transport = self._transport
        if self._closing or transport is None:
            return
        log.info("connection failed", extra={"connection": self.id, "remote": self.remote, "code": code, "reason": reason})
        self._begin_close(code, reason)
        self._drain()

    def on_close_frame_sent(self) -> None:
        """A close frame went out: unless it was ours, picows found an error."""
        if self._closing:
            return
        handshake = self._transport.close_handshake if self._transport is not None else None
        sent = handshake.sent if handshake is not None else None
        self._closing, self._code = True, CLOSE_PROTOCOL if sent is None else sent.code  # type: ignore[assignment]  # an IntEnum
        log.info("connection failed", extra={"connection": self.id, "remote": self.remote, "code": self._code})
        self._drain()

    def on_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._closing = True
        self._fragments = self._decoder = None
        if self._timer is not None:
            self._timer.cancel()
        self._edge.sweeper.remove(self)
        self._edge.on_gone()
        try:
            self._edge.handler.on_close(self, self._code)
        except Exception:
            self._on_bug()

    def _deliver(self, data: bytes) -> None:
        """An error of the handler is a bug of ours that must cost no more than this connection."""
        try:
            self._edge.on_message(self, data)
        except Exception:
            self._on_bug()

    def _on_bug(self) -> None:
        log.exception("handler failed", extra={"connection": self.id})
        self.close(CLOSE_INTERNAL, "internal error")

    def _begin_close(self, code: int, reason: str) -> None:
        self._closing, self._code = True, code
        self._transport.send_close(code, _shortened(reason))  # type: ignore[union-attr, arg-type]

    def _drain(self) -> None:
        if self._transport is not None:
            self.drained = True
            Drain(self._transport.underlying_transport, self._edge.limits, self.on_lost)

    def _on_close_frame(self, frame: WSFrame) -> None:
        """The peer says good-bye: the answer is its own code, then the server ends its side first (RFC 6455 §5.5.1, §7.1.1)."""
        code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big") if frame.payload_size else CLOSE_NO_STATUS
        if frame.payload_size and not is_close_code(code):
            self.fail(CLOSE_PROTOCOL, "no such close code")
            return
        self._closing, self._code = True, code
        transport = self._transport
        assert transport is not None
        if code == CLOSE_NO_STATUS:
            transport.send_close(WSCloseCode.OK)
        else:
            transport.send_close(code)  # type: ignore[arg-type]
        self._drain()

    def _on_first_fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        if self._fragments is not None:
            self.fail(CLOSE_PROTOCOL, "a message inside a fragmented message")
        elif kind is not self._kind and not self._edge.accept_both_kinds:
            self.fail(CLOSE_UNSUPPORTED, "binary messages only" if self.binary else "text messages only")
        else:
            self._fragments, self._fragments_bytes, self._fragments_kind = [], 0, kind
            self._decoder = codecs.getincrementaldecoder("utf-8")() if kind is TEXT else None
            self._add_fragment(frame)

    def _on_continuation(self, frame: WSFrame) -> None:
        if self._fragments is None:
            self.fail(CLOSE_PROTOCOL, "nothing to continue")
        else:
            self._add_fragment(frame)

    def _add_fragment(self, frame: WSFrame) -> None:
        fragments = self._fragments
        assert fragments is not None
        self._fragments_bytes += frame.payload_size
        if self._fragments_bytes > self._edge.limits.frame_bytes_max:
            self.fail(CLOSE_TOO_BIG, "message too big")
            return
        data, fin = frame.get_payload_as_bytes(), bool(frame.fin)
        if self._decoder is not None:
            try:
                self._decoder.decode(data, fin)
            except UnicodeDecodeError:
                self.fail(CLOSE_BAD_DATA, "not UTF-8")
                return
        if data:  # empty fragments are legal and would make the list grow without a bound
            fragments.append(data)
        if fin:
            self._fragments = self._decoder = None
            if self._edge.accept_both_kinds:
                self._kind = self._fragments_kind
            self._deliver(b"".join(fragments))


class _Protocol(WSProtocol):  # type: ignore[misc]  # untyped, see the import
    """picows' protocol, fed one frame at a time where something could be wrong, and watched for errors that its parser finds.

    It parses one frame ahead of the one it delivers, and closes as soon as it sees an error: the answer to a good message would be lost
    because a bad frame came in the same read. It tells its listener nothing of such an error either. Nearly every read consists of whole
    plain messages, in which it cannot find one, and is passed on as it is.
    """

    __slots__ = ("_splitter", "_view", "connection")
    connection: PicowsConnection
    _splitter: FrameSplitter | None
    _view: memoryview

    def get_buffer(self, hint: int) -> memoryview:
        self._view = super().get_buffer(hint)
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._splitter is None and are_plain_frames(self._view, nbytes, self.connection.frame_bytes_max):
            super().buffer_updated(nbytes)
            if self.transport.is_close_frame_sent:
                self.connection.on_close_frame_sent()
        else:
            self.feed(bytes(self._view[:nbytes]))

    def feed(self, data: bytes) -> None:
        """Bytes in which frames begin and end anywhere."""
        splitter = self._splitter or FrameSplitter()
        for part in splitter.split(data):
            if self.connection.drained:
                return
            self._put(part)
        self._splitter = None if splitter.at_boundary() else splitter

    def _put(self, data: bytes) -> None:
        while data:
            view = super().get_buffer(len(data))
            size = min(len(view), len(data))
            view[:size] = data[:size]
            super().buffer_updated(size)
            data = data[size:]
        if self.transport.is_close_frame_sent:
            self.connection.on_close_frame_sent()

    def put_request(self, request: bytes) -> None:
        """The handshake, which is no frame."""
        self._splitter = None
        self._put(request)


class PicowsEdge:
    """One listening port: WebSockets by picows, everything else by aiohttp."""

    def __init__(
        self,
        handler: Handler,
        app: web.Application,
        limits: EdgeLimits,
        subprotocol_required: bool = True,
        accept_both_kinds: bool = False,
        any_path: bool = False,
    ) -> None:
        """The last three are for the echo server: conformance clients offer no sub-protocol, send both kinds on one connection (an answer
        then goes out as the kind that came in) and ask for any path."""
        limits.check()
        self.limits = limits
        self.handler = handler
        self.on_message = handler.on_message
        self.subprotocol_required = subprotocol_required
        self.accept_both_kinds = accept_both_kinds
        self.any_path = any_path
        self.fronts: set[Front | Drain] = set()
        self.sweeper: Sweeper[PicowsConnection] = Sweeper(limits, CLOSE_TRY_LATER)
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment]  # set by start(), before there is a connection
        self._http = HttpSide(app, self)
        self._server: asyncio.Server | None = None
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Event | None = None

    def connections(self) -> int:
        return len(self.sweeper)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        self.loop = asyncio.get_running_loop()
        self.sweeper.now = self.loop.time()
        self._sweep()
        await self._http.start()
        handshake_s = self.limits.handshake_timeout_s if tls is not None else None
        self._server = await self.loop.create_server(
            lambda: Front(self), host, port, ssl=tls, backlog=self.limits.backlog, ssl_handshake_timeout=handshake_s
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, code: int = CLOSE_GOING_AWAY, reason: str = "") -> None:
        if self._server is not None:
            self._server.close()
        for front in list(self.fronts):
            front.abort()
        self._all_gone = asyncio.Event()
        for c in self.sweeper.all():
            c.close(code, reason)
        self.on_gone()
        await self._all_gone.wait()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        await self._http.stop()

    def on_gone(self) -> None:
        if self._all_gone is not None and not self.sweeper:
            self._all_gone.set()

    # ------------------------------------------------------------ what a front calls

    def is_full(self) -> bool:
        return len(self.sweeper) + len(self.fronts) + self._http.connections() >= self.limits.connections_max

    def serve_http(self, transport: asyncio.Transport, data: bytes) -> None:
        self._http.serve(transport, data)

    def upgrade(self, transport: asyncio.Transport, accepted: Accepted, rest: bytes) -> None:
        """Lets picows answer a request that has been checked: it is told no more of it than it needs."""
        connection = PicowsConnection(self, accepted, _address(transport))
        subprotocol = {} if accepted.subprotocol is None else {"Sec-WebSocket-Protocol": accepted.subprotocol}

        def listener(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(subprotocol), connection)

        protocol = self._make_protocol(listener)
        protocol.connection = connection
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.put_request(_request(accepted.key))
        protocol.feed(rest)

    def _make_protocol(self, listener: object) -> _Protocol:
        return _Protocol(
            None, None, False, listener, _picows_log, True, None, False, 10.0, 10.0, WSAutoPingStrategy.PING_WHEN_IDLE, False,
            self.limits.frame_bytes_max, None, READ_BUFFER_BYTES,
        )  # fmt: skip

    def _sweep(self) -> None:
        self.sweeper.step(self.loop.time())
        self._sweep_timer = self.loop.call_later(self.sweeper.step_s, self._sweep)


def _request(key: str) -> bytes:
    return (
        f"GET /v1/ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def _address(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer)


def _is_utf8(data: bytes) -> bool:
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _shortened(reason: str) -> bytes:
    """At most what fits in a control frame, cut between characters."""
    return reason.encode("utf-8", "replace")[:REASON_BYTES_MAX].decode("utf-8", "ignore").encode()


def _conforms(c: PicowsConnection) -> Connection:
    """Has mypy compare the class with the interface."""
    return c


__all__ = ["CLOSE_NORMAL", "PicowsConnection", "PicowsEdge"]
