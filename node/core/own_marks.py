"""The marks that one user's devices report, until their conversations have stored them (``design.md`` §3, step 8).

Laws:
    * What was taken is reported until its conversation says that it is stored: to every new home, when a home takes frames again, and in
      any case after a while, for a report may meet a home that drops it (P5).
    * A cursor never passes a mark that is not stored yet: ``cursor`` is the time of the oldest of these, or now.
    * What moves is durable first: the next home of the user does not know these marks, and its cursors would pass them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.ids import is_id
from msgspec import Struct

from node.core.frames import MarkFrom

if TYPE_CHECKING:
    from node.core.services import Services

OVERDUE = 1.5
"""Times the longest that a home waits before it stores marks: what is not stored then is reported again."""


class Unstored(Struct):
    """A mark that its conversation has not stored yet."""

    delivered: int
    read: int
    since: int
    """Cluster time, ms, of the first report that is not stored."""


class OwnMarks:
    """Of one user at home here."""

    __slots__ = ("closed", "frozen", "repeating", "sv", "unstored", "user", "waiting")

    def __init__(self, services: Services, user: str) -> None:
        self.sv = services
        self.user = user
        self.unstored: dict[str, Unstored] = {}
        self.frozen = self.closed = self.repeating = False
        self.waiting: list[tuple[MarkFrom, str, int]] = []
        """Marks that came while the mailbox is about to move, with their edge and cluster time."""

    def take(self, frame: MarkFrom, edge: str, tell: bool) -> bool:
        """Takes a device's mark in; False when there is no room for it. ``tell``: the user has other devices, which hear from the
        conversation's home what of a read mark it accepted."""
        most = self.sv.limits.unstored_marks_max
        if self.frozen:
            if len(self.waiting) >= most:
                return False
            self.waiting.append((frame, edge, self.sv.time_ms()))
            return True
        mark = self.unstored.get(frame.conversation)
        if mark is None:
            if not is_id(frame.conversation):
                self.sv.absurd(edge, "not a conversation's id")
                return True
            if len(self.unstored) >= most:
                return False
            mark = self.unstored[frame.conversation] = Unstored(0, 0, self.sv.time_ms())
            self._repeat_later()
        elif frame.delivered <= mark.delivered and frame.read <= mark.read:
            return True
        mark.delivered = max(mark.delivered, frame.delivered, frame.read)
        mark.read = max(mark.read, frame.read)
        self.sv.report_mark(frame.conversation, self.user, mark.delivered, mark.read, tell=tell and frame.read > 0)
        return True

    def on_stored(self, conversation: str, delivered: int, read: int) -> None:
        mark = self.unstored.get(conversation)
        if mark is not None and mark.delivered <= delivered and mark.read <= read:
            del self.unstored[conversation]

    # -------------------------------------------------------------- again

    def report(self, conversation: str) -> None:
        """Says again how far the user got in a conversation, if that is not stored yet."""
        mark = self.unstored.get(conversation)
        if mark is not None:
            self.sv.report_mark(conversation, self.user, mark.delivered, mark.read)

    def report_all(self) -> None:
        for conversation in self.unstored:
            self.report(conversation)

    def _repeat_later(self) -> None:
        if not self.repeating:
            self.repeating = True
            self.sv.at(self.sv.now + OVERDUE * self.sv.limits.marks_store_s, self._repeat)

    def _repeat(self) -> None:
        self.repeating = False
        if self.closed or not self.unstored:
            return
        overdue = self.sv.time_ms() - self.sv.limits.marks_store_s * 1_000
        for conversation, mark in self.unstored.items():
            if mark.since <= overdue:
                self.report(conversation)
        self._repeat_later()

    # -------------------------------------------------------------- moving

    def freeze(self) -> bool:
        """The mailbox is about to move; marks that come meanwhile wait. True when none are left."""
        self.frozen = True
        for conversation, mark in self.unstored.items():
            self.sv.report_mark(conversation, self.user, mark.delivered, mark.read, urgent=True)
        return not self.unstored

    def unfreeze(self) -> list[tuple[MarkFrom, str, int]]:
        """The move is taken back; returns the marks that waited."""
        self.frozen = False
        waiting, self.waiting = self.waiting, []
        return waiting

    def close(self) -> None:
        """The user is at home elsewhere: marks that waited go there."""
        self.closed = True
        for frame, _, _ in self.waiting:
            forward(self.sv, frame)

    # -------------------------------------------------------------- cursors

    def cursor(self, at: int) -> tuple[int, int]:
        """A cursor that passes no unstored mark, and how far back marks are to be repeated, ms."""
        oldest = min((mark.since for mark in self.unstored.values()), default=self.waiting[0][2] if self.waiting else None)
        if oldest is None:
            return at, 0
        return min(at, oldest), max(0, self.sv.time_ms() - oldest)


def forward(services: Services, frame: MarkFrom) -> None:
    """A mark whose user is at home elsewhere, which the edge may not have heard yet: dropped here it would be lost silently (P5)."""
    home = services.owner_of(frame.user)
    if home and not services.send(home, frame):
        key = f"{frame.user}.{frame.conversation}.{frame.delivered}.{frame.read}"
        services.send_when_open(home, key, lambda _: forward(services, frame))
