"""The member rows of one conversation on their way to the store: they follow from entries (``design.md`` §4).

Laws:
    * A row says what held at its entry, not what was asked for since: that may never be stored.
    * A row is written after its entry is stored and its writer seen unfenced, with the entry's seq as timestamp; an activation writes those
      of its last 64 entries again.
    * No entry is said more than ``unsaid_entries_max`` ahead of them, so that those 64 reach all that may be missing.
    * What is durable of a block is told to the shell (``BlockDecided``), and told again at each activation: what the shell had not repeated
      elsewhere when the node before died is repeated then.
    * Both rows of a direct conversation are durable before there is an entry: its entries do not name its members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.ids import DIRECT, GROUP, kind_of
from homing.protocol import HOME_TYPES

from node.core.effects import BlockDecided
from storage.store import EntryRow, MemberRow, Outcome

if TYPE_CHECKING:
    from node.core.conversation import Conversation, Writing


class Derived:
    """What follows from one conversation's entries and is not durable yet."""

    __slots__ = ("again", "cv", "starting", "told", "under_way")

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.under_way = 0
        """Rows that are not confirmed yet."""
        self.again: dict[str, MemberRow] = {}
        """What follows from the entries that an activation read: it is written again once the log row has shown that we may."""
        self.told: list[MemberRow] = []
        """Rows of entries, as they were found."""
        self.starting: list[tuple[Writing, str]] = []
        """Requests to a direct conversation whose member rows are not durable yet."""

    @property
    def is_behind(self) -> bool:
        """Whether nothing more may be said until some of the rows are durable."""
        return self.under_way > self.cv.sv.limits.unsaid_entries_max

    @property
    def is_at_rest(self) -> bool:
        return not self.under_way and not self.starting

    def load(self, members: list[MemberRow], run: list[EntryRow]) -> bool:
        """Takes in what an activation read; whether any of the counting entries changed who the members are."""
        self.told = [row for row in members if row.seq]
        changes = [row for row in run if row.type.startswith(HOME_TYPES)]
        for entry in changes:
            for row in self.cv.roster.apply(entry):
                self.again[row.user] = row
        return any(kind_of(row.conversation) == GROUP for row in changes)

    def open(self) -> None:
        """The log row is ours: what an activation found is written again."""
        for row in self.told:
            self._tell(row)
        self.told = []
        again, self.again = self.again, {}
        for row in again.values():
            self.write(row)

    def said(self, rows: list[MemberRow]) -> None:
        """The entry from which the rows follow is said."""
        self.cv.roster.changed += 1  # who has left with it is out of the routes from now on
        for row in rows:
            self.write(row)

    def write(self, row: MemberRow) -> None:
        self.under_way += 1
        self.cv.sv.write(row, self._on_written, row)

    def _tell(self, row: MemberRow) -> None:
        peers = [user for user in self.cv.roster.by_user if user != row.user]
        if row.seq and peers and kind_of(row.conversation) == DIRECT:
            self.cv.sv.emit(BlockDecided(row.user, peers[0], row.seq, row.blocks))

    def _on_written(self, outcome: Outcome, row: MemberRow) -> None:
        if outcome is Outcome.STORED:
            self.under_way -= 1
            self._tell(row)
            if not self.under_way and self.starting:
                waiting, self.starting = self.starting, []
                for frame, source in waiting:
                    self.cv.on_frame(frame, source)
            self.cv.say_ready()
