"""Marks on their way from the mailboxes of a node to the homes of conversations (``design.md`` §3, step 8).

Those of a direct conversation go at once; those of a group travel coalesced, one frame for a node and conversation. What does not get
through stays with its mailbox, which repeats it (P5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.ids import DIRECT, kind_of

from node.core.frames import MarkReport, MarkStored

if TYPE_CHECKING:
    from node.core.node import NodeCore


class Reports:
    """The marks that one node gathers."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.due: dict[str, dict[str, tuple[int, int]]] = {}
        """Conversation → user → (delivered, read)."""

    def add(self, conversation: str, user: str, delivered: int, read: int, urgent: bool = False) -> None:
        if urgent or kind_of(conversation) == DIRECT:
            return self._send(conversation, ((user, delivered, read),), urgent)
        if not self.due:
            self.node.at(self.node.now + self.node.limits.receipts_gather_s, self._flush)
        self.due.setdefault(conversation, {})[user] = (delivered, read)

    def _flush(self) -> None:
        due, self.due = self.due, {}
        for conversation, marks in due.items():
            self._send(conversation, tuple([(user, delivered, read) for user, (delivered, read) in marks.items()]))

    def _send(self, conversation: str, marks: tuple[tuple[str, int, int], ...], urgent: bool = False) -> None:
        home = self.node.owner_of(conversation)
        if home and not self.node.send(home, MarkReport(conversation, marks, urgent)):
            self.node.send_when_open(home, f"{conversation}.marks", lambda _: self._again(conversation, marks))

    def _again(self, conversation: str, marks: tuple[tuple[str, int, int], ...]) -> None:
        for user, _, _ in marks:
            mailbox = self.node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.report(conversation)

    def on_stored(self, frame: MarkStored, _: str) -> None:
        for user, delivered, read in frame.marks:
            mailbox = self.node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.on_mark_stored(frame.conversation, delivered, read)
