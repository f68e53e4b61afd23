"""What a device must remember over a restart. Nothing else in the core needs to be stored."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from homing.protocol import Block, Entry, GroupAdd, GroupCreate, GroupLeave, GroupRemove, GroupRename, GroupRole, Send, Unblock

Request: TypeAlias = Send | GroupCreate | GroupAdd | GroupRemove | GroupLeave | GroupRename | GroupRole | Block | Unblock


class ConversationState(Struct, omit_defaults=True):
    """One conversation as this device knows it. Invariant: ``base - 1 <= contig <= head``."""

    id: str
    base: int = 0
    """First seq of the live tail; what lies below is history. 0: nothing known yet."""
    contig: int = 0
    """Every entry from `base` to here has been shown (or is known to be invisible)."""
    head: int = 0
    """The last seq known to exist. Remembered, so that a cursor may count before the range up to here is fetched."""
    last: Entry | None = None
    ordinal: int = 0
    acked: int = 0
    """The highest ack sent."""
    read: int = 0
    read_ordinal: int = 0
    unsure: bool = False
    """The own marks' home may not have stored them yet: hello repeats them."""
    touched: int = 0
    """Rises with activity: orders `have`."""
    title: str = ""
    peer: str = ""
    role: str = "member"
    until_seq: int | None = None

    @property
    def unread(self) -> int:
        """Messages after the read mark."""
        return max(0, self.ordinal - self.read_ordinal)

    def check(self) -> None:
        assert self.base - 1 <= self.contig <= self.head or self.base == self.contig == 0, self


class OutboxItem(Struct):
    """A request that is not answered yet."""

    frame: Request
    conversation: str
    attempts: int = 0
    """How often it went out. 0: the server cannot know of it."""
    seen: Entry | None = None
    """Its entry, if it was met in the log: stored, but `sent` did not come yet."""

    @property
    def id(self) -> str:
        return self.frame.id


class MarkState(Struct, array_like=True):
    conversation: str
    user: str
    delivered: int
    read: int


class PersonState(Struct, array_like=True):
    """Somebody whose name is known here, or was asked for."""

    user: str
    typed: str = ""
    """As the user of this device calls him: goes before what his home tells."""
    told: str = ""
    """As his home calls him."""
    asked_ms: int = 0
    """When his home last answered: ms since 1970 by this device's clock. 0: never."""


class CoreState(Struct, omit_defaults=True):
    """All of it: what `ClientCore.export` gives and its constructor takes."""

    user: str = ""
    cursor: str | None = None
    touches: int = 0
    conversations: list[ConversationState] = field(default_factory=list)
    marks: list[MarkState] = field(default_factory=list)
    outbox: list[OutboxItem] = field(default_factory=list)


class Dirty:
    """What changed since a store was last told. Bounded by what the core holds, if it is emptied often."""

    __slots__ = ("conversations", "marks", "outbox", "session")

    def __init__(self) -> None:
        self.session = False
        self.conversations: set[str] = set()
        self.marks: set[tuple[str, str]] = set()
        self.outbox: dict[str, None] = {}
        """In the order in which they were queued."""

    def __bool__(self) -> bool:
        return self.session or bool(self.conversations or self.marks or self.outbox)

    def restore(self, changes: Changes) -> None:
        """What was taken could not be written: it is to be written still, before anything later."""
        self.session = True
        self.conversations.update(c.id for c in changes.conversations)
        self.marks.update((m.conversation, m.user) for m in changes.marks)
        earlier = dict.fromkeys([i.id for i in changes.outbox] + changes.answered)
        self.outbox = earlier | self.outbox

    def clear(self) -> None:
        self.session = False
        self.conversations.clear()
        self.marks.clear()
        self.outbox.clear()


class Changes(Struct):
    """What changed since the last call of `ClientCore.take_changes`: for a store that writes differences."""

    user: str
    cursor: str | None
    touches: int
    conversations: list[ConversationState]
    marks: list[MarkState]
    outbox: list[OutboxItem]
    answered: list[str]
