"""Which requests a conversation has seen: the log is the table that tells, this is its memory (``design.md`` §3, step 3; promise P4).

Laws:
    * ``ids`` holds the client message id of every entry above ``floor``, pending ones included.
    * What may lie below the floor is looked up in the log before anything is decided about it, or refused as ``resync``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import codes

from node.core import log
from storage.store import Answer, EntriesRead, EntryRow, ReadEntries

if TYPE_CHECKING:
    from node.core.conversation import Conversation, Writing

RETRY_MS = 200


class Repeats:
    """The client message ids of one conversation."""

    __slots__ = ("cv", "floor", "ids", "scanning")

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.ids: dict[tuple[str, str], int] = {}
        self.floor = 0
        self.scanning: list[tuple[Writing, str]] = []
        """Requests that wait for a look into the log."""

    def load(self, run: list[EntryRow], head: int) -> None:
        """The counting entries that an activation read."""
        for row in run:
            self.ids[row.sender, row.client_message_id] = row.seq
        self.floor = run[0].seq - 1 if run else head

    def seq_of(self, frame: Writing) -> int | None:
        """The entry that the request made, as far as memory knows."""
        return self.ids.get((frame.user, frame.id)) if self.cv.sv.rules.dedup else None

    def is_unsure(self, after: int) -> bool:
        """Whether an entry above ``after`` may exist that memory does not know."""
        return after < self.floor and self.cv.sv.rules.dedup

    def scan(self, after: int, frame: Writing, source: str) -> None:
        """Reads the ids of the log down to ``after``, then handles the request again."""
        cv = self.cv
        if self.floor - after > cv.sv.limits.dedup_scan_entries_max:
            return cv.refuse(frame, source, codes.RESYNC, "fetch what is missing first, then send with a newer after", "after")
        if len(self.scanning) >= cv.sv.limits.loading_requests_max:
            return cv.refuse(frame, source, codes.OVERLOADED, "the log is being read", retry_after_ms=RETRY_MS)
        self.scanning.append((frame, source))
        if len(self.scanning) == 1:
            self._read_page(after)

    def _read_page(self, after: int) -> None:
        query = ReadEntries(self.cv.id, after + 1, self.floor, newest=True, bodies=False)
        self.cv.sv.ask(query, lambda answer: self._on_read(after, answer))

    def _on_read(self, after: int, answer: Answer) -> None:
        if self.cv.is_closed:
            return
        assert isinstance(answer, EntriesRead)
        rows = log.counting(answer.entries, self.cv.terms, self.floor)
        for row in rows:
            self.ids.setdefault((row.sender, row.client_message_id), row.seq)
        if answer.cut and answer.entries:
            self.floor = min(self.floor, answer.entries[0].seq)
            return self._read_page(after)
        self.floor = min(self.floor, after)
        waiting, self.scanning = self.scanning, []
        for frame, source in waiting:
            self.cv.on_frame(frame, source)

    def trim(self) -> None:
        """Keeps the memory bounded: forgets the oldest ids and says so by a higher floor."""
        limit = self.cv.sv.limits.ids_max
        if len(self.ids) > limit * 2:
            self.floor = max(self.floor, self.cv.head - limit)
            self.ids = {key: seq for key, seq in self.ids.items() if seq > self.floor}
