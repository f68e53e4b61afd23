"""What the mesh tells its owner: peers, frames, acknowledgements, tables. Facts, frozen values; no behaviour.

Law: FrameIn and Acked of one incarnation come in the order in which the peer numbered things: a frame that the peer sent while it
handled our frame n comes before the Acked that covers n.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Peer(Struct, frozen=True, gc=False):
    """One start of a process. ``incarnation`` is ``name:random``; "" where it is not known yet."""

    name: str
    incarnation: str
    endpoint: str
    """Where its ROUTER listens, as ZeroMQ writes it: ``tcp://host:port``."""


class PeerUp(Struct, frozen=True, gc=False):
    """Hellos were exchanged with this incarnation: frames may flow."""

    peer: Peer


class PeerDown(Struct, frozen=True, gc=False):
    """A newer incarnation took the name, or the owner closed this one. Its unacknowledged frames are gone; it never comes back."""

    incarnation: str
    reason: str


class FrameIn(Struct, frozen=True, gc=False):
    """The next frame of that peer, in order and once. Handle it before the next ``poll``: the acknowledgement says "handled"."""

    incarnation: str
    frame: bytes


class Acked(Struct, frozen=True, gc=False):
    """The peer has handled our frames up to ``number`` (cumulative)."""

    incarnation: str
    number: int


class WindowOpen(Struct, frozen=True, gc=False):
    """A ``send`` was refused; now at least a quarter of the window is free again."""

    incarnation: str


class TableWanted(Struct, frozen=True, gc=False):
    """The peer's table is at epoch ``base`` and it has heard a higher one from us: answer with ``send_table``."""

    incarnation: str
    base: int


class TableIn(Struct, frozen=True, gc=False):
    """A delta of the table: apply it, then call ``set_epoch``, which releases what was held for it."""

    incarnation: str
    delta: bytes


class Disconnected(Struct, frozen=True, gc=False):
    """The connection to that peer broke (a hint of the transport; the link lives on and resends)."""

    incarnation: str


Event: TypeAlias = PeerUp | PeerDown | FrameIn | Acked | WindowOpen | TableWanted | TableIn | Disconnected


class LinkStats(Struct, frozen=True, gc=False):
    """Counters since the link came up, and its present state."""

    name: str
    endpoint: str
    frames_out: int
    frames_in: int
    packets_out: int
    packets_in: int
    frames_resent: int
    frames_duplicate: int
    gaps_seen: int
    bad_acks: int
    refused: int
    """Sends that were answered with 0."""
    window_frames: int
    """Frames sent or waiting, not acknowledged."""
    window_bytes: int
    held_packets: int
    """Packets of a higher epoch that wait for the table."""
    heard_at: float
    """When anything of this incarnation was last received (the ``now`` of that call)."""
    stalled: bool
    """No acknowledgement came in time: the link only probes until the peer is heard."""


def name_of(incarnation: str) -> str:
    """The process name inside an incarnation, "" if it has none."""
    return incarnation.rpartition(":")[0]
