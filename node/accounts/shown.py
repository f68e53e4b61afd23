"""What people show of their presence, read for the node's core, which asks no database itself (``node/core/privacy.py``).

Laws:
    * Many questions are one query: what is asked while one is under way goes with the next.
    * Every question is answered; with None where the database did not do it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeAlias

from node.accounts.database import Database
from node.core.privacy import Privacy
from node.refusal import Refused
from storage.relational.records import ShownRow

USERS_MAX = 256
"""Users of one query."""
GATHER_S = 0.005
"""The first question waits so long for others."""

Told: TypeAlias = Callable[[Sequence[tuple[str, int, Privacy | None]]], None]


class ShownReader:
    """Reads for one node.

    Args:
        database: the accounts'.
        told: hears the answers: user, number, what he shows.
    """

    def __init__(self, database: Database, told: Told) -> None:
        self.database = database
        self.told = told
        self.wanted: dict[str, int] = {}
        self.task: asyncio.Task[None] | None = None

    def want(self, user: str, n: int) -> None:
        """The core asks, under a number; of two questions about somebody only the later counts."""
        self.wanted[user] = n
        if self.task is None:
            self.task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            await asyncio.sleep(GATHER_S)
            while self.wanted:
                users = list(self.wanted)[:USERS_MAX]
                asked = [(user, self.wanted.pop(user)) for user in users]
                shown = await self._read(users)
                self.told([(user, n, shown[user] if shown is not None else None) for user, n in asked])
        finally:
            self.task = None

    async def _read(self, users: list[str]) -> dict[str, Privacy] | None:
        try:
            rows = await self.database.call(lambda rows: rows.shown(users))
        except Refused:
            return None
        return {user: privacy_of(row) for user, row in rows.items()}


def privacy_of(row: ShownRow) -> Privacy:
    """The row as the core has it."""
    return Privacy(row.online, row.last_seen, row.contacts, row.blocked)
