"""Who blocks whom, repeated from the conversations' homes in the relational database: for lists, and for what people show of themselves.

The homes decide (``design.md`` §4); a message never waits for this table, and no home ever asks it.

Laws:
    * What waits is bounded and kept until the database has it. What finds no room, or is lost with this node, is told again by the
      next activation of its conversation (``BlockDecided``).
    * Of two decisions about the same two people the one with the higher seq stands, here and in the table.
    * Whoever shows less to somebody is announced (``changed``) once the table says so, each time that is told: an announcement may be lost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from homing import rest

from node.accounts.database import Database
from node.core.effects import BlockDecided
from node.edge.tokens import Claims
from node.refusal import Refused
from storage.relational.records import BlockRow

WAITING_MAX = 10_000
"""Pairs that wait for the database; some 300 bytes each."""
NOTED_MAX = 10_000
"""Pairs whose last decision is known to be in the table, so that conversations which come and go in memory do not write it again."""
BATCH_ROWS = 128
AGAIN_S = 1.0
AGAIN_S_MAX = 15.0
"""A database that did not do it is tried again after the first, then ever later, up to the second."""


class Blocks:
    """The table, for one node.

    Args:
        database: the accounts'.
        time_ms: cluster time.
        changed: told of each user whose decisions are in the table now.
    """

    def __init__(self, database: Database, time_ms: Callable[[], int], changed: Callable[[str], None]) -> None:
        self.database, self.time_ms, self.changed = database, time_ms, changed
        self.waiting: dict[tuple[str, str], BlockRow] = {}
        self.noted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.left_out = 0
        """Decisions that found no room."""
        self.task: asyncio.Task[None] | None = None

    # -------------------------------------------------------------- what homes decide

    def want(self, told: BlockDecided) -> None:
        """A home here decided something, or repeats what it decided."""
        pair = (told.user, told.peer)
        waiting = self.waiting.get(pair)
        if self.noted.get(pair, 0) >= told.seq or (waiting is not None and waiting.seq >= told.seq):
            return
        if waiting is None and len(self.waiting) >= WAITING_MAX:
            self.left_out += 1
            return
        self.waiting[pair] = BlockRow(told.user, told.peer, told.seq, told.is_blocked, self.time_ms())
        if self.task is None:
            self.task = asyncio.ensure_future(self._write())

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def _write(self) -> None:
        again_s = AGAIN_S
        try:
            while self.waiting:
                rows = list(self.waiting.values())[:BATCH_ROWS]
                try:
                    await self.database.call(lambda table, rows=rows: table.note_blocks(rows))  # type: ignore[misc]  # a default binds it
                except Refused:
                    await asyncio.sleep(again_s)
                    again_s = min(2 * again_s, AGAIN_S_MAX)
                    continue
                again_s = AGAIN_S
                self._written(rows)
        finally:
            self.task = None

    def _written(self, rows: list[BlockRow]) -> None:
        for row in rows:
            pair = (row.user, row.peer)
            if self.waiting.get(pair) is row:
                del self.waiting[pair]
            self.noted[pair] = max(row.seq, self.noted.pop(pair, 0))
        while len(self.noted) > NOTED_MAX:
            self.noted.popitem(last=False)
        for user in dict.fromkeys(row.user for row in rows):
            self.changed(user)

    # -------------------------------------------------------------- who asks

    async def page(self, who: Claims, query: rest.BlocksQuery) -> rest.Blocks:
        """Whom he blocks. Raises Refused: OVERLOADED, UNAVAILABLE."""
        found = await self.database.call(lambda rows: rows.blocked_by(who.user, query.after, query.limit + 1))
        page = found[: query.limit]
        more = page[-1].peer if len(found) > len(page) else None
        return rest.Blocks(blocks=[rest.Blocked(user=row.peer, since_ts=row.noted_ms) for row in page], next=more)
