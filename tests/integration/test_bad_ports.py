"""Garbage at every other port: HTTP of nodes, directory and storage; the mesh ports, from outside, with wrong keys and with good ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec
import pytest
import zmq

from router.config import MeshConfig
from router.events import Acked, Event, Peer, PeerUp
from router.keys import KeyPair, KeyRing, create, load
from router.mesh import Mesh
from router.packets import Data, Hello, Table, TableRequest, encode
from router.pump import Pump
from router.zmq_transport import ZmqTransport
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import MIB, unharmed
from tests.strange_frames import DIRECTORY, NODE, STORAGE, Strange
from tools.layout import Part

INTRUDER = "intruder-1"
ROLES = ("node-1", "storage-1", "directory-1")


def part_of(cluster: ClusterProcess, name: str) -> Part:
    return next(part for part in cluster.layout.parts() if part.name == name)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


# ---------------------------------------------------------------- HTTP

REQUESTS: dict[str, bytes] = {
    "nothing": b"\r\n\r\n",
    "no HTTP": b"HELO mail.example.org\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
    "NULs": b"\0" * 4_096,
    "high bytes": bytes(range(128, 256)) * 20 + b"\r\n\r\n",
    "no such path": b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "no such method": b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a strange version": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunks": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "a strange chunk": b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(5_000)) + b"\r\n",
    "an upgrade to nothing": b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: nothing\r\nConnection: Upgrade\r\n\r\n",
    "a WebSocket without a key": b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a percent too much": b"GET /%zz%\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a query": b"GET /debug/trace?message=%00%ff&x=" + b"%ff" * 1_000 + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n",
}


@pytest.mark.parametrize("name", ROLES)
def test_garbage_over_http_is_answered_with_an_error_of_the_clients_or_the_connection_is_closed(
    shared_cluster: ClusterProcess, name: str
) -> None:
    part = part_of(shared_cluster, name)
    with unharmed(shared_cluster):
        for what, request in REQUESTS.items():
            with connect(part.http_port) as sock:
                sock.settimeout(10)
                with contextlib.suppress(OSError):
                    sock.sendall(request)
                    sock.shutdown(socket.SHUT_WR)
                answer = b""
                with contextlib.suppress(ConnectionError):
                    while data := sock.recv(65_536):
                        answer += data
            status = answer.split(b" ", 2)[1][:3] if answer.startswith(b"HTTP/1.") else b"---"
            assert status in (b"---", b"200", b"505") or status.startswith(b"4"), (what, answer[:200])
            assert what.startswith(("an upgrade", "a strange version")) or status != b"200", (what, answer[:200])


@pytest.mark.parametrize("name", ROLES)
def test_connections_that_send_nothing_or_half_a_request_keep_nobody_out(shared_cluster: ClusterProcess, name: str) -> None:
    part = part_of(shared_cluster, name)
    with unharmed(shared_cluster), contextlib.ExitStack() as stack:
        for n in range(200):
            sock = stack.enter_context(connect(part.http_port))
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "[: n % 40])


@pytest.mark.parametrize("name", ROLES)
def test_a_body_without_an_end_is_not_kept(shared_cluster: ClusterProcess, name: str) -> None:
    with unharmed(shared_cluster, grown_bytes_max=48 * MIB), connect(part_of(shared_cluster, name).http_port) as sock:
        sock.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.settimeout(2)
        with contextlib.suppress(OSError):
            for _ in range(1_000):  # 64 MiB, if anybody takes them
                sock.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


# ---------------------------------------------------------------- the mesh, from outside

ZMTP = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00"
GREETINGS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\0" * 10_000,
    b"\xff" * 10_000,
    b"\x01\x00" * 1_000,
    ZMTP + b"NULL" + b"\0" * 16 + b"\0" * 32,
    ZMTP + b"PLAIN" + b"\0" * 15 + b"\x01" + b"\0" * 31,
    ZMTP + b"CURVE" + b"\0" * 15 + b"\x01" + b"\0" * 31 + b"\x04\xc8\x05HELLO" + b"\0" * 194,
    ZMTP + b"CURVE" + b"\0" * 15 + b"\x01" + b"\0" * 31 + b"\x06" + b"\xff" * 8,
    ZMTP[:11],
]


@pytest.mark.parametrize("name", ROLES)
def test_plain_tcp_at_a_mesh_port_gets_nowhere(shared_cluster: ClusterProcess, name: str) -> None:
    part, chance = part_of(shared_cluster, name), random.Random(3)
    with unharmed(shared_cluster), contextlib.ExitStack() as stack:
        for greeting in [*GREETINGS, *(chance.randbytes(chance.randrange(1, 5_000)) for _ in range(200))]:
            sock = stack.enter_context(connect(part.mesh_port))
            with contextlib.suppress(OSError):
                sock.sendall(greeting)


@contextlib.contextmanager
def dealer(port: int, server: bytes | None, keys: KeyPair | None, identity: bytes = b"") -> Iterator[zmq.Socket[bytes]]:
    """A DEALER to a mesh port, with CURVE if there are keys."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sock = context.socket(zmq.DEALER)
    sock.linger, sock.immediate, sock.sndtimeo, sock.reconnect_ivl = 500, True, 5_000, 50
    if identity:
        sock.setsockopt(zmq.IDENTITY, identity)
    if keys is not None and server is not None:
        sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = server, keys.public, keys.secret
    sock.connect(f"tcp://127.0.0.1:{port}")
    try:
        yield sock
    finally:
        sock.close()
        context.term()


def public_key(cluster: ClusterProcess, name: str) -> bytes:
    return load(cluster.layout.curve_keys_dir, name).public


def gets_in(sock: zmq.Socket[bytes], wait_ms: int = 700) -> bool:
    """Whether a message can be handed to the other side: without a handshake there is no connection to put it on."""
    return bool(sock.poll(wait_ms, zmq.POLLOUT))


@pytest.mark.parametrize("name", ROLES)
def test_without_a_key_of_the_cluster_nobody_gets_in(shared_cluster: ClusterProcess, name: str) -> None:
    part, server = part_of(shared_cluster, name), public_key(shared_cluster, name)
    own = KeyPair(*zmq.curve_keypair())
    stolen = KeyPair(public_key(shared_cluster, "node-2"), own.secret)  # the public half of a good key alone
    with unharmed(shared_cluster):
        for keys, key in (
            (None, None),
            (own, server),
            (stolen, server),
            (load(shared_cluster.layout.curve_keys_dir, "node-2"), own.public),
        ):
            with dealer(part.mesh_port, key, keys) as sock:
                assert not gets_in(sock)


# ---------------------------------------------------------------- the mesh, from inside


@contextlib.contextmanager
def allowed(cluster: ClusterProcess) -> Iterator[KeyPair]:
    """A key that is on the allow list, of a process that is no member."""
    directory = cluster.layout.curve_keys_dir
    keys = create(directory, INTRUDER)
    yield keys
    for suffix in ("key", "pub"):
        (directory / f"{INTRUDER}.{suffix}").unlink()


@pytest.fixture
def intruder(shared_cluster: ClusterProcess) -> Iterator[KeyPair]:
    with allowed(shared_cluster) as keys:
        yield keys


def hello(target: str, name: str = INTRUDER, incarnation: str = "intruder-1:aaaaaaaa", **changes: object) -> Hello:
    good = Hello(1, 1, name, incarnation, "tcp://127.0.0.1:9", target, "", 0, 1, 0)
    return msgspec.structs.replace(good, **changes)


def packets_of(target: str, chance: random.Random) -> Iterator[bytes]:
    """Well-formed packets with wrong contents, packets of other versions, and noise."""
    name, huge = "intruder-1:aaaaaaaa", 2**63 - 1
    yield b""
    for version in (0, 2, 7, 255):
        yield encode(hello(target), version)
        yield encode(Data(name, "x", 1, 1, 0, 0, [b"frame"]), version)
    yield encode(hello(target, version_min=5, version_max=9), 1)
    yield encode(hello(target, version_min=-1, version_max=-1), 1)
    yield encode(hello("node-77"), 1)
    yield encode(hello(target, name="node-2", incarnation="node-2:aaaaaaaa"), 1)
    yield encode(hello(target, incarnation="node-2:aaaaaaaa"), 1)
    for endpoint in (
        "",
        "x",
        "tcp://",
        "tcp://*:*",
        "ipc:///etc/passwd",
        "inproc://zeromq.zap.01",
        "\0",
        "tcp://127.0.0.1:99999",
        "x" * 512,
    ):
        yield encode(hello(target, endpoint=endpoint, incarnation=f"intruder-1:{os.urandom(4).hex()}"), 1)
    for source in (name, "node-2:aaaaaaaa", "", ":", "intruder-1:", "x" * 320):
        yield encode(Data(source, "x", huge, huge, huge, huge, [b""] * 100), 1)
        yield encode(TableRequest(source, "x", huge, huge), 1)
        yield encode(Table(source, "x", huge, b"\xff" * 100), 1)
    for body in (b"\xc1", b"\x91" * 50_000, b"\xdd\xff\xff\xff\xff", b"\x9a\x01", b"\x97\x02\xa1\xff", b"\x95\x05\x00", b"\xc0", b"\x80"):
        yield b"\x01" + body
    for _ in range(200):
        yield chance.randbytes(chance.randrange(1, 400))
        yield b"\x01" + chance.randbytes(chance.randrange(1, 400))


@pytest.mark.parametrize("name", ROLES)
def test_a_peer_with_a_good_key_that_sends_garbage_changes_nothing(shared_cluster: ClusterProcess, intruder: KeyPair, name: str) -> None:
    part, chance = part_of(shared_cluster, name), random.Random(4)
    with unharmed(shared_cluster), dealer(part.mesh_port, public_key(shared_cluster, name), intruder) as sock:
        assert gets_in(sock, 5_000)
        for packet in packets_of(name, chance):
            sock.send(packet)
        sock.send_multipart([b"many", b"parts", b"", b"x" * 1_000])
        sock.send_multipart([b""] * 50)
        time.sleep(0.5)


@pytest.mark.parametrize("name", ROLES)
def test_a_peer_that_picks_its_own_routing_id_is_not_heard(shared_cluster: ClusterProcess, intruder: KeyPair, name: str) -> None:
    part = part_of(shared_cluster, name)
    with unharmed(shared_cluster):
        for identity in (b"node-2", b"x", b"x" * 255):
            with dealer(part.mesh_port, public_key(shared_cluster, name), intruder, identity) as sock:
                assert gets_in(sock, 5_000)
                sock.send(encode(hello(name), 1))
        time.sleep(0.2)


def test_a_message_larger_than_the_mesh_allows_ends_the_connection(shared_cluster: ClusterProcess, intruder: KeyPair) -> None:
    part = part_of(shared_cluster, "node-1")
    with (
        unharmed(shared_cluster, grown_bytes_max=48 * MIB),
        dealer(part.mesh_port, public_key(shared_cluster, "node-1"), intruder) as sock,
    ):
        assert gets_in(sock, 5_000)
        for _ in range(4):
            with contextlib.suppress(zmq.Again):
                sock.send(b"\x01" + b"x" * (32 * MIB))
        time.sleep(0.5)


class Insider:
    """A process with a good key and a real link, whose frames are whatever a test likes."""

    def __init__(self, cluster: ClusterProcess, part: Part) -> None:
        self.part = part
        config = MeshConfig()
        keys_dir = cluster.layout.curve_keys_dir
        transport = ZmqTransport("tcp://127.0.0.1:0", load(keys_dir, INTRUDER), KeyRing(keys_dir), config)
        me = Peer(INTRUDER, f"{INTRUDER}:{os.urandom(5).hex()}", transport.bind())
        self.mesh = Mesh(me, config, asyncio.get_running_loop().time(), follow_epochs=False)
        self.pump = Pump(self.mesh, transport, self._on_events)
        self.up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.acked = 0

    def _on_events(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, PeerUp) and not self.up.done():
                self.up.set_result(event.peer.incarnation)
            elif isinstance(event, Acked):
                self.acked = max(self.acked, event.number)

    async def __aenter__(self) -> Insider:
        self.mesh.connect(self.part.name, self.part.endpoint, asyncio.get_running_loop().time())
        await self.pump.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pump.stop()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Sends the frames and waits until the other side has handled them all."""
        incarnation = await asyncio.wait_for(self.up, 10)
        last = 0
        for frame in frames:
            while not (number := self.mesh.send(incarnation, frame, asyncio.get_running_loop().time())):
                self.pump.flush()
                await asyncio.sleep(0.01)
            last = number
        self.pump.flush()
        async with asyncio.timeout(10):
            while self.acked < last:
                await asyncio.sleep(0.01)


def frames_that_cannot_be_read(chance: random.Random) -> Iterator[bytes]:
    yield from (
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\x90",
        b"\x91\x00",
        b"\x91\xcc\xff",
        b"\x91" * 5_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x91\xa1x",
    )
    for tag in range(128):
        yield bytes([0x91, tag])
        yield bytes([0x92, tag]) + b"\xc0"
        yield bytes([0x9F, tag]) + b"\xc0" * 15
        yield bytes([0x93, tag]) + b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd3\x80\0\0\0\0\0\0\0"
        yield bytes([0x9A, tag, *(chance.randrange(128) for _ in range(20))])
    yield from (b"\xc1" + chance.randbytes(chance.randrange(1, 200)) for _ in range(500))


@pytest.mark.parametrize("name", ROLES)
async def test_frames_that_cannot_be_read_are_dropped_and_the_link_goes_on(
    shared_cluster: ClusterProcess, intruder: KeyPair, name: str
) -> None:
    with unharmed(shared_cluster):
        async with Insider(shared_cluster, part_of(shared_cluster, name)) as insider:
            await insider.send(frames_that_cannot_be_read(random.Random(5)))
            await insider.send([b"\xc1"])


TEXT = b"\xa1\xff"
NOT_UTF_8 = {
    "node-1": [bytes([0x90 | n, tag]) + TEXT * (n - 1) for tag in range(1, 60) for n in (2, 3, 5, 9, 12)],
    "storage-1": [b"\x93\x14\x01\x9b\x01" + TEXT * 10, b"\x93\x16\x01\x92\x01" + TEXT, b"\x93\x16\x01\x92\x03" + TEXT],
    "directory-1": [bytes([0x90 | n, tag]) + TEXT * (n - 1) for tag in range(20, 60) for n in (2, 3, 5, 9, 12)],
}


async def test_a_text_in_a_mesh_frame_that_is_not_utf_8_ends_no_process(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(2)
    with allowed(cluster), unharmed(cluster):
        for name in ROLES:
            async with Insider(cluster, part_of(cluster, name)) as insider:
                await insider.send(NOT_UTF_8[name])


def with_a_deep_field_more(frame: bytes) -> bytes:
    """The frame as a later release might send it, with one more field, which is as deep as it is long."""
    assert 0x90 <= frame[0] < 0x9F
    return bytes([frame[0] + 1]) + frame[1:] + b"\x91" * 20_000 + b"\x00"


async def test_a_mesh_frame_that_is_too_deep_to_read_ends_no_process(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster, strange = start_cluster(2), Strange(random.Random(6))
    with allowed(cluster), unharmed(cluster):
        for name in ROLES:
            async with Insider(cluster, part_of(cluster, name)) as insider:
                frames = (strange.frame(kind) for kind in dict.fromkeys((*NODE, *STORAGE, *DIRECTORY)))
                await insider.send(with_a_deep_field_more(frame) for frame in frames if frame[0] < 0x9F)
