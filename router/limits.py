"""The bounds of the mesh core, each with its unit and its reason. Values only: who loads them is router/config.py."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class MeshLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds and times of links and handshakes. ``problems()`` says which relations between them do not hold."""

    may_be_zero: ClassVar[frozenset[str]] = frozenset()
    """Fields that 0 turns off."""

    window_frames: int = 4096
    """Frames a link may have unacknowledged. A peer further behind than that is served by heads, not bodies (design.md §6)."""
    window_bytes: int = 4 * 1024 * 1024
    """Bytes a link may have unacknowledged. 300 stuck peers cost 1.2 GiB at worst."""
    frame_bytes_max: int = 2 * 1024 * 1024
    """The largest frame ``send`` takes; must fit into the window, and with its envelope into the transport's message limit."""
    packet_frames_max: int = 1024
    """Frames in one packet: bounds how long a receiver is busy with one."""
    packet_bytes_max: int = 512 * 1024
    """Bytes of frames in one packet (one larger frame travels alone): the unit of loss and of head-of-line blocking."""
    pace_s: float = 0.002
    """After a packet to a peer what follows within this time goes together. Measured: wake-ups, not work, are the cost at low rates."""
    ack_delay_s: float = 0.002
    """How long an acknowledgement waits for data to ride on."""
    gap_ask_s: float = 0.05
    """At most one request to resend in this time: one round trip of a busy peer, so that a gap is not resent several times."""
    resend_s: float = 0.25
    """Without progress for this time the link probes; longer than a busy peer's loop turn, so that it is rarely for nothing."""
    resend_max_s: float = 2.0
    """The probe interval doubles up to this; a healed cut is noticed within it."""
    probe_bytes: int = 16 * 1024
    """A probe resends only so much (at least one frame): a dead peer costs little however full its window is."""
    probe_frames: int = 64
    """As probe_bytes, in frames."""
    keepalive_s: float = 1.0
    """An idle link sends an empty acknowledgement this often; several times a lease time, so that silence means something."""
    hello_s: float = 0.1
    """First wait for the answer to a hello; doubles up to hello_max_s."""
    hello_max_s: float = 1.0
    """Longest wait between two hellos to a peer that does not answer."""
    table_ask_s: float = 0.2
    """A table request is repeated, at the next peer that has a newer one, after this time."""
    control_packets_max: int = 1024
    """Hellos, table requests and tables that wait for one ``poll``; further ones are dropped, for all of them are repeated."""
    peers_max: int = 4096
    """Names the mesh remembers; a cell has a few hundred."""

    def problems(self, path: str = "mesh") -> list[str]:
        """Relations that do not hold, as sentences that name the key."""
        rules = [
            (self.frame_bytes_max <= self.window_bytes, f"{path}.frame_bytes_max must be at most {path}.window_bytes"),
            (self.packet_bytes_max <= self.window_bytes, f"{path}.packet_bytes_max must be at most {path}.window_bytes"),
            (self.packet_frames_max <= self.window_frames, f"{path}.packet_frames_max must be at most {path}.window_frames"),
            (self.resend_s >= 10 * self.ack_delay_s, f"{path}.resend_s must be at least 10 x {path}.ack_delay_s"),
            (self.resend_max_s >= self.resend_s, f"{path}.resend_max_s must be at least {path}.resend_s"),
            (self.hello_max_s >= self.hello_s, f"{path}.hello_max_s must be at least {path}.hello_s"),
            (self.keepalive_s >= 10 * self.ack_delay_s, f"{path}.keepalive_s must be at least 10 x {path}.ack_delay_s"),
        ]
        checked = [name for name in self.__struct_fields__ if name not in self.may_be_zero]
        positive = [name for name in checked if isinstance(v := getattr(self, name), int | float) and v <= 0]
        return [f"{path}.{name} must be greater than 0" for name in positive] + [text for holds, text in rules if not holds]
