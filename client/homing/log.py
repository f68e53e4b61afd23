"""All conversations of a device: which entries are shown, and what the server's heads say. Sans-I/O; knows nothing of the session.

Laws:
    * Every entry is shown once per device and in seq order (P3, P4); only what the server shows to be invisible is passed over (`Gap`).
    * Heads are remembered when they are heard of, so that a cursor that covers them may count at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from homing import ids
from homing.catchup import Catchup
from homing.effects import ConversationChanged, Effect, Gap, Shown
from homing.limits import Limits
from homing.protocol import Entries, Entry, Head
from homing.receipts import Marks
from homing.state import ConversationState, Dirty
from homing.tail import Tail


class Log:
    """`met` is called with every entry that passes by, shown or not."""

    def __init__(
        self, states: Sequence[ConversationState], marks: Marks, limits: Limits, dirty: Dirty, touches: int, met: Callable[[Entry], None]
    ) -> None:
        self.conversations: dict[str, ConversationState] = {s.id: s for s in states}
        self.tails: dict[str, Tail] = {s.id: Tail(s) for s in states}
        self.catchup = Catchup(limits, self.tails)
        self.touches = touches
        """Counts what happens, to order conversations by when something last did."""
        self.user = ""
        self._marks = marks
        self._limits = limits
        self._dirty = dirty
        self._met = met

    def tail(self, conversation: str) -> Tail:
        tail = self.tails.get(conversation)
        if tail is None:
            state = self.conversations[conversation] = ConversationState(conversation)
            tail = self.tails[conversation] = Tail(state)
        return tail

    def take(self, entry: Entry, now: float) -> list[Effect]:
        """An entry came by itself."""
        tail = self.tail(entry.conversation)
        tail.begin(entry.seq - self._limits.unknown_entries_max + 1)
        self._met(entry)
        self.catchup.hold(tail, entry)
        effects = self.show(tail)
        self.catchup.want(tail, now + self._limits.gap_wait_s)
        return effects

    def page(self, f: Entries, now: float) -> list[Effect]:
        """A page came that was asked for to complete a tail."""
        for entry in f.entries:
            self._met(entry)
        tail, effects = self.catchup.page(f, now)
        return effects + self.show(tail)

    def grown(self, conversation: str, seq: int, at: float) -> None:
        """The conversation is known to reach up to `seq`; what lacks is fetched at `at`."""
        tail = self.tail(conversation)
        tail.begin(seq - self._limits.unknown_entries_max + 1)
        tail.raise_head(seq)
        self._dirty.conversations.add(conversation)
        self.catchup.want(tail, at)

    def show(self, tail: Tail) -> list[Effect]:
        """Shows what can be shown, in order."""
        effects: list[Effect] = []
        state = tail.state
        before, gap_from = len(tail.held), 0
        for shown in tail.drain():
            if isinstance(shown, int):
                gap_from = gap_from or shown
                continue
            if gap_from:
                effects.append(Gap(state.id, gap_from, shown.seq - 1, "not_visible"))
                gap_from = 0
            self._learn(state, shown)
            effects.append(Shown(shown))
            if shown.sender != self.user:
                self._marks.shown(state)
        if gap_from:
            effects.append(Gap(state.id, gap_from, state.contig, "not_visible"))
        if effects:
            self.touches += 1
            state.touched = self.touches
        self._dirty.conversations.add(state.id)
        self.catchup.held += len(tail.held) - before
        self.catchup.settle(tail)
        return effects

    def _learn(self, state: ConversationState, entry: Entry) -> None:
        state.last = entry
        state.ordinal = max(state.ordinal, entry.ordinal)
        if ids.kind_of(state.id) == ids.DIRECT and not state.peer and entry.sender != self.user:
            state.peer = entry.sender
        if entry.type.startswith("group."):
            self._learn_group(state, entry)

    def _learn_group(self, state: ConversationState, entry: Entry) -> None:
        """What a change of a group means here; a head says the same when it comes."""
        change = _change_of(entry)
        is_me = self.user in change.members or (entry.type == "group.leave" and entry.sender == self.user)
        match entry.type:
            case "group.create":
                state.title = change.title or state.title
                state.role = "owner" if entry.sender == self.user else "member"
            case "group.rename":
                state.title = change.title or state.title
            case "group.role" if is_me:
                state.role = change.role
            case "group.add" if is_me:
                state.role, state.until_seq = "member", None
            case "group.remove" | "group.leave" if is_me:
                state.until_seq = entry.seq

    def head(self, head: Head, listed: bool, new_device: bool, now: float, streamed: bool) -> list[Effect]:
        """A conversation as its home sees it.

        Args:
            listed: only a page of the conversation list; it does not say that something is new.
            new_device: nothing was ever held here: the last entry is enough.
            streamed: what lacks may be on its way already; it is not asked for in the same moment.
        """
        tail = self.tail(head.conversation)
        state = tail.state
        state.title = head.title or state.title
        state.role, state.until_seq = head.role, head.until_seq
        if isinstance(head.peer, str):
            state.peer = head.peer
        state.ordinal = max(state.ordinal, head.ordinal)
        self._dirty.conversations.add(state.id)
        effects = [ConversationChanged(state.id), *self._marks.head(state, head, self.user)]
        if listed and not state.base:
            state.last = head.last
        elif head.seq:
            tail.begin(head.seq if new_device else head.seq - self._limits.unknown_entries_max + 1)
            tail.raise_head(head.seq)
            if head.last is not None and head.last.conversation == state.id:
                self._met(head.last)
                self.catchup.hold(tail, head.last)
            effects += self.show(tail)
            self.catchup.want(tail, now + self._limits.gap_wait_s if streamed else now)
        return effects

    def flush(self, now: float, effects: list[Effect]) -> None:
        """Asks for what is missing."""
        while skipped := self.catchup.flush(now, effects):
            for tail in skipped:
                effects += self.show(tail)

    def check(self) -> None:
        self.catchup.check()
        for tail in self.tails.values():
            tail.check()
        assert self.tails.keys() == self.conversations.keys()


def title_of(entry: Entry) -> str:
    """The title in a ``group.*`` entry, "" if there is none."""
    return _change_of(entry).title


class _Change(msgspec.Struct):
    title: str = ""
    members: list[str] = []
    role: str = "member"


def _change_of(entry: Entry) -> _Change:
    try:
        return msgspec.json.decode(entry.body, type=_Change)
    except msgspec.MsgspecError:
        return _Change()
