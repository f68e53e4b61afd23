"""The pump's timer, with a loop whose clock counts milliseconds, as uvloop's does. What it carries: tests/contract/test_transport.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from router.events import Peer
from router.limits import MeshLimits
from router.mesh import Mesh
from router.packets import Data, Hello, decode, encode
from router.pump import Pump
from router.transport import Hint, NameOf, Receive


class Handle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class CoarseLoop:
    """Virtual time. ``time`` is cut to milliseconds, and a timer fires up to half a millisecond before its time."""

    def __init__(self) -> None:
        self.real = 1000.0
        self.handles: list[Handle] = []
        self.turns = 0

    def time(self) -> float:
        return int(self.real * 1000) / 1000

    def call_soon(self, call: Callable[[], None]) -> Handle:
        return self.call_at(self.real, call)

    def call_at(self, at: float, call: Callable[[], None]) -> Handle:
        early = round((at - self.time()) * 1000) / 1000
        self.handles.append(Handle(self.real + max(early, 0.0), call))
        return self.handles[-1]

    def create_future(self) -> None:
        return None

    def run(self, seconds: float) -> None:
        end = self.real + seconds
        while True:
            due = [handle for handle in self.handles if not handle.cancelled and handle.at <= end]
            if not due:
                break
            first = min(due, key=lambda handle: handle.at)
            self.handles.remove(first)
            self.real = max(self.real + 2e-5, first.at)  # a turn of the loop takes its time
            self.turns += 1
            first.call()
        self.real = end


class Wire:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.receive: Receive | None = None

    def bind(self) -> str:
        return "mem://a"

    async def start(self, receive: Receive, hint: Hint, name_of: NameOf) -> None:
        self.receive = receive

    def send(self, endpoint: str, packet: bytes) -> bool:
        self.sent.append(packet)
        return True

    async def stop(self) -> None: ...

    def counters(self) -> dict[str, int]:
        return {}


async def test_a_timer_that_fires_early_has_come_and_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wire = CoarseLoop(), Wire()
    limits = MeshLimits(ack_delay_s=0.0023, pace_s=0.0023, keepalive_s=60.0)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    pump = Pump(Mesh(Peer("a", "a:1", "mem://a"), limits, loop.time()), wire, lambda events, now: None)
    await pump.start()
    monkeypatch.undo()
    assert wire.receive is not None
    wire.receive(encode(Hello(1, 1, "b", "b:1", "mem://b", "a", "a:1", 0, 0, 1), 1), "b")
    loop.run(0.1)
    loop.turns = 0
    for n in range(50):
        wire.receive(encode(Data("b:1", "a:1", 0, n + 1, 0, 0, [b"x"]), 1), "b")
        loop.run(0.01)
    acks = [packet for packet in map(decode, wire.sent) if isinstance(packet, Data)]
    assert [packet.ack for packet in acks] == list(range(1, 51))
    assert loop.turns <= 120  # for each frame a write after reading it, and one timer
