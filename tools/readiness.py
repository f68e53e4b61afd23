"""Asks processes, until they say so, whether they are ready (their ``/readyz``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp

from tools.http import get, session
from tools.layout import Part

POLL_S = 0.1
"""Soon enough that nobody waits for the poll; ten small requests a second and process while something starts, none afterwards."""


async def unready_reason(http: aiohttp.ClientSession, part: Part) -> str | None:
    """Why ``part`` is not ready; None when it is."""
    try:
        reply = await get(http, f"{part.url}/readyz")
    except OSError:
        return "does not answer yet"
    if reply.status == 200:
        return None
    try:
        value = reply.json()
        return str(value["reason"]) if isinstance(value, dict) and "reason" in value else f"answers {reply.status}"
    except json.JSONDecodeError:
        return f"answers {reply.status}"


class Readiness:
    """Which processes are still expected to become ready, and why they are not.

    Args:
        parts: the processes by name.
        on_ready: called with the name of each that has become so.
    """

    def __init__(self, parts: dict[str, Part], on_ready: Callable[[str], None]) -> None:
        self._parts, self._on_ready = parts, on_ready
        self._news = asyncio.Event()
        self.reasons: dict[str, str] = {}

    def expect(self, name: str) -> None:
        """From now on ``name`` is asked: it was started (again)."""
        self.reasons[name] = "is starting"
        self._news.set()

    def __str__(self) -> str:
        return "; ".join(f"{name} {reason}" for name, reason in sorted(self.reasons.items()))

    async def watch(self) -> None:
        """Asks for ever; to be cancelled."""
        async with session() as http:
            while True:
                await self._news.wait()
                self._news.clear()
                while self.reasons:
                    await asyncio.gather(*(self.ask(http, name) for name in list(self.reasons)))
                    await asyncio.sleep(POLL_S)

    async def ask(self, http: aiohttp.ClientSession, name: str) -> None:
        """Asks ``name`` once."""
        reason = await unready_reason(http, self._parts[name])
        if name not in self.reasons:
            return
        if reason is None:
            del self.reasons[name]
            self._on_ready(name)
        else:
            self.reasons[name] = reason
