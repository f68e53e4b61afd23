"""The slot table: which incarnation owns each of the 16,384 slots and since which term (``design.md`` §5).

Immutable once made; a change makes a new one with a higher epoch. A slot's *term* is the epoch at which its owner got it, so what
changed since an older epoch can be read off the table itself: no history is kept to make a delta.
"""

from __future__ import annotations

from array import array

from homing.ids import SLOTS
from msgspec import Struct

NOBODY = 65_535


class Member(Struct, array_like=True, frozen=True):
    """One live process of the cluster."""

    incarnation: str
    """``name:start``; one start of one process."""
    name: str
    role: str
    """node, storage or directory."""
    endpoint: str
    """Where its ROUTER listens, for instance ``tcp://127.0.0.1:7501``."""
    public_url: str = ""
    """For nodes: where clients connect, ``ws://…/v1/ws`` without the path."""
    weight: int = 100


class Delta(Struct, array_like=True, frozen=True):
    """A table as the changes since ``base`` (0: everything)."""

    base: int
    epoch: int
    members: list[Member]
    runs: list[tuple[int, int, int, int]]
    """(first slot, count, index into members or NOBODY, term)."""


class Table:
    """One version of the table.

    Args:
        epoch: its version.
        members: the live processes; a slot's owner is an index into them.
        owners: per slot an index into ``members`` or NOBODY.
        terms: per slot the epoch at which its owner got it.
    """

    __slots__ = ("by_incarnation", "epoch", "members", "owners", "terms")

    def __init__(self, epoch: int, members: tuple[Member, ...], owners: array[int], terms: array[int]) -> None:
        self.epoch = epoch
        self.members = members
        self.owners = owners
        self.terms = terms
        self.by_incarnation = {m.incarnation: m for m in members}

    @classmethod
    def empty(cls) -> Table:
        return cls(0, (), array("H", [NOBODY]) * SLOTS, array("L", [0]) * SLOTS)

    def owner(self, slot: int) -> str | None:
        """The incarnation that owns ``slot``."""
        index = self.owners[slot]
        return None if index == NOBODY else self.members[index].incarnation

    def role(self, role: str) -> list[Member]:
        return [m for m in self.members if m.role == role]

    def delta(self, base: int) -> Delta:
        """What changed since epoch ``base``, as runs of neighbouring slots."""
        runs: list[tuple[int, int, int, int]] = []
        first, owner, term = 0, -1, -1
        for slot in range(SLOTS + 1):
            now = (self.owners[slot], self.terms[slot]) if slot < SLOTS else (-1, -1)
            if now != (owner, term):
                if owner != -1 and (term > base or owner == NOBODY):
                    runs.append((first, slot - first, owner, term))
                first, (owner, term) = slot, now
        return Delta(base, self.epoch, list(self.members), runs)

    def apply(self, delta: Delta) -> Table:
        """The table that ``delta`` leads to.

        Raises:
            ValueError: the delta starts at a newer epoch than this table's, or has slots or owners out of range.
        """
        if delta.base > self.epoch:
            raise ValueError(f"delta from epoch {delta.base} on a table of epoch {self.epoch}")
        index = {m.incarnation: i for i, m in enumerate(delta.members)}
        moved = array("H", [index.get(m.incarnation, NOBODY) for m in self.members])
        owners = array("H", [NOBODY if o == NOBODY else moved[o] for o in self.owners]) if delta.base else Table.empty().owners
        terms = array("L", self.terms)
        for first, count, owner, term in delta.runs:
            if first < 0 or count < 0 or first + count > SLOTS or not (owner == NOBODY or 0 <= owner < len(delta.members)):
                raise ValueError("delta has a slot or an owner out of range")
            owners[first : first + count] = array("H", [owner]) * count
            terms[first : first + count] = array("L", [term]) * count
        return Table(delta.epoch, tuple(delta.members), owners, terms)
