"""Slot tables made once for all processes of a history.

Every process of a real cluster applies each delta by itself; here some six of them share one interpreter, and a table has 16,384 slots.
What is made of a table and a delta is a value that follows from them alone, so it is made once and shared. This changes no outcome.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from directory import slots
from directory.table import Delta, Table, decode_delta, encode_delta

KEPT_MAX = 512


class _Shared:
    """The latest results of a pure function, by a key that says all of its arguments."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, Table] = OrderedDict()

    def get(self, key: object, make: Callable[[], Table]) -> Table:
        table = self._kept.get(key)
        if table is None:
            table = self._kept[key] = make()
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return table


_applied = _Shared()
_built = _Shared()
_apply = Table.apply
_build = slots.build
_keys: dict[int, tuple[Table, bytes]] = {}


def _key(table: Table) -> bytes:
    """All that a table says, as bytes; remembered by the object, which is kept alive with it."""
    kept = _keys.get(id(table))
    if kept is None or kept[0] is not table:
        if len(_keys) > 4 * KEPT_MAX:
            _keys.clear()
        kept = _keys[id(table)] = (table, encode_delta(table.delta(0)))
    return kept[1]


def _shared_apply(table: Table, delta: Delta) -> Table:
    if delta.epoch <= table.epoch or delta.base > table.epoch:
        return _apply(table, delta)
    return _applied.get((_key(table), encode_delta(delta)), lambda: _apply(table, delta))


def install() -> None:
    """Has this interpreter share tables from now on."""
    Table.apply = _shared_apply  # type: ignore[method-assign]  # the same function, made once for each argument
    slots.build = _shared_build  # type: ignore[assignment]


def _shared_build(current: Table, members, group_owners, epoch):  # type: ignore[no-untyped-def]
    key = (_key(current), tuple(members), tuple(group_owners), epoch)
    return _built.get(key, lambda: _build(current, members, group_owners, epoch))


__all__ = ["decode_delta", "install"]
