"""The client library of Homing.

    from homing import Client

`homing.protocol`, `homing.ids` and `homing.codes` are shared with the server, which must not load an HTTP client for them: what needs
one is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homing.client import Client, HistoryUnavailable
    from homing.conversations import Conversation
    from homing.effects import Delivered, Gap, Named, ReadBy, Refused, Resumed, Shown, StateChanged, Stored
    from homing.engine import SignInStopped
    from homing.handles import ClientClosed, Handle, RequestRefused
    from homing.outbox import OutboxFull
    from homing.requests import RequestInvalid
    from homing.store import StoreFailed

__all__ = [
    "Client",
    "ClientClosed",
    "Conversation",
    "Delivered",
    "Gap",
    "Handle",
    "HistoryUnavailable",
    "Named",
    "OutboxFull",
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
]

_MODULES = {
    "homing.client": ("Client", "HistoryUnavailable"),
    "homing.conversations": ("Conversation",),
    "homing.requests": ("RequestInvalid",),
    "homing.effects": ("Delivered", "Gap", "Named", "ReadBy", "Refused", "Resumed", "Shown", "StateChanged", "Stored"),
    "homing.engine": ("SignInStopped",),
    "homing.handles": ("ClientClosed", "Handle", "RequestRefused"),
    "homing.outbox": ("OutboxFull",),
    "homing.store": ("StoreFailed",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'homing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
