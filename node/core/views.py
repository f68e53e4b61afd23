"""Rows as clients see them."""

from __future__ import annotations

from homing import protocol as p

from node.core.frames import HeadAnswer
from storage.store import EntryRow

PAGE_BYTES_MAX = 256 * 1024
"""Bodies of one page: several fit into what may wait for a reader on a slow line, so that who reads his history is not taken for one
who does not read."""
ESCAPE_BYTES_MAX = 6
"""What a character of text may become on the wire: ``\\u0000``."""


def newest_within_page(rows: tuple[EntryRow, ...]) -> tuple[EntryRow, ...]:
    """The last rows that make one page; a client asks for the others, as when its ``limit`` cuts the range."""
    room = PAGE_BYTES_MAX
    for n, row in enumerate(reversed(rows)):
        plain = row.body.isascii() and row.body.isprintable()
        room -= len(row.body) * (1 if plain else ESCAPE_BYTES_MAX)
        if room < 0 and n:
            return rows[len(rows) - n :]
    return rows


def entry_of(row: EntryRow) -> p.Entry:
    """A row as a client sees it."""
    return p.Entry(
        conversation=row.conversation, seq=row.seq, message_id=f"{row.conversation}.{row.seq}.{row.term}", sender=row.sender,
        id=row.client_message_id, type=row.type, body=row.body, ts=row.created_at, ordinal=row.ordinal, sent_ts=row.sent_ts,
    )  # fmt: skip


def head_of(h: HeadAnswer) -> p.Head:
    """A head as a client sees it. Who is no longer a member does not learn how far others got in what he cannot see (P8)."""
    marks = [p.Mark(user, min(delivered, h.seq), min(read, h.seq)) for user, delivered, read in h.marks]
    head = p.Head(
        conversation=h.conversation, seq=h.seq, ordinal=h.ordinal, last=entry_of(h.last) if h.last else None, delivered=h.delivered,
        read=h.read, read_ordinal=h.read_ordinal, marks=marks, title=h.title, role=h.role,
        until_seq=h.until_seq or None,
    )  # fmt: skip
    if h.peer:
        head.peer = h.peer
    return head
