"""Random histories of directories and nodes (``directory_world.py``): safe all the while, and all well once all is healed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from directory.client import ClientEvent, DirectoryClient
from directory.frames import MoveOff, Renewed
from directory.membership import MembershipCore
from directory.slots import owners, plan
from directory.table import Table
from tests.unit.directory_world import World

SEEDS = range(12)
SEEDS_BROKEN = 400
STEPS, CALM_S = 500, 120.0


def history(seed: int, steps: int = STEPS) -> World:
    world = World(seed)
    for _ in range(steps):
        world.step()
        if world.random.random() < 0.15:
            world.event()
    return world


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_is_safe_and_ends_well(seed: int) -> None:
    world = history(seed)
    calm_at = world.now + CALM_S
    while not well(world) and world.now < calm_at:
        world.heal()
        for _ in range(20):
            world.step()
    assert well(world)


def well(world: World) -> bool:
    """Everybody lives, the slots are where they should be, every node knows it, nothing is frozen."""
    nodes = list(world.nodes.values())
    if len(nodes) < 4 or any(n.client.lost or (n.frozen and any(m in n.client._moves for m in n.frozen)) for n in nodes):
        return False
    table = world.published[max(world.published)]
    return owners(table) == plan([n.me for n in nodes]) and all(n.client.table.epoch == table.epoch for n in nodes)


def without_release(core: MembershipCore, now: float) -> list[str]:
    """The rule taken out: live owners are not asked."""
    assert core.row is not None
    homes = core._homes(now)
    return homes or ["" if o not in core.roll.alive else o for o in owners(core.row.table)]


def give_back_at_once(core: MembershipCore, old: str, number: int) -> None:
    """The rule taken out: a batch is given back after its table, not before."""
    core._send(old, MoveOff(number))


_on_renewed = DirectoryClient._on_renewed


def renewed_and_taken_back(client: DirectoryClient, directory: str, frame: Renewed, now: float) -> list[ClientEvent]:
    """The rule taken out: a dead directory's batch is taken back only once the table of its successor is known."""
    events = list(_on_renewed(client, directory, frame, now))
    stale = [move for move, (asker, _) in client._moves.items() if asker != directory]
    return events + [event for move in stale for event in client._take_back(move)]


@pytest.mark.parametrize(
    ("owner", "method", "instead", "seed"),
    [
        (MembershipCore, "_owners", without_release, 2),
        (MembershipCore, "_give_back", give_back_at_once, 9),
        (DirectoryClient, "_on_renewed", renewed_and_taken_back, 128),
    ],
)
def test_the_checker_sees_a_rule_that_is_taken_out(
    owner: type, method: str, instead: Callable[..., object], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``seed`` is where the search begins: one that found it when this was written."""
    monkeypatch.setattr(owner, method, instead)
    with pytest.raises(AssertionError, match="is served by"):
        for tried in range(seed, seed + SEEDS_BROKEN):
            history(tried)


def test_a_table_is_what_it_was_however_it_was_learnt() -> None:
    world = history(3)
    newest = world.published[max(world.published)]
    again = Table.empty()
    for epoch in sorted(world.published):
        table = world.published[epoch]
        again = again.apply(table.delta(again.epoch))
        assert owners(again) == owners(table) and again.terms == table.terms
    assert again.epoch == newest.epoch
