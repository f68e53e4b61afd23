"""The index law of one conversation (``design.md`` §4): *when an entry is said at t, each member's row of the sync index is durable and
says at least t - 10 min*.

The home knows one such time for all members, and none after an activation: then the rows are written before anything is said or repeated.
Groups above 64 members have rows marked ``always`` instead.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from storage.store import EntryRow, IndexRow, Outcome

if TYPE_CHECKING:
    from node.core.conversation import Conversation


class IndexLaw:
    """What is known of the members' index rows."""

    __slots__ = ("at", "cv", "missing", "round", "waiting", "writing")

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.at: int | None = None
        """Every member's row, but those of ``missing``, says at least this (cluster time, ms)."""
        self.missing: set[str] = set()
        self.writing = 0
        """Rows of the present round that are not confirmed yet."""
        self.round: tuple[int, set[str]] = (0, set())
        self.waiting: list[Callable[[], None]] = []

    def forget(self, roster_may_be_new: bool) -> None:
        """Nothing is known (an activation, or the first members). Large groups' rows do not age: they are written again only when the
        last entries changed the roster, for then the change may not have been said."""
        self.at = None
        self.missing = set(self.cv.roster.current()) if roster_may_be_new else set()
        if not self.cv.sv.rules.said_law and self.cv.created_at:
            self.at = self.cv.created_at

    def joined(self, row: EntryRow) -> None:
        """Members who are new with ``row`` have no row yet; a group that has grown large needs marked ones for all."""
        current = self.cv.roster.current()
        if row.type == "group.create":
            self.missing.update(current)
        elif row.type == "group.add":
            new = json.loads(row.body)["members"]
            grown = self._is_large(len(current)) and not self._is_large(len(current) - len(new))
            self.missing.update(current if grown else new)

    def _is_large(self, members: int) -> bool:
        return members > self.cv.sv.limits.index_rows_members_max

    def _time(self) -> int:
        """The time that the law counts from."""
        sv = self.cv.sv
        return sv.time_ms() if sv.rules.said_law or not self.cv.pending else self.cv.pending[0].row.created_at

    def holds(self, margin_ms: int = 0) -> bool:
        if self.missing:
            return False
        cv = self.cv
        limits = cv.sv.limits
        if len(cv.roster.by_user) > limits.index_rows_members_max and self._is_large(len(cv.roster.current())):
            return True
        return self.at is not None and self.at >= self._time() - limits.index_law_ms + margin_ms

    def allows(self) -> bool:
        """Whether something may be said now; if not, the rows are being written, and ``say_ready`` is called when they are."""
        if self.holds():
            return True
        self._write()
        return False

    def prepare(self) -> None:
        """Starts a write that will soon be needed, so that it goes with the entry's own commit."""
        if not self.holds(margin_ms=self.cv.sv.limits.index_law_ms // 10):
            self._write()

    def when_allowed(self, call: Callable[[], None]) -> None:
        """Calls ``call`` when the law allows saying something, perhaps at once; bounded: past that nothing is called."""
        if self.holds():
            call()
        elif len(self.waiting) < self.cv.sv.limits.loading_requests_max:
            self.waiting.append(call)
            self._write()

    def _write(self) -> None:
        if self.writing:
            return
        cv = self.cv
        time = cv.sv.time_ms()
        # Whoever is being removed sees that entry too, and needs a row that leads to it.
        users = {u for u, m in cv.roster.by_user.items() if not m.until_seq or m.until_seq > cv.head}
        always = self._is_large(len(cv.roster.current()))  # as ``holds`` counts: a time stands for rows of all, marks for each row alone
        if always and self.missing:
            users &= self.missing
        self.round = (time, users)
        self.writing = len(users)
        for user in sorted(users):  # in an order that does not hang on hashes: a simulated history can be replayed
            cv.sv.write(IndexRow(user, cv.id, time, time, always), self._on_written, time)
        if not users:
            self._done()

    def _on_written(self, outcome: Outcome, time: int) -> None:
        if outcome is Outcome.STORED and time == self.round[0]:
            self.writing -= 1
            if not self.writing:
                self._done()

    def _done(self) -> None:
        time, users = self.round
        self.at = max(self.at or 0, time)
        self.missing -= users
        self.missing &= self.cv.roster.by_user.keys()
        if not self.holds() and self.missing:
            return self._write()
        waiting, self.waiting = self.waiting, []
        if self.cv.is_closed:
            return
        self.cv.say_ready()
        for call in waiting:
            self.when_allowed(call)
