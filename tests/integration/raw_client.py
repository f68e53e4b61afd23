"""A WebSocket client that can say anything: frames are built bit by bit, over a blocking socket."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import uvloop

from node.edge.websocket import Edge

T = TypeVar("T")
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TIMEOUT_S = 5.0


def frame(op: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, masked: bool = True, length: bytes | None = None) -> bytes:
    """One frame as a client sends it. ``length``: the length field's bytes, where they shall not be the right ones."""
    size = len(payload)
    if length is None:
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536 else b"\x7f" + struct.pack(">Q", size)
    head = bytes([fin << 7 | rsv << 4 | op, (0x80 if masked else 0) | length[0]]) + length[1:]
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


@dataclass(frozen=True)
class Received:
    op: int
    payload: bytes

    @property
    def code(self) -> int | None:
        return struct.unpack(">H", self.payload[:2])[0] if self.op == CLOSE and self.payload else None


class RawClient:
    """A socket to an edge, before or after the handshake."""

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S, receive_buffer_bytes: int | None = None) -> None:
        self.sock: socket.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sock.settimeout(timeout_s)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def secured(self, context: ssl.SSLContext) -> RawClient:
        """Does the TLS handshake."""
        self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1")
        return self

    def request(self, method: str = "GET", target: str = "/v1/ws", version: str = "HTTP/1.1", **changes: str | None) -> bytes:
        """The bytes of a handshake; ``Name_With_Underscores="…"`` sets a header, None leaves it out."""
        headers: dict[str, str | None] = {
            "Host": "chat.example.org",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "homing.v1.json",
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def handshake(self, request: bytes | None = None) -> tuple[int, dict[str, str]]:
        """Sends a handshake and returns the answer's status and headers."""
        self.sock.sendall(self.request() if request is None else request)
        return self.response()

    def response(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers.get("Content-Length", "0"))
        while len(self._buffer) < size:
            self._more()
        self._buffer = self._buffer[size:]
        return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}

    def open(self, subprotocol: str | None = "homing.v1.json") -> RawClient:
        status, _ = self.handshake(self.request(Sec_WebSocket_Protocol=subprotocol))
        assert status == 101
        return self

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def receive(self) -> Received | None:
        """The next frame; None at the end of the connection."""
        try:
            while len(self._buffer) < 2:
                self._more()
            size, at = self._buffer[1] & 0x7F, 2
            assert not self._buffer[1] & 0x80, "a server does not mask"
            assert self._buffer[0] & 0x80 and not self._buffer[0] & 0x70, "the edge sends whole messages without extensions"
            if size > 125:
                at = 4 if size == 126 else 10
                while len(self._buffer) < at:
                    self._more()
                size = int.from_bytes(self._buffer[2:at], "big")
            while len(self._buffer) < at + size:
                self._more()
        except (EOFError, ConnectionResetError):
            return None
        received = Received(self._buffer[0] & 0x0F, self._buffer[at : at + size])
        self._buffer = self._buffer[at + size :]
        return received

    def has_more(self) -> bool:
        """Whether something was read that is not handed out yet."""
        return bool(self._buffer)

    def receive_all(self) -> list[Received]:
        """Everything up to the end of the connection."""
        return list(iter(self.receive, None))

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


class EdgeThread:
    """An edge with a uvloop of its own, so that a blocking client can talk to it."""

    def __init__(self, make: Callable[[], Edge], tls: ssl.SSLContext | None = None) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="edge")
        self._thread.start()
        self.edge = make()
        self.port = self.run(self.edge.start("127.0.0.1", 0, tls))

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(TIMEOUT_S)

    def call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self.run(called())

    def stop(self) -> None:
        self.run(self.edge.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def serving(make: Callable[[], Edge], tls: ssl.SSLContext | None = None) -> Iterator[EdgeThread]:
    thread = EdgeThread(make, tls)
    try:
        yield thread
    finally:
        thread.stop()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)
