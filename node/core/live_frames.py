"""What nodes say to each other of presence and typing: nothing of it is kept (``design.md`` §4). Tags 80 to 89; see ``frames.py``.

Of a pair of people the *watcher* wants to know whether the *watched* is here. Each one's home decides what it shows of him
(``privacy.py``); ``shows`` and ``Told`` are what has passed both.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from homing.protocol import PresenceState, TypingKind
from msgspec import Meta, Struct

from storage.store import Id, Number

ITEMS_MAX = 1_024
"""Of one frame: 100 KiB at most."""
Shows: TypeAlias = Annotated[int, Meta(ge=0, le=3)]
"""Bits of ``privacy.ONLINE`` and ``privacy.LAST_SEEN``."""


class _F(Struct, array_like=True, frozen=True, gc=False):
    """Base of these frames."""


class WatchFrom(_F, tag=80, frozen=True):
    """Edge → home of ``user``: a session's set of people, in place of the one before."""

    user: Id
    session: Number
    users: tuple[Id, ...]


class Watches(_F, tag=81, frozen=True):
    """Home of watchers → home of watched: (watcher, watched, what the watcher shows of himself to him; 0: he watches no more)."""

    pairs: Annotated[tuple[tuple[Id, Id, Shows], ...], Meta(max_length=ITEMS_MAX)]


class Told(_F, tag=82, frozen=True):
    """Home of watched → home of watchers: (watched, state, last_seen or 0, watchers)."""

    people: Annotated[tuple[tuple[Id, PresenceState, Number, tuple[Id, ...]], ...], Meta(max_length=ITEMS_MAX)]


class PresenceOut(_F, tag=83, frozen=True):
    """Home of a watcher → edge: (watched, state, last_seen or 0) for these sessions."""

    people: tuple[tuple[Id, PresenceState, Number], ...]
    sessions: tuple[Number, ...]


class PrivacyChanged(_F, tag=84, frozen=True):
    """Any node → home of ``user``: what he shows, whom he knows or whom he blocked is another; it is in the relational store."""

    user: Id


class AskPresence(_F, tag=85, frozen=True):
    """Any node → home of ``user``: is he here, for ``asker``, who shows him that much of himself?"""

    user: Id
    asker: Id
    shows: Shows
    session: Number
    id: str


class PresenceAnswer(_F, tag=86, frozen=True):
    session: Number
    id: str
    user: Id
    state: PresenceState
    last_seen: Number


class TypingFrom(_F, tag=87, frozen=True):
    """Edge → conversation: what ``user`` does there."""

    conversation: Id
    user: Id
    kind: TypingKind


class TypingTold(_F, tag=88, frozen=True):
    """Conversation → home of ``users``: tell their sessions."""

    conversation: Id
    user: Id
    kind: TypingKind
    users: tuple[Id, ...]


class TypingOut(_F, tag=89, frozen=True):
    """Mailbox → edge: ``typing`` to these sessions."""

    conversation: Id
    user: Id
    kind: TypingKind
    sessions: tuple[Number, ...]


LiveFrame: TypeAlias = (
    WatchFrom | Watches | Told | PresenceOut | PrivacyChanged | AskPresence | PresenceAnswer | TypingFrom | TypingTold | TypingOut
)  # fmt: skip
