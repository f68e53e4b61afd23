"""The short way to a client: what a program does not say comes from its environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homing.client import Client
from homing.engine import GetToken, SignInStopped
from homing.store import Store

if TYPE_CHECKING:
    from homing.connection import Format

DEFAULT_URL = "ws://127.0.0.1:7401"
"""The first node that `./run` starts."""


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
