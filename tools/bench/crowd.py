"""``python -m tools.bench.crowd``: one process of people who are just there. Reads a ``Crowd`` as JSON on standard input, prints ``ready``
when all are in, and then does what each line says, answering ``ok``:

    ``pings 1``, ``pings 0``: everybody says his heartbeat, or nothing
    ``watch 1``, ``watch 0``: everybody watches his people, or nobody
    ``flap 20``: so many people a second close their socket and come back ``AWAY_S`` later
    ``tally``: prints a ``Heard`` as JSON instead
    ``end``
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import cycle

import msgspec
import uvloop
from homing.protocol import JSON_SUBPROTOCOL, Hello, Ping, Watch
from msgspec import Struct
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tools.bench.load import CONNECT_AT_ONCE, SETTLE_S, Person

PING_S = 10.0
"""The cluster's own interval."""
AWAY_S = 9.0
"""Longer than the linger: others see that somebody was away."""
_encode = msgspec.json.Encoder().encode
_PING = _encode(Ping())
_SYNCED = b'{"op":"synced"'
_PRESENCE = b'{"op":"presence"'
_PONG = b'{"op":"pong"'


class Crowd(Struct):
    people: list[Person]
    """Whom each of them watches is in ``to``."""


class Heard(Struct):
    """What all of them heard since they came."""

    pongs: int = 0
    presence: int = 0
    """Frames."""
    people: int = 0
    """People in them."""
    lost: int = 0
    """Sockets that somebody else closed."""


class Guest(WSListener):
    def __init__(self, party: Party, person: Person) -> None:
        self.party, self.person = party, person
        self.transport: WSTransport | None = None
        self.leaving = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.leaving = False
        self.put(_encode(Hello(token=self.person.token)))

    def put(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, data)

    def watch(self, wanted: bool) -> None:
        self.put(_encode(Watch(users=self.person.to if wanted else [])))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            return
        data = frame.get_payload_as_bytes()
        if data.startswith(_PONG):
            self.party.heard.pongs += 1
        elif data.startswith(_PRESENCE):
            self.party.heard.presence += 1
            self.party.heard.people += data.count(b'"user"')
        elif data.startswith(_SYNCED):
            self.party.on_synced(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.transport = None
        self.party.heard.lost += not self.leaving


class Party:
    """All people of this process."""

    def __init__(self, crowd: Crowd) -> None:
        self.guests = [Guest(self, person) for person in crowd.people]
        self.heard = Heard()
        self.synced = 0
        self.all_in = asyncio.Event()
        self.pings = self.watches = False
        self.flap_per_s = 1.0
        self.flapping = asyncio.Event()

    def on_synced(self, guest: Guest) -> None:
        self.synced += 1
        if self.synced >= len(self.guests):
            self.all_in.set()
        if self.watches:
            guest.watch(True)

    async def connect(self, guests: list[Guest]) -> None:
        headers = {"Sec-WebSocket-Protocol": JSON_SUBPROTOCOL}
        for n in range(0, len(guests), CONNECT_AT_ONCE):
            part = guests[n : n + CONNECT_AT_ONCE]
            await asyncio.gather(*(ws_connect(lambda g=g: g, g.person.url, extra_headers=headers) for g in part))

    async def ping(self) -> None:
        """Everybody once in ``PING_S``, spread evenly."""
        while True:
            began = time.perf_counter()
            for n, guest in enumerate(self.guests):
                if self.pings:
                    guest.put(_PING)
                if n % 25 == 24:
                    await asyncio.sleep(max(0.0, began + PING_S * n / len(self.guests) - time.perf_counter()))
            await asyncio.sleep(max(0.1, began + PING_S - time.perf_counter()))

    async def flap(self) -> None:
        coming: set[asyncio.Task[None]] = set()
        for guest in cycle(self.guests[:: max(1, len(self.guests) // 997)] + self.guests):
            await self.flapping.wait()
            if guest.transport is not None:
                guest.leaving = True
                guest.transport.disconnect()
                task = asyncio.ensure_future(self._come_back(guest))
                coming.add(task)
                task.add_done_callback(coming.discard)
            await asyncio.sleep(1 / self.flap_per_s)

    async def _come_back(self, guest: Guest) -> None:
        await asyncio.sleep(AWAY_S)
        await self.connect([guest])

    async def watch(self, wanted: bool) -> None:
        """A thousand a second."""
        self.watches = wanted
        for n, guest in enumerate(self.guests):
            guest.watch(wanted)
            if n % 50 == 49:
                await asyncio.sleep(0.05)

    async def obey(self, line: str) -> str:
        what, _, how = line.partition(" ")
        if what == "pings":
            self.pings = how == "1"
        elif what == "watch":
            await self.watch(how == "1")
        elif what == "flap":
            self.flap_per_s = float(how)
            self.flapping.set()
        elif what == "tally":
            return msgspec.json.encode(self.heard).decode()
        return "ok"


async def main() -> None:
    loop = asyncio.get_running_loop()
    party = Party(msgspec.json.decode(sys.stdin.readline(), type=Crowd))
    party.pings = True
    tasks = [asyncio.ensure_future(party.ping()), asyncio.ensure_future(party.flap())]
    await party.connect(party.guests)
    await asyncio.wait_for(party.all_in.wait(), SETTLE_S)
    print("ready", flush=True)
    while (line := (await loop.run_in_executor(None, sys.stdin.readline)).strip()) not in ("end", ""):
        print(await party.obey(line), flush=True)
    for task in tasks:
        task.cancel()
    for guest in party.guests:
        if guest.transport is not None:
            guest.leaving = True
            guest.transport.disconnect()


if __name__ == "__main__":
    uvloop.run(main())
