"""The short way to a client: what a program does not say comes from its environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from homing.client import Client
from homing.engine import GetToken, SignInStopped
from homing.handles import Handle
from homing.protocol import Entry
from homing.store import Store

if TYPE_CHECKING:
    from homing.connection import Format

T = TypeVar("T")
DEFAULT_URL = "ws://127.0.0.1:7401"
"""The first node that `./run` starts."""
STORED_WAIT_S = 30.0
"""How long `run` waits for what it is to return; it is sent again by itself meanwhile."""


def connect(
    url: str | Sequence[str] | None = None,
    token: str | GetToken | None = None,
    store: Store | Path | str | None = None,
    *,
    user: str = "",
    format: Format = "msgpack",
) -> Client:
    """A client, to be used as ``async with homing.connect() as me:``. See `Client` for what else can be set.

    Args:
        url: a node's or load balancer's address, or several; left out: those in $HOMING_URL (with commas between), else `DEFAULT_URL`.
        token: a token, or an async function that gives a fresh one whenever the client connects; left out: $HOMING_TOKEN. A program that
            runs for longer than its token is valid needs the function.
        store: the path of the local file, or None to forget everything with the process.
        user: the own account's name, to send before the first connection ever.
        format: "msgpack", or "json".
    """
    urls = url if url is not None else [u.strip() for u in os.environ.get("HOMING_URL", DEFAULT_URL).split(",") if u.strip()]
    return Client(urls, token if callable(token) else _always(token), store, user=user, format=format)


def _always(token: str | None) -> GetToken:
    async def get_token() -> str:
        found = token if token is not None else os.environ.get("HOMING_TOKEN", "")
        if not found:
            raise SignInStopped("no token: neither given nor in $HOMING_TOKEN (homing token --user NAME prints one)")
        return found

    return get_token


@overload
def run(main: Callable[[Client], Awaitable[Handle]], url: str | Sequence[str] | None = None, token: str | None = None) -> Entry: ...


@overload
def run(main: Callable[[Client], Awaitable[T]], url: str | Sequence[str] | None = None, token: str | None = None) -> T: ...


def run(main: Callable[[Client], Awaitable[object]], url: str | Sequence[str] | None = None, token: str | None = None) -> object:
    """The short way for a program that says something and ends: ``homing.run(lambda me: me.send("bob", "hello"))``.

    Args:
        main: is called with the client, and awaited; no event loop may be running.
        url, token: as for `connect`.

    Returns:
        What ``main`` gives. If that is the handle of something it sent: its entry, once the cluster has it for good.

    Raises:
        RequestRefused: it will never be taken.
        ClientClosed: there is no token, or it is not valid.
        TimeoutError: it is not stored within 30 s.
    """

    async def live() -> object:
        async with connect(url, token) as me:
            given = await main(me)
            if not isinstance(given, Handle):
                return given
            async with asyncio.timeout(STORED_WAIT_S):
                return await given.stored

    return asyncio.run(live())
