"""One WebSocket: opens it, decodes what comes, puts on the wire what goes out. Knows frames and bytes, nothing of what they mean."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from homing.protocol import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, ClientFrame, ServerFrame

Format: TypeAlias = Literal["msgpack", "json"]
PAGE_BYTES_MAX = 16 * 1024 * 1024
"""A page of the server: 100 entries of the longest bodies are some 7 MiB."""
OUT_FRAMES_MAX = 1_024
"""Frames that wait for the socket; past it the connection is of no use and is given up. The core keeps what must not be lost."""
CONNECT_WAIT_S = 10.0
CLOSE_WAIT_S = 2.0
PATH = "/v1/ws"

logger = logging.getLogger("homing")
_ENCODERS: dict[str, Callable[[ClientFrame], bytes]] = {"msgpack": msgspec.msgpack.encode, "json": msgspec.json.encode}
_DECODERS: dict[str, Callable[[bytes | str], ServerFrame]] = {
    "msgpack": msgspec.msgpack.Decoder(ServerFrame).decode,  # type: ignore[dict-item]  # never gets a str
    "json": msgspec.json.Decoder(ServerFrame).decode,
}


class CannotConnect(Exception):
    """No connection came about."""


def websocket_url(url: str) -> str:
    """``http(s)`` addresses and such without a path, completed to the one of the WebSocket."""
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, PATH if parts.path in ("", "/") else parts.path, parts.query, ""))


class Connection:
    """An open socket. `closed_by_us`: nothing that still comes may be handed on."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, format_: Format) -> None:
        self._ws = ws
        self._encode = _ENCODERS[format_]
        self._decode = _DECODERS[format_]
        self._put = ws.send_bytes if format_ == "msgpack" else self._put_text
        self._out: list[bytes] = []
        self._more = asyncio.Event()
        self._is_closing = False
        self._sender = asyncio.create_task(self._send_all())
        self.closed_by_us = False

    @classmethod
    async def open(cls, session: aiohttp.ClientSession, url: str, format_: Format) -> Connection:
        """Opens a socket.

        Raises:
            CannotConnect: with the reason.
        """
        subprotocol = MSGPACK_SUBPROTOCOL if format_ == "msgpack" else JSON_SUBPROTOCOL
        try:
            async with asyncio.timeout(CONNECT_WAIT_S):
                ws = await session.ws_connect(
                    websocket_url(url), protocols=(subprotocol,), max_msg_size=PAGE_BYTES_MAX, compress=0, autoclose=True
                )
        except aiohttp.ClientConnectorError as error:
            raise CannotConnect(f"cannot reach {error.host}:{error.port}") from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise CannotConnect(str(error) or type(error).__name__) from error
        if ws.protocol != subprotocol:
            await ws.close()
            raise CannotConnect(f"{url} does not speak {subprotocol}")
        return cls(ws, format_)

    async def receive(self) -> ServerFrame | None:
        """The next frame, None at the end. What cannot be understood is passed over: a newer server may say more."""
        while True:
            try:
                message = await self._ws.receive()
            except (aiohttp.ClientError, OSError) as error:
                logger.info("the connection broke: %s", error)
                return None
            if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                return None
            try:
                return self._decode(message.data)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                logger.warning("a frame of the server was not understood: %s", error)

    @property
    def close_code(self) -> int:
        return int(self._ws.close_code or 1006)

    def send(self, frame: ClientFrame) -> None:
        """Puts a frame on the wire, after those before it."""
        if len(self._out) >= OUT_FRAMES_MAX:
            self.abort()
            return
        self._out.append(self._encode(frame))
        self._more.set()

    async def _send_all(self) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while self._out or not self._is_closing:
                await self._more.wait()
                self._more.clear()
                out, self._out = self._out, []
                for data in out:
                    await self._put(data)

    async def _put_text(self, data: bytes) -> None:
        await self._ws.send_str(data.decode())

    def abort(self) -> None:
        """Ends the connection without a word, as a broken network would."""
        # aiohttp offers no way to abort; its connection is gone (None) once the socket is closed.
        transport = getattr(self._ws._conn, "transport", None)
        if transport is not None:
            transport.abort()

    async def close(self, code: int) -> None:
        """Puts on the wire what waits for it, says good-bye and ends the connection, at the latest after `CLOSE_WAIT_S`."""
        self.closed_by_us = self._is_closing = True
        self._more.set()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            async with asyncio.timeout(CLOSE_WAIT_S):
                await asyncio.wait([self._sender])
                await self._ws.close(code=code)
        self._sender.cancel()
        self.abort()
