"""What the laws of ``store.py`` mean for two versions of a row and for a page of entries, as pure functions.

Shared by the stores that have to do it themselves and by tests and simulators that check those whose engine does it. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from storage.store import (
    ACTIVATION_ENTRIES,
    BUCKET_ENTRIES,
    FORGOTTEN,
    READ_BYTES_MAX,
    READ_ENTRIES_MAX,
    CellRow,
    EntriesRead,
    EntryRow,
    IndexRow,
    LogRow,
    MemberRow,
    ReadEntries,
    ReceiptsRow,
    Row,
    UserRow,
)

Key = tuple[str | int, ...]


def is_fenced(row: Row) -> bool:
    """Whether the cell row decides about this row's outcome."""
    return isinstance(row, EntryRow | LogRow | ReceiptsRow)


def row_key(row: Row) -> Key:
    """The key that a row is written under, its table's name first."""
    match row:
        case EntryRow():
            return ("log_entries", row.conversation, row.seq, row.term)
        case LogRow():
            return ("logs", row.conversation)
        case MemberRow():
            return ("members", row.conversation, row.user)
        case ReceiptsRow():
            return ("receipts", row.conversation)
        case IndexRow():
            return ("sync_index", row.user, row.conversation)
        case UserRow():
            return ("users", row.user)
        case CellRow():
            return ("cell",)


def log_timestamp(row: LogRow) -> int:
    """A log row's timestamp: its last term."""
    return row.terms[-1][0] if row.terms else 0


def merge(old: Row | None, new: Row) -> Row:
    """The version of a row that stands after ``new`` is written over ``old``, both under the same key. Commutative, associative and
    idempotent over rows that writers make: under one timestamp there is one value."""
    match old, new:
        case None, UserRow():
            return UserRow(new.user, new.last_seen, unite_revoked(new.revoked), new.name, new.named_at)
        case None, _:
            return new
        case IndexRow(), IndexRow():
            return IndexRow(
                new.user,
                new.conversation,
                max(old.active_at, new.active_at),
                max(old.receipts_at, new.receipts_at),
                old.always or new.always,
            )
        case UserRow(), UserRow():
            named = max(old, new, key=lambda row: (row.name != "", row.named_at, row.name))
            revoked = unite_revoked(old.revoked, new.revoked)
            return UserRow(new.user, max(old.last_seen, new.last_seen), revoked, named.name, named.named_at)
        case LogRow(), LogRow():
            return new if log_timestamp(new) > log_timestamp(old) else old
        case MemberRow(), MemberRow():
            return new if new.seq > old.seq else old
        case ReceiptsRow(), ReceiptsRow():
            return new if (new.term, new.count) > (old.term, old.count) else old
        case CellRow(), CellRow():
            return new if new.epoch > old.epoch else old
        case _, _:
            return old  # an entry: one value per key


def unite_revoked(*parts: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """All revoked devices, ascending by id; one that was revoked twice keeps the later time. What some part has forgotten does not come
    back from another."""
    united: dict[str, int] = {}
    for device, at in (pair for part in parts for pair in part):
        united[device] = max(at, united.get(device, at))
    forgotten = united.get(FORGOTTEN)
    if forgotten is None:
        return tuple(sorted(united.items()))
    return tuple(sorted((device, at) for device, at in united.items() if at > forgotten or device == FORGOTTEN))


def page_limit(query: ReadEntries) -> int:
    """How many rows a page may have: an answer is one mesh frame, so a request past the bound is cut, not refused."""
    return max(1, min(query.limit, READ_ENTRIES_MAX if query.bodies else BUCKET_ENTRIES))


def page(rows: Iterable[EntryRow], query: ReadEntries) -> EntriesRead:
    """Cuts a range of entries to a page.

    The rows of one seq are never parted, for a reader goes on at the next seq: if the cut falls into a seq, that seq is left for the
    next page, and the first seq comes whole even past the bounds.

    Args:
        rows: the range, from the end that is kept: descending by (seq, term) if ``query.newest``, else ascending. Read only as far
            as needed.
    """
    limit, kept, size, cut = page_limit(query), list[EntryRow](), 0, False
    for row in rows:
        size += len(row.body.encode()) if query.bodies else 0
        if kept and row.seq != kept[0].seq and (len(kept) >= limit or size > READ_BYTES_MAX):
            cut = True
            while kept[-1].seq == row.seq:
                kept.pop()
            break
        kept.append(row)
    if query.newest:
        kept.reverse()
    return EntriesRead(kept, cut)


INDEX_ROWS_MAX = 10_000
"""Rows of one user that are loaded: an answer is one mesh frame (some 90 bytes a row). Who has more conversations finds the older ones by
their history only."""


def index_page(rows: list[IndexRow]) -> list[IndexRow]:
    """A user's rows, or the newest and those marked ``always`` of very many."""
    if len(rows) <= INDEX_ROWS_MAX:
        return rows
    rows = sorted(rows, key=lambda row: (row.always, max(row.active_at, row.receipts_at)), reverse=True)
    return rows[:INDEX_ROWS_MAX]


GROUP_TYPES = "group."
"""Entries whose type begins so change the roster; an activation reads them with their body."""


def without_body(row: EntryRow) -> EntryRow:
    return msgspec.structs.replace(row, body="")


def for_activation(row: EntryRow) -> EntryRow:
    return row if row.type.startswith(GROUP_TYPES) else without_body(row)


def last_seqs(rows: Iterable[EntryRow]) -> list[EntryRow]:
    """Of entries descending by (seq, term) those of the last ``ACTIVATION_ENTRIES`` seqs, ascending. Read only as far as needed."""
    kept: list[EntryRow] = []
    seqs = 0
    for row in rows:
        if not kept or row.seq != kept[-1].seq:
            if seqs == ACTIVATION_ENTRIES:
                break
            seqs += 1
        kept.append(row)
    kept.reverse()
    return kept
