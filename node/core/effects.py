"""What the node core asks its shell to do: frozen values; everything else goes out through the sans-I/O mesh."""

from __future__ import annotations

from typing import TypeAlias

from homing.protocol import ServerFrame
from msgspec import Struct

from storage.store import EntryRow


class ToClient(Struct, frozen=True, gc=False):
    """Send ``frame`` to one session."""

    session: int
    frame: ServerFrame


class ToClients(Struct, frozen=True, gc=False):
    """Send ``frame`` to these sessions; encoded once per format."""

    frame: ServerFrame
    sessions: tuple[int, ...]


class EntryToClients(Struct, frozen=True, gc=False):
    """Send the entry as ``message`` to these sessions; encoded once per format."""

    row: EntryRow
    sessions: tuple[int, ...]


class SentToClient(Struct, frozen=True, gc=False):
    """Answer the request ``id`` of a session with ``sent``."""

    row: EntryRow
    session: int
    id: str


class CloseClient(Struct, frozen=True, gc=False):
    """Close the socket; ``code`` is one of ``homing.codes``."""

    session: int
    code: str


class PrivacyWanted(Struct, frozen=True, gc=False):
    """Read what a user shows of himself, and say it to ``NodeCore.live.privacies.told`` under this number."""

    user: str
    n: int


class BlockDecided(Struct, frozen=True, gc=False):
    """In the direct conversation of ``user`` and ``peer`` an entry ``seq`` says whether ``user`` blocks the other. It is durable. Said
    again at each activation of the conversation: who repeats it elsewhere keeps what the highest seq says."""

    user: str
    peer: str
    seq: int
    is_blocked: bool


class EndNode(Struct, frozen=True, gc=False):
    """This incarnation answers nothing more: close every socket and come back as a new one."""

    reason: str


Effect: TypeAlias = ToClient | ToClients | EntryToClients | SentToClient | CloseClient | PrivacyWanted | BlockDecided | EndNode
