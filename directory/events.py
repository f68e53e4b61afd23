"""Events and effects of the membership core, and the row that it keeps in the relational database. Frozen values without behaviour."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from directory.frames import Expelled, GoodBye, MoveOff, Release, Released, Renew, Renewed
from directory.table import Delta, Table


class Row(Struct, frozen=True):
    """The directory's one row."""

    epoch: int
    table: Table
    leader: str = ""
    """The incarnation of the directory that wrote this epoch and may write the next without asking."""
    beat: int = 0
    """Counts the leader's signs of life between changes; another replica watches whether it moves."""
    cluster_time: int = 0
    joined: dict[str, int] = field(default_factory=dict)
    """Per member: cluster time when it joined."""

    @property
    def live(self) -> tuple[str, ...]:
        """The incarnations that may write fenced rows, as the cell row will list them."""
        return live_of(self.table)


def live_of(table: Table) -> tuple[str, ...]:
    return tuple(m.incarnation for m in table.members if m.role == "node")


# ---------------------------------------------------------------- events


class Start(Struct, frozen=True):
    """The process is up."""


class MemberFrame(Struct, frozen=True):
    """A frame arrived from the incarnation that the link vouches for."""

    incarnation: str
    frame: Renew | GoodBye | Released


class Disconnected(Struct, frozen=True):
    """The connection to that process broke: a hint."""

    incarnation: str


class TableSeen(Struct, frozen=True):
    """A peer has a newer table than this directory has published: it was published by another replica, or by this one's past."""

    delta: Delta


class RowLoaded(Struct, frozen=True):
    row: Row | None
    wall_ms: int
    """The wall clock, for cluster time must not lag behind it after a restart."""


class Committed(Struct, frozen=True):
    """The row has the epoch that CommitTable asked for."""

    epoch: int


class CommitRefused(Struct, frozen=True):
    """The row had another epoch than expected: somebody else leads, or an earlier try landed."""


class RowFailed(Struct, frozen=True):
    """The database did not carry out a load or a commit."""

    reason: str
    may_land: bool = True
    """Whether a commit may have landed, or may yet."""


class Beaten(Struct, frozen=True):
    """The outcome of Beat; not ``ok``: the row names another leader."""

    ok: bool
    asked_at: float


class CellStored(Struct, frozen=True):
    """The cell row is durable. ``newest``: the epoch that a read found there afterwards."""

    epoch: int
    newest: int


class CellUnknown(Struct, frozen=True):
    epoch: int
    reason: str


class Tick(Struct, frozen=True):
    """Nothing but time passed."""


Event: TypeAlias = (
    Start
    | MemberFrame
    | Disconnected
    | TableSeen
    | RowLoaded
    | Committed
    | CommitRefused
    | RowFailed
    | Beaten
    | CellStored
    | CellUnknown
    | Tick
)

# ---------------------------------------------------------------- effects


class LoadRow(Struct, frozen=True):
    """→ RowLoaded or RowFailed."""


class CommitTable(Struct, frozen=True):
    """One transaction: if the row's epoch is ``expected_epoch`` (0: or there is no row), it becomes ``row``.
    → Committed, CommitRefused or RowFailed."""

    expected_epoch: int
    row: Row


class Beat(Struct, frozen=True):
    """If the row's leader is ``leader``: write beat and cluster time. → Beaten; errors are only logged."""

    leader: str
    beat: int
    cluster_time: int


class WriteCell(Struct, frozen=True):
    """Write the cell row through any storage worker, then read it back. → CellStored or CellUnknown."""

    epoch: int
    live: tuple[str, ...]


class PublishTable(Struct, frozen=True):
    """Send the table to every peer, then take its epoch on the own links."""

    table: Table


class SendTo(Struct, frozen=True):
    incarnation: str
    frame: Renewed | Expelled | Release | MoveOff


class Forget(Struct, frozen=True):
    """Close the link to this incarnation for good."""

    incarnation: str
    reason: str


class Note(Struct, frozen=True):
    """A line for the log."""

    event: str
    fields: dict[str, str | int | float]


Effect: TypeAlias = LoadRow | CommitTable | Beat | WriteCell | PublishTable | SendTo | Forget | Note
