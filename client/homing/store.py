"""Where a device keeps what must survive a restart: the interface, and a store in memory.

Law: batches are applied whole and in the order in which they were given, so that a cursor never gets ahead of what it covers, and a
request is safe once its batch is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from homing.protocol import Entry
from homing.state import Changes, CoreState


class StoreFailed(Exception):
    """The local store cannot be opened, read or written; its message says why."""


class Batch(Struct):
    """What is written together."""

    changes: Changes | None = None
    entries: Sequence[Entry] = ()
    names: Sequence[tuple[str, str]] = ()
    """(user, name)."""


class Stored(Struct):
    """What a store gives back at the start."""

    core: CoreState
    names: dict[str, str]


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
        self._names: dict[str, str] = {}

    async def open(self) -> Stored:
        return Stored(CoreState(), self._names)

    def write(self, batch: Batch) -> None:
        self._names.update(batch.names)
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
