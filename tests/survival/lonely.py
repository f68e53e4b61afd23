"""``python -m tests.survival.lonely``: one device in a process of its own, which is killed without a word and started again on its store.

Reads a ``Plan`` as JSON on standard input; prints what happens as one JSON object a line, each line before anything that follows from it.
After a second line of input it falls silent, waits until all that it said is answered, and ends.
"""

from __future__ import annotations

import asyncio
import random
import sys

import msgspec
from homing import Client, Shown, Stored
from homing.protocol import Entry
from homing.streams import EventStream
from msgspec import Struct

EVENTS_MAX = 1_000_000


class Plan(Struct):
    urls: list[str]
    token: str
    person: str
    store: str
    places: list[str]
    """Users and groups that are talked to."""
    life: int
    """How many lives the device has had: part of the ids, so that each is used once."""
    mean_s: float


class Line(Struct, omit_defaults=True):
    """``saying`` (id, to, body), ``safe`` (id), ``stored`` (id, entry), ``shown`` (entry)."""

    what: str
    id: str = ""
    to: str = ""
    body: str = ""
    entry: Entry | None = None


def tell(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def watch(events: EventStream) -> None:
    async for event in events:
        if isinstance(event, Shown):
            tell(Line("shown", entry=event.entry))
        elif isinstance(event, Stored):
            tell(Line("stored", event.id, entry=event.entry))


async def talk(client: Client, plan: Plan) -> None:
    for number in range(1_000_000):
        to, id_ = random.choice(plan.places), f"{plan.person}/lonely#{plan.life}.{number}"
        body = f"{plan.person} {random.getrandbits(64):x}"
        tell(Line("saying", id_, to, body))
        await client.send(to, body, id=id_)
        tell(Line("safe", id_))
        await asyncio.sleep(random.uniform(0.2, 1.8) * plan.mean_s)


async def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)

    async def token() -> str:
        return plan.token

    async with Client(plan.urls, token, plan.store, user=plan.person) as client:
        watcher = asyncio.create_task(watch(client._stream(None, EVENTS_MAX)))
        talker = asyncio.create_task(talk(client, plan))
        await asyncio.to_thread(sys.stdin.buffer.readline)
        talker.cancel()
        await client.wait_for("live")
        while client.outbox():
            await asyncio.sleep(0.05)
    await watcher


if __name__ == "__main__":
    asyncio.run(main())
