"""Marks of a conversation on their way: reports in, ticks out, one row stored now and then (``design.md`` §3, step 8).

Laws:
    * A mark moves forward only, never past the head, never outside what its user may see (P5).
    * Whoever hears of a moved mark has an index row that leads to it (``receipts_at``, the law of §4).
    * The mailbox that reported a mark hears ``MarkStored`` once it is durable; until then it repeats it to every new home.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from homing.ids import DIRECT, kind_of

from node.core.frames import MarkReport, MarksMoved, MarkStored
from storage.store import Outcome

if TYPE_CHECKING:
    from node.core.conversation import Conversation


class Receipts:
    """The traffic of marks of one conversation."""

    __slots__ = ("cv", "due", "gathering", "hurried", "timer_at")

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.due: dict[str, dict[str, None]] = {}
        """Who has to hear: user → the users whose marks moved."""
        self.gathering = False
        self.timer_at: float | None = None
        self.hurried = False
        """A mailbox that is about to move waits for its marks: they are stored as they come, until none are dirty."""

    def on_report(self, frame: MarkReport, source: str) -> None:
        durable = [mark for mark in frame.marks if self._take(*mark)]
        if durable:
            self.cv.sv.send(source, MarkStored(self.cv.id, tuple(durable)))
        if frame.urgent:
            self.hurried = True
            self.store_now()
        for user in frame.tell:
            self.cv.index.when_allowed(partial(self._tell_own, user, source))

    def _take(self, user: str, told_delivered: int, told_read: int) -> bool:
        """Takes one member's report in; True when there is no reason to repeat it: what counts of it is stored. A mark above the head is
        a client's mistake, and moves no further than the head."""
        cv = self.cv
        window = cv.roster.window(user, cv.head)
        if window is None:
            return True
        delivered, read = min(told_delivered, window[1]), min(told_read, window[1])
        before = cv.marks.of(user)
        moved = cv.marks.move(user, delivered, read, self._ordinal_at(read), cv.sv.now, backward=not cv.sv.rules.mark_max)
        if not moved and cv.marks.is_stored(user):
            return True
        told = cv.marks.waiting.get(user, (0, 0))
        cv.marks.waiting[user] = (max(told[0], told_delivered), max(told[1], told_read))
        self._store_later()
        if moved and not self._tell_directly(user):
            self._gather(user, before[1] if read > before[1] else before[0])
        if moved:
            what, seq = ("read mark", read) if read > before[1] else ("delivered mark", delivered)
            cv.sv.note(what, cv.id, seq, "", user)
        return False

    def _ordinal_at(self, seq: int) -> int:
        """The ordinal at ``seq``; below what memory holds it is counted back, as if no group change lay between."""
        cv = self.cv
        row = cv.recent.get(seq)
        if row is not None:
            return row.ordinal
        if not cv.recent or seq > cv.head:
            return 0
        oldest = cv.recent[next(iter(cv.recent))]
        return max(0, oldest.ordinal - (oldest.seq - seq))

    # -------------------------------------------------------------- ticks

    def _tell_directly(self, user: str) -> bool:
        """The short way of a direct conversation: one hearer, nothing to gather; False: not now."""
        cv = self.cv
        if self.due or kind_of(cv.id) != DIRECT or not cv.index.holds():
            return False
        hearer = next((other for other in cv.roster.by_user if other != user), "")
        home = cv.sv.owner_of(hearer) if hearer else ""
        return bool(home) and cv.sv.send(home, MarksMoved(cv.id, (hearer,), ((user, *cv.marks.of(user)[:2]),)))

    def _tell_own(self, user: str, source: str) -> None:
        """The user's other devices hear how far he has read, as it was accepted; a frame that is lost is made good by the next head."""
        self.cv.sv.send(source, MarksMoved(self.cv.id, (user,), ((user, *self.cv.marks.of(user)[:2]),)))

    def _gather(self, user: str, above: int) -> None:
        """Notes who has to hear that the marks of ``user`` moved: the senders of what they passed, or all when memory does not tell."""
        cv = self.cv
        if kind_of(cv.id) == DIRECT:
            hearers = [u for u in cv.roster.by_user if u != user]
        elif above + 1 in cv.recent:
            passed = range(above + 1, cv.marks.of(user)[0] + 1)
            senders = dict.fromkeys(cv.recent[seq].sender for seq in passed if cv.recent[seq].sender != user)
            hearers = [sender for sender in senders if cv.roster.may_write(sender)]  # who has left learns no more of others (P8)
        else:
            hearers = [u for u in cv.roster.current() if u != user]
        for hearer in hearers:
            self.due.setdefault(hearer, {})[user] = None
        if not self.due:
            return
        if kind_of(cv.id) == DIRECT:
            self.flush()
        elif not self.gathering:
            self.gathering = True
            cv.sv.at(cv.sv.now + cv.sv.limits.receipts_gather_s, self.flush)

    def flush(self) -> None:
        """Tells what was gathered."""
        self.gathering = False
        if self.due:
            self.cv.index.when_allowed(self._tell)

    def _tell(self) -> None:
        """One frame for each home and set of marks."""
        cv = self.cv
        due, self.due = self.due, {}
        groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for hearer, users in due.items():
            groups.setdefault((cv.sv.owner_of(hearer), tuple(users)), []).append(hearer)
        for (home, moved), hearers in groups.items():
            marks = tuple([(user, *cv.marks.of(user)[:2]) for user in moved])
            if home and not cv.sv.send(home, MarksMoved(cv.id, tuple(hearers), marks)):
                for hearer in hearers:
                    self.due.setdefault(hearer, {}).update(dict.fromkeys(moved))
                cv.sv.send_when_open(home, f"{cv.id}.marks", lambda _: self.flush())

    # -------------------------------------------------------------- storing

    def _store_later(self) -> None:
        """Once a minute while the chat is busy, sooner when it goes quiet."""
        cv = self.cv
        if self.timer_at is None:
            self.timer_at = cv.sv.now + cv.sv.limits.marks_quiet_s
            cv.sv.at(self.timer_at, self._on_timer)

    def _on_timer(self) -> None:
        cv = self.cv
        self.timer_at = None
        if cv.marks.dirty_since is None or cv.state == "closed":
            return
        quiet_at = cv.used_at + cv.sv.limits.marks_quiet_s
        latest_at = cv.marks.dirty_since + cv.sv.limits.marks_store_s
        due = min(quiet_at, latest_at)
        if cv.sv.now < due:
            self.timer_at = due
            cv.sv.at(due, self._on_timer)
        else:
            self.store_now()

    def store_now(self) -> None:
        """Writes all marks as one row, if any has moved."""
        cv = self.cv
        if cv.marks.dirty_since is not None and cv.marks.writing is None:
            cv.sv.write(cv.marks.row(cv.id, cv.term), self._on_stored, None)

    def _on_stored(self, outcome: Outcome, _: None) -> None:
        cv = self.cv
        if outcome is Outcome.FENCED:
            return cv.sv.fenced()
        if outcome is not Outcome.STORED:
            return
        by_home: dict[str, list[tuple[str, int, int]]] = {}
        for user, delivered, read in cv.marks.written():
            stored = cv.marks.of(user)
            told = (user, max(stored[0], delivered), max(stored[1], read))
            by_home.setdefault(cv.sv.owner_of(user), []).append(told)
        for home, marks in by_home.items():
            if home:
                cv.sv.send(home, MarkStored(cv.id, tuple(marks)))
        if cv.marks.dirty_since is None:
            self.hurried = False
        elif self.hurried or cv.state == "frozen":
            self.store_now()
        else:
            self._store_later()
