"""The Cassandra store. Owns what a round of writes and a query are in requests; knows the driver only through ``connection.py``.

Laws:
    * A row is STORED only after the servers have acknowledged all of it, and, if it is fenced, after a look at the cell row that began
      after the last acknowledgement of its round. One look a round.
    * Every other end of a request is UNKNOWN, for it may have landed, or may yet: the writer writes the same row with the same timestamp
      again. What Cassandra calls invalid is taken apart, so that one row that it will never take does not hold up the others.
    * The store has failed when the cell row cannot be read: then nobody's right to write can be told. Rows are UNKNOWN at once until
      ``reopen`` reads it again; queries are still tried.
"""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from cassandra import InvalidRequest

from storage.cassandra import checks, statements
from storage.cassandra.checks import StoreRefused
from storage.cassandra.connection import ENGINE_ERRORS, Columns, Connection, StoreUnreachable, describe, rows
from storage.cassandra.requests import Request, plan
from storage.cassandra.schema import KIND_USER
from storage.cassandra.statements import Select, Upsert
from storage.config import CassandraConfig
from storage.rows import index_page, is_fenced, last_seqs, page, page_limit
from storage.store import (
    ACTIVATION_ENTRIES,
    BUCKET_ENTRIES,
    Answer,
    CellLoaded,
    EntriesRead,
    EntryRow,
    IndexLoaded,
    IndexRow,
    LoadCell,
    LoadIndex,
    LoadLog,
    LoadUser,
    LogLoaded,
    Outcome,
    Query,
    ReadEntries,
    ReadFailed,
    UserLoaded,
    UserRow,
    Write,
)

__all__ = ["CassandraStore", "StoreRefused", "StoreUnreachable"]

_INT64_MAX = (1 << 63) - 1
_BAD_VALUE = (OverflowError, ValueError, TypeError, struct.error)
_NEVER_TAKEN = (InvalidRequest, *_BAD_VALUE)
"""How a request ends that would end so again; the driver finds some bad values only while it sends."""
PAGE_ROWS, PAGE_ROWS_WITH_BODIES = 1_000, 64
"""Rows that one answer of a server holds: with bodies of 64 KiB it stays below its largest frame (16 MiB)."""
FIRST_BUCKET = 0
INDEX_COLUMNS = 4
"""Of a row of ``sync_index``: those before are a conversation's, those after the user's."""


class CassandraStore:
    """Implements ``Store`` on the keyspace that ``config`` names, which `homing store migrate` has made.

    ``commit`` and ``reopen`` belong to one thread at a time, ``read`` may be called from many others.

    Raises:
        StoreUnreachable: no server answers now.
        StoreRefused: the cluster or the keyspace is not what it must be.
    """

    def __init__(self, config: CassandraConfig) -> None:
        self.failure = ""
        """Why nothing is committed now; empty while all is well. ``reopen`` clears it."""
        self.rejected = 0
        """Rows that no column can hold or that the server calls invalid, answered UNKNOWN: a bug of their writer."""
        self.requests = 0
        """Requests with which rows were written; looks at the cell row do not count."""
        self._config = config
        self._connection = _open(config)
        self._known_buckets: OrderedDict[tuple[str, int], None] = OrderedDict()

    def __str__(self) -> str:
        return f"keyspace {self._config.keyspace} at {', '.join(self._config.contact_points)}"

    # ------------------------------------------------------------ writing

    def commit(self, writes: list[Write]) -> list[Outcome]:
        if self.failure:
            return [Outcome.UNKNOWN] * len(writes)
        upserts, stored = self._upserts(writes)
        self._send(plan(upserts, self._config), stored)
        self._remember_buckets(write.row for write, is_stored in zip(writes, stored, strict=True) if is_stored)
        if all(stored) and not any(is_fenced(write.row) for write in writes):
            return [Outcome.STORED] * len(writes)
        try:
            live = self._live()
        except ENGINE_ERRORS as error:
            self.failure = describe(error)
            return [
                Outcome.STORED if is_stored and not is_fenced(write.row) else Outcome.UNKNOWN
                for write, is_stored in zip(writes, stored, strict=True)
            ]
        return [
            Outcome.UNKNOWN if not is_stored else Outcome.FENCED if is_fenced(write.row) and write.writer not in live else Outcome.STORED
            for write, is_stored in zip(writes, stored, strict=True)
        ]

    def _upserts(self, writes: list[Write]) -> tuple[list[tuple[int, Upsert]], list[bool]]:
        """What is to be written, and for each row whether it can be."""
        upserts: list[tuple[int, Upsert]] = []
        good = [True] * len(writes)
        for number, write in enumerate(writes):
            row = write.row
            try:
                upserts.append((number, statements.upsert(row)))
                if isinstance(row, EntryRow) and (place := _later_bucket(row)) and place not in self._known_buckets:
                    upserts.append((number, statements.bucket_upsert(row)))
            except _BAD_VALUE:
                good[number] = False
                self.rejected += 1
        return upserts, good

    def _send(self, requests: list[Request], stored: list[bool]) -> None:
        """Writes all requests; marks the rows of which a part was not acknowledged."""
        bound: list[tuple[Request, Any]] = []
        waiting = deque(requests)
        while waiting:
            request = waiting.popleft()
            try:
                bound.append((request, self._connection.bind(request)))
            except _BAD_VALUE:  # one value of it: it is found by binding each row alone
                self._take_apart(request, stored, waiting)
        self.requests += len(bound)
        errors = self._connection.burst([statement for _, statement in bound])
        again: list[Request] = []
        for (request, _), error in zip(bound, errors, strict=True):
            if isinstance(error, _NEVER_TAKEN):
                self._take_apart(request, stored, again)
            elif error is not None:
                for number in request.rows:
                    stored[number] = False
        if again:
            self._send(again, stored)

    def _take_apart(self, request: Request, stored: list[bool], into: list[Request] | deque[Request]) -> None:
        """Of a request that cannot be made: one for each of its statements, or, if it has but one, the end of its row."""
        if len(request.statements) > 1:
            into.extend(Request([row], [statement]) for row, statement in zip(request.rows, request.statements, strict=True))
            return
        self.rejected += 1
        stored[request.rows[0]] = False

    def _remember_buckets(self, stored: Iterable[object]) -> None:
        for row in stored:
            if isinstance(row, EntryRow) and (place := _later_bucket(row)):
                self._known_buckets[place] = None
                self._known_buckets.move_to_end(place)
        while len(self._known_buckets) > self._config.known_buckets_max:
            self._known_buckets.popitem(last=False)

    def _live(self) -> frozenset[str]:
        """Who may write, by the cell row as a quorum has it now."""
        found = list(rows(self._connection.ask(Select.CELL, (), 1)))
        return frozenset(found[0][1] or ()) if found else frozenset()

    def reopen(self) -> None:
        """Ends a failure, if the cell row can be read again.

        Raises:
            StoreUnreachable: not yet.
        """
        try:
            self._live()
        except ENGINE_ERRORS as error:
            raise StoreUnreachable(describe(error)) from error
        self.failure = ""

    # ------------------------------------------------------------ reading

    def read(self, query: Query) -> Answer:
        try:
            return self._answer(query)
        except (*ENGINE_ERRORS, *_BAD_VALUE) as error:
            return ReadFailed(describe(error))

    def _answer(self, query: Query) -> Answer:
        match query:
            case ReadEntries():
                return self._read_entries(query)
            case LoadLog():
                return self._load_log(query.conversation)
            case LoadIndex():
                return self._load_index(query.user)
            case LoadCell():
                found = next(rows(self._connection.ask(Select.CELL, (), 1)), None)
                return CellLoaded(statements.cell_row(*found) if found else None)
            case LoadUser():
                return UserLoaded(_user(query.user, self._ask(Select.USER, query.user)))

    def _ask(self, select: Select, id_: str) -> Any:
        return self._connection.ask(select, (statements.key(id_),), PAGE_ROWS)

    def _load_log(self, conversation: str) -> LogLoaded:
        """All that an activation needs in one round trip, for all but long conversations: the end of the first bucket is asked for before
        it is known that there is no other."""
        log_asked, members_asked = self._ask(Select.LOG, conversation), self._ask(Select.MEMBERS, conversation)
        receipts_asked = self._ask(Select.RECEIPTS, conversation)
        first_asked = self._ask_entries(Select.HEADS_DESCENDING, conversation, FIRST_BUCKET, 0, _INT64_MAX, ACTIVATION_ENTRIES + 1)
        buckets: list[int | None] = []
        terms: bytes | None = None
        for bucket, terms_found in rows(log_asked):
            buckets.append(bucket)
            terms = terms_found
        entry = statements.entry_reader(conversation, with_group_bodies=True)
        later = self._entries_of_later(conversation, [bucket for bucket in buckets if bucket is not None])
        entries = last_seqs(map(entry, chain(later, rows(first_asked))))
        receipts = next(rows(receipts_asked), None)
        return LogLoaded(
            statements.log_row(conversation, terms) if terms is not None else None,
            entries,
            sorted((statements.member_row(conversation, columns) for columns in rows(members_asked)), key=lambda member: member.user),
            statements.receipts_row(conversation, *receipts) if receipts else None,
        )

    def _entries_of_later(self, conversation: str, newest: list[int]) -> Iterator[Columns]:
        """The entries of all buckets but the first, newest first, without bodies. ``newest`` are the last two of those buckets, and mostly
        all that is needed."""
        for bucket in newest:
            yield from rows(self._ask_entries(Select.HEADS_DESCENDING, conversation, bucket, 0, _INT64_MAX, ACTIVATION_ENTRIES + 1))
        if len(newest) == 2:
            yield from self._entries_between(Select.HEADS_DESCENDING, conversation, 0, newest[-1] * BUCKET_ENTRIES - 1, PAGE_ROWS, 1)

    def _read_entries(self, query: ReadEntries) -> EntriesRead:
        first, last = (min(max(seq, 0), _INT64_MAX) for seq in (query.from_seq, query.to_seq))
        if first > last or query.to_seq < 0 or query.from_seq > _INT64_MAX:
            return EntriesRead([], False)
        select = _SELECTS[query.bodies, query.newest]
        fetch_size = min(page_limit(query) + 1, PAGE_ROWS_WITH_BODIES if query.bodies else PAGE_ROWS)
        found = self._entries_between(select, query.conversation, first, last, fetch_size, FIRST_BUCKET)
        return page(map(statements.entry_reader(query.conversation, query.bodies), found), query)

    def _entries_between(
        self, select: Select, conversation: str, first: int, last: int, fetch_size: int, bucket_min: int
    ) -> Iterator[Columns]:
        """The entries of a range in the order of ``select``, bucket by bucket, asked for as they are taken."""
        for bucket in self._buckets(conversation, max(statements.bucket_of(first), bucket_min), statements.bucket_of(last), select):
            yield from rows(self._ask_entries(select, conversation, bucket, first, last, fetch_size))

    def _buckets(self, conversation: str, first: int, last: int, select: Select) -> Iterator[int]:
        """The buckets from ``first`` to ``last`` in which there may be entries, in the order of ``select``."""
        if first >= last:
            yield from [first] if first == last else []
            return
        is_descending = select in (Select.ENTRIES_DESCENDING, Select.HEADS_DESCENDING)
        if first == FIRST_BUCKET and not is_descending:
            yield FIRST_BUCKET
        listed = Select.BUCKETS_DESCENDING if is_descending else Select.BUCKETS_ASCENDING
        asked = self._connection.ask(listed, (statements.key(conversation), max(first, FIRST_BUCKET + 1), last), PAGE_ROWS)
        yield from (bucket for (bucket,) in rows(asked))
        if first == FIRST_BUCKET and is_descending:
            yield FIRST_BUCKET

    def _ask_entries(self, select: Select, conversation: str, bucket: int, first: int, last: int, fetch_size: int) -> Any:
        return self._connection.ask(select, (statements.key(conversation), bucket, first, last), fetch_size)

    def _load_index(self, user: str) -> IndexLoaded:
        found: list[IndexRow] = []
        user_row: UserRow | None = None
        for kind, *columns in rows(self._ask(Select.INDEX, user)):
            if kind == KIND_USER:
                user_row = statements.user_row(user, tuple(columns[INDEX_COLUMNS:]))
            else:
                found.append(statements.index_row(user, tuple(columns[:INDEX_COLUMNS])))
        return IndexLoaded(index_page(found), user_row)

    def close(self) -> None:
        self._connection.close()


_SELECTS = {
    (True, True): Select.ENTRIES_DESCENDING,
    (True, False): Select.ENTRIES_ASCENDING,
    (False, True): Select.HEADS_DESCENDING,
    (False, False): Select.HEADS_ASCENDING,
}
"""(with bodies, newest first) → the read."""


def _later_bucket(row: EntryRow) -> tuple[str, int] | None:
    """The bucket of an entry, unless it is its conversation's first, of which everybody knows."""
    bucket = statements.bucket_of(row.seq)
    return (row.conversation, bucket) if bucket > FIRST_BUCKET else None


def _user(user: str, asked: Any) -> UserRow | None:
    found = next(rows(asked), None)
    return statements.user_row(user, found) if found else None


def _open(config: CassandraConfig) -> Connection:
    connection = Connection(config)
    try:
        if problems := checks.problems(checks.look(connection), config):
            raise StoreRefused("; ".join(problems))
        connection.prepare()
    except BaseException:
        connection.close()
        raise
    return connection
