"""The slot table: which incarnation owns each of the 16,384 slots and since which term (``design.md`` §5).

Immutable once made; a change makes a new one with a higher epoch. A slot's *term* is the epoch at which its owner got it, so what
changed since an older epoch can be read off the table itself: no history is kept to make a delta.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import compress, islice
from operator import ne, or_
from operator import sub as minus
from typing import Annotated

from homing.ids import SLOTS
from msgspec import DecodeError, Meta, Struct
from msgspec.msgpack import Decoder, Encoder

from storage.store import Number

NOBODY = 65_535
EPOCH_LEAP_MAX = 1 << 32
"""No cluster makes so many tables: who tells of one that is further ahead is not believed, or the next epoch might be one too many for
an integer."""
STRIDE = 8
"""Neighbours that have one owner and term in the tables that are made (``slots.GROUP_SLOTS``): looked at one for all when it is so."""


class Member(Struct, array_like=True, frozen=True):
    """One live process of the cluster."""

    incarnation: Annotated[str, Meta(max_length=320)]
    """``name:start``; one start of one process."""
    name: Annotated[str, Meta(max_length=256)]
    role: Annotated[str, Meta(max_length=16)]
    """node, storage or directory."""
    endpoint: Annotated[str, Meta(max_length=512)]
    """Where its ROUTER listens, for instance ``tcp://127.0.0.1:7501``."""
    public_url: Annotated[str, Meta(max_length=512)] = ""
    """For nodes: where clients connect, ``ws://…/v1/ws`` without the path."""
    weight: Annotated[int, Meta(ge=0, le=10_000)] = 100


class Delta(Struct, array_like=True, frozen=True):
    """A table as the changes since ``base`` (0: everything)."""

    base: Number
    epoch: Number
    members: list[Member]
    runs: list[tuple[Number, Number, Number, Number]]
    """(first slot, count, index into members or NOBODY, term)."""


class Table:
    """One version of the table.

    Args:
        epoch: its version.
        members: the live processes; a slot's owner is an index into them.
        owners: per slot an index into ``members`` or NOBODY.
        terms: per slot the epoch at which its owner got it.
        step: ``STRIDE`` if whoever made it knows that owners and terms are the same within each of those; 0: not known.
    """

    __slots__ = ("_counts", "_names", "_runs", "by_incarnation", "epoch", "members", "owners", "step", "terms")

    def __init__(self, epoch: int, members: tuple[Member, ...], owners: array[int], terms: array[int], step: int = 0) -> None:
        self.epoch = epoch
        self.members = members
        self.owners = owners
        self.terms = terms
        self.step = step or min(_step(owners), _step(terms))
        self.by_incarnation = {m.incarnation: m for m in members}
        self._runs: list[tuple[int, int, int, int]] | None = None
        self._names: list[str] | None = None
        self._counts: dict[str, int] | None = None

    @classmethod
    def empty(cls) -> Table:
        return cls(0, (), array("H", [NOBODY]) * SLOTS, array("L", [0]) * SLOTS)

    def owner(self, slot: int) -> str | None:
        """The incarnation that owns ``slot``."""
        index = self.owners[slot]
        return None if index == NOBODY else self.members[index].incarnation

    def names(self) -> list[str]:
        """Per slot the incarnation that owns it, "" for nobody: for whoever looks up every message. Not to be changed."""
        if self._names is None:
            step = self.step
            incarnations = [m.incarnation for m in self.members]
            some = ["" if owner == NOBODY else incarnations[owner] for owner in self.owners[::step]]
            self._names = [""] * SLOTS
            for k in range(step):
                self._names[k::step] = some
        return self._names

    def role(self, role: str) -> list[Member]:
        return [m for m in self.members if m.role == role]

    def slots_of(self, incarnation: str) -> int:
        """How many slots ``incarnation`` owns."""
        if self._counts is None:
            step = self.step
            found = Counter(self.owners[::step])
            self._counts = {self.members[owner].incarnation: n * step for owner, n in found.items() if owner != NOBODY}
        return self._counts.get(incarnation, 0)

    def runs(self) -> list[tuple[int, int, int, int]]:
        """The whole table as runs of neighbouring slots: (first slot, count, index into members or NOBODY, term)."""
        if self._runs is None:
            step = self.step
            owners, terms = self.owners[::step], self.terms[::step]
            # Where one differs from the one before it; all steps in C.
            differs = map(or_, map(ne, owners, islice(owners, 1, None)), map(ne, terms, islice(terms, 1, None)))
            at = [0, *compress(range(1, len(owners)), differs)]
            firsts = [step * i for i in at]
            counts = map(minus, [*firsts[1:], SLOTS], firsts)
            self._runs = list(zip(firsts, counts, map(owners.__getitem__, at), map(terms.__getitem__, at), strict=True))
        return self._runs

    def delta(self, base: int) -> Delta:
        """What changed since epoch ``base``: the runs of a younger term. (A slot that lost its owner got a new term, too.)"""
        runs = self.runs() if base == 0 else [r for r in self.runs() if r[3] > base]
        return Delta(base, self.epoch, list(self.members), list(runs))

    def apply(self, delta: Delta) -> Table:
        """The table that ``delta`` leads to; this one if the delta is not newer.

        Raises:
            ValueError: the delta starts at a newer epoch than this table's, or has slots, owners or terms out of range.
        """
        if delta.base > self.epoch:
            raise ValueError(f"delta from epoch {delta.base} on a table of epoch {self.epoch}")
        if delta.epoch <= self.epoch:
            return self
        if self.epoch and delta.epoch > self.epoch + EPOCH_LEAP_MAX:
            raise ValueError(f"delta to epoch {delta.epoch} on a table of epoch {self.epoch}")
        owners = self._owners_among(delta.members) if delta.base else array("H", [NOBODY]) * SLOTS
        terms = array("L", self.terms)
        owned: dict[tuple[int, int], array[int]] = {}  # most runs are as long as others, and of few owners and terms
        got: dict[tuple[int, int], array[int]] = {}
        bounds = 0
        for first, count, owner, term in delta.runs:
            if first < 0 or count < 0 or first + count > SLOTS or not (owner == NOBODY or 0 <= owner < len(delta.members)):
                raise ValueError("delta has a slot or an owner out of range")
            if not 0 <= term <= delta.epoch:
                raise ValueError("delta has a term that is not yet")
            bounds |= first | count
            if (piece := owned.get((owner, count))) is None:
                piece = owned[owner, count] = array("H", [owner]) * count
            owners[first : first + count] = piece
            if (piece := got.get((term, count))) is None:
                piece = got[term, count] = array("L", [term]) * count
            terms[first : first + count] = piece
        return Table(delta.epoch, tuple(delta.members), owners, terms, 0 if bounds % self.step else self.step)

    def _owners_among(self, members: list[Member]) -> array[int]:
        """``owners`` as indexes into ``members``; who is not among them owns nothing."""
        index = {m.incarnation: i for i, m in enumerate(members)}
        moved = [index.get(m.incarnation, NOBODY) for m in self.members]
        if moved == list(range(len(moved))):
            return array("H", self.owners)
        return _spread([NOBODY if o == NOBODY else moved[o] for o in self.owners[:: self.step]], self.step)


def _spread(some: Sequence[int], step: int) -> array[int]:
    """Each value ``step`` times: owners of all slots."""
    few = array("H", some)
    all_ = array("H", [NOBODY]) * SLOTS
    for k in range(step):
        all_[k::step] = few
    return all_


def _step(values: array[int]) -> int:
    """How far one value holds for its neighbours: ``STRIDE``, or 1 if that is not so everywhere."""
    some = values[::STRIDE]
    return STRIDE if all(values[k::STRIDE] == some for k in range(1, STRIDE)) else 1


_encoder = Encoder()
_decoder = Decoder(Delta)


def encode_delta(delta: Delta) -> bytes:
    return _encoder.encode(delta)


def decode_delta(data: bytes) -> Delta:
    """Reads a delta that came over the mesh or from the directory's row.

    Raises:
        ValueError: it is none.
    """
    try:
        return _decoder.decode(data)
    except (DecodeError, RecursionError) as error:
        raise ValueError(f"not a table delta: {error}") from error
