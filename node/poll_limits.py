"""The bounds of long polling, each with its reason."""

from __future__ import annotations

from msgspec import Struct


class PollLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[polls]``: the bounds of long polling."""

    sessions_max: int = 10_000
    """Devices that poll at this node: 6 KiB each, and an HTTP request of 20 KiB while they wait."""
    frames_max: int = 2_000
    """Frames that wait for one of them, or were given and not acknowledged."""
    bytes_max: int = 1_048_576
    """The same in bytes: as much as may wait for a socket (``edge.buffered_bytes_max``)."""
    bytes_total_max: int = 67_108_864
    """Bytes that wait for all of them together: past it the one with most loses its session."""
    answer_bytes_max: int = 262_144
    """Frames of one answer: as much as a page of history, a phone's line carries it in a second or two."""
    linger_s: float = 30.0
    """A device that does not come back within this time is gone: as long as a socket may say nothing until its user counts as offline."""
    gather_s: float = 0.01
    """What comes within this time of the first frame goes out in the same answer."""
    pace_s: float = 0.05
    """Answers to one device come no faster: a busy group costs it twenty requests a second, which ``limiters.events`` lets through."""

    def problems(self, path: str = "polls") -> list[str]:
        counts = ("sessions_max", "frames_max", "bytes_max", "bytes_total_max", "answer_bytes_max")
        problems = [f"{path}.{name} must be more than 0" for name in (*counts, "linger_s") if getattr(self, name) <= 0]
        return problems + [f"{path}.{name} must be 0 or more" for name in ("gather_s", "pace_s") if getattr(self, name) < 0]
