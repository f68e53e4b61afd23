"""What every parser of a chat file produces: lines, and an account of the whole file.

Owns the vocabulary. Knows no format and does no I/O.

A *kind* says what a line is:

=========== ===================================================================================================
``text``    somebody said something
``action``  somebody did something (IRC's ``/me``); the text is without the name
``notice``  an IRC notice, ``-nick- text``
``media``   a photo, a voice note, a place …: the file's text stands for it
``deleted`` what WhatsApp shows where a message was taken back
``system``  a service line: encryption notice, "Anna added Ben", a mode change, an opened log
``join``    somebody entered the channel
``leave``   somebody left it, quit, or was kicked
``rename``  a nick became another nick
``title``   the topic of the channel was set
=========== ===================================================================================================

Laws:
    * The first five kinds have a sender: they are messages. ``system`` has none; of the other events the sender is who they are about.
    * ``at`` is the local time that the file shows; exports name no time zone.
    * Every physical line of the file is in exactly one of the counts (``check`` asserts it).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["text", "action", "notice", "media", "deleted", "system", "join", "leave", "rename", "title"]

MESSAGE_KINDS: frozenset[str] = frozenset({"text", "action", "notice", "media", "deleted"})
FILE_BYTES_MAX = 256 * 1024 * 1024  # the largest export seen is some 40 MiB of text; more is a mistake or an attack (a zip bomb)


class ChatError(ValueError):
    """The file cannot be read as a chat; the message says what was expected and where."""


class Line(msgspec.Struct, frozen=True):
    at: datetime
    sender: str | None
    text: str
    kind: Kind
    number: int = 0
    """Where it starts in the file, from 1."""

    @property
    def is_message(self) -> bool:
        return self.kind in MESSAGE_KINDS

    def to_json(self) -> str:
        """``{"at": …, "sender": …, "text": …, "kind": …}`` on one line, as ``--parse-only --json`` prints it."""
        value = {"at": self.at.isoformat(timespec="seconds"), "sender": self.sender, "text": self.text, "kind": self.kind}
        return msgspec.json.encode(value).decode()


class Counts(msgspec.Struct):
    """Where each physical line of the file went."""

    lines: int = 0
    messages: int = 0
    events: int = 0
    continuations: int = 0
    """Further lines of a message of several lines, blank ones inside it included."""
    blank: int = 0
    """Blank lines that belong to no message."""
    unparsed: int = 0
    """Lines that no rule of the format knows. Their text is kept as ``system`` lines."""


class Chat(msgspec.Struct):
    format: str
    lines: list[Line]
    counts: Counts
    notes: list[str] = []
    """What had to be decided, and by what: the order of day and month, a clock of twelve hours …"""

    @property
    def messages(self) -> list[Line]:
        return [line for line in self.lines if line.is_message]

    @property
    def senders(self) -> list[str]:
        """Who says something, in order of appearance."""
        return list(dict.fromkeys(line.sender for line in self.lines if line.is_message and line.sender is not None))

    def check(self) -> None:
        """Asserts the laws above."""
        counts = self.counts
        sums = counts.messages + counts.events + counts.continuations + counts.blank + counts.unparsed
        assert sums == counts.lines, f"{counts} does not add up"
        assert len(self.lines) == counts.messages + counts.events + counts.unparsed
        for line in self.lines:
            assert (line.sender is not None) or not line.is_message, line
