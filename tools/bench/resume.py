"""``python -m tools.bench.resume``: one process of clients that come and go, as on a bad line. Reads a ``Plan``, prints a ``Tally``.

Everybody says hello, writes one message and hears the other's, and goes. Then, again and again: connect, say hello with the cursor and
the seqs of before, wait for ``synced``, go. What is counted is the time from connecting to ``synced``; ``messages`` are resumes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

import msgspec
import uvloop
from homing.protocol import JSON_SUBPROTOCOL, Ack, Hello, Send
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tools.bench.load import CONNECT_AT_ONCE, SETTLE_S, Person, Plan, Tally, ask

AT_ONCE = 24
"""Resumes under way when they go as fast as they can: both nodes have something to do at all times."""
HEADERS = {"Sec-WebSocket-Protocol": JSON_SUBPROTOCOL}


class _Entry(msgspec.Struct):
    conversation: str
    seq: int


class _Frame(msgspec.Struct):
    op: str
    cursor: str = ""
    entry: _Entry | None = None
    name: str = ""


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode


class Flapper(WSListener):
    """One person, on one connection after the other."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.transport: WSTransport | None = None
        self.cursor: str | None = None
        self.have: dict[str, int] = {}
        self.synced = asyncio.Event()
        self.heard = 0
        self.errors: list[str] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.send(WSMsgType.TEXT, _encode(Hello(token=self.person.token, cursor=self.cursor, have=self.have)))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        got = _decode(frame.get_payload_as_bytes())
        if got.entry is not None:
            self.have[got.entry.conversation] = max(got.entry.seq, self.have.get(got.entry.conversation, 0))
            self.heard += 1
            if got.op == "message":
                transport.send(WSMsgType.TEXT, _encode(Ack(conversation=got.entry.conversation, seq=got.entry.seq)))
        elif got.op == "synced":
            self.cursor = got.cursor
            self.synced.set()
        elif got.op == "error":
            self.errors.append(got.name)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None

    async def come(self) -> None:
        """Connects and returns when it has all."""
        self.synced.clear()
        await ws_connect(lambda: self, self.person.url, extra_headers=HEADERS)
        async with asyncio.timeout(SETTLE_S):
            await self.synced.wait()

    def go(self) -> None:
        if self.transport is not None:
            self.transport.disconnect()


class Flapping:
    """All of one process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.flappers = [Flapper(person) for person in plan.people]
        self.idle = deque(self.flappers)
        self.tally = Tally()
        self.counting = False

    async def prepare(self) -> None:
        """Everybody has one conversation, with a message of each of the two, and goes."""
        for n in range(0, len(self.flappers), CONNECT_AT_ONCE):
            await asyncio.gather(*(flapper.come() for flapper in self.flappers[n : n + CONNECT_AT_ONCE]))
        for flapper in self.flappers:
            assert flapper.transport is not None
            flapper.transport.send(WSMsgType.TEXT, _encode(Send(id="first", to=flapper.person.to[0], body="hello", after=0)))
        async with asyncio.timeout(SETTLE_S):
            while any(flapper.heard < 2 for flapper in self.flappers):  # noqa: ASYNC110  # of four hundred clients, and not measured
                await asyncio.sleep(0.05)
        for flapper in self.flappers:
            flapper.go()
        await asyncio.sleep(0.5)

    async def resume(self) -> None:
        flapper = self.idle.popleft()
        began = time.perf_counter()
        try:
            await flapper.come()
        except (TimeoutError, OSError) as error:
            flapper.errors.append(type(error).__name__)
        else:
            if self.counting:
                self.tally.messages += 1
                self.tally.sent_ms.append((time.perf_counter() - began) * 1_000)
        for name in flapper.errors:
            self.tally.errors[name] = self.tally.errors.get(name, 0) + 1
        flapper.errors.clear()
        flapper.go()
        self.idle.append(flapper)

    async def drive(self, seconds: float) -> None:
        began = time.perf_counter()
        if not self.plan.rate:

            async def again() -> None:
                while time.perf_counter() - began < seconds:
                    await self.resume()

            await asyncio.gather(*(again() for _ in range(min(AT_ONCE, len(self.flappers) // 2))))
            return
        tasks: set[asyncio.Task[None]] = set()
        started = 0
        while (passed := time.perf_counter() - began) < seconds:
            while started < passed * self.plan.rate and len(tasks) < len(self.flappers) // 2:
                task = asyncio.ensure_future(self.resume())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                started += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)

    async def run(self) -> Tally:
        await self.drive(self.plan.warm_s)
        print("warm", flush=True)
        await ask("go")
        self.counting = True
        began = time.perf_counter()
        await self.drive(self.plan.run_s)
        self.tally.seconds = time.perf_counter() - began
        print("over", flush=True)
        return self.tally


async def main() -> None:
    flapping = Flapping(msgspec.json.decode(sys.stdin.readline(), type=Plan))
    await flapping.prepare()
    print("ready", flush=True)
    await ask("start")
    print(msgspec.json.encode(await flapping.run()).decode(), flush=True)
    await ask("end")


if __name__ == "__main__":
    uvloop.run(main())
