"""Slot tables made once for all processes of a history.

Every process of a real cluster reads and applies each delta by itself; here some six of them share one interpreter, and a table has 16,384
slots. What is made of a table and a delta follows from them alone, and neither ever changes: so each is made once and shared. No outcome
differs. And while a history runs slots are placed in larger groups than in production, as its times are shorter: a table of three nodes has
a hundred runs instead of 1,400.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Generic, TypeVar

from homing.ids import SLOTS

from directory import moves, slots
from directory import table as tables
from directory.table import Delta, Member, Table, decode_delta, encode_delta
from node.core import node

T = TypeVar("T")
GROUP_SLOTS = 64
"""Neighbouring slots of one owner while a history runs."""
KEPT_MAX = 64
"""More tables than one history has; each weighs half a megabyte with its key."""


class _Shared(Generic[T]):
    """The latest results of a pure function, by a key that says all of its arguments."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = make()
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found


class _Numbers(Generic[T]):
    """A number for each object, the same for all that say the same, remembered by the object, which is kept alive with it. A number is
    never given twice, so that what was forgotten is only made again."""

    def __init__(self, says: Callable[[T], Hashable]) -> None:
        self._says = says
        self._of: OrderedDict[int, tuple[T, int]] = OrderedDict()
        self._by_content: OrderedDict[Hashable, int] = OrderedDict()
        self._last = 0

    def of(self, what: T) -> int:
        kept = self._of.get(id(what))
        if kept is not None:
            return kept[1]
        content = self._says(what)
        number = self._by_content.get(content)
        if number is None:
            self._last += 1
            number = self._by_content[content] = self._last
            if len(self._by_content) > 2 * KEPT_MAX:
                self._by_content.popitem(last=False)
        self._of[id(what)] = (what, number)
        if len(self._of) > 2 * KEPT_MAX:
            self._of.popitem(last=False)
        return number


def _all_of(table: Table) -> Hashable:
    return (table.epoch, table.members, table.owners.tobytes(), table.terms.tobytes())


_table_numbers, _delta_numbers = _Numbers(_all_of), _Numbers(encode_delta)
_applied, _built, _same = _Shared[Table](), _Shared[Table](), _Shared[Table]()
_owned, _planned, _read, _told = _Shared[list[str]](), _Shared[list[str]](), _Shared[Delta](), _Shared[bytes]()
_apply, _build, _owners, _plan = Table.apply, slots.build, slots.owners, slots.plan


def _one(table: Table) -> Table:
    """The one object for all tables that say the same."""
    return _same.get(_table_numbers.of(table), lambda: table)


def _shared_apply(table: Table, delta: Delta) -> Table:
    if delta.epoch <= table.epoch or delta.base > table.epoch:
        return _apply(table, delta)
    return _applied.get((_table_numbers.of(table), _delta_numbers.of(delta)), lambda: _one(_apply(table, delta)))


def _shared_build(current: Table, members: Sequence[Member], group_owners: Sequence[str], epoch: int) -> Table:
    key = (_table_numbers.of(current), tuple(members), tuple(group_owners), epoch)  # one owner a group: their number is in it
    return _built.get(key, lambda: _one(_build(current, members, group_owners, epoch)))


def _shared_owners(table: Table) -> list[str]:
    return list(_owned.get((_table_numbers.of(table), slots.GROUPS), lambda: _owners(table)))


def _shared_plan(nodes: Iterable[Member]) -> list[str]:
    of = tuple(nodes)
    return list(_planned.get((of, slots.GROUPS), lambda: _plan(of)))


def read_delta(data: bytes) -> Delta:
    """The delta that these bytes are."""
    return _read.get(data, lambda: decode_delta(data))


def delta_of(table: Table, base: int) -> bytes:
    """What changed since epoch ``base``, as it goes over the mesh."""
    return _told.get((_table_numbers.of(table), base), lambda: encode_delta(table.delta(base)))


class _Reader:
    """Takes the place of a node's decoder."""

    decode = staticmethod(read_delta)


def install() -> None:
    """Has this interpreter share tables from now on."""
    Table.apply = _shared_apply  # type: ignore[method-assign, assignment]  # the same function, called once for each argument
    slots.build = _shared_build
    slots.owners = _shared_owners
    slots.plan = _shared_plan
    node._DELTA = _Reader()  # type: ignore[assignment]


_large_hashes = lru_cache(maxsize=1)(slots._group_hashes.__wrapped__)
_large_homes = lru_cache(maxsize=64)(slots._homes.__wrapped__)


@contextmanager
def large_groups() -> Iterator[None]:
    """Slots are placed in groups of ``GROUP_SLOTS``."""
    kept = (slots.GROUP_SLOTS, slots.GROUPS, slots._group_hashes, slots._homes)
    slots.GROUP_SLOTS, slots.GROUPS, slots._group_hashes, slots._homes = GROUP_SLOTS, SLOTS // GROUP_SLOTS, _large_hashes, _large_homes
    stride, tables.STRIDE, moves.GROUP_SLOTS = tables.STRIDE, GROUP_SLOTS, GROUP_SLOTS  # type: ignore[attr-defined]  # as slots has it
    try:
        yield
    finally:
        slots.GROUP_SLOTS, slots.GROUPS, slots._group_hashes, slots._homes = kept
        tables.STRIDE, moves.GROUP_SLOTS = stride, kept[0]  # type: ignore[attr-defined]
