"""The client library of Homing: one device of one user, which keeps what it sends until the cluster has it for good.

    import homing

    async with homing.connect(store="me.db") as me:     # $HOMING_URL and $HOMING_TOKEN, or connect(url, token)
        sent = await me.send("bob", "hello")             # safe in the outbox: it is sent, whatever happens
        await sent.delivered                             # bob's device has it
        async for event in me.events():                  # what happens from now on: Shown, ReadBy, StateChanged, ...
            print(event)

Where to look: `Client` (one device), `Conversation` (a chat), `Handle` (what becomes of something sent), the events in `homing.effects`
(`Event` is any of them), `homing.codes` (why something was refused), `homing.limits` (every bound and time), `homing.protocol` (frames).

Errors, all that the library raises:
    RequestInvalid      (ValueError) it could never be accepted: nothing was queued
    OutboxFull          too much waits to be answered: nothing was queued
    StoreFailed         the local file cannot be opened or written: what could not be stored is not sent
    RequestRefused      the cluster refused it for good; `.code` and `.name` say why
    HistoryUnavailable  what was asked for cannot be fetched now
    ClientClosed        the client is closed; what is queued stays in the store
    SignInStopped       the one that a program raises: `get_token` has no token any more

`homing.protocol`, `homing.ids` and `homing.codes` are shared with the server, which must not load an HTTP client for them: what needs one
is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing import codes as codes
    from homing import ids as ids
    from homing import protocol as protocol
    from homing.client import Client, HistoryUnavailable
    from homing.connecting import connect, run
    from homing.conversations import Conversation
    from homing.effects import (
        ConversationChanged,
        Delivered,
        Gap,
        Named,
        PresenceChanged,
        ReadBy,
        Refused,
        Resumed,
        Shown,
        StateChanged,
        Stored,
        TypingChanged,
    )
    from homing.engine import SignInStopped
    from homing.handles import ClientClosed, Handle, RequestRefused
    from homing.limits import Limits
    from homing.outbox import OutboxFull
    from homing.presence import Known
    from homing.protocol import Entry, MemberInfo
    from homing.requests import RequestInvalid
    from homing.store import StoreFailed
    from homing.streams import Event, EventStream

__all__ = [
    "Client",
    "ClientClosed",
    "Conversation",
    "ConversationChanged",
    "Delivered",
    "Entry",
    "Event",
    "EventStream",
    "Gap",
    "Handle",
    "HistoryUnavailable",
    "Known",
    "Limits",
    "MemberInfo",
    "Named",
    "OutboxFull",
    "PresenceChanged",
    "ReadBy",
    "Refused",
    "RequestInvalid",
    "RequestRefused",
    "Resumed",
    "Shown",
    "SignInStopped",
    "StateChanged",
    "StoreFailed",
    "Stored",
    "TypingChanged",
    "connect",
    "run",
]

_MODULES = {
    "homing.client": ("Client", "HistoryUnavailable"),
    "homing.connecting": ("connect", "run"),
    "homing.conversations": ("Conversation",),
    "homing.requests": ("RequestInvalid",),
    "homing.effects": (
        "ConversationChanged",
        "Delivered",
        "Gap",
        "Named",
        "PresenceChanged",
        "ReadBy",
        "Refused",
        "Resumed",
        "Shown",
        "StateChanged",
        "Stored",
        "TypingChanged",
    ),
    "homing.engine": ("SignInStopped",),
    "homing.handles": ("ClientClosed", "Handle", "RequestRefused"),
    "homing.limits": ("Limits",),
    "homing.outbox": ("OutboxFull",),
    "homing.presence": ("Known",),
    "homing.protocol": ("Entry", "MemberInfo"),
    "homing.store": ("StoreFailed",),
    "homing.streams": ("Event", "EventStream"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in ("codes", "ids", "protocol"):
        return import_module(f"homing.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'homing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
