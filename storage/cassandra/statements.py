"""How rows become statements with their parameters and columns become rows. Pure; knows no driver.

Ids of 32 hexadecimal digits are stored as 16 bytes, any other text with a mark before it: the mapping is total and can be undone.

Timestamps (the laws of ``storage/store.py``): a row's number, so that of two versions the newer one wins on every replica, whatever its
clock says. No statement is without one.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import msgspec

from storage.cassandra.schema import KIND_CONVERSATION, KIND_USER
from storage.rows import GROUP_TYPES, log_timestamp, unite_revoked
from storage.store import BUCKET_ENTRIES, FORGOTTEN, CellRow, EntryRow, IndexRow, LogRow, MemberRow, ReceiptsRow, Row, UserRow

Value: TypeAlias = str | bytes | int | list[str] | dict[str, int]
Params: TypeAlias = tuple[Value, ...]
COUNT_BITS = 32
"""Of the timestamp of a receipts row: (term, count) as one number; more marks than this in one term do not happen."""
_WORD_BYTES = 12
"""What a column of fixed size weighs in a request, roughly."""

_pack = msgspec.msgpack.Encoder().encode
_unpack_terms = msgspec.msgpack.Decoder(tuple[tuple[int, int], ...]).decode
_unpack_marks = msgspec.msgpack.Decoder(tuple[tuple[str, int, int, int], ...]).decode


class Statement(StrEnum):
    """Every write. The timestamp is the last parameter."""

    ENTRY = (
        "INSERT INTO log_entries (conversation, bucket, seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type, body)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?) USING TIMESTAMP ?"
    )
    CONTROL = (
        "INSERT INTO log_entries (conversation, bucket, seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type, control)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?) USING TIMESTAMP ?"
    )
    BUCKET = "INSERT INTO logs (conversation, bucket) VALUES (?,?) USING TIMESTAMP ?"
    LOG = "INSERT INTO logs (conversation, terms) VALUES (?,?) USING TIMESTAMP ?"
    MEMBER = (
        "INSERT INTO members (conversation, user, seq, role, from_seq, until_seq, title, blocks) VALUES (?,?,?,?,?,?,?,?) USING TIMESTAMP ?"
    )
    RECEIPTS = "INSERT INTO receipts (conversation, term, count, marks) VALUES (?,?,?,?) USING TIMESTAMP ?"
    INDEX = f"INSERT INTO sync_index (user, kind, conversation, active_at) VALUES (?,{KIND_CONVERSATION},?,?) USING TIMESTAMP ?"
    INDEX_BOTH = (
        f"INSERT INTO sync_index (user, kind, conversation, active_at, receipts_at) VALUES (?,{KIND_CONVERSATION},?,?,?) USING TIMESTAMP ?"
    )
    INDEX_RECEIPTS = f"INSERT INTO sync_index (user, kind, conversation, receipts_at) VALUES (?,{KIND_CONVERSATION},?,?) USING TIMESTAMP ?"
    INDEX_ALWAYS = f"INSERT INTO sync_index (user, kind, conversation, always) VALUES (?,{KIND_CONVERSATION},?,true) USING TIMESTAMP ?"
    SEEN = f"INSERT INTO sync_index (user, kind, conversation, last_seen) VALUES (?,{KIND_USER},0x,?) USING TIMESTAMP ?"
    REVOKED = "UPDATE sync_index USING TIMESTAMP ? SET revoked = revoked + ? WHERE user = ? AND kind = 0 AND conversation = 0x"
    FORGOTTEN_AT = f"INSERT INTO sync_index (user, kind, conversation, forgotten_at) VALUES (?,{KIND_USER},0x,?) USING TIMESTAMP ?"
    NAMED = f"INSERT INTO sync_index (user, kind, conversation, name, named_at) VALUES (?,{KIND_USER},0x,?,?) USING TIMESTAMP ?"
    UNNAMED = f"INSERT INTO sync_index (user, kind, conversation, unnamed_at) VALUES (?,{KIND_USER},0x,?) USING TIMESTAMP ?"
    CELL = "INSERT INTO cell (one, epoch, live) VALUES (1,?,?) USING TIMESTAMP ?"


Bound: TypeAlias = tuple[Statement, Params]
Partition: TypeAlias = tuple[str | int | bytes, ...]


class Upsert(NamedTuple):
    """What writes one row: statements of one partition."""

    partition: Partition
    statements: list[Bound]
    bytes: int
    """What it weighs in a request, roughly."""


# ---------------------------------------------------------------- ids


def key(text: str) -> bytes:
    """An id as it is stored."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return _marked(text)
    return raw if len(raw) == 16 and raw.hex() == text else _marked(text)


def _marked(text: str) -> bytes:
    marked = b"t" + text.encode()
    return marked if len(marked) != 16 else b"u\0" + marked[1:]


def text(key_: bytes) -> str:
    """The id that is stored as ``key_``."""
    if len(key_) == 16:
        return key_.hex()
    return key_[1 if key_[:1] == b"t" else 2 :].decode()


# ---------------------------------------------------------------- rows to statements


def bucket_of(seq: int) -> int:
    return seq // BUCKET_ENTRIES


def upsert(row: Row) -> Upsert:
    """What writes ``row``.

    Raises:
        ValueError: a text that is none (a lone surrogate), or a number that no timestamp can hold.
    """
    match row:
        case EntryRow():
            return _entry(row)
        case IndexRow():
            return _index(row)
        case LogRow():
            conversation, terms = key(row.conversation), _pack(row.terms)
            return Upsert(("logs", conversation), [(Statement.LOG, (conversation, terms, log_timestamp(row)))], len(terms) + 50)
        case MemberRow():
            conversation, user = key(row.conversation), key(row.user)
            params = (conversation, user, row.seq, row.role, row.from_seq, row.until_seq, row.title, row.blocks, row.seq)
            return Upsert(("members", conversation), [(Statement.MEMBER, params)], 2 * len(row.title) + 150)
        case ReceiptsRow():
            conversation, marks = key(row.conversation), _pack(row.marks)
            statement = (Statement.RECEIPTS, (conversation, row.term, row.count, marks, receipts_timestamp(row)))
            return Upsert(("receipts", conversation), [statement], len(marks) + 80)
        case UserRow():
            return _user(row)
        case CellRow():
            return Upsert(("cell",), [(Statement.CELL, (row.epoch, list(row.live), row.epoch))], 40 * len(row.live) + 50)


def receipts_timestamp(row: ReceiptsRow) -> int:
    if row.count >> COUNT_BITS or row.term >> (63 - COUNT_BITS):
        raise ValueError(f"receipts of term {row.term}, count {row.count}: no timestamp holds both")
    return row.term << COUNT_BITS | row.count


def _entry(row: EntryRow) -> Upsert:
    conversation, bucket = key(row.conversation), bucket_of(row.seq)
    params = (
        conversation,
        bucket,
        row.seq,
        row.term,
        row.created_at,
        row.ordinal,
        row.sent_ts,
        key(row.sender),
        row.client_message_id,
        row.type,
        row.body,
        row.created_at,
    )
    statement = Statement.CONTROL if row.type.startswith(GROUP_TYPES) else Statement.ENTRY
    return Upsert((bucket, conversation), [(statement, params)], 2 * len(row.body) + 14 * _WORD_BYTES)


def bucket_upsert(row: EntryRow) -> Upsert:
    """What makes the bucket of an entry known; needed for all but a conversation's first."""
    conversation = key(row.conversation)
    return Upsert(("logs", conversation), [(Statement.BUCKET, (conversation, bucket_of(row.seq), 1))], 60)


def _index(row: IndexRow) -> Upsert:
    user, conversation = key(row.user), key(row.conversation)
    made: list[Bound] = []
    if row.receipts_at == row.active_at:
        made.append((Statement.INDEX_BOTH, (user, conversation, row.active_at, row.receipts_at, row.active_at)))
    else:
        made.append((Statement.INDEX, (user, conversation, row.active_at, row.active_at)))
        if row.receipts_at:
            made.append((Statement.INDEX_RECEIPTS, (user, conversation, row.receipts_at, row.receipts_at)))
    if row.always:
        made.append((Statement.INDEX_ALWAYS, (user, conversation, 1)))
    return Upsert(("sync_index", user), made, len(made) * 7 * _WORD_BYTES)


def _user(row: UserRow) -> Upsert:
    user = key(row.user)
    made: list[Bound] = [(Statement.SEEN, (user, row.last_seen, row.last_seen))]
    for device, at in unite_revoked(row.revoked):
        if device == FORGOTTEN:
            made.append((Statement.FORGOTTEN_AT, (user, at, at)))
        else:
            made.append((Statement.REVOKED, (at, {device: at}, user)))
    if row.name:
        made.append((Statement.NAMED, (user, row.name, row.named_at, row.named_at)))
    elif row.named_at:
        made.append((Statement.UNNAMED, (user, row.named_at, row.named_at)))
    return Upsert(("sync_index", user), made, len(made) * 9 * _WORD_BYTES)


# ---------------------------------------------------------------- columns to rows

_HEAD = "seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type, control"
_FROM = "FROM log_entries WHERE conversation = ? AND bucket = ? AND seq >= ? AND seq <= ?"


class Select(StrEnum):
    """Every read."""

    ENTRIES_DESCENDING = f"SELECT {_HEAD}, body {_FROM}"
    ENTRIES_ASCENDING = f"SELECT {_HEAD}, body {_FROM} ORDER BY seq ASC, term ASC"
    HEADS_DESCENDING = f"SELECT {_HEAD} {_FROM}"
    HEADS_ASCENDING = f"SELECT {_HEAD} {_FROM} ORDER BY seq ASC, term ASC"
    LOG = "SELECT bucket, terms FROM logs WHERE conversation = ? LIMIT 2"
    BUCKETS_DESCENDING = "SELECT bucket FROM logs WHERE conversation = ? AND bucket >= ? AND bucket <= ?"
    BUCKETS_ASCENDING = "SELECT bucket FROM logs WHERE conversation = ? AND bucket >= ? AND bucket <= ? ORDER BY bucket ASC"
    MEMBERS = "SELECT user, seq, role, from_seq, until_seq, title, blocks FROM members WHERE conversation = ?"
    RECEIPTS = "SELECT term, count, marks FROM receipts WHERE conversation = ?"
    INDEX = (
        "SELECT kind, conversation, active_at, receipts_at, always, last_seen, revoked, forgotten_at, name, named_at, unnamed_at"
        " FROM sync_index WHERE user = ?"
    )
    USER = (
        "SELECT last_seen, revoked, forgotten_at, name, named_at, unnamed_at FROM sync_index"
        f" WHERE user = ? AND kind = {KIND_USER} AND conversation = 0x"
    )
    CELL = "SELECT epoch, live FROM cell WHERE one = 1"


HeadColumns: TypeAlias = tuple[int, int, int, int, int, bytes, str, str, str | None]


def entry_reader(conversation: str, with_group_bodies: bool) -> Callable[[tuple[object, ...]], EntryRow]:
    """Makes rows of the columns of ENTRIES or HEADS.

    Args:
        with_group_bodies: whether entries that change the roster have their body.
    """

    def read(columns: HeadColumns, body: str | None = None) -> EntryRow:
        seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type_, control = columns
        kept = (control if with_group_bodies else None) if control is not None else body
        return EntryRow(conversation, seq, term, text(sender), client_message_id, type_, kept or "", created_at, ordinal, sent_ts)

    return lambda columns: read(columns[:9], *columns[9:])  # type: ignore[arg-type]  # the driver's tuples have no types


def log_row(conversation: str, terms: bytes) -> LogRow:
    return LogRow(conversation, _unpack_terms(terms))


def member_row(conversation: str, columns: tuple[bytes, int, str, int, int, str, bool]) -> MemberRow:
    user, seq, role, from_seq, until_seq, title, blocks = columns
    return MemberRow(conversation, text(user), seq, role, from_seq, until_seq, title, blocks)


def receipts_row(conversation: str, term: int, count: int, marks: bytes) -> ReceiptsRow:
    return ReceiptsRow(conversation, term, count, _unpack_marks(marks))


def index_row(user: str, columns: tuple[bytes, int | None, int | None, bool | None]) -> IndexRow:
    conversation, active_at, receipts_at, always = columns
    return IndexRow(user, text(conversation), active_at or 0, receipts_at or 0, bool(always))


UserColumns: TypeAlias = tuple[int | None, dict[str, int] | None, int | None, str | None, int | None, int | None]


def user_row(user: str, columns: UserColumns) -> UserRow:
    last_seen, revoked, forgotten_at, name, named_at, unnamed_at = columns
    pairs = [*(revoked or {}).items(), *([(FORGOTTEN, forgotten_at)] if forgotten_at is not None else [])]
    if name is not None:
        return UserRow(user, last_seen or 0, unite_revoked(pairs), name, named_at or 0)
    return UserRow(user, last_seen or 0, unite_revoked(pairs), "", unnamed_at or 0)


def cell_row(epoch: int, live: list[str] | None) -> CellRow:
    return CellRow(epoch, tuple(live or ()))
