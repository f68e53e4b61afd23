"""How a home comes to write in a conversation's log (``design.md`` §5).

Theory of operation. A new owner has read the log. If anything is stored, it writes the *log row* with its own term, and only then answers
or appends. If nothing is stored at all it leaves no row, or whoever makes up ids would fill the store: it looks at the cell row instead,
after its read, and answers "nothing here"; the log row is written before the first append.

Laws:
    * Nothing is appended, and no row is derived, before the log row with the own term is durable and its writer was seen in the cell row.
    * Nothing is answered before that, or, where nothing is stored, before this process was seen in the cell row after it had read: then no
      successor had begun to read, nor anything been said by one, and what predecessors may still have on its way was never said. The term
      that is written later starts at seq 1, as it would have at once: what of theirs lands meanwhile does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.core import log
from storage.store import Answer, CellLoaded, LoadCell, LogLoaded, LogRow, Outcome

if TYPE_CHECKING:
    from node.core.conversation import Conversation, Writing


class Claim:
    """One conversation's log row."""

    __slots__ = ("cv", "held")

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.held = False
        """The log row says our term: entries may be appended."""

    def begin(self, found: LogLoaded) -> None:
        """The log is read: opens the conversation once it may answer."""
        cv = self.cv
        if cv.terms and cv.terms[-1][0] == cv.term:
            self.held = True
            cv.open()
        elif not cv.sv.rules.log_row:
            cv.terms, self.held = log.with_term(cv.terms, cv.term, cv.next), True
            cv.open()
        elif found.log or found.entries or found.members or found.receipts:
            self._write()
        else:
            cv.state = "barrier"
            cv.sv.ask(LoadCell(), self._on_cell)

    def take(self, request: Writing, source: str) -> None:
        """Something is to be appended to a log in which there is nothing: the request waits for the log row."""
        self.cv.inbox.appendleft((request, source))
        self._write()

    def _write(self) -> None:
        cv = self.cv
        cv.state = "barrier"
        cv.terms = log.with_term(cv.terms, cv.term, cv.next)
        cv.sv.write(LogRow(cv.id, cv.terms), self._on_written, None)

    def _on_written(self, outcome: Outcome, _: None) -> None:
        if outcome is Outcome.FENCED:
            self.cv.sv.fenced()
        elif outcome is Outcome.STORED and self.cv.state == "barrier":
            self.held = True
            self.cv.open()

    def _on_cell(self, answer: Answer) -> None:
        assert isinstance(answer, CellLoaded)
        if answer.cell is None or self.cv.sv.me not in answer.cell.live:
            self.cv.sv.fenced()
        elif self.cv.state == "barrier":
            self.cv.open()
