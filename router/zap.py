"""ZeroMQ's authentication (ZAP, RFC 27) in the event loop: which CURVE key may connect, and under which name.

Owns the socket at the fixed inproc address. Law (P8): only CURVE, only keys that the ring names; everything else is refused and counted.
The name becomes the message's User-Id, which is what the mesh trusts.
"""

from __future__ import annotations

import asyncio
import contextlib

import zmq
from zmq.utils import z85

from router.keys import KeyRing

_ADDRESS = "inproc://zeromq.zap.01"


class Authenticator:
    """Answers the context's authentication requests from ``ring``. Must exist before a socket of the context is bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], ring: KeyRing) -> None:
        self.accepted = 0
        self.refused = 0
        self._ring = ring
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(_ADDRESS)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Answers in the running event loop; until then connections wait."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._drain)
        self._drain()

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop = None
        self._socket.close(linger=0)

    def _drain(self) -> None:
        """The descriptor is edge-triggered: read until there is nothing, and look again after every answer."""
        while not self._socket.closed:
            try:
                request = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            with contextlib.suppress(zmq.Again):  # the asker is gone
                self._socket.send_multipart(self._answer(request), zmq.NOBLOCK)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        """[routing id, "", version, request id, domain, address, identity, mechanism, credentials…] → the reply. What has another form was
        not written by libzmq, and is refused like an unknown key."""
        request = [*request, *[b""] * (8 - len(request))]
        route, version, number = request[0], request[2], request[3]
        mechanism, credentials = request[7], request[8:]
        name: str | None = None
        if version == b"1.0" and mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32:
            name = self._ring.name_of(z85.encode(credentials[0]))
        if name is None:
            self.refused += 1
            return [route, b"", b"1.0", number, b"400", b"unknown key", b"", b""]
        self.accepted += 1
        return [route, b"", b"1.0", number, b"200", b"OK", name.encode(), b""]
