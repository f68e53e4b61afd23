"""The delivered and read watermarks of a conversation's members: they only move forward (P5).

Stored as one row of all marks; ``stored`` remembers what is durable, so that whoever reported a mark can be told when to stop repeating it.
"""

from __future__ import annotations

from storage.store import ReceiptsRow

MarkTuple = tuple[int, int, int]


class Marks:
    """Per user: delivered seq, read seq, ordinal at the read seq."""

    __slots__ = ("by_user", "count", "dirty_since", "stored", "waiting", "writing")

    def __init__(self) -> None:
        self.by_user: dict[str, MarkTuple] = {}
        self.stored: dict[str, MarkTuple] = {}
        self.count = 0
        self.dirty_since: float | None = None
        self.waiting: dict[str, tuple[int, int]] = {}
        """Users whose mailbox has to hear that their marks are stored → (delivered, read) as it told them, perhaps above the head."""
        self.writing: dict[str, MarkTuple] | None = None

    def load(self, row: ReceiptsRow | None, term: int) -> None:
        if row is not None:
            self.count = row.count if row.term == term else 0
            self.by_user = {user: (delivered, read, ordinal) for user, delivered, read, ordinal in row.marks}
            self.stored = dict(self.by_user)

    def of(self, user: str) -> MarkTuple:
        return self.by_user.get(user, (0, 0, 0))

    def move(self, user: str, delivered: int, read: int, read_ordinal: int, now: float, *, backward: bool = False) -> bool:
        """Takes a report in; True when a mark moved. ``backward`` is the rule taken out by the simulator."""
        old = self.by_user.get(user, (0, 0, 0))
        new = (max(old[0], delivered, read), max(old[1], read), max(old[2], read_ordinal if read > old[1] else 0))
        if backward:
            new = (max(delivered, read), read or old[1], read_ordinal)
        if new == old:
            return False
        self.by_user[user] = new
        if self.dirty_since is None:
            self.dirty_since = now
        return True

    def is_stored(self, user: str) -> bool:
        return self.by_user.get(user) == self.stored.get(user)

    def row(self, conversation: str, term: int) -> ReceiptsRow:
        """The row to write now; ``written`` says that it is durable."""
        self.count += 1
        self.writing = dict(self.by_user)
        self.dirty_since = None
        return ReceiptsRow(conversation, term, self.count, tuple((u, d, r, o) for u, (d, r, o) in self.writing.items()))

    def written(self) -> list[tuple[str, int, int]]:
        """The row is durable; returns the marks whose mailbox waits to hear it, as it told them, and which have not moved since."""
        if self.writing is not None:
            self.stored, self.writing = self.writing, None
        told = [user for user in sorted(self.waiting) if self.is_stored(user)]
        return [(user, *self.waiting.pop(user)) for user in told]
