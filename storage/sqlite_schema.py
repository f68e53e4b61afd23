"""The tables of the SQLite store, their version, and how rows become parameters and columns become rows.

Ids of 32 hexadecimal digits are stored as 16 bytes, any other text as it is: the mapping is total and can be undone. Tables are
WITHOUT ROWID, so that a row is one entry in one tree. The body is the last column: a scan without bodies reads no overflow page.
A partition's bucket follows from seq and needs no column here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from storage.rows import GROUP_TYPES, log_timestamp, unite_revoked
from storage.store import CellRow, EntryRow, IndexRow, LogRow, MemberRow, ReceiptsRow, Row, UserRow

Value: TypeAlias = str | bytes | int
Params: TypeAlias = tuple[Value, ...]

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE log_entries (
            conversation BLOB NOT NULL, seq INTEGER NOT NULL, term INTEGER NOT NULL,
            created_at INTEGER NOT NULL, ordinal INTEGER NOT NULL, sent_ts INTEGER NOT NULL,
            sender BLOB NOT NULL, client_message_id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (conversation, seq, term)) WITHOUT ROWID""",
        "CREATE TABLE logs (conversation BLOB PRIMARY KEY, term INTEGER NOT NULL, terms BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE members (
            conversation BLOB NOT NULL, user BLOB NOT NULL, seq INTEGER NOT NULL, role TEXT NOT NULL,
            from_seq INTEGER NOT NULL, until_seq INTEGER NOT NULL, title TEXT NOT NULL,
            PRIMARY KEY (conversation, user)) WITHOUT ROWID""",
        """CREATE TABLE receipts (
            conversation BLOB PRIMARY KEY, term INTEGER NOT NULL, count INTEGER NOT NULL, marks BLOB NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE sync_index (
            user BLOB NOT NULL, conversation BLOB NOT NULL,
            active_at INTEGER NOT NULL, receipts_at INTEGER NOT NULL, always INTEGER NOT NULL,
            PRIMARY KEY (user, conversation)) WITHOUT ROWID""",
        "CREATE TABLE users (user BLOB PRIMARY KEY, last_seen INTEGER NOT NULL, revoked BLOB NOT NULL) WITHOUT ROWID",
        "CREATE TABLE cell (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, live BLOB NOT NULL)",
    ),
    (
        "ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE users ADD COLUMN named_at INTEGER NOT NULL DEFAULT 0",
    ),
    ("ALTER TABLE members ADD COLUMN blocks INTEGER NOT NULL DEFAULT 0",),
)
"""In order; the n-th takes a file from version n to n + 1. Never changed once released."""

VERSION = len(MIGRATIONS)

_pack = msgspec.msgpack.Encoder().encode
_unpack_pairs = msgspec.msgpack.Decoder(tuple[tuple[int, int], ...]).decode
_unpack_marks = msgspec.msgpack.Decoder(tuple[tuple[str, int, int, int], ...]).decode
_unpack_revoked = msgspec.msgpack.Decoder(tuple[tuple[str, int], ...]).decode
_unpack_live = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class SchemaTooNew(Exception):
    """The file was written by a newer release."""


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the file to ``VERSION``, each step in a transaction of its own.

    Raises:
        SchemaTooNew: the file's version is above ours.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SchemaTooNew(f"the file has schema version {version}, this release knows up to {VERSION}: start a newer release")
    for number in range(version, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")


def add_functions(connection: sqlite3.Connection) -> None:
    """Registers what the upserts call."""
    connection.create_function("unite_revoked", 2, _unite_packed, deterministic=True)


def _unite_packed(old: bytes, new: bytes) -> bytes:
    return _pack(unite_revoked(_unpack_revoked(old), _unpack_revoked(new)))


# ---------------------------------------------------------------- ids


def key(text: str) -> bytes | str:
    """An id as it is stored."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return text
    return raw if len(raw) == 16 and raw.hex() == text else text


def text(key_: bytes | str) -> str:
    """The id that is stored as ``key_``."""
    return key_ if isinstance(key_, str) else key_.hex()


# ---------------------------------------------------------------- rows to parameters


def _entry(row: EntryRow) -> Params:
    return (
        key(row.conversation),
        row.seq,
        row.term,
        row.created_at,
        row.ordinal,
        row.sent_ts,
        key(row.sender),
        row.client_message_id,
        row.type,
        row.body,
    )


def _log(row: LogRow) -> Params:
    return key(row.conversation), log_timestamp(row), _pack(row.terms)


def _member(row: MemberRow) -> Params:
    return key(row.conversation), key(row.user), row.seq, row.role, row.from_seq, row.until_seq, row.title, row.blocks


def _receipts(row: ReceiptsRow) -> Params:
    return key(row.conversation), row.term, row.count, _pack(row.marks)


def _index(row: IndexRow) -> Params:
    return key(row.user), key(row.conversation), row.active_at, row.receipts_at, row.always


def _user(row: UserRow) -> Params:
    return key(row.user), row.last_seen, _pack(unite_revoked(row.revoked)), row.name, row.named_at


def _cell(row: CellRow) -> Params:
    return row.epoch, _pack(row.live)


# Each upsert changes nothing, and so writes no page, when the stored version is as new: a row written again costs a look-up.
_ENTRY = "INSERT INTO log_entries VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
_LOG = """INSERT INTO logs VALUES (?,?,?) ON CONFLICT DO UPDATE SET term = excluded.term, terms = excluded.terms
    WHERE excluded.term > logs.term"""
_MEMBER = """INSERT INTO members VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET seq = excluded.seq, role = excluded.role,
    from_seq = excluded.from_seq, until_seq = excluded.until_seq, title = excluded.title, blocks = excluded.blocks
    WHERE excluded.seq > members.seq"""
_RECEIPTS = """INSERT INTO receipts VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET term = excluded.term, count = excluded.count,
    marks = excluded.marks WHERE (excluded.term, excluded.count) > (receipts.term, receipts.count)"""
_INDEX = """INSERT INTO sync_index VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET active_at = max(active_at, excluded.active_at),
    receipts_at = max(receipts_at, excluded.receipts_at), always = max(always, excluded.always)
    WHERE excluded.active_at > active_at OR excluded.receipts_at > receipts_at OR excluded.always > always"""
_IS_NAMED_LATER = "(excluded.name <> '', excluded.named_at, excluded.name) > (users.name <> '', users.named_at, users.name)"
_USER = f"""INSERT INTO users VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET last_seen = max(last_seen, excluded.last_seen),
    revoked = unite_revoked(revoked, excluded.revoked),
    name = CASE WHEN {_IS_NAMED_LATER} THEN excluded.name ELSE name END,
    named_at = CASE WHEN {_IS_NAMED_LATER} THEN excluded.named_at ELSE named_at END
    WHERE excluded.last_seen > last_seen OR excluded.revoked <> revoked OR {_IS_NAMED_LATER}"""
_CELL = """INSERT INTO cell VALUES (1,?,?) ON CONFLICT DO UPDATE SET epoch = excluded.epoch, live = excluded.live
    WHERE excluded.epoch > cell.epoch"""


def upsert(row: Row) -> tuple[str, Params]:
    """The statement that writes ``row`` and its parameters."""
    match row:
        case EntryRow():
            return _ENTRY, _entry(row)
        case IndexRow():
            return _INDEX, _index(row)
        case MemberRow():
            return _MEMBER, _member(row)
        case ReceiptsRow():
            return _RECEIPTS, _receipts(row)
        case LogRow():
            return _LOG, _log(row)
        case UserRow():
            return _USER, _user(row)
        case CellRow():
            return _CELL, _cell(row)


# ---------------------------------------------------------------- columns to rows

_HEAD = "seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type"
SELECT_ENTRIES = f"SELECT {_HEAD}, body FROM log_entries WHERE conversation = ? AND seq BETWEEN ? AND ?"
SELECT_HEADS = f"SELECT {_HEAD}, '' FROM log_entries WHERE conversation = ? AND seq BETWEEN ? AND ?"
SELECT_ACTIVATION = (
    f"SELECT {_HEAD}, CASE WHEN substr(type, 1, {len(GROUP_TYPES)}) = '{GROUP_TYPES}' THEN body ELSE '' END"
    " FROM log_entries WHERE conversation = ? AND seq BETWEEN ? AND ?"
)
DESCENDING, ASCENDING = " ORDER BY seq DESC, term DESC", " ORDER BY seq, term"
SELECT_LOG = "SELECT terms FROM logs WHERE conversation = ?"
SELECT_MEMBERS = "SELECT user, seq, role, from_seq, until_seq, title, blocks FROM members WHERE conversation = ? ORDER BY user"
SELECT_RECEIPTS = "SELECT term, count, marks FROM receipts WHERE conversation = ?"
SELECT_INDEX = "SELECT conversation, active_at, receipts_at, always FROM sync_index WHERE user = ? ORDER BY conversation"
SELECT_USER = "SELECT last_seen, revoked, name, named_at FROM users WHERE user = ?"
SELECT_CELL = "SELECT epoch, live FROM cell"

EntryColumns: TypeAlias = tuple[int, int, int, int, int, bytes | str, str, str, str]


def entry_reader(conversation: str) -> Callable[[EntryColumns], EntryRow]:
    def read(columns: EntryColumns) -> EntryRow:
        seq, term, created_at, ordinal, sent_ts, sender, client_message_id, type_, body = columns
        return EntryRow(conversation, seq, term, text(sender), client_message_id, type_, body, created_at, ordinal, sent_ts)

    return read


def log_row(conversation: str, terms: bytes) -> LogRow:
    return LogRow(conversation, _unpack_pairs(terms))


MemberColumns: TypeAlias = tuple[bytes | str, int, str, int, int, str, int]


def member_row(conversation: str, columns: MemberColumns) -> MemberRow:
    user, seq, role, from_seq, until_seq, title, blocks = columns
    return MemberRow(conversation, text(user), seq, role, from_seq, until_seq, title, bool(blocks))


def receipts_row(conversation: str, term: int, count: int, marks: bytes) -> ReceiptsRow:
    return ReceiptsRow(conversation, term, count, _unpack_marks(marks))


def index_row(user: str, conversation: bytes | str, active_at: int, receipts_at: int, always: int) -> IndexRow:
    return IndexRow(user, text(conversation), active_at, receipts_at, bool(always))


def user_row(user: str, last_seen: int, revoked: bytes, name: str, named_at: int) -> UserRow:
    return UserRow(user, last_seen, _unpack_revoked(revoked), name, named_at)


def cell_row(epoch: int, live: bytes) -> CellRow:
    return CellRow(epoch, _unpack_live(live))
