"""What the client core asks of its shell (imperatives) and tells it (facts): frozen values, in the order in which they happened.

Imperatives are `Transmit`, `Connect` and `Close`; all others are facts that a program may show. An unknown kind is to be ignored.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from homing.protocol import ClientFrame, Entries, Entry, Error, Heads, MembersPage, Person, PresenceState, TypingKind

State: TypeAlias = Literal["idle", "connecting", "syncing", "live", "waiting", "closed"]


class Transmit(Struct, frozen=True):
    """Put this frame on the socket."""

    frame: ClientFrame


class Connect(Struct, frozen=True):
    """Open a socket now, then call `connected` (or `disconnected` when it fails)."""

    url: str | None
    """Where the server asked to go; None: the shell's own choice, another than the last one if that failed."""
    fresh_token: bool
    """The last token was refused: fetch a new one first."""


class Close(Struct, frozen=True):
    """Close the socket; nothing that still comes from it may be handed to the core."""

    code: int
    reason: str
    elsewhere: bool = False
    """This address is of no use now: the next `Connect` without a URL means another one."""


class Shown(Struct, frozen=True):
    """An entry of a conversation's live tail, in seq order, once per device."""

    entry: Entry


class Stored(Struct, frozen=True):
    """Answer to a queued request: one tick."""

    id: str
    entry: Entry


class Refused(Struct, frozen=True):
    """A request that will not be repeated; with an empty id a complaint of the server about the session."""

    id: str
    error: Error


class Answered(Struct, frozen=True):
    """Answer to a question (history page, page of heads, members)."""

    id: str
    frame: Entries | Heads | MembersPage | Person


class Delivered(Struct, frozen=True):
    """A member's delivered mark moved forward, to `seq`."""

    conversation: str
    user: str
    seq: int


class ReadBy(Struct, frozen=True):
    """A member's read mark moved forward, to `seq`; with the own user: another device (or this one) has read."""

    conversation: str
    user: str
    seq: int


class StateChanged(Struct, frozen=True):
    """`code` is a number of `homing.codes` or a WebSocket close code, 0 when all is as it should be."""

    state: State
    code: int
    reason: str


class CursorChanged(Struct, frozen=True):
    """Everything before this effect is covered by the cursor: a store that writes in order may write it now."""

    cursor: str


class PresenceChanged(Struct, frozen=True):
    """Somebody who is watched came, left, or is not known of any more (`unknown`: show nothing). `last_seen`: cluster time in ms."""

    user: str
    state: PresenceState
    last_seen: int | None


class TypingChanged(Struct, frozen=True):
    """Somebody else began to write or record in a conversation, or `stopped`."""

    conversation: str
    user: str
    activity: TypingKind


class ConversationChanged(Struct, frozen=True):
    """What the conversation list shows of it changed (title, role, own marks, head)."""

    conversation: str


class Gap(Struct, frozen=True):
    """`Shown` goes over `from_seq` to `to_seq`: they are not visible to this user, or too many, or the reader of events was too slow."""

    conversation: str
    from_seq: int
    to_seq: int
    reason: Literal["not_visible", "too_many", "slow_consumer"]


class Named(Struct, frozen=True):
    """Somebody's name is known now, or has changed: show it instead of what `name_of` said before."""

    user: str
    name: str


class Resumed(Struct, frozen=True):
    """Live again after `offline_s` seconds, and everything of that time has been shown."""

    offline_s: float


Effect: TypeAlias = (
    Transmit | Connect | Close | Shown | Stored | Refused | Answered | Delivered | ReadBy
    | StateChanged | CursorChanged | PresenceChanged | TypingChanged | ConversationChanged | Gap | Named | Resumed
)  # fmt: skip
