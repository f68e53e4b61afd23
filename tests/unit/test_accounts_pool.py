"""Threads with a bound, and what was signed out remembered for a moment."""

from __future__ import annotations

import asyncio
import threading

import pytest
from homing import codes

from node.accounts import revoked
from node.accounts.pool import Pool
from node.accounts.revoked import RevokedDevices
from node.refusal import Refused


async def test_past_the_bound_a_call_is_refused_at_once_and_there_is_room_again_later() -> None:
    pool, gate = Pool("test", 1, 1), threading.Event()
    first, second = asyncio.ensure_future(pool.run(gate.wait)), asyncio.ensure_future(pool.run(lambda: 2))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as caught:
        await pool.run(lambda: 3)
    assert caught.value.code == codes.OVERLOADED
    assert caught.value.retry_after_s is not None
    assert pool.refused == 1
    gate.set()
    assert (await first, await second) == (True, 2)
    assert await pool.run(lambda: 4) == 4
    await pool.close()


async def test_a_call_whose_waiter_has_gone_still_counts_until_it_is_over() -> None:
    pool, gate, begun = Pool("test", 1, 0), threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        gate.wait()

    waiter = asyncio.ensure_future(pool.run(call))
    await asyncio.to_thread(begun.wait)
    waiter.cancel()
    await asyncio.sleep(0)
    with pytest.raises(Refused):
        await pool.run(lambda: 1)
    gate.set()
    while pool.busy:
        await asyncio.sleep(0)
    assert await pool.run(lambda: 2) == 2
    await pool.close()


async def test_what_a_call_raises_is_raised() -> None:
    pool = Pool("test", 1, 0)
    with pytest.raises(KeyError):
        await pool.run({}.__getitem__, "x")
    await asyncio.sleep(0)
    assert pool.busy == 0
    await pool.close()


async def test_a_revocation_is_seen_after_a_moment_and_at_once_where_it_was_made() -> None:
    state, asked, clock = {"phone": False}, [], [100.0]

    async def ask(user: str, device: str) -> bool:
        asked.append((user, device))
        return state[device]

    devices = RevokedDevices(ask, lambda: clock[0])
    assert not await devices("alice", "phone")
    state["phone"] = True
    clock[0] += revoked.FRESH_S / 2
    assert not await devices("alice", "phone")
    assert len(asked) == 1
    clock[0] += revoked.FRESH_S / 2
    assert await devices("alice", "phone")
    state["phone"] = False
    assert await devices("alice", "phone")
    devices.forget("alice", "phone")
    assert not await devices("alice", "phone")


async def test_no_more_devices_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoked, "ENTRIES_MAX", 3)

    async def ask(user: str, device: str) -> bool:
        return False

    devices = RevokedDevices(ask, lambda: 0.0)
    for number in range(10):
        await devices("alice", str(number))
    assert len(devices._known) == 3
