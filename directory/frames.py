"""What the directory and the other processes say to each other over the mesh."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from directory.table import Delta, Member
from storage.store import Number


class Renew(Struct, array_like=True, frozen=True, tag=40):
    """Node or worker → directory, several times a lease: I am alive. The first one is the request to join."""

    n: Number
    """Number of this renewal, comes back in the answer (its round trip measures the clock offset)."""
    member: Member
    epoch: Number
    """The epoch of the sender's table."""
    storage_ok: bool = True
    sessions: Number = 0
    ready: bool = True
    """False: give me no slots yet, or take those I have elsewhere (a drain)."""
    joined: bool = False
    """Whether the sender has seen itself in a table. One that has, and whom the directory does not know, was taken out meanwhile."""


class Renewed(Struct, array_like=True, frozen=True, tag=41):
    """Directory → process: the lease runs anew from when renewal ``n`` was sent."""

    n: Number
    time: Number
    """Cluster time, ms, when the directory answered."""
    epoch: Number
    since: Number = 0
    """The epoch at which this directory began to lead. Who has that table knows what became of the moves that a former one asked for."""


class Publish(Struct, array_like=True, frozen=True, tag=42):
    """Directory → process: the table's newest version."""

    delta: Delta


class GoodBye(Struct, array_like=True, frozen=True, tag=43):
    """Process → directory: my actors are at rest; take my slots elsewhere, I end."""

    incarnation: str


class Expelled(Struct, array_like=True, frozen=True, tag=44):
    """Directory → process: this incarnation is not (any more) in the cell; come back as a new one."""

    incarnation: str


class Release(Struct, array_like=True, frozen=True, tag=45):
    """Directory → node: freeze these slots, bring them to rest, then answer ``Released`` (a planned move)."""

    move: Number
    runs: list[tuple[Number, Number]]
    """(first slot, count)."""
    to: str = ""
    """The incarnation that is to have them: where snapshots may be shipped to. The table decides whether it becomes so."""


class Released(Struct, array_like=True, frozen=True, tag=46):
    """Node → directory: the slots of ``move`` are at rest; I do nothing for them until the table says whose they are."""

    move: Number


class MoveOff(Struct, array_like=True, frozen=True, tag=47):
    """Directory → node: ``move`` is taken back; the slots are yours as before."""

    move: Number


DirectoryFrame: TypeAlias = Renew | Renewed | Publish | GoodBye | Expelled | Release | Released | MoveOff
