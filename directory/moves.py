"""Planned moves: batches of slots that a live node is asked to bring to rest before they go elsewhere (``design.md`` §5).

Owns which groups are in flight, since when, and whom not to ask yet. Must not know frames, the row or who is alive.

Laws:
    * A group is in at most one batch; a node has at most one batch in flight.
    * A batch is released by its old owner in time, or taken back. Only a released one changes the table.
    * Move numbers are never used twice, not even by another leader: they begin with the epoch at which this one took over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from directory.config import DirectoryConfig
from directory.slots import GROUP_SLOTS

NUMBER_BITS = 20
"""A directory asks for at most a million batches in one term."""


def term_of(number: int) -> int:
    """The epoch at which the directory that asked for the batch took over."""
    return number >> NUMBER_BITS


class Move(Struct):
    number: int
    old: str
    to: str
    groups: frozenset[int]
    deadline: float
    released: bool = False


class Moves:
    """The batches in flight."""

    def __init__(self, config: DirectoryConfig) -> None:
        self._config = config
        self._by_number: dict[int, Move] = {}
        self._by_old: dict[str, Move] = {}
        self._not_before: dict[str, float] = {}
        self._next = 0
        self.term = 0
        """The epoch at which this directory took over; 0: it does not lead."""

    def __len__(self) -> int:
        return len(self._by_number)

    def begin_term(self, epoch: int) -> None:
        """This directory leads from ``epoch`` on. What a former leader asked for is void: the nodes take it back by themselves."""
        self._by_number.clear()
        self._by_old.clear()
        self._not_before.clear()
        self.term = epoch
        self._next = epoch << NUMBER_BITS

    def ask(self, wanted: Mapping[tuple[str, str], Sequence[int]], now: float) -> list[Move]:
        """Starts what may start now.

        Args:
            wanted: (old owner, new owner) → the groups to move, all of them.
        """
        started = []
        for (old, to), groups in wanted.items():
            if len(self._by_number) >= self._config.moves_in_flight_max:
                break
            if old in self._by_old or self._not_before.get(old, 0.0) > now:
                continue
            batch = frozenset(sorted(groups)[: self._config.move_slots_max // GROUP_SLOTS])
            self._next += 1
            move = Move(self._next, old, to, batch, now + self._config.move_s)
            self._by_number[move.number] = self._by_old[old] = move
            started.append(move)
        return started

    def released(self, number: int, old: str) -> bool:
        """Notes that ``old`` has brought a batch to rest; False: there is no such batch (any more), it shall take it back."""
        move = self._by_number.get(number)
        if move is None or move.old != old:
            return False
        move.released = True
        return True

    def at_rest(self) -> list[Move]:
        return [m for m in self._by_number.values() if m.released]

    def done(self, number: int, now: float) -> Move | None:
        """The table has decided about this batch; its node may be asked for the next after a pause. None: it was dropped meanwhile."""
        move = self._remove(number)
        if move is not None:
            self._not_before[move.old] = now + self._config.move_pause_s
        return move

    def overdue(self, committing: frozenset[int], now: float) -> list[Move]:
        """Takes back the batches whose time is over, except those that a commit in flight may already have moved."""
        late = [m for m in self._by_number.values() if m.deadline <= now and m.number not in committing]
        for move in late:
            self._remove(move.number)
            self._not_before[move.old] = now + self._config.move_retry_s
        return late

    def drop(self, old: str) -> None:
        """``old`` is gone: its slots move without its help."""
        self._not_before.pop(old, None)
        move = self._by_old.get(old)
        if move is not None:
            self._remove(move.number)

    def next_deadline(self, committing: frozenset[int]) -> float | None:
        times = [m.deadline for m in self._by_number.values() if m.number not in committing]
        return min([*times, *self._not_before.values()], default=None)

    def waiting(self, now: float) -> bool:
        """Whether somebody's pause is over since the last look; forgets pauses that are."""
        over = [old for old, at in self._not_before.items() if at <= now]
        for old in over:
            del self._not_before[old]
        return bool(over)

    def _remove(self, number: int) -> Move | None:
        move = self._by_number.pop(number, None)
        if move is not None:
            self._by_old.pop(move.old, None)
        return move
