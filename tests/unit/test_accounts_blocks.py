"""Blocks as they are repeated in the relational database: bounded, retried until done, guarded by seq."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from homing import codes, rest
from homing.ids import user_id

from node.accounts import blocks as module
from node.accounts.blocks import Blocks
from node.accounts.database import Database
from node.core.effects import BlockDecided
from node.edge.tokens import Claims
from node.refusal import Refused
from storage.relational.accounts import AccountRows
from tests.unit.accounts_rig import rig

T = TypeVar("T")
ALICE, BOB, CAROL = (user_id(name) for name in ("alice", "bob", "carol"))
WHO = Claims(ALICE, "phone", "Alice", 0, "")


class Unreliable(Database):
    """Does not do the next ``failures_left`` calls; counts all."""

    failures_left = 0
    calls = 0

    async def call(self, what: Callable[[AccountRows], T]) -> T:
        self.calls += 1
        if self.failures_left:
            self.failures_left -= 1
            raise Refused(codes.UNAVAILABLE, "not now")
        return await super().call(what)


class Table:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: list[str] = []

    async def __aenter__(self) -> Table:
        self.rig = rig(self.folder)
        made = await self.rig.__aenter__()
        self.database = Unreliable(made.config)
        self.blocks = Blocks(self.database, made.time_ms, self.changed.append)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.blocks.close()
        await self.database.close()
        await self.rig.__aexit__(None, None, None)

    async def rest(self) -> None:
        async with asyncio.timeout(10):
            while self.blocks.task is not None:
                await asyncio.sleep(0.002)

    async def listed(self) -> list[str]:
        return [one.user for one in (await self.blocks.page(WHO, rest.BlocksQuery())).blocks]


async def test_what_a_home_decides_is_in_the_list_and_announced(tmp_path: Path) -> None:
    async with Table(tmp_path) as table:
        table.blocks.want(BlockDecided(ALICE, BOB, 1, True))
        table.blocks.want(BlockDecided(BOB, ALICE, 2, True))
        await table.rest()
        assert await table.listed() == [BOB] and table.changed == [ALICE, BOB]
        table.blocks.want(BlockDecided(ALICE, BOB, 3, False))
        await table.rest()
        assert await table.listed() == [] and table.changed == [ALICE, BOB, ALICE]


async def test_pages_of_the_list_lead_on(tmp_path: Path) -> None:
    async with Table(tmp_path) as table:
        for peer in (BOB, CAROL):
            table.blocks.want(BlockDecided(ALICE, peer, 1, True))
        await table.rest()
        first = await table.blocks.page(WHO, rest.BlocksQuery(limit=1))
        assert first.next is not None
        second = await table.blocks.page(WHO, rest.BlocksQuery(after=first.next, limit=1))
        assert sorted([first.blocks[0].user, second.blocks[0].user]) == sorted([BOB, CAROL]) and second.next is None


async def test_a_database_that_fails_is_tried_until_it_does_it_and_what_comes_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    async with Table(tmp_path) as table:
        table.database.failures_left = 4
        table.blocks.want(BlockDecided(ALICE, BOB, 1, True))
        await asyncio.sleep(0.005)
        table.blocks.want(BlockDecided(ALICE, BOB, 2, False))
        table.blocks.want(BlockDecided(ALICE, BOB, 1, True))
        table.blocks.want(BlockDecided(ALICE, CAROL, 1, True))
        assert table.changed == []
        await table.rest()
        assert table.database.failures_left == 0 and await table.listed() == [CAROL]
        assert table.changed == [ALICE]


async def test_what_is_told_again_is_not_written_again(tmp_path: Path) -> None:
    async with Table(tmp_path) as table:
        table.blocks.want(BlockDecided(ALICE, BOB, 4, True))
        await table.rest()
        calls = table.database.calls
        for seq in (4, 3):
            table.blocks.want(BlockDecided(ALICE, BOB, seq, False))
        await table.rest()
        assert table.database.calls == calls and await table.listed() == [BOB]


async def test_what_waits_is_bounded_and_what_found_no_room_may_be_told_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 1)
    monkeypatch.setattr(module, "NOTED_MAX", 1)
    async with Table(tmp_path) as table:
        table.blocks.want(BlockDecided(ALICE, BOB, 1, True))
        table.blocks.want(BlockDecided(ALICE, CAROL, 1, True))
        table.blocks.want(BlockDecided(ALICE, BOB, 2, True))  # of a pair that waits already
        assert table.blocks.left_out == 1
        await table.rest()
        table.blocks.want(BlockDecided(ALICE, CAROL, 1, True))
        await table.rest()
        assert sorted(await table.listed()) == sorted([BOB, CAROL]) and len(table.blocks.noted) == 1
