"""P8 on the mesh's port: unknown and wrong keys, wrong names, other versions, garbage. Nobody gets in, the port and its memory are safe."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import psutil
import pytest
import zmq

from router.keys import KeyPair, create
from router.packets import Data, Hello, encode
from tests.integration.mesh_rig import Owner, running


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Owner, Owner]]:
    """a and b, linked."""
    a, b = Owner(tmp_path, "a"), Owner(tmp_path, "b")
    async with running(a, b):
        a.connect("b", b.bound)
        await a.until(lambda: a.up("b:1"))
        await b.until(lambda: b.up("a:1"))
        yield a, b


@asynccontextmanager
async def dealer(endpoint: str, keys: KeyPair | None, server_key: bytes, routing_id: bytes = b"") -> AsyncIterator[zmq.Socket[bytes]]:
    """A DEALER of an intruder; ``keys`` None: without CURVE."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = context.socket(zmq.DEALER)
    link.linger = 0
    if routing_id:
        link.routing_id = routing_id
    if keys is not None:
        link.curve_publickey, link.curve_secretkey, link.curve_serverkey = keys.public, keys.secret, server_key
    link.connect(endpoint)
    try:
        yield link
    finally:
        link.close(linger=0)
        context.term()


async def still_works(a: Owner, b: Owner) -> None:
    """The link between a and b goes on in both directions."""
    number = a.send("b:1", b"still here")
    await a.until(lambda: a.acked("b:1") >= number)
    number = b.send("a:1", b"still here")
    await b.until(lambda: b.acked("a:1") >= number)


def intruder() -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(public, secret)


async def test_an_unknown_key_is_refused_and_counted(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    async with dealer(b.bound, intruder(), (tmp_path / "b.pub").read_bytes().strip()) as link:
        link.send(encode(Data("a:1", "b:1", 0, 1, 0, 0, [b"intruder"]), 1))
        await b.until(lambda: b.transport.counters()["keys_refused"] > 0)
        await still_works(a, b)
    assert b.frames("a:1") == [b"still here"]


@pytest.mark.parametrize("how", ["no CURVE", "wrong server key"])
async def test_who_does_not_do_curve_rightly_gets_nothing_through(pair: tuple[Owner, Owner], how: str, tmp_path: Path) -> None:
    a, b = pair
    mallory = create(tmp_path, "mallory") if how == "wrong server key" else None
    async with dealer(b.bound, mallory, intruder().public) as link:
        link.send(encode(Data("a:1", "b:1", 0, 1, 0, 0, [b"intruder"]), 1))
        await asyncio.sleep(0.3)
        await still_works(a, b)
    assert b.frames("a:1") == [b"still here"] and not any(b.mesh.counters.values())


async def test_a_known_key_under_another_name_is_dropped_and_counted(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    async with dealer(b.bound, create(tmp_path, "mallory"), (tmp_path / "b.pub").read_bytes().strip()) as link:
        for _ in range(20):
            link.send(encode(Data("a:1", "b:1", 0, 1, 0, 0, [b"I am a"]), 1))
            link.send(encode(Hello(1, 1, "a", "a:2", "tcp://127.0.0.1:9", "b", "b:1", 0, 1, 2), 1))
        await b.until(lambda: b.mesh.counters["wrong_name"] == 40)
        await still_works(a, b)
    assert b.frames("a:1") == [b"still here"] and not b.down("a:1")


async def test_a_connection_with_a_routing_id_of_its_own_is_not_vouched_for(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    async with dealer(b.bound, create(tmp_path, "mallory"), (tmp_path / "b.pub").read_bytes().strip(), b"chosen") as link:
        link.send(b"x")
        link.send_multipart([b"a", b"b", b"c"])
        await b.until(lambda: b.transport.counters().get("unvouched", 0) == 2)
        await still_works(a, b)


async def test_a_message_of_several_parts_is_dropped_and_the_next_one_is_read_rightly(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    async with dealer(b.bound, create(tmp_path, "c"), (tmp_path / "b.pub").read_bytes().strip()) as link:
        link.send(b"garbage")
        link.send_multipart([b"garbage", b"more"])
        link.send(b"garbage")
        await b.until(lambda: b.mesh.counters["other_version"] == 2 and b.transport.counters()["unvouched"] == 1)
        await still_works(a, b)


async def test_a_name_taken_off_the_allow_list_is_refused_at_its_next_connection(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    keys = create(tmp_path, "c")
    (tmp_path / "c.pub").unlink()
    async with dealer(b.bound, keys, (tmp_path / "b.pub").read_bytes().strip()) as link:
        link.send(b"x")
        await b.until(lambda: b.transport.counters()["keys_refused"] > 0)
        await still_works(a, b)


async def test_a_peer_with_a_rotated_key_is_reached_again(tmp_path: Path) -> None:
    a, b = Owner(tmp_path, "a"), Owner(tmp_path, "b")
    async with running(a):
        async with running(b):
            a.connect("b", b.bound)
            await a.until(lambda: a.up("b:1"))
        again = Owner(tmp_path, "b", "2", bind=b.bound)  # makes a new key
        async with running(again):
            await a.until(lambda: a.up("b:2"))
            assert a.send("b:2", b"x")
            await a.until(lambda: a.acked("b:2") == 1)


async def test_another_protocol_version_is_answered_by_a_hello_and_leaves_no_link(tmp_path: Path) -> None:
    a, z = Owner(tmp_path, "a"), Owner(tmp_path, "z", versions=(7, 8))
    async with running(a, z):
        z.connect("a", a.bound)
        await a.until(lambda: a.mesh.counters["incompatible"] > 1 and z.mesh.counters["incompatible"] > 1)
        assert a.mesh.peers() == z.mesh.peers() == []


async def test_a_hundred_thousand_garbage_packets_leave_the_port_alive_and_memory_bounded(
    pair: tuple[Owner, Owner], tmp_path: Path
) -> None:
    a, b = pair
    random = Random(11)
    good = encode(Data("c:1", "b:1", 0, 1, 0, 0, [b"x" * 40]), 1)
    memory = psutil.Process(os.getpid()).memory_info().rss
    async with dealer(b.bound, create(tmp_path, "c"), (tmp_path / "b.pub").read_bytes().strip()) as link:
        for n in range(100_000):
            packet = bytearray(random.randbytes(random.randrange(64)) if n % 2 else good)
            if packet:
                packet[random.randrange(len(packet))] = random.randrange(256)
            while True:
                try:
                    link.send(packet, zmq.NOBLOCK)
                    break
                except zmq.Again:
                    await asyncio.sleep(0.001)
            if n % 200 == 0:
                await asyncio.sleep(0)
            if n % 20_000 == 0:
                await still_works(a, b)
        await still_works(a, b)
    grown = psutil.Process(os.getpid()).memory_info().rss - memory
    assert grown < 32 * 1024 * 1024, f"{grown / 1e6:.1f} MB more after garbage"
    assert sum(b.mesh.counters.values()) > 90_000


async def test_raw_bytes_on_the_port_harm_nobody(pair: tuple[Owner, Owner]) -> None:
    a, b = pair
    random = Random(3)
    host, port = b.bound.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47)
    for n in range(60):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall((b"", greeting, b"GET / HTTP/1.1\r\n\r\n")[n % 3] + random.randbytes(200))
        await asyncio.sleep(0)
    await still_works(a, b)


async def test_an_oversized_message_closes_its_connection_and_nothing_else(pair: tuple[Owner, Owner], tmp_path: Path) -> None:
    a, b = pair
    async with dealer(b.bound, create(tmp_path, "c"), (tmp_path / "b.pub").read_bytes().strip()) as link:
        link.send(bytes(5 * 1024 * 1024))
        link.send(b"garbage")
        await asyncio.sleep(0.2)
        await still_works(a, b)
    assert b.transport.counters().get("unvouched", 0) == 0
