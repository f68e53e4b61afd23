"""What comes from conversations to the users at home on this node (``design.md`` §3, step 6).

Laws:
    * A frame that was under way for more than 2 minutes, or names a user who is not at home here, is refused; the refusal reaches the
      conversation before the link's acknowledgement does, so it never counts as in hand.
    * Of large groups the node keeps its part of the roster; an entry that names a version which it lacks waits, bounded, until the part
      has come. Who may see it is decided by seq, not by when the frame came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.ids import is_id
from msgspec import Struct

from node.core.asking import FIRST
from node.core.effects import EntryToClients
from node.core.frames import AskedSent, AskPart, Deliver, DeliverHead, DeliverRefused, EchoSent, FanOut, MarksMoved, Part

if TYPE_CHECKING:
    from node.core.node import NodeCore


class PartOfRoster(Struct):
    """The members of one large group at home here."""

    version: int
    epoch: int
    members: dict[str, tuple[int, int]]


class Deliveries:
    """Takes what is said into the mailboxes of this node."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.parts: dict[str, PartOfRoster] = {}
        self.held: dict[str, list[Deliver | DeliverHead]] = {}
        """What waits for its part of the roster."""
        self.asking: set[str] = set()
        """Conversations whose home is asked again by and by."""

    # -------------------------------------------------------------- entries

    def on_deliver(self, frame: Deliver, source: str) -> None:
        conversation, seq = frame.row.conversation, frame.row.seq
        if self._is_stale(frame.said_at):
            return self._refuse(frame.said_at, conversation, seq, source)
        if frame.users is None:
            return self._hold_or_fan_out(frame, conversation, seq, source)
        node = self.node
        owner_of, me = node.owner_of, node.me
        moved = False
        into: dict[str, list[int]] = {}
        for user in frame.users:
            if owner_of(user) != me:
                moved = True
                continue
            mailbox = node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.fan_out(frame.row, into)
        self._fan_out(frame, into)
        if moved:
            self._refuse(frame.said_at, conversation, seq, source)

    def _is_stale(self, said_at: int) -> bool:
        return self.node.rules.stale_deliver and self.node.time_ms() - said_at > self.node.limits.deliver_age_ms_max

    def _refuse(self, said_at: int, conversation: str, seq: int, source: str) -> None:
        self.node.send(source, DeliverRefused(conversation, seq, said_at))

    def _fan_out(self, frame: Deliver, into: dict[str, list[int]]) -> None:
        node = self.node
        if into:
            row = frame.row
            node.note("delivered", row.conversation, row.seq, row.client_message_id, f"{sum(map(len, into.values()))} sessions")
        for edge, sessions in into.items():
            if edge == node.me:
                node.emit(EntryToClients(frame.row, tuple(sessions)))
            elif not node.send(edge, FanOut(frame.row, tuple(sessions))):
                self._lost(edge, sessions)

    def _lost(self, edge: str, sessions: list[int]) -> None:
        """An edge that takes nothing more: its sessions are detached, and closed when it listens again (P7)."""
        for mailbox in list(self.node.mailboxes.values()):
            for session in sessions:
                if (edge, session) in mailbox.sessions:
                    mailbox.lose((edge, session))

    # -------------------------------------------------------------- large groups

    def _hold_or_fan_out(self, frame: Deliver | DeliverHead, conversation: str, seq: int, source: str) -> None:
        part = self.parts.get(conversation)
        if part is not None and part.version >= frame.roster and part.epoch == self.node.epoch:
            return self._to_part(frame, part)
        held = self.held.get(conversation)
        if held is None and is_id(conversation) and len(self.held) < self.node.limits.parts_max:
            held = self.held[conversation] = []
        if held is None or len(held) >= self.node.limits.held_deliveries_max:
            return self._refuse(frame.said_at, conversation, seq, source)
        held.append(frame)
        if len(held) == 1:
            self._ask_part(conversation)

    def _ask_part(self, conversation: str) -> None:
        """Asks the home, again and again while anything waits: it may be a new one."""
        home = self.node.owner_of(conversation)
        if home:
            self.node.send(home, AskPart(conversation, self.held[conversation][0].roster))
        if conversation not in self.asking:
            self.asking.add(conversation)
            self.node.at(self.node.now + self.node.limits.request_timeout_s / 10, lambda: self._ask_again(conversation))

    def _ask_again(self, conversation: str) -> None:
        self.asking.discard(conversation)
        held = self.held.pop(conversation, [])
        home = self.node.owner_of(conversation)
        for frame in held:
            if self._is_stale(frame.said_at) and home:
                # Nobody has that version: its home says it again, if it ever said it.
                self._refuse(frame.said_at, conversation, frame.row.seq if isinstance(frame, Deliver) else frame.seq, home)
        fresh = [frame for frame in held if not (home and self._is_stale(frame.said_at))]
        if fresh:
            self.held[conversation] = fresh
            self._ask_part(conversation)

    def on_part(self, frame: Part, source: str) -> None:
        if source != self.node.owner_of(frame.conversation):
            return
        if len(self.parts) >= self.node.limits.parts_max:
            del self.parts[next(iter(self.parts))]
        before = self.parts.get(frame.conversation)
        part = PartOfRoster(frame.roster, self.node.epoch, {user: (first, until) for user, first, until in frame.members})
        self.parts[frame.conversation] = part
        held = self.held.pop(frame.conversation, [])
        late = [waiting for waiting in held if waiting.roster > frame.roster]
        for waiting in held:
            if waiting.roster <= frame.roster:
                self._to_part(waiting, part)
        if late:
            self.held[frame.conversation] = late
            if before is None or before.version < frame.roster:  # else the home has nothing newer: it is asked again by and by
                self._ask_part(frame.conversation)

    def _to_part(self, frame: Deliver | DeliverHead, part: PartOfRoster) -> None:
        node = self.node
        into: dict[str, list[int]] = {}
        for user, (first, until) in part.members.items():
            mailbox = node.mailboxes.get(user)
            if mailbox is None:
                continue
            if isinstance(frame, DeliverHead):
                if not until:
                    mailbox.on_grown(frame.conversation, frame.seq)
            elif user != frame.row.sender and first <= frame.row.seq and (not until or frame.row.seq < until):
                mailbox.fan_out(frame.row, into)
        if isinstance(frame, Deliver):
            self._fan_out(frame, into)

    # -------------------------------------------------------------- heads, echoes, marks

    def on_deliver_head(self, frame: DeliverHead, source: str) -> None:
        if self._is_stale(frame.said_at):
            return self._refuse(frame.said_at, frame.conversation, frame.seq, source)
        if frame.users is None:
            return self._hold_or_fan_out(frame, frame.conversation, frame.seq, source)
        moved = False
        for user in frame.users:
            mailbox = self.node.mailboxes.get(user)
            moved = moved or self.node.owner_of(user) != self.node.me
            if mailbox is not None:
                mailbox.on_grown(frame.conversation, frame.seq)
        if moved:
            self._refuse(frame.said_at, frame.conversation, frame.seq, source)

    def on_echo(self, frame: EchoSent, source: str) -> None:
        row = frame.row
        if self._is_stale(frame.said_at) or self.node.owner_of(row.sender) != self.node.me:
            return self._refuse(frame.said_at, row.conversation, row.seq, source)
        for edge, number, id_ in frame.requests:
            if number >= FIRST:  # its asker has no session here, and asks again if this is lost
                self.node.send(edge, AskedSent(row, number, id_))
        mailbox = self.node.mailboxes.get(row.sender)
        if mailbox is not None:
            mailbox.on_echo(frame)

    def on_marks_moved(self, frame: MarksMoved, _: str) -> None:
        for user in frame.users:
            mailbox = self.node.mailboxes.get(user)
            if mailbox is not None:
                mailbox.on_marks_moved(frame)
