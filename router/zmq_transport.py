"""The mesh over ZeroMQ: one bound ROUTER for input, one connected DEALER for each endpoint written to, CURVE always.

Owns the sockets and how they are read. Knows nothing of what a packet holds.

Why it is written so:

* Sockets are read with ``add_reader`` and drained, not through zmq.asyncio (measured: five times slower). A ZeroMQ descriptor is
  edge-triggered: it must be read until EAGAIN, or looked at again later.
* A DEALER queues nothing for a peer that is not connected (ZMQ_IMMEDIATE), and a full queue drops: the links resend, memory is bounded.
* The sender's name is the User-Id that authentication gave to its connection. The ROUTER makes a new routing id for each connection, so the
  name is looked up once for each. A peer that picks its own routing id could take over that of another's old connection: refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import zmq
from zmq.utils.monitor import parse_monitor_message

from router.config import MeshConfig
from router.keys import KeyPair, KeyRing
from router.transport import Hint, NameOf, Receive
from router.zap import Authenticator

_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_MONITORED = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _REFUSED


class Dealer:
    """The connection to one endpoint, whose server must hold ``server_key``."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        server_key: bytes,
        keys: KeyPair,
        config: MeshConfig,
        on_event: Callable[[str, int], None],
    ) -> None:
        self.server_key = server_key
        self.used_at = 0.0
        self._endpoint = endpoint
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._socket = context.socket(zmq.DEALER)
        try:
            self._configure(keys, config)
            self._monitor = self._socket.get_monitor_socket(_MONITORED)
            self._socket.connect(endpoint)
        except BaseException:
            self._socket.close(linger=0)
            raise
        self._loop.add_reader(self._monitor.fileno(), self._on_monitor)
        self._on_monitor()

    def _configure(self, keys: KeyPair, config: MeshConfig) -> None:
        socket = self._socket
        socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = keys.public, keys.secret, self.server_key
        socket.linger = 0
        socket.immediate = True
        socket.sndhwm = config.send_queue_packets
        socket.rcvhwm = 1  # nobody answers on this socket
        socket.maxmsgsize = 1024
        socket.reconnect_ivl = int(config.reconnect_min_s * 1000)
        socket.reconnect_ivl_max = int(config.reconnect_max_s * 1000)
        socket.connect_timeout = int(config.connect_timeout_s * 1000)
        socket.handshake_ivl = int(config.connect_timeout_s * 1000)
        _heartbeat(socket, config)

    def send(self, packet: bytes) -> bool:
        try:
            self._socket.send(packet, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        self._loop.remove_reader(self._monitor.fileno())
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def _on_monitor(self) -> None:
        while not self._monitor.closed:
            try:
                message = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_event(self._endpoint, int(parse_monitor_message(message)["event"]))


class ZmqTransport:
    """One process's end of the mesh.

    Args:
        bind_endpoint: where to listen, ``tcp://host:port``; port 0 takes a free one (``bind`` returns it).
        keys: the key pair of this process.
        ring: who may connect, and whose key an endpoint must have.
        config: limits and times.
    """

    def __init__(self, bind_endpoint: str, keys: KeyPair, ring: KeyRing, config: MeshConfig) -> None:
        self._bind_endpoint = bind_endpoint
        self._keys, self._ring, self._config = keys, ring, config
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator: Authenticator | None = None
        self._router: zmq.Socket[bytes] | None = None
        self._endpoint = ""
        self._dealers: dict[str, Dealer] = {}
        self._names: dict[bytes, str] = {}  # routing id → vouched name
        self._counters: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._receive: Receive | None = None
        self._hint: Hint | None = None
        self._name_of: NameOf | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._continue: asyncio.Handle | None = None

    # ------------------------------------------------------------- life

    def bind(self) -> str:
        if self._router is not None:
            return self._endpoint
        config = self._config
        self._context.set(zmq.MAX_SOCKETS, 3 * config.endpoints_max + 16)
        self._authenticator = Authenticator(self._context, self._ring)
        router = self._context.socket(zmq.ROUTER)
        router.curve_server = True
        router.curve_secretkey = self._keys.secret
        router.linger = 0
        router.rcvhwm = config.receive_queue_packets
        router.maxmsgsize = config.message_bytes_max
        router.handshake_ivl = int(config.connect_timeout_s * 1000)
        _heartbeat(router, config)
        try:
            router.bind(self._bind_endpoint)
        except zmq.ZMQError as error:
            router.close(linger=0)
            self._authenticator.stop()
            self._authenticator = None
            raise OSError(error.errno, f"cannot listen at {self._bind_endpoint}: {error.strerror}") from error
        self._router = router
        self._endpoint = router.getsockopt_string(zmq.LAST_ENDPOINT)
        return self._endpoint

    async def start(self, receive: Receive, hint: Hint, name_of: NameOf) -> None:
        self.bind()
        assert self._router is not None and self._authenticator is not None
        self._loop = asyncio.get_running_loop()
        self._receive, self._hint, self._name_of = receive, hint, name_of
        self._authenticator.start()
        self._loop.add_reader(self._router.fileno(), self._drain)
        self._sweep = self._loop.call_later(self._config.idle_close_s / 2, self._close_idle)
        self._drain()

    async def stop(self) -> None:
        loop, self._loop = self._loop, None
        for handle in (self._sweep, self._continue):
            if handle is not None:
                handle.cancel()
        for dealer in self._dealers.values():
            dealer.close()
        self._dealers.clear()
        if self._router is not None:
            if loop is not None:
                loop.remove_reader(self._router.fileno())
            self._router.close(linger=0)
            self._router = None
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        self._context.term()

    def counters(self) -> dict[str, int]:
        counts = dict(self._counters)
        if self._authenticator is not None:
            counts["keys_refused"] = self._authenticator.refused
            counts["keys_accepted"] = self._authenticator.accepted
        return counts

    # ----------------------------------------------------------- output

    def send(self, endpoint: str, packet: bytes) -> bool:
        dealer = self._dealers.get(endpoint) or self._connect(endpoint)
        if dealer is None or self._loop is None:
            return False
        dealer.used_at = self._loop.time()
        if dealer.send(packet):
            return True
        self._counters["would_block"] += 1
        return False

    def _connect(self, endpoint: str) -> Dealer | None:
        name = self._name_of(endpoint) if self._name_of is not None and self._loop is not None else None
        server_key = self._ring.key_of(name) if name is not None else None
        if server_key is None or len(self._dealers) >= self._config.endpoints_max:
            self._counters["no_key" if server_key is None else "endpoints_full"] += 1
            return None
        try:
            dealer = Dealer(self._context, endpoint, server_key, self._keys, self._config, self._on_event)
        except (zmq.ZMQError, ValueError):
            self._counters["bad_endpoint"] += 1  # it came from the peer's hello: its fault
            return None
        self._dealers[endpoint] = dealer
        return dealer

    def _on_event(self, endpoint: str, event: int) -> None:
        if event & _REFUSED:
            self._counters["handshakes_refused"] += 1
            self._forget_if_rekeyed(endpoint)
        elif self._hint is not None and self._loop is not None:
            self._hint(endpoint, event == zmq.EVENT_HANDSHAKE_SUCCEEDED)

    def _forget_if_rekeyed(self, endpoint: str) -> None:
        """The peer's key was rotated, or another process listens there now: the next packet connects with the key of today."""
        dealer = self._dealers.get(endpoint)
        name = self._name_of(endpoint) if self._name_of is not None else None
        if dealer is not None and name is not None and self._ring.key_of(name) != dealer.server_key and self._loop is not None:
            del self._dealers[endpoint]
            self._loop.call_soon(dealer.close)

    def _close_idle(self) -> None:
        if self._loop is None:
            return
        self._names.clear()  # they are learnt again, and who was taken from the allow list is not
        too_old = self._loop.time() - self._config.idle_close_s
        for endpoint, dealer in list(self._dealers.items()):
            if dealer.used_at < too_old:
                del self._dealers[endpoint]
                dealer.close()
            else:
                self._forget_if_rekeyed(endpoint)
        self._sweep = self._loop.call_later(self._config.idle_close_s / 2, self._close_idle)

    # ------------------------------------------------------------ input

    def _drain(self) -> None:
        """Reads until there is nothing, or until this turn's share is used up; then goes on in the next turn."""
        if self._loop is None or self._router is None or self._receive is None:
            return
        until = self._loop.time() + self._config.receive_turn_s
        for n in range(self._config.receive_turn_packets):
            try:
                packet, name = self._read()
            except zmq.Again:
                return
            if name is not None:
                self._receive(packet, name)
            if n % 16 == 15 and self._loop.time() > until:
                break
        self._continue = self._loop.call_soon(self._drain)

    def _read(self) -> tuple[bytes, str | None]:
        """One message: its packet, and the vouched name or None when it does not count."""
        assert self._router is not None
        router = self._router
        route = router.recv(zmq.NOBLOCK)
        name = self._names.get(route)
        if name is None:
            frame = router.recv(zmq.NOBLOCK, copy=False)
            packet, name = frame.bytes, self._learn(route, frame)
        else:
            packet = router.recv(zmq.NOBLOCK)
        while router.getsockopt(zmq.RCVMORE):  # the attribute of the same name costs five times as much
            router.recv(zmq.NOBLOCK)
            name = None
        if name is None:
            self._counters["unvouched"] += 1
        return packet, name

    def _learn(self, route: bytes, frame: zmq.Frame) -> str | None:
        if len(route) != 5 or route[0] != 0:
            return None  # not a routing id of the ROUTER's own making
        user = frame.get("User-Id")
        if not isinstance(user, str) or self._ring.key_of(user) is None:
            return None
        if len(self._names) >= self._config.known_connections_max:
            del self._names[next(iter(self._names))]
        self._names[route] = user
        return user


def _heartbeat(socket: zmq.Socket[bytes], config: MeshConfig) -> None:
    socket.tcp_keepalive = 1
    socket.heartbeat_ivl = int(config.heartbeat_s * 1000)
    socket.heartbeat_timeout = int(config.heartbeat_timeout_s * 1000)
    socket.heartbeat_ttl = int(config.heartbeat_timeout_s * 1000)
