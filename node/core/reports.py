"""Marks on their way from the mailboxes of a node to the homes of conversations (``design.md`` §3, step 8).

Those of a direct conversation go at once; those of a group travel coalesced, one frame for a node and conversation. What does not get
through stays with its mailbox, which repeats it (P5): when the home takes something again, and in any case after a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.ids import DIRECT, kind_of

from node.core.frames import MarkFrom, MarkReport, MarkStored
from node.core.own_marks import forward

if TYPE_CHECKING:
    from node.core.node import NodeCore


class Reports:
    """The marks that one node gathers."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.due: dict[str, dict[str, tuple[int, int, bool]]] = {}
        """Conversation → user → (delivered, read, whether his other devices are to hear of it)."""
        self.refused: dict[str, dict[str, None]] = {}
        """Conversation → users whose report its home did not take: all are asked again when it does, not only those of the last frame."""

    def add(self, conversation: str, user: str, delivered: int, read: int, urgent: bool = False, tell: bool = False) -> None:
        if urgent or kind_of(conversation) == DIRECT:
            return self._send(MarkReport(conversation, ((user, delivered, read),), urgent, (user,) if tell else ()))
        if not self.due:
            self.node.at(self.node.now + self.node.limits.receipts_gather_s, self._flush)
        due = self.due.setdefault(conversation, {})
        due[user] = (delivered, read, tell or (user in due and due[user][2]))

    def _flush(self) -> None:
        due, self.due = self.due, {}
        for conversation, marks in due.items():
            reported = tuple([(user, delivered, read) for user, (delivered, read, _) in marks.items()])
            self._send(MarkReport(conversation, reported, False, tuple([user for user, (_, _, tell) in marks.items() if tell])))

    def _send(self, frame: MarkReport) -> None:
        conversation = frame.conversation
        home = self.node.owner_of(conversation)
        if home and not self.node.send(home, frame):
            self.refused.setdefault(conversation, {}).update(dict.fromkeys([user for user, _, _ in frame.marks]))
            self.node.send_when_open(home, f"{conversation}.marks", lambda _: self._again(conversation))

    def _again(self, conversation: str) -> None:
        for user in self.refused.pop(conversation, ()):
            mailbox = self.node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.marks.report(conversation)

    def on_table(self) -> None:
        """Mailboxes report all that is not stored to the present homes."""
        self.refused.clear()

    def on_mark_from(self, frame: MarkFrom, edge: str) -> None:
        """A device's mark, for the mailbox here, or for where its user has moved to."""
        node = self.node
        mailbox = node.mailboxes.get(frame.user)
        if mailbox is not None:
            mailbox.on_mark(frame, edge)
        elif node.owner_of(frame.user) == node.me:
            node.on_mailbox(frame.user, lambda made: made.on_mark(frame, edge))
        else:
            forward(node, frame)

    def on_stored(self, frame: MarkStored, _: str) -> None:
        for user, delivered, read in frame.marks:
            mailbox = self.node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.marks.on_stored(frame.conversation, delivered, read)
