"""Clients for tests: made for a small honest server, closed in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from homing import (
    Client,
    Shown,
)
from homing.limits import Limits
from homing.store import Store
from homing.streams import EventStream

from tests.integration.client_server import ChatServer

FAST = Limits(backoff_min_s=0.01, backoff_max_s=0.05, retry_s=0.01)
Make = Callable[..., Client]


def token(name: str) -> Callable[[], Awaitable[str]]:
    async def get() -> str:
        return name

    return get


async def live(client: Client) -> Client:
    await client.open()
    await client.wait_for("live")
    return client


async def bodies(stream: EventStream, count: int) -> list[str]:
    found: list[str] = []
    async for event in stream:
        if isinstance(event, Shown):
            found.append(event.entry.body)
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def clients(server: ChatServer) -> AsyncIterator[Make]:
    """Makes clients; all are closed in the end."""
    made: list[Client] = []

    def build(name: str, store: Store | Path | None = None, **options: object) -> Client:
        options = {"limits": FAST, **options}
        made.append(Client(server.url, token(name), store, **options))  # type: ignore[arg-type]  # options by name
        return made[-1]

    yield build
    for client in made:
        await client.close()
