"""The row's database behind one thread, so that the event loop never waits for a disk or a server.

Owns the thread. One thread means that calls happen in the order in which they were asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from directory.events import Beat, Beaten, CommitRefused, CommitTable, Committed, Event, LoadRow, RowFailed, RowLoaded
from directory.row import RowError, RowStore

WAITING_MAX = 16
"""Beats that wait behind a database that hangs; further ones are dropped (loads and commits are one at a time anyway)."""


class Rows:
    """Carries out the effects that concern the row.

    Args:
        url: SQLAlchemy's URL of the database.
        timeout_s: how long a statement may wait.
        tell: called in the event loop with the outcome.
        wall_ms: the wall clock.
    """

    def __init__(self, url: str, timeout_s: float, tell: Callable[[Event], None], wall_ms: Callable[[], int]) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._tell = tell
        self._wall_ms = wall_ms
        self._store: RowStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="row")
        self._loop = asyncio.get_running_loop()
        self._waiting = 0
        self._closed = False

    def carry_out(self, effect: LoadRow | CommitTable | Beat, now: float) -> None:
        if self._closed or (isinstance(effect, Beat) and self._waiting >= WAITING_MAX):
            return
        self._waiting += 1
        self._thread.submit(self._run, effect, now)

    async def close(self) -> None:
        """Waits for what is under way, at most as long as a statement may take."""
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, True, cancel_futures=True)
        if self._store is not None:
            self._store.close()

    def _run(self, effect: LoadRow | CommitTable | Beat, now: float) -> None:
        event = self._outcome(effect, now)
        try:
            self._loop.call_soon_threadsafe(self._done, event)
        except RuntimeError:
            return  # The loop has ended meanwhile: nobody waits for it.

    def _done(self, event: Event | None) -> None:
        self._waiting -= 1
        if event is not None and not self._closed:
            self._tell(event)

    def _outcome(self, effect: LoadRow | CommitTable | Beat, now: float) -> Event | None:
        try:
            store = self._store = self._store or RowStore(self._url, self._timeout_s)
            match effect:
                case LoadRow():
                    return RowLoaded(store.load(), self._wall_ms())
                case CommitTable(expected_epoch, row):
                    return Committed(row.epoch) if store.commit(expected_epoch, row) else CommitRefused()
                case Beat(leader, beat, cluster_time):
                    return Beaten(store.beat(leader, beat, cluster_time), now)
        except RowError as error:
            return None if isinstance(effect, Beat) else RowFailed(error.reason, error.may_land)
        except Exception as error:
            # Whatever a driver raises, the core must hear that the step is over, or nothing would ever happen again.
            return None if isinstance(effect, Beat) else RowFailed(f"{type(error).__name__}: {error}")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000
