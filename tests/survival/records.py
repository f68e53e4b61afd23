"""What is written down while people chat and processes die: who said what, what each device showed, what a fresh device fetches.

Plain values, so that a checker can be fed with real ones and with planted faults alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from homing.protocol import Entry

Histories = dict[str, dict[str, list[Entry]]]
"""user → conversation → entries, ascending: what a device that knew nothing fetched."""
Members = dict[str, list[str]]
"""conversation → its members' user ids."""
Marks = dict[str, dict[str, tuple[int, int]]]
"""conversation → member → (delivered, read)."""


@dataclass
class Said:
    """One message that somebody handed to his client, which had it safe when this was written down. Times are of one monotonic clock."""

    id: str
    conversation: str
    user: str
    device: str
    body: str
    said_at: float
    entry: Entry | None = None
    """Its entry, once `stored`."""
    stored_at: float = 0.0
    refused: str = ""
    """Why it will never be stored, by the client's word."""

    @property
    def place(self) -> tuple[str, int]:
        assert self.entry is not None
        return self.entry.conversation, self.entry.seq


@dataclass
class Screen:
    """What one device showed, in the order in which it did."""

    name: str
    user: str
    shown: dict[str, list[Entry]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    """What it said that it skipped."""
    marks: Marks = field(default_factory=dict)
    """What it knows of the others' marks."""
    reached: dict[str, int] = field(default_factory=dict)
    """conversation → up to where it had shown when all was settled."""
    read: dict[str, int] = field(default_factory=dict)
    """conversation → up to where its user has read, there or on another device."""
