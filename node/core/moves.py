"""Slots that leave this node by plan: a batch that the directory asks for, or all of them when the process is told to stop (P6).

Laws:
    * What leaves is frozen first: nothing new begins, what is pending ends, marks are stored, those that its mailboxes reported elsewhere
      too; only then the directory hears of it.
    * Once ``Released`` is said, only the directory (its table, or MoveTakenBack) ends the move: the fence does not know slots, it would
      let us say what the new owner does not count. Before that, a batch that does not come to rest in time is taken back by itself.
    * A node that stops asks the sessions of its mailboxes at other edges to come back, before the table takes their home away: an edge
      cannot tell a good-bye from a death. From then on it attaches nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing.codes import GOING_AWAY
from homing.ids import SLOTS, slot_of

from node.core.frames import DropSession

if TYPE_CHECKING:
    from node.core.conversation import Conversation
    from node.core.node import NodeCore

ALL_SLOTS = -1
"""The number of the move that a stop is."""


class Moves:
    """The batches of one node that are on their way out."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.frozen: dict[int, frozenset[int]] = {}
        """Move → its slots."""
        self.released: set[int] = set()
        self.draining_since: float | None = None
        self.good_bye_said = False
        self.good_byes = 0
        """Directories that have not got it yet."""
        self.letting_go = False
        """Whether the sessions of this node's mailboxes were asked to come back."""
        self.unheard = 0
        """Edges' answers to that which have not come."""

    def freezes(self, slot: int) -> bool:
        """Whether nothing new may begin in ``slot``."""
        return any(slot in slots for slots in self.frozen.values())

    # -------------------------------------------------------------- batches

    def release(self, move: int, runs: list[tuple[int, int]]) -> None:
        """The directory asks for the slots of ``runs`` (first, count)."""
        node = self.node
        if move not in self.frozen:
            self.frozen[move] = frozenset(slot for first, count in runs for slot in range(first, first + count))
            node.at(node.now + node.limits.move_s, lambda: self.thaw(move) if move not in self.released else None)
        self._rest(move)

    def _rest(self, move: int) -> None:
        """Freezes what is in the batch; tells the directory once it is at rest."""
        slots = self.frozen.get(move)
        if slots is None:
            return
        inside = [c for id_, c in self.node.conversations.items() if slot_of(id_) in slots]
        resting = self._freeze(inside)
        stored = [mailbox.marks.freeze() for user, mailbox in self.node.mailboxes.items() if slot_of(user) in slots]
        if resting and all(stored):
            for conversation in inside:
                conversation.seal()
            self.released.add(move)
            self.node.to_directory(self.node.directory.released(move))
        else:
            self.node.at(self.node.now + self.node.limits.ask_again_s / 2, lambda: self._rest(move))

    def _freeze(self, conversations: list[Conversation]) -> bool:
        """Freezes them; True when all are at rest."""
        for conversation in conversations:
            conversation.freeze()
            if conversation.is_closed:
                del self.node.conversations[conversation.id]
        return all(c.is_closed or c.is_at_rest() for c in conversations)

    def thaw(self, move: int) -> None:
        """The move is taken back: its slots go on as before."""
        slots = self.frozen.pop(move, frozenset())
        self.released.discard(move)
        for id_, conversation in self.node.conversations.items():
            if slot_of(id_) in slots and not self.freezes(slot_of(id_)):
                conversation.unfreeze()
        for user, mailbox in self.node.mailboxes.items():
            if slot_of(user) in slots and not self.freezes(slot_of(user)):
                mailbox.unfreeze()

    def forget(self) -> None:
        """There is a new table: batches whose slots have gone to their new owner are over."""
        me, owners = self.node.me, self.node.owners
        for move, slots in list(self.frozen.items()):
            if move != ALL_SLOTS and all(owners[slot] != me for slot in slots):
                del self.frozen[move]
                self.released.discard(move)

    # -------------------------------------------------------------- stopping

    def drain(self) -> None:
        """The process is told to stop."""
        if self.draining_since is None:
            self.draining_since = self.node.now
            self.frozen[ALL_SLOTS] = frozenset(range(SLOTS))
            self.tick()

    def tick(self) -> None:
        """While stopping: says good-bye when all is at rest, at the latest after ``drain_s``."""
        node = self.node
        if self.draining_since is None or self.good_bye_said:
            return
        # Marks that conversations elsewhere have not stored yet are safe with them, and devices repeat them at their next hello.
        resting = self._freeze(list(node.conversations.values()))
        if resting and not self.letting_go:
            self._let_go()
        if self._is_late or (resting and not self.unheard):
            self.good_bye_said = True
            for conversation in node.conversations.values():
                conversation.seal()  # a mark that came after would be told to nobody: its mailbox reports it to the next home
            for directory, frame in node.directory.good_bye():
                self.good_byes += node.send_tracked(directory, frame, self._good_bye_heard, None)
        else:
            node.at(node.now + node.limits.ask_again_s / 2, _wake)

    def _let_go(self) -> None:
        """Asks the sessions at other edges to come back."""
        node = self.node
        self.letting_go = True
        node.live.on_stop()
        for mailbox in node.mailboxes.values():
            for edge, session in mailbox.let_go():
                if edge != node.me and node.send_tracked(edge, DropSession(session, GOING_AWAY.name), self._heard, None):
                    self.unheard += 1

    def _heard(self, _edge: str, _: None) -> None:
        self.unheard -= 1

    def _good_bye_heard(self, _directory: str, _: None) -> None:
        self.good_byes -= 1

    @property
    def is_over(self) -> bool:
        """Good-bye is said, and the process may end as soon as no table names it. One that none has named yet may have asked to join in the
        same moment: a directory that did not hear the good-bye behind that would give it slots, and homes that nobody is at."""
        return self.good_bye_said and (self.node.directory.joined or not self.good_byes or self._is_late)

    @property
    def _is_late(self) -> bool:
        assert self.draining_since is not None, "asked while stopping"
        return self.node.now - self.draining_since > self.node.limits.drain_s


def _wake() -> None:
    """A timer that only has the tick called."""
