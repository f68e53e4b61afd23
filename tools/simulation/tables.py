"""Slot tables made once for all processes of a history.

Every process of a real cluster applies each delta by itself; here some six of them share one interpreter, and a table has 16,384 slots.
What is made of a table and a delta follows from them alone, and tables never change: so each is made once and shared. No outcome differs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

from directory import slots
from directory.table import Delta, Member, Table, encode_delta

KEPT_MAX = 64
"""More tables than one history has; each weighs half a megabyte with its key."""


class _Shared:
    """The latest results of a pure function, by a key that says all of its arguments."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Table] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Table]) -> Table:
        table = self._kept.get(key)
        if table is None:
            table = self._kept[key] = make()
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return table


_applied, _built, _same = _Shared(), _Shared(), _Shared()
_apply, _build = Table.apply, slots.build
Content = tuple[int, tuple[Member, ...], bytes, bytes]
_contents: OrderedDict[int, tuple[Table, Content]] = OrderedDict()


def _content(table: Table) -> Content:
    """All that a table says; remembered by the object, which is kept alive with it."""
    kept = _contents.get(id(table))
    if kept is None:
        content = (table.epoch, table.members, table.owners.tobytes(), table.terms.tobytes())
        kept = _contents[id(table)] = (table, content)
        if len(_contents) > 2 * KEPT_MAX:
            _contents.popitem(last=False)
    return kept[1]


def _one(table: Table) -> Table:
    """The one object for all tables that say the same."""
    return _same.get(_content(table), lambda: table)


def _shared_apply(table: Table, delta: Delta) -> Table:
    if delta.epoch <= table.epoch or delta.base > table.epoch:
        return _apply(table, delta)
    return _applied.get((_content(table), encode_delta(delta)), lambda: _one(_apply(table, delta)))


def _shared_build(current: Table, members: Sequence[Member], group_owners: Sequence[str], epoch: int) -> Table:
    key = (_content(current), tuple(members), tuple(group_owners), epoch)
    return _built.get(key, lambda: _one(_build(current, members, group_owners, epoch)))


_owners = slots.owners
_owners_of: OrderedDict[int, tuple[Table, list[str]]] = OrderedDict()


def _shared_owners(table: Table) -> list[str]:
    kept = _owners_of.get(id(table))
    if kept is None:
        kept = _owners_of[id(table)] = (table, _owners(table))
        if len(_owners_of) > KEPT_MAX:
            _owners_of.popitem(last=False)
    return list(kept[1])


def install() -> None:
    """Has this interpreter share tables from now on."""
    Table.apply = _shared_apply  # type: ignore[method-assign, assignment]  # the same function, called once for each argument
    slots.build = _shared_build
    slots.owners = _shared_owners
