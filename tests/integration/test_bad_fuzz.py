"""Seeded noise at every port: clients' WebSockets in both formats, HTTP, and the mesh ports of node, directory and storage.

``HOMING_FUZZ_FRAMES`` says how many frames go to each port (10,000; a million: ``HOMING_FUZZ_FRAMES=1000000``), ``HOMING_FUZZ_SEED`` which
ones. Requests that are nearly right are a fifth of that; noise over HTTP and strangers at the mesh get a connection for every
ten and twenty. What is said in a session or to a request must be in the documents. On two cores 10,000 take 45 s, 100,000 six minutes,
a million about an hour. Afterwards every process has its pid, is healthy and has grown by less than ``GROWN_BYTES_MAX``; two people
chat all the while.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator

import msgspec
import pytest

from router.keys import KeyPair
from tests.fuzz.documents import Documents
from tests.fuzz.mutation import flipped
from tests.fuzz.requests import Asker, Requests
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_client import BINARY, TEXT, frame
from tests.integration.raw_homing import MIB, Closed, Device, Frame, eventually, metric, rss_of, unharmed
from tests.integration.test_bad_frames import FRAMES, WRONG, WRONG_TEXT, good, kind_of_field
from tests.integration.test_bad_ports import ROLES, allowed, connect, dealer, gets_in, packets_of, part_of, public_key

COUNT = int(os.environ.get("HOMING_FUZZ_FRAMES", "10000"))
SEED = int(os.environ.get("HOMING_FUZZ_SEED", "1"))
GROWN_BYTES_MAX = 160 * MIB
"""Includes what a node keeps of conversations that were asked for, until they have been idle for two minutes."""
TIMEOUT_S = 120 + COUNT // 100
BAD_FRAMES_PER_SESSION = 18
FRAMES_PER_WRITE = 9
pytestmark = pytest.mark.timeout(TIMEOUT_S)


def strange_value(chance: random.Random, kind: str) -> object:
    return chance.choice([*WRONG[kind], *WRONG["str"], chance.getrandbits(62), "x" * chance.randrange(1, 50)])


def strange_frame(chance: random.Random) -> Frame:
    """A client frame that is nearly right."""
    kind = chance.choice(FRAMES)
    made = good(kind)
    names = [name for name in made if name != "op"]
    for name in chance.sample(names, min(len(names), chance.randrange(0, 3))):
        texts = WRONG_TEXT.get(name, [])
        of_kind = kind_of_field(kind, name)
        made[name] = chance.choice(texts) if texts and chance.random() < 0.5 else strange_value(chance, of_kind)
    if chance.random() < 0.1 and names:
        del made[chance.choice(names)]
    return made


def messages(chance: random.Random, binary: bool) -> Iterator[bytes]:
    """One client message after another: noise, nearly right frames, right frames with flipped bytes."""
    while True:
        made = strange_frame(chance)
        try:
            data = msgspec.msgpack.encode(made) if binary else msgspec.json.encode(made)
        except OverflowError:
            continue  # msgpack has no integers of that size
        match chance.randrange(4):
            case 0:
                yield chance.randbytes(chance.randrange(60)) if binary else chance.randbytes(chance.randrange(30)).hex().encode()
            case 1:
                yield flipped(data, chance)
            case _:
                yield data


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_noise_in_sessions_harms_nobody(shared_cluster: ClusterProcess, binary: bool) -> None:
    chance = random.Random(f"session {SEED} {binary}")
    source, sent = messages(chance, binary), 0
    names = [f"fuzz-{SEED}-{binary}-{n}" for n in range(50)]
    documents = Documents(part_of(shared_cluster, "node-1").url)
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        while sent < COUNT:
            node, name, hello = chance.randrange(3), chance.choice(names), chance.random() < 0.9
            with Device(shared_cluster, node, name, binary=binary, hello=hello) as session, contextlib.suppress(Closed, OSError):
                for _ in range(BAD_FRAMES_PER_SESSION // FRAMES_PER_WRITE):
                    session.put_raw(*(next(source) for _ in range(FRAMES_PER_WRITE)))
                    sent += FRAMES_PER_WRITE
                session.put({"op": "ping"})
                got: Frame = {}
                while got.get("op") != "pong":
                    documents.check_frame(got := session.receive())


LEAKED_BYTES_PER_FRAME = 16
REPEATS = 3
SLACK_BYTES = 4 * MIB
"""What the allocator keeps and gives back as it likes."""


def test_the_same_noise_again_finds_everything_allocated_already(shared_cluster: ClusterProcess) -> None:
    """The same people say the same; only what is never let go grows a process each time. What is kept of sessions ends with them."""
    chance = random.Random(f"leak {SEED}")
    source, count = messages(chance, False), max(2_000, COUNT // 20)
    noise = [next(source) for _ in range(count)]
    nodes = [f"node-{n}" for n in (1, 2, 3)]
    grown: dict[str, list[int]] = {name: [] for name in nodes}
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        for _ in range(1 + REPEATS):
            for n in range(0, count, FRAMES_PER_WRITE):
                with Device(shared_cluster, n % 3, f"leak-{SEED}-{n % 40}") as session, contextlib.suppress(Closed, OSError):
                    session.put_raw(*noise[n : n + FRAMES_PER_WRITE])
                    session.put({"op": "ping"})
                    while session.receive()["op"] != "pong":
                        pass
            for name in nodes:
                grown[name].append(rss_of(shared_cluster.pids[name]))
    for sizes in grown.values():
        assert sizes[-1] - sizes[1] < SLACK_BYTES + (REPEATS - 1) * count * LEAKED_BYTES_PER_FRAME, (
            f"memory grows with each repeat: {grown}"
        )
    eventually(lambda: all(metric(shared_cluster, "homing_node_sessions", name) == 0 for name in nodes))


def test_noise_in_the_framing_harms_nobody(shared_cluster: ClusterProcess) -> None:
    chance = random.Random(f"framing {SEED}")
    source, sent = messages(chance, False), 0
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        while sent < COUNT:
            with Device(shared_cluster, chance.randrange(3), hello=False) as session, contextlib.suppress(OSError):
                for _ in range(chance.randrange(1, 30)):
                    op, rsv = chance.choice((TEXT, BINARY, chance.randrange(16))), chance.choice((0, 0, 0, chance.randrange(8)))
                    data = frame(op, next(source), chance.random() < 0.8, rsv)
                    session.raw.send(flipped(data, chance) if chance.random() < 0.5 else data)
                    sent += 1


REQUEST = (
    b"GET /v1/ws?slot=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: homing.v1.json\r\nAuthorization: Bearer x\r\n\r\n"
)
PATHS = (b"/v1/ws", b"/healthz", b"/readyz", b"/metrics", b"/v1/connect", b"/debug/trace?message=x", b"/v1/nodes", b"/v1/slots", b"/")


@pytest.mark.parametrize("name", ROLES)
def test_noise_over_http_harms_nobody(shared_cluster: ClusterProcess, name: str) -> None:
    chance, port = random.Random(f"http {SEED} {name}"), part_of(shared_cluster, name).http_port
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        for _ in range(max(200, COUNT // 10)):  # ten lines each
            with connect(port) as sock, contextlib.suppress(OSError):
                request = REQUEST.replace(b"/v1/ws", chance.choice(PATHS))
                sock.sendall(flipped(request, chance) if chance.random() < 0.9 else chance.randbytes(200) + b"\r\n\r\n")
                sock.settimeout(0.02)
                sock.recv(65_536)


def test_requests_that_are_nearly_right_get_answers_of_the_document(shared_cluster: ClusterProcess) -> None:
    """Which operation, what it is asked and by whom: all of it right or nearly so."""
    chance, count = random.Random(f"requests {SEED}"), max(500, COUNT // 5)
    documents, requests = Documents(part_of(shared_cluster, "node-1").url), Requests(shared_cluster, chance)
    askers = [Asker(part_of(shared_cluster, f"node-{n}").http_port, documents, chance) for n in (1, 2, 3)]
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        try:
            for _ in range(count):
                chance.choice(askers).ask(requests.make())
        finally:
            for asker in askers:
                asker.close()
    statuses = {status: sum(asker.statuses.get(status, 0) for asker in askers) for asker in askers for status in asker.statuses}
    assert sum(statuses.values()) == count and 500 not in statuses, statuses
    good = sum(n for status, n in statuses.items() if status < 300)
    assert good > count // 20 and statuses.get(429, 0) < count // 2, f"they do not get far: {statuses}"
    print(f"answers by status: {statuses}")


@pytest.fixture
def intruder(shared_cluster: ClusterProcess) -> Iterator[KeyPair]:
    with allowed(shared_cluster) as keys:
        yield keys


@pytest.mark.parametrize("name", ROLES)
def test_noise_of_a_peer_with_a_good_key_harms_nobody(shared_cluster: ClusterProcess, intruder: KeyPair, name: str) -> None:
    chance, part = random.Random(f"mesh {SEED} {name}"), part_of(shared_cluster, name)
    with unharmed(shared_cluster, GROWN_BYTES_MAX), dealer(part.mesh_port, public_key(shared_cluster, name), intruder) as sock:
        assert gets_in(sock, 5_000)
        sent = 0
        while sent < COUNT:
            for packet in packets_of(name, chance):
                sock.send(flipped(packet, chance) if packet else packet)
                sent += 1


@pytest.mark.parametrize("name", ROLES)
def test_noise_of_strangers_at_a_mesh_port_harms_nobody(shared_cluster: ClusterProcess, name: str) -> None:
    chance, port = random.Random(f"strangers {SEED} {name}"), part_of(shared_cluster, name).mesh_port
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00CURVE" + b"\0" * 48 + b"\x04\xc8\x05HELLO" + b"\0" * 194
    with unharmed(shared_cluster, GROWN_BYTES_MAX):
        for _ in range(max(200, COUNT // 20)):
            with connect(port) as sock, contextlib.suppress(OSError):
                sock.sendall(flipped(greeting, chance) if chance.random() < 0.8 else chance.randbytes(chance.randrange(1, 500)))
                if chance.random() < 0.5:
                    sock.settimeout(0.01)
                    sock.recv(4_096)
