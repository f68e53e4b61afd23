"""Whether a participant's history is the file: same messages, same order, nothing twice. Pure.

The truth is the file, place by place. The ids under which the messages were sent only help to say what went wrong.

Laws (each has a test that sees it go red):
    * The n-th message of the history is the n-th of the file: sender, type and body.
    * No message is there twice: by message id, by client message id, by seq.
    * Seqs rise by one from entry to entry, from 1 on: nothing lies unseen in between (P3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from homing.protocol import HOME_TYPES, Entry

from tools.replay.script import Cue, Said

Fault: TypeAlias = Literal["missing", "doubled", "out of order", "changed", "foreign", "gap in seq"]
_EXCERPT_CHARS = 60


class Mismatch(NamedTuple):
    """The first difference between a history and the file."""

    fault: Fault
    place: int
    """Counted in messages, from 1."""
    line: int | None
    """In the file; None behind its end."""
    expected: Said | None
    found: Said | None

    def tell(self, names: Mapping[str, str]) -> str:
        """The difference in words; ``names``: user id → name."""
        where = f"message {self.place}" + (f" (line {self.line})" if self.line is not None else " (behind the file's end)")
        return f"{where}: {self.fault}; the file has {_excerpt(self.expected, names)}, the history {_excerpt(self.found, names)}"


def said(entry: Entry) -> Said:
    return Said(entry.sender, entry.type, entry.body)


def compare(cues: Sequence[Cue], sent_ids: Sequence[str], entries: Sequence[Entry]) -> Mismatch | None:
    """The first difference, or None if there is none.

    Args:
        cues: the file's messages.
        sent_ids: the client message id under which each of them was sent.
        entries: all entries of the conversation as one participant has them, group entries included, in his order.
    """
    messages = [entry for entry in entries if not entry.type.startswith(HOME_TYPES)]
    for place, (cue, entry) in enumerate(zip(cues, messages, strict=False)):
        if said(entry) != cue.said or entry.id != sent_ids[place]:
            return Mismatch(_fault(place, sent_ids, messages), place + 1, cue.line, cue.said, said(entry))
    place = min(len(cues), len(messages))
    if place < len(cues):
        return Mismatch("missing", place + 1, cues[place].line, cues[place].said, None)
    if place < len(messages):
        return Mismatch(_fault(place, sent_ids, messages), place + 1, None, None, said(messages[place]))
    return _numbering(cues, entries)


def _fault(place: int, sent_ids: Sequence[str], messages: Sequence[Entry]) -> Fault:
    """Names the difference at ``place`` by the ids."""
    entry = messages[place]
    if any(entry.id == other.id for other in messages[:place]):
        return "doubled"
    if place >= len(sent_ids) or entry.id not in sent_ids:
        return "foreign"
    if entry.id == sent_ids[place]:
        return "changed"
    return "out of order" if any(sent_ids[place] == other.id for other in messages) else "missing"


def _numbering(cues: Sequence[Cue], entries: Sequence[Entry]) -> Mismatch | None:
    """The log's own laws: seqs 1, 2, 3, …, each message id once."""
    place = 0
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        is_message = not entry.type.startswith(HOME_TYPES)
        line, expected = (cues[place].line, cues[place].said) if is_message else (None, None)
        place += is_message
        if entry.message_id in seen:
            return Mismatch("doubled", place, line, expected, said(entry))
        if entry.seq != number:
            return Mismatch("gap in seq", place, line, expected, said(entry))
        seen.add(entry.message_id)
    return None


def _excerpt(what: Said | None, names: Mapping[str, str]) -> str:
    if what is None:
        return "nothing"
    body = what.body if len(what.body) <= _EXCERPT_CHARS else what.body[: _EXCERPT_CHARS - 1] + "…"
    return f"{what.type} {body!r} of {names.get(what.sender, what.sender)}"
