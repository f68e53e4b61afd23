"""What a conversation tells to readers: heads, pages of history, the body of one entry (``design.md`` §4).

Laws:
    * Nobody reads outside the bounds of his membership, nobody reads what is not said.
    * A head or a page says entries: the index law comes first.
    * Rows of memory answer when they have their bodies; else storage is read, and only what counts is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homing import codes
from homing.ids import DIRECT, kind_of

from node.core import log
from node.core.frames import AskEntries, AskHead, EntriesAnswer, HeadAnswer
from node.core.roster import is_pair
from storage.store import READ_ENTRIES_MAX, Answer, EntriesRead, EntryRow, ReadEntries

if TYPE_CHECKING:
    from node.core.conversation import Conversation

HEAD_ROWS_MAX = 16
HEAD_CHARS_MAX = 16_384
"""Bodies that ride along with a head: a short absence is made good without a fetch, a long one is not pressed into one frame."""


class Pages:
    """Answers the readers of one conversation."""

    __slots__ = ("cv",)

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation

    def rows(self, from_seq: int, to_seq: int, then: Callable[[list[EntryRow]], None]) -> None:
        """Calls ``then`` with the entries that count from ``from_seq`` to ``to_seq`` (at most 100), ascending."""
        cv = self.cv
        if from_seq > to_seq:
            return then([])
        if from_seq >= cv.bodies_from and from_seq in cv.recent:
            return then([cv.recent[seq] for seq in range(from_seq, to_seq + 1)])

        def on_read(answer: Answer) -> None:
            assert isinstance(answer, EntriesRead)
            if cv.state != "closed":
                then(log.counting(answer.entries, cv.terms, to_seq))

        cv.sv.ask(ReadEntries(cv.id, from_seq, to_seq, READ_ENTRIES_MAX, newest=True), on_read)

    def with_body(self, seq: int, then: Callable[[EntryRow], None]) -> None:
        """Calls ``then`` with the said entry at ``seq``."""
        self.rows(seq, seq, lambda rows: then(rows[0]) if rows else None)

    # -------------------------------------------------------------- pages

    def on_ask_entries(self, frame: AskEntries, source: str) -> None:
        cv = self.cv
        window = cv.roster.window(frame.user, cv.head)
        if window is None and is_pair(frame.user, frame.peer, cv.id):
            # It is his, though nothing was said in it. By the id alone nobody hears whether two others have ever talked (P8).
            return self._answer_page(frame, source, 0, [])
        if window is None:
            return cv.refuse(frame, source, codes.NOT_A_MEMBER, "you are not a member of this conversation", "conversation")
        cv.index.when_allowed(lambda: self._read_page(frame, source, window))

    def _read_page(self, frame: AskEntries, source: str, window: tuple[int, int]) -> None:
        to_seq = window[1] if frame.to_seq is None else min(frame.to_seq, window[1])
        from_seq = max(frame.from_seq, window[0], to_seq - frame.limit + 1)
        self.rows(from_seq, to_seq, lambda rows: self._answer_page(frame, source, window[1], rows))

    def _answer_page(self, frame: AskEntries, source: str, head: int, rows: list[EntryRow]) -> None:
        if not self.cv.sv.send(source, EntriesAnswer(frame.session, frame.id, self.cv.id, tuple(rows), head)):
            # An edge that is full asks for nothing more by itself: the page is read again when there is room.
            key = f"{self.cv.id}.{frame.session}.{frame.id}"
            self.cv.sv.send_when_open(source, key, lambda _: self.cv.on_frame(frame, source))

    # -------------------------------------------------------------- heads

    def on_ask_head(self, frame: AskHead, source: str) -> None:
        cv = self.cv
        window = cv.roster.window(frame.user, cv.head)
        if window is None or window[1] < window[0]:
            cv.sv.send(source, HeadAnswer(cv.id, frame.user, frame.n, 0))
        else:
            cv.index.when_allowed(lambda: self._read_head(frame, source))

    def _read_head(self, frame: AskHead, source: str) -> None:
        window = self.cv.roster.window(frame.user, self.cv.head)
        if window is None:
            return
        low, high = window
        first = max(frame.have + 1, low)
        wanted = first if high - HEAD_ROWS_MAX < first <= high else high
        self.rows(wanted, high, lambda rows: self._answer_head(frame, source, high, first, rows))

    def _answer_head(self, frame: AskHead, source: str, high: int, first: int, rows: list[EntryRow]) -> None:
        cv = self.cv
        last = rows[-1] if rows else None
        delivered, read, read_ordinal = cv.marks.of(frame.user)
        member = cv.roster.by_user[frame.user]
        marks = tuple([(u, m[0], m[1]) for u, m in cv.marks.by_user.items() if u != frame.user])
        peer = next((u for u in cv.roster.by_user if u != frame.user), "") if kind_of(cv.id) == DIRECT else ""
        above = tuple([row for row in rows if row.seq >= first and row is not last])
        if sum(len(row.body) for row in above) > HEAD_CHARS_MAX:
            above = ()  # the device fetches them
        cv.sv.send(
            source,
            HeadAnswer(
                cv.id, frame.user, frame.n, high, last.ordinal if last else 0, last, delivered, read, read_ordinal, marks,
                cv.roster.title_for(frame.user), peer, member.role, member.until_seq, above,
            ),
        )  # fmt: skip
