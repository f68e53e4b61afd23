"""Where a device keeps what must survive a restart: the interface, and a store in memory.

Law: batches are applied whole and in the order in which they were given, so that a cursor never gets ahead of what it covers, and a
request is safe once its batch is. The client gives one that matters (`changes`) only when it knows what became of the one before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from homing.protocol import Entry
from homing.state import Changes, CoreState, PersonState


class StoreFailed(Exception):
    """The local store cannot be opened, read or written; its message says why."""


class Batch(Struct):
    """What is written together."""

    changes: Changes | None = None
    entries: Sequence[Entry] = ()
    people: Sequence[PersonState] = ()
    forgotten: Sequence[str] = ()
    """Users whose names are not kept any more."""


class Stored(Struct):
    """What a store gives back at the start."""

    core: CoreState
    people: list[PersonState]
    """Those asked for longest ago first."""


class Store(Protocol):
    async def open(self) -> Stored:
        """Opens the store and reads everything but entries.

        Raises:
            StoreFailed
        """

    def write(self, batch: Batch) -> Awaitable[None] | None:
        """Takes a batch, encoding what it needs before it returns. None: it is safe already; else it is when awaited.

        Raises (when awaited):
            StoreFailed
        """

    async def entries(self, conversation: str, before: int, limit: int) -> list[Entry]:
        """The unbroken run of entries just below seq `before`, newest first, at most `limit`; empty if that one is not held."""

    async def close(self) -> None: ...


class MemoryStore:
    """Forgets everything with its process. Its outbox and conversations are the core's own; entries are bounded."""

    def __init__(self, entries_max: int = 10_000) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[tuple[str, int], Entry] = OrderedDict()
        self._people: dict[str, PersonState] = {}

    async def open(self) -> Stored:
        return Stored(CoreState(), list(self._people.values()))

    def write(self, batch: Batch) -> None:
        self._people.update((p.user, p) for p in batch.people)
        for user in batch.forgotten:
            self._people.pop(user, None)
        for entry in batch.entries:
            self._entries[entry.conversation, entry.seq] = entry
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    async def entries(self, conversation: str, before: int, limit: int) -> list[Entry]:
        return list(_run(self._entries, conversation, before, limit))

    async def close(self) -> None:
        pass


def _run(entries: OrderedDict[tuple[str, int], Entry], conversation: str, before: int, limit: int) -> Iterable[Entry]:
    for seq in range(before - 1, before - 1 - limit, -1):
        entry = entries.get((conversation, seq))
        if entry is None:
            return
        yield entry
