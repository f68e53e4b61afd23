"""The worker on a store that waits for servers: commits in a thread of their own, the mesh meanwhile, the end while a server hangs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from router.limits import MeshLimits
from storage import service
from storage.config import SqliteConfig, StorageConfig, WorkerConfig
from storage.engines import StoreUnusable, open_store, waits
from storage.frames import Answered, Ask, WriteRow
from storage.hands import Helper
from storage.service import StorageService
from storage.store import CellLoaded, LoadCell, Outcome, Write
from tests.unit.test_storage_service import CELL, ROW, STORED, UNKNOWN, FlakyStore, Rig

PATIENCE_S = 10.0


class SlowStore(FlakyStore):
    """A store whose servers answer when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        self.threads: set[int] = set()

    def commit(self, writes: list[Write]) -> list[Outcome]:
        self.threads.add(threading.get_ident())
        self.answers.wait(PATIENCE_S)
        return super().commit(writes)

    def reopen(self) -> None:
        self.threads.add(threading.get_ident())
        super().reopen()


class WaitingRig(Rig):
    """The rig with such a store; time passes on the real clock as well, for there are real threads."""

    def __init__(self) -> None:
        super().__init__(WorkerConfig(), MeshLimits())
        self.service.stop()
        self.slow = self.store = SlowStore()
        self.service = StorageService(self.slow, self.worker, self.membership, WorkerConfig(), lambda: None, 1 << 20, waits=2)
        self.service._reader.start()

    async def until(self, holds: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < PATIENCE_S
            self.run(0.01)
            await asyncio.sleep(0.002)


@pytest.fixture
async def rig() -> AsyncIterator[WaitingRig]:
    made = WaitingRig()
    yield made
    made.slow.answers.set()
    made.service.stop()


async def test_a_commit_that_waits_keeps_neither_reads_nor_the_loop(rig: WaitingRig) -> None:
    rig.say(rig.directory, WriteRow(9, CELL))
    rig.say(rig.node, WriteRow(1, ROW), Ask(2, LoadCell()))
    await rig.until(lambda: Answered(2, CellLoaded(None)) in rig.heard["tcp://node"])
    assert rig.outcomes() == [] and rig.service.core.is_committing
    rig.say(rig.node, WriteRow(3, ROW))
    await rig.until(lambda: len(rig.service.core.rows) == 1)
    assert rig.service.core.rounds == 0, "rounds do not overlap"
    rig.slow.answers.set()
    await rig.until(lambda: len(rig.outcomes()) == 2)
    assert rig.outcomes() == [(1, STORED), (3, STORED)] and rig.service.core.rounds == 2
    assert rig.slow.threads and threading.get_ident() not in rig.slow.threads


async def test_a_store_that_fails_is_tried_again_without_holding_up_the_loop(rig: WaitingRig) -> None:
    rig.slow.answers.set()
    rig.slow.broken = True
    rig.say(rig.node, WriteRow(1, ROW))
    await rig.until(lambda: rig.slow.reopened >= 3)
    assert rig.outcomes() == [(1, UNKNOWN)] and rig.service.failed
    rig.slow.broken = False
    await rig.until(lambda: not rig.service.failed)
    rig.say(rig.node, WriteRow(2, ROW))
    await rig.until(lambda: (2, STORED) in rig.outcomes())
    assert threading.get_ident() not in rig.slow.threads


async def test_at_the_end_the_last_rows_are_waited_for_but_not_for_ever(rig: WaitingRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.say(rig.node, WriteRow(1, ROW))
    await rig.until(lambda: rig.service.core.is_committing)
    monkeypatch.setattr(service, "DRAIN_S", 0.1)
    began = time.monotonic()
    rig.service.drain(rig.now)
    assert 0.05 < time.monotonic() - began < 5.0 and rig.service.core.is_committing
    monkeypatch.setattr(service, "DRAIN_S", PATIENCE_S)
    threading.Timer(0.05, rig.slow.answers.set).start()
    rig.service.drain(rig.now)
    rig.run(0.1)
    assert rig.outcomes() == [(1, STORED)]


async def test_what_the_helper_did_comes_back_in_order_and_so_does_what_it_raised() -> None:
    woken = asyncio.Event()
    helper, got = Helper(woken.set), list[tuple[int, float]]()
    try:
        for number in range(3):
            helper.submit(lambda number=number: number, lambda result, at: got.append((result, at)), 0.0)  # type: ignore[misc]
        while len(got) < 3:
            await asyncio.wait_for(woken.wait(), PATIENCE_S)
            woken.clear()
            helper.collect(7.0)
        assert got == [(0, 7.0), (1, 7.0), (2, 7.0)]
        helper.submit(lambda: 1 // 0, lambda result, at: None, 0.0)
        assert helper.finish(PATIENCE_S)
        with pytest.raises(ZeroDivisionError):
            helper.collect(8.0)
    finally:
        helper.stop()


def test_without_its_driver_cassandra_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "storage.cassandra.store", None)
    config = StorageConfig(engine="cassandra")
    with pytest.raises(StoreUnusable, match=r"pip install 'homing\[cluster\]'"):
        open_store(config)
    assert waits(config) > 1 and waits(StorageConfig(sqlite=SqliteConfig())) == 0
