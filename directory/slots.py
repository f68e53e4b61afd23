"""Which node should own which slots: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016).

Owns the arithmetic from names and weights to slots. Must not know time, liveness or how a slot is handed over.

Laws:
    * What a node should own follows from the names and weights of the nodes alone: a restarted node gets its slots back.
    * No node is given more than ceil(1.25 x its weighted mean), as long as the cell has at most some 500 nodes.
    * A join or a leave changes about K/N slots.
    * Slots are placed in *groups* of eight neighbours, which always have one owner: tables stay short on the wire, and cheap to make.
      ``GROUP_SLOTS`` is part of the stored table; another value needs a migration.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import compress
from math import ceil
from operator import ne

from homing.ids import SLOTS
from uhashring import HashRing

from directory.table import NOBODY, Member, Table

GROUP_SLOTS = 8
GROUPS = SLOTS // GROUP_SLOTS
LOAD_MAX = 1.25
WEIGHT_MAX = 2_000
"""Twenty times the usual one: a larger weight counts as this, for it makes points on the ring."""
POINTS_PER_WEIGHT = 1.6
"""Points on the ring: 160 for a node of the usual weight 100, which spreads loads by some 8 percent, well inside LOAD_MAX."""


def plan(nodes: Iterable[Member]) -> list[str]:
    """Per group the incarnation that should own it; empty when there are no nodes.

    Args:
        nodes: the nodes that may be given slots; their names differ.
    """
    by_name = {n.name: n for n in nodes}
    if not by_name:
        return []
    homes = _homes(tuple(sorted((n.name, max(1, min(n.weight, WEIGHT_MAX))) for n in by_name.values())))
    return [by_name[name].incarnation for name in homes]


def owners(table: Table) -> list[str]:
    """Per group the incarnation that owns it, "" for nobody."""
    names = [m.incarnation for m in table.members]
    return ["" if o == NOBODY else names[o] for o in table.owners[::GROUP_SLOTS]]


def build(current: Table, members: Sequence[Member], group_owners: Sequence[str], epoch: int) -> Table:
    """The table of ``epoch``: a slot whose owner stays keeps its term, the others' terms are ``epoch``.

    Args:
        current: the table before.
        members: the live processes.
        group_owners: per group an incarnation of ``members``, "" for nobody.
        epoch: the new version.
    """
    index = {m.incarnation: i for i, m in enumerate(members)}
    index[""] = NOBODY
    of_groups = array("H", map(index.__getitem__, group_owners))
    owned, terms = array("H", [NOBODY]) * SLOTS, array("L", current.terms)
    for k in range(GROUP_SLOTS):
        owned[k::GROUP_SLOTS] = of_groups
    fresh = array("L", [epoch]) * GROUP_SLOTS
    for group in compress(range(GROUPS), map(ne, owners(current), group_owners)):
        terms[group * GROUP_SLOTS : (group + 1) * GROUP_SLOTS] = fresh
    return Table(epoch, tuple(members), owned, terms, current.step)


def assign(current: Table, nodes: Sequence[Member], epoch: int) -> Table:
    """The table in which each of ``nodes`` has what it should own, whoever owned it before."""
    return build(current, nodes, plan(nodes) or [""] * GROUPS, epoch)


def runs_of(groups: Iterable[int]) -> list[tuple[int, int]]:
    """Groups as runs of slots: (first slot, count), ascending."""
    runs: list[tuple[int, int]] = []
    for group in sorted(groups):
        first = group * GROUP_SLOTS
        if runs and sum(runs[-1]) == first:
            runs[-1] = (runs[-1][0], runs[-1][1] + GROUP_SLOTS)
        else:
            runs.append((first, GROUP_SLOTS))
    return runs


def _hash(label: str) -> int:
    return int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=1)
def _group_hashes() -> tuple[int, ...]:
    return tuple(_hash(f"slots {group}") for group in range(GROUPS))


@lru_cache(maxsize=64)
def _homes(nodes: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Per group the name of its home: the first node clockwise that is not full."""
    conf = {name: {"vnodes": max(1, round(weight * POINTS_PER_WEIGHT)), "weight": 1} for name, weight in nodes}
    ring = HashRing(nodes=conf, hash_fn=_hash)
    points: list[tuple[int, str]] = ring.get_points()
    keys = [key for key, _ in points]
    room = _room(nodes)
    homes: list[str] = []
    for key in _group_hashes():
        position = bisect(keys, key) % len(keys)
        while room[points[position][1]] == 0:
            position = (position + 1) % len(keys)
        name = points[position][1]
        room[name] -= 1
        homes.append(name)
    return tuple(homes)


def _room(nodes: tuple[tuple[str, int], ...]) -> dict[str, int]:
    """How many groups each node may carry. Only with very many nodes, when whole groups do not fit the bound, is it rounded up."""
    weights = sum(weight for _, weight in nodes)
    slots = {name: ceil(LOAD_MAX * SLOTS * weight / weights) for name, weight in nodes}
    room = {name: count // GROUP_SLOTS for name, count in slots.items()}
    if sum(room.values()) < GROUPS:
        room = {name: ceil(count / GROUP_SLOTS) for name, count in slots.items()}
    return room
