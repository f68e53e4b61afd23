"""Who is writing or recording something: said by a session, told to the members who are connected, never kept (``design.md`` §4).

Theory of operation. A session's edge drops what is said too often and hands the rest to the conversation's home, which knows its members;
their homes know who has a session. Nothing waits for anything on this way: what finds a conversation that is being opened, a full link or
a slot on the move is dropped, and said again three seconds later by whoever still writes.

Laws:
    * Only a member is told of, and only to the other members; nobody who blocked or is blocked.
    * It costs no row, no acknowledgement, and no more than its budgets: the session's, and the conversation's by the number of its members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p
from homing.ids import DIRECT, GROUP, kind_of
from msgspec import Struct

from node.core.effects import ToClients
from node.core.live_frames import TypingFrom, TypingOut, TypingTold
from node.core.questions import place_of

if TYPE_CHECKING:
    from node.core.conversation import Conversation
    from node.core.edge import EdgeSession
    from node.core.node import NodeCore

RECENT_MAX = 16
"""Conversations of a session of which it is known when it last wrote there: more than anybody writes in at a time."""


class Budget:
    """Tokens that come back with time. It starts full."""

    __slots__ = ("at", "level")

    def __init__(self, level: float, now: float) -> None:
        self.level, self.at = level, now

    def take(self, count: float, per_s: float, burst: float, now: float) -> bool:
        self.level = min(burst, self.level + (now - self.at) * per_s)
        self.at = now
        if self.level < count:
            return False
        self.level -= count
        return True


class Pace(Struct):
    """How often one session says it."""

    budget: Budget
    recent: dict[str, tuple[str, float]]
    """Conversation → what was said last, and when."""


class Typists:
    """The part that one node has in it: its sessions, its conversations, its users."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.budgets: dict[str, Budget] = {}
        """Conversations in which somebody wrote lately."""

    # -------------------------------------------------------------- the edge

    def on_client(self, session: int, s: EdgeSession, frame: p.Typing) -> None:
        _, conversation = place_of(s.who.user, frame.conversation)
        if kind_of(conversation) not in (DIRECT, GROUP):
            return self.node.edge.error(session, codes.INVALID, "this is neither a user's nor a conversation's id", field="conversation")
        home = self.node.owner_of(conversation)
        if home and self._in_time(s, conversation, frame.kind):
            self.node.send(home, TypingFrom(conversation, s.who.user, frame.kind))

    def _in_time(self, s: EdgeSession, conversation: str, kind: str) -> bool:
        now, limits = self.node.now, self.node.limits
        pace = s.pace
        if pace is None:
            pace = s.pace = Pace(Budget(limits.typing_session_burst, now), {})
        before, at = pace.recent.get(conversation, ("", 0.0))
        if before == kind and now - at < limits.typing_pace_s:
            return False
        if not pace.budget.take(1, limits.typing_session_per_s, limits.typing_session_burst, now):
            return False
        pace.recent.pop(conversation, None)
        if len(pace.recent) >= RECENT_MAX:
            del pace.recent[next(iter(pace.recent))]
        pace.recent[conversation] = (kind, now)
        return True

    def on_out(self, frame: TypingOut, _: str) -> None:
        shown = p.TypingShown(conversation=frame.conversation, user=frame.user, kind=frame.kind, ms=p.TYPING_MS)
        self.node.emit(ToClients(shown, frame.sessions))

    # -------------------------------------------------------------- the conversation

    def on_from(self, frame: TypingFrom, source: str) -> None:
        """Tells the other members, if there is still an owner's word in it. Whoever begins to write opens the conversation."""
        node = self.node
        conversation = node.conversations.get(frame.conversation) or node.activate(frame.conversation, frame, source)
        if conversation is None or not conversation.is_open or not self._may(conversation, frame.user):
            return
        conversation.used_at = node.now
        others = [user for user in conversation.roster.current() if user != frame.user]
        if others and self._affords(frame.conversation, len(others)):
            self._tell(conversation, frame, others)

    def _may(self, conversation: Conversation, user: str) -> bool:
        roster = conversation.roster
        return not self.node.rules.typing_members or (roster.may_write(user) and not roster.is_blocked)

    def _affords(self, conversation: str, members: int) -> bool:
        limits, now = self.node.limits, self.node.now
        budget = self.budgets.get(conversation)
        if budget is None:
            if len(self.budgets) >= limits.typing_conversations_max:
                del self.budgets[next(iter(self.budgets))]
            budget = self.budgets[conversation] = Budget(limits.typing_members_burst, now)
        return budget.take(members, limits.typing_members_per_s, limits.typing_members_burst, now)

    def _tell(self, conversation: Conversation, frame: TypingFrom, others: list[str]) -> None:
        homes: dict[str, list[str]] = {}
        for user in others:
            homes.setdefault(self.node.owner_of(user), []).append(user)
        for home, users in homes.items():
            if home:
                self.node.send(home, TypingTold(conversation.id, frame.user, frame.kind, tuple(users)))

    # -------------------------------------------------------------- the members' homes

    def on_told(self, frame: TypingTold, source: str) -> None:
        node = self.node
        if source != node.owner_of(frame.conversation):
            return  # who is a member is known to the present owner
        into: dict[str, list[int]] = {}
        for user in frame.users:
            mailbox = node.mailboxes.get(user)
            if mailbox is not None and node.owner_of(user) == node.me:
                for edge, sessions in mailbox.by_edge().items():
                    into.setdefault(edge, []).extend(sessions)
        for edge, sessions in into.items():
            node.send(edge, TypingOut(frame.conversation, frame.user, frame.kind, tuple(sessions)))
