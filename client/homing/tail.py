"""The live tail of one conversation: what is shown, what is held back above a hole, what is missing. Sans-I/O.

Laws:
    * Entries leave `drain` in seq order, each once, and nothing below `contig` ever comes back.
    * A seq is passed over only when the server, asked for a range that contains it, showed that it is not visible.
"""

from __future__ import annotations

from collections.abc import Iterator

from homing.protocol import Entry
from homing.state import ConversationState


class Tail:
    __slots__ = ("held", "state")

    def __init__(self, state: ConversationState) -> None:
        self.state = state
        self.held: dict[int, Entry | None] = {}
        """Above `contig`: entries that wait for those below them; None: known to be invisible."""

    def begin(self, first: int) -> None:
        """Fixes where the tail starts, once."""
        if not self.state.base:
            self.state.base = max(1, first)
            self.state.contig = self.state.base - 1
            self.state.head = max(self.state.head, self.state.contig)

    def raise_head(self, seq: int) -> None:
        if seq > self.state.head:
            self.state.head = seq

    def hold(self, entry: Entry) -> bool:
        """Takes an entry; False when it is already held or shown."""
        self.raise_head(entry.seq)
        if entry.seq <= self.state.contig or self.held.get(entry.seq) is not None:
            return False
        self.held[entry.seq] = entry
        return True

    def void(self, first: int, last: int) -> None:
        """Marks what is missing in the range as invisible."""
        state = self.state
        if first <= state.contig + 1 and not any(first <= seq <= last for seq in self.held):
            state.contig = max(state.contig, last)  # the common case: a whole page of nothing, without a mark for each
            return
        for seq in range(max(first, state.contig + 1), last + 1):
            self.held.setdefault(seq, None)

    def drain(self) -> Iterator[Entry | int]:
        """What may be shown now: entries in order, and the number of each seq that is passed over."""
        state, held = self.state, self.held
        while held and state.contig + 1 in held:
            state.contig += 1
            entry = held.pop(state.contig)
            yield state.contig if entry is None else entry

    def missing(self, width: int) -> tuple[int, int] | None:
        """The lowest range that must be fetched, at most `width` long."""
        state = self.state
        if state.contig >= state.head:
            return None
        first = state.contig + 1
        last = min(state.head, first + width - 1, min(self.held, default=state.head + 1) - 1)
        return (first, last)

    def forget_above(self) -> None:
        """Gives up what lies above `contig`: the server says that it is not ours to see."""
        self.held.clear()
        self.state.head = self.state.contig

    def skip_to(self, contig: int) -> None:
        self.state.contig = contig
        for seq in [seq for seq in self.held if seq <= contig]:
            del self.held[seq]

    def check(self) -> None:
        self.state.check()
        assert all(self.state.contig + 1 < seq for seq in self.held), (self.state, sorted(self.held))
