"""``python -m tools.bench.load``: one process of clients. Reads a ``Plan`` as JSON on standard input, prints a ``Tally`` as JSON.

Clients are bare WebSockets that parse no more than they must, for their cost is not the servers'. They speak the client protocol; the
relays of the floors understand the same frames after a hello of their own.

The process prints ``ready`` when all clients are in, waits for a line on standard input, runs the load, prints the tally, and waits for
the end of standard input before it closes its sockets.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop
from homing.ids import direct_id
from homing.protocol import JSON_SUBPROTOCOL, Ack, Fetch, GroupCreate, Hello, Ping, Send
from msgspec import Struct
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

BODY = "The quick brown fox jumps over the lazy dog. " * 2
PING_S = 8.0
CONNECT_AT_ONCE = 100
SETTLE_S = 60.0


class Person(Struct):
    """One client: where it connects, as whom, and to whom it writes."""

    url: str
    name: str
    user: str = ""
    token: str = ""
    """Empty: the server is a relay."""
    to: list[str] = []
    """User ids to write to in turn, or a group's; for relays the peer's or room's name."""
    writes: bool = True


class Plan(Struct):
    people: list[Person]
    group: str = ""
    """The group's id that the first person makes of all; empty: pairs."""
    rate: float = 0.0
    """Messages a second of this process; 0: as fast as it goes, one in flight for each writer."""
    warm_s: float = 1.0
    run_s: float = 5.0
    resume: bool = False
    """Come and go instead of writing: see ``resume.py``; ``rate`` is in resumes a second, 0: one after the other."""
    idle: bool = False
    """Connect, stay, send nothing but pings."""


class Tally(Struct):
    messages: int = 0
    copies: int = 0
    seconds: float = 0.0
    sent_ms: list[float] = []
    """Time from ``send`` to ``sent`` of each message."""
    delivered_ms: list[float] = []
    """Time from ``send`` to the arrival at the (first) other member."""
    errors: dict[str, int] = {}
    missing: int = 0
    """Messages that were written and had no ``sent`` at the end."""


class _Entry(Struct):
    conversation: str
    seq: int
    sender: str
    id: str


class _Welcome(Struct, tag_field="op", tag="welcome"):
    user: str = ""


class _Synced(Struct, tag_field="op", tag="synced"):
    cursor: str = ""


class _Message(Struct, tag_field="op", tag="message"):
    entry: _Entry


class _Sent(Struct, tag_field="op", tag="sent"):
    id: str
    entry: _Entry


class _Receipts(Struct, tag_field="op", tag="receipts"):
    conversation: str


class _Head(Struct, tag_field="op", tag="head"):
    conversation: str
    seq: int


class _Entries(Struct, tag_field="op", tag="entries"):
    id: str
    entries: list[_Entry]


class _Error(Struct, tag_field="op", tag="error"):
    name: str
    id: str | None = None


class _Heads(Struct, tag_field="op", tag="heads"):
    pass


class _Pong(Struct, tag_field="op", tag="pong"):
    pass


_decode = msgspec.json.Decoder(_Welcome | _Synced | _Message | _Sent | _Receipts | _Head | _Entries | _Error | _Heads | _Pong).decode
_encode = msgspec.json.Encoder().encode


class Client(WSListener):
    """One person's socket."""

    def __init__(self, load: Load, person: Person, number: int) -> None:
        self.load, self.person, self.number = load, person, number
        self.transport: WSTransport | None = None
        self.ready = False
        self.after: dict[str, int] = {}
        """Conversation → the seq that is known of it."""
        self.places = [direct_id(person.user, to) if person.user and not load.plan.group else to for to in person.to]
        self.count = 0
        self.waits_for = ""

    def put(self, frame: object) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, _encode(frame))

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        person = self.person
        if person.token:
            self.put(Hello(token=person.token))
        else:
            key = "room" if self.load.plan.group else "peer"
            self.put({"op": "hello", "name": person.name, key: person.to[0]})

    def send(self) -> None:
        self.count += 1
        now = time.perf_counter()
        id_ = f"{self.number:06d}-{self.count:09d}"
        self.waits_for = id_
        self.load.written[id_] = now
        turn = self.count % len(self.person.to)
        to = self.person.to[turn] if self.person.token else "0" * 32
        self.put(Send(id=id_, to=to, body=BODY, ts=int(time.time() * 1_000), after=self.after.get(self.places[turn], 0)))

    def know(self, entry: _Entry) -> None:
        self.after[entry.conversation] = max(self.after.get(entry.conversation, 0), entry.seq)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        got = _decode(frame.get_payload_as_bytes())
        kind = type(got)
        if kind is _Message:
            entry = got.entry
            self.know(entry)
            self.put(Ack(conversation=entry.conversation, seq=entry.seq))
            self.load.on_copy(entry.id)
        elif kind is _Sent:
            self.know(got.entry)
            self.load.on_sent(got.id)
            if got.id == self.waits_for:
                self.load.on_free(self)
        elif kind is _Head:
            self.put(Fetch(id=f"f{got.seq}", conversation=got.conversation, from_seq=self.after.get(got.conversation, 0) + 1))
        elif kind is _Entries:
            for entry in got.entries:
                self.know(entry)
                self.load.on_copy(entry.id)
            if got.entries:
                self.put(Ack(conversation=got.entries[-1].conversation, seq=got.entries[-1].seq))
        elif kind is _Error:
            self.load.on_error(self, got)
        elif kind is _Synced or (kind is _Welcome and not self.person.token):
            self.ready = True
            self.load.on_ready()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        if self.load.running:
            self.load.count_error("disconnected")


class Load:
    """All clients of this process and what became of their messages."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clients = [Client(self, person, n) for n, person in enumerate(plan.people)]
        self.writers = [c for c in self.clients if c.person.writes]
        self.written: dict[str, float] = {}
        self.undelivered: dict[str, float] = {}
        self.running = False
        self.counting = False
        self.tally = Tally()
        self.ready = 0
        self.all_ready = asyncio.Event()

    def on_ready(self) -> None:
        self.ready += 1
        if self.ready == len(self.clients):
            self.all_ready.set()

    def on_copy(self, id_: str) -> None:
        if not self.counting:
            return
        self.tally.copies += 1
        at = self.written.get(id_)
        if at is not None and id_ not in self.undelivered:
            self.undelivered[id_] = at
            self.tally.delivered_ms.append((time.perf_counter() - at) * 1_000)

    def on_sent(self, id_: str) -> None:
        at = self.written.pop(id_, None)
        self.undelivered.pop(id_, None)
        if at is not None and self.counting:
            self.tally.messages += 1
            self.tally.sent_ms.append((time.perf_counter() - at) * 1_000)

    def on_free(self, client: Client) -> None:
        if self.running and not self.plan.rate and client.person.writes:
            client.send()

    def on_error(self, client: Client, error: _Error) -> None:
        self.count_error(error.name)
        if error.id is not None and error.id == client.waits_for:
            self.written.pop(error.id, None)
            asyncio.get_running_loop().call_later(0.1, self.on_free, client)

    def count_error(self, name: str) -> None:
        self.tally.errors[name] = self.tally.errors.get(name, 0) + 1

    # -------------------------------------------------------------- phases

    async def connect(self) -> None:
        headers = {"Sec-WebSocket-Protocol": JSON_SUBPROTOCOL}
        for n in range(0, len(self.clients), CONNECT_AT_ONCE):
            part = self.clients[n : n + CONNECT_AT_ONCE]
            made: list[Callable[[], WSListener]] = [lambda c=c: c for c in part]  # type: ignore[misc]  # the default binds c
            await asyncio.gather(*(ws_connect(make, c.person.url, extra_headers=headers) for make, c in zip(made, part, strict=True)))
        await asyncio.wait_for(self.all_ready.wait(), SETTLE_S)

    async def make_group(self) -> None:
        first = self.clients[0]
        members = [c.person.user for c in self.clients[1:]]
        frame = GroupCreate(id="create", conversation=self.plan.group, title="Bench", members=members)
        self.written["create"] = time.perf_counter()
        first.put(frame)
        for _ in range(1_000):
            if "create" not in self.written:
                return
            await asyncio.sleep(0.01)
        raise RuntimeError("the group was not made")

    async def ping(self) -> None:
        """Every client pings once in PING_S, spread evenly."""
        while True:
            began = time.perf_counter()
            for n, client in enumerate(self.clients):
                if client.person.token:
                    client.put(Ping())
                if n % 50 == 49:
                    await asyncio.sleep(max(0.0, began + PING_S * n / len(self.clients) - time.perf_counter()))
            await asyncio.sleep(max(0.5, began + PING_S - time.perf_counter()))

    async def drive(self, seconds: float) -> None:
        """Sends for ``seconds``."""
        if not self.plan.rate:
            for client in self.writers:
                if not client.waits_for or client.waits_for not in self.written:
                    client.send()
            await asyncio.sleep(seconds)
            return
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            due = int(passed * self.plan.rate)
            while sent < due:
                self.writers[sent % len(self.writers)].send()
                sent += 1
            await asyncio.sleep(0.001)

    async def run(self) -> Tally:
        self.running = True
        await self.drive(self.plan.warm_s)
        print("warm", flush=True)
        await ask("go")
        self.counting = True
        began = time.perf_counter()
        await self.drive(self.plan.run_s)
        self.tally.seconds = time.perf_counter() - began
        self.counting = False
        self.running = False
        print("over", flush=True)
        for _ in range(200):
            if not self.written:
                break
            await asyncio.sleep(0.05)
        self.tally.missing = len(self.written)
        return self.tally


async def ask(what: str) -> None:
    """Waits for the line ``what`` on standard input."""
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if line.strip() != what:
        raise SystemExit(f"load: expected {what!r}, got {line!r}")


async def main() -> None:
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    load = Load(plan)
    await load.connect()
    if plan.group and plan.people[0].token:
        await load.make_group()
    pinging = asyncio.ensure_future(load.ping())
    print("ready", flush=True)
    await ask("start")
    if plan.idle:
        print("warm", flush=True)
        await ask("go")
        await asyncio.sleep(plan.run_s)
        print("over", flush=True)
        tally = load.tally
    else:
        tally = await load.run()
    print(msgspec.json.encode(tally).decode(), flush=True)
    await ask("end")
    pinging.cancel()
    for client in load.clients:
        if client.transport is not None:
            client.transport.disconnect()


if __name__ == "__main__":
    uvloop.run(main())
