"""What every transport keeps: packets whole, in order and vouched for on a quiet network; drops counted; pumps that run over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from router.config import MeshConfig
from router.events import Acked, Event, FrameIn, Peer, PeerUp
from router.keys import KeyRing, create
from router.memory import MemoryNetwork
from router.memory_transport import MemoryHub, MemoryTransport
from router.mesh import Mesh
from router.pump import Pump
from router.transport import Transport
from router.zmq_transport import ZmqTransport

CONFIG = MeshConfig(frame_bytes_max=1_000_000, message_bytes_max=2_000_000)
Make = Callable[[str], Transport]


@pytest.fixture(params=["memory", "zmq"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the transport of a process by its name; all are stopped at the end."""
    made: list[Transport] = []
    hub = MemoryHub(MemoryNetwork(Random(1)))
    ring = KeyRing(tmp_path)

    def build(name: str) -> Transport:
        transport: Transport
        if request.param == "memory":
            transport = MemoryTransport(hub, name, f"mem://{name}")
        else:
            transport = ZmqTransport("tcp://127.0.0.1:0", create(tmp_path, name), ring, CONFIG)
        made.append(transport)
        return transport

    yield build
    for transport in made:
        await transport.stop()


class Inbox:
    """What a started transport received and was told."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, str]] = []
        self.hints: list[tuple[str, bool]] = []
        self.changed = asyncio.Event()

    def receive(self, packet: bytes, sender: str) -> None:
        self.packets.append((packet, sender))
        self.changed.set()

    def hint(self, endpoint: str, reached: bool) -> None:
        self.hints.append((endpoint, reached))
        self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                self.changed.clear()
                await self.changed.wait()


async def two(make: Make) -> tuple[Transport, Inbox, str, Transport, Inbox, str]:
    a, b, names = make("a"), make("b"), {}
    names = {a.bind(): "a", b.bind(): "b"}
    in_a, in_b = Inbox(), Inbox()
    await a.start(in_a.receive, in_a.hint, names.get)
    await b.start(in_b.receive, in_b.hint, names.get)
    return a, in_a, a.bind(), b, in_b, b.bind()


async def reach(sender: Transport, inbox: Inbox, endpoint: str) -> None:
    """The first packet may be lost while the connection is made; the hint says when it stands."""
    sender.send(endpoint, b"knock")
    await inbox.until(lambda: (endpoint, True) in inbox.hints)


async def test_packets_arrive_whole_in_order_with_the_name_of_their_sender(make: Make) -> None:
    a, in_a, at_a, b, in_b, at_b = await two(make)
    await reach(a, in_a, at_b)
    await reach(b, in_b, at_a)
    sent = [bytes([n]) * size for n, size in enumerate((0, 1, 100, 70_000, 1_200_000))]
    for packet in sent:
        assert a.send(at_b, packet)
    assert b.send(at_a, b"back")
    await in_b.until(lambda: (sent[-1], "a") in in_b.packets)
    await in_a.until(lambda: (b"back", "b") in in_a.packets)
    assert [packet for packet in in_b.packets if packet[0] != b"knock"] == [(packet, "a") for packet in sent]


async def test_sending_to_nobody_is_a_counted_drop(make: Make) -> None:
    a, *_ = await two(make)
    assert not a.send("tcp://127.0.0.1:9", b"x")
    assert not a.send("nonsense", b"x")
    assert sum(a.counters().values()) >= 2


async def test_stopping_twice_and_binding_twice_are_harmless(make: Make) -> None:
    a, _, at_a, _, _, at_b = await two(make)
    assert a.bind() == at_a
    await a.stop()
    await a.stop()
    assert not a.send(at_b, b"x")


async def test_many_packets_are_read_over_several_turns_of_the_loop(make: Make) -> None:
    a, in_a, _, _, in_b, at_b = await two(make)
    await reach(a, in_a, at_b)
    sent = 0
    for n in range(4000):
        while not a.send(at_b, b"%d" % n):
            await asyncio.sleep(0)
        sent += 1
    await in_b.until(lambda: len([p for p, _ in in_b.packets if p != b"knock"]) == sent)
    assert [p for p, _ in in_b.packets if p != b"knock"] == [b"%d" % n for n in range(sent)]


class Owner:
    """A pump and what its handler saw."""

    def __init__(self, name: str, transport: Transport) -> None:
        self.seen: list[Event] = []
        self.changed = asyncio.Event()
        me = Peer(name, f"{name}:1", transport.bind())
        self.mesh = Mesh(me, CONFIG, asyncio.get_running_loop().time())
        self.pump = Pump(self.mesh, transport, self.handle)

    def handle(self, events: list[Event], now: float) -> None:
        self.seen += events
        self.changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                self.changed.clear()
                await self.changed.wait()

    def frames(self) -> list[bytes]:
        return [event.frame for event in self.seen if isinstance(event, FrameIn)]

    def up(self) -> bool:
        return any(isinstance(event, PeerUp) for event in self.seen)


async def linked(make: Make) -> tuple[Owner, Owner]:
    a, b = Owner("a", make("a")), Owner("b", make("b"))
    await a.pump.start()
    await b.pump.start()
    a.mesh.connect("b", b.mesh.me.endpoint, asyncio.get_running_loop().time())
    a.pump.flush()
    await a.until(a.up)
    await b.until(b.up)
    return a, b


async def test_two_pumps_exchange_frames_and_acknowledgements(make: Make) -> None:
    a, b = await linked(make)
    now = asyncio.get_running_loop().time()
    sent = [b"%d" % n for n in range(500)]
    assert [a.mesh.send("b:1", frame, now) for frame in sent] == [*range(1, 501)]
    a.pump.flush()
    await b.until(lambda: len(b.frames()) == 500)
    await a.until(lambda: Acked("b:1", 500) in a.seen)
    assert b.frames() == sent
    await a.pump.stop()
    await b.pump.stop()


async def test_a_handler_that_raises_stops_the_pump_and_acknowledges_nothing(make: Make) -> None:
    a, b = await linked(make)

    def broken(events: list[Event], now: float) -> None:
        raise RuntimeError("a bug")

    b.pump._handle = broken
    a.mesh.send("b:1", b"x", asyncio.get_running_loop().time())
    a.pump.flush()
    with pytest.raises(RuntimeError, match="a bug"):
        await asyncio.wait_for(b.pump.failed(), 10)
    await asyncio.sleep(0.05)
    assert not any(isinstance(event, Acked) for event in a.seen)
    await a.pump.stop()
    await b.pump.stop()


async def test_the_owners_timer_is_called_when_it_asked_to_be(make: Make) -> None:
    loop = asyncio.get_running_loop()
    calls: list[float] = []
    done = asyncio.Event()
    start = loop.time()

    def tick(now: float) -> float | None:
        calls.append(now)
        if now >= start + 0.03:
            done.set()
            return None
        return start + 0.03

    transport = make("a")
    pump = Pump(Mesh(Peer("a", "a:1", transport.bind()), CONFIG, start), transport, lambda events, now: None, tick)
    await pump.start()
    await asyncio.wait_for(done.wait(), 10)
    assert calls[-1] >= start + 0.03 and len(calls) <= 5
    await pump.stop()
