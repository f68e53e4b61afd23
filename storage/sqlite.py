"""The SQLite store: one file, one writing connection, one reading connection that another thread may use.

Laws:
    * WAL with synchronous=FULL: a commit is synced before any connection can see it, so what is read is durable. What a round writes
      again and finds there is durable for the same reason.
    * The cell row is read after the writes, in the same transaction: SQLite has one writer, so no successor can have begun to read
      in between. The rows of a fenced writer stay, as they would in Cassandra: terms decide what counts.
    * One process per file, by a lock on ``<file>.lock`` that the kernel lets go of when the process ends.

A failed sync. The kernel reports it once, then calls the pages clean although they may not be on the disk, and goes on serving them
from its cache: to any process, so that a restart trusts exactly what a reopening trusts. Two rules make both safe, which is why the
worker reopens in its process instead of ending:
    * Before a file is served, its whole write-ahead log is copied into it and cut to nothing (``wal_checkpoint(TRUNCATE)``). What was
      read from the cache is thereby written anew, and synced, and no later commit can come to lie behind pages that are not on disk.
    * While the store is failed nothing is committed, and reads keep the view of the last commit that *was* synced; the failed round
      is not in it. The reading connection stays open meanwhile, so no recovery takes that round from the log unsynced.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import TextIO

from storage import sqlite_schema as schema
from storage.config import SqliteConfig
from storage.rows import index_page, is_fenced, last_seqs, page
from storage.store import (
    Answer,
    CellLoaded,
    IndexLoaded,
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

_INT64_MAX = (1 << 63) - 1
# What Python raises for values that no column can hold. They are the writer's bug, not the engine's, and must not fail its neighbours.
_BAD_VALUE = (OverflowError, ValueError, TypeError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


class StoreLocked(OSError):
    """Another process has the file."""


class StoreUnavailable(OSError):
    """The file cannot be opened, read or made safe now; later it may be."""


class SqliteStore:
    """Implements ``Store`` on the file ``path`` (made, with its directory, if it does not exist).

    ``commit`` and ``reopen`` belong to one thread at a time, ``read`` may be called from another.

    Raises:
        StoreLocked: another process, or another store of this one, has the file.
        StoreUnavailable: the disk is full, read-only or fails.
        SchemaTooNew: the file was written by a newer release.
    """

    def __init__(self, path: Path, config: SqliteConfig | None = None) -> None:
        self.path = path
        self.failure = ""
        """Why nothing is committed now; empty while all is well. ``reopen`` clears it."""
        self.rejected = 0
        """Rows whose values no column can hold, answered UNKNOWN: a bug of their writer."""
        self._config = config or SqliteConfig()
        self._cell: tuple[bytes, frozenset[str]] = (b"", frozenset())
        self._reading = Lock()
        self._lock = _lock_file(path)
        try:
            self._writer = self._open_writer()
            self._reader = self._open_reader()
        except BaseException:
            self._lock.close()
            raise

    # ------------------------------------------------------------ writing

    def commit(self, writes: list[Write]) -> list[Outcome]:
        if self.failure:
            return [Outcome.UNKNOWN] * len(writes)
        try:
            try:
                return self._commit_together(writes)
            except _BAD_VALUE:
                return self._commit_singly(writes)
        except sqlite3.Error as error:
            self.failure = _describe(error)
            self._roll_back()
            return [Outcome.UNKNOWN] * len(writes)

    def _commit_together(self, writes: list[Write]) -> list[Outcome]:
        groups: dict[str, list[schema.Params]] = {}
        for write in writes:
            statement, params = schema.upsert(write.row)
            if (group := groups.get(statement)) is None:
                groups[statement] = [params]
            else:
                group.append(params)
        self._writer.execute("BEGIN IMMEDIATE")
        for statement, rows in groups.items():
            self._writer.executemany(statement, rows)
        live = self._live()
        self._writer.execute("COMMIT")
        return [Outcome.FENCED if is_fenced(w.row) and w.writer not in live else Outcome.STORED for w in writes]

    def _commit_singly(self, writes: list[Write]) -> list[Outcome]:
        """The same round when a row in it cannot be written at all: the others are."""
        self._roll_back()
        good: list[bool] = []
        self._writer.execute("BEGIN IMMEDIATE")
        for write in writes:
            try:
                self._writer.execute(*schema.upsert(write.row))
                good.append(True)
            except _BAD_VALUE:
                good.append(False)
        self._writer.execute("ROLLBACK")
        self.rejected += good.count(False)
        outcomes = iter(self._commit_together([write for write, is_good in zip(writes, good, strict=True) if is_good]))
        return [next(outcomes) if is_good else Outcome.UNKNOWN for is_good in good]

    def _live(self) -> frozenset[str]:
        """Who may write, by the cell row of the open transaction."""
        found = self._writer.execute(schema.SELECT_CELL).fetchone()
        if found is None:
            return frozenset()
        if found[1] != self._cell[0]:
            self._cell = found[1], frozenset(schema.cell_row(*found).live)
        return self._cell[1]

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:  # the connection is of no more use; ``reopen`` makes another
            self.failure = self.failure or _describe(error)

    # ------------------------------------------------------------ reading

    def read(self, query: Query) -> Answer:
        with self._reading:
            try:
                self._reader.execute("BEGIN")
                try:
                    return self._answer(query)
                finally:
                    self._reader.execute("ROLLBACK")
            except sqlite3.Error as error:
                return ReadFailed(_describe(error))

    def _answer(self, query: Query) -> Answer:
        match query:
            case ReadEntries():
                return self._read_entries(query)
            case LoadLog():
                return self._load_log(query.conversation)
            case LoadIndex():
                return self._load_index(query.user)
            case LoadCell():
                found = self._reader.execute(schema.SELECT_CELL).fetchone()
                return CellLoaded(schema.cell_row(*found) if found else None)
            case LoadUser():
                return UserLoaded(self._load_user(query.user))

    def _read_entries(self, query: ReadEntries) -> Answer:
        statement = schema.SELECT_ENTRIES if query.bodies else schema.SELECT_HEADS
        order = schema.DESCENDING if query.newest else schema.ASCENDING
        bounds = [min(max(seq, 0), _INT64_MAX) for seq in (query.from_seq, query.to_seq)]
        with closing(self._reader.execute(statement + order, (schema.key(query.conversation), *bounds))) as columns:
            return page(map(schema.entry_reader(query.conversation), columns), query)

    def _load_log(self, conversation: str) -> LogLoaded:
        key = (schema.key(conversation),)
        log = self._reader.execute(schema.SELECT_LOG, key).fetchone()
        receipts = self._reader.execute(schema.SELECT_RECEIPTS, key).fetchone()
        members = self._reader.execute(schema.SELECT_MEMBERS, key).fetchall()
        with closing(self._reader.execute(schema.SELECT_ACTIVATION + schema.DESCENDING, (*key, 0, _INT64_MAX))) as columns:
            entries = last_seqs(map(schema.entry_reader(conversation), columns))
        return LogLoaded(
            schema.log_row(conversation, *log) if log else None,
            entries,
            [schema.member_row(conversation, member) for member in members],
            schema.receipts_row(conversation, *receipts) if receipts else None,
        )

    def _load_index(self, user: str) -> IndexLoaded:
        key = (schema.key(user),)
        rows = [schema.index_row(user, *columns) for columns in self._reader.execute(schema.SELECT_INDEX, key)]
        return IndexLoaded(index_page(rows), self._load_user(user))

    def _load_user(self, user: str) -> UserRow | None:
        found: tuple[int, bytes, str, int] | None = self._reader.execute(schema.SELECT_USER, (schema.key(user),)).fetchone()
        return schema.user_row(user, *found) if found else None

    # ------------------------------------------------------------ opening

    def reopen(self) -> None:
        """Ends a failure: opens the file anew, makes what it holds durable, reads it back.

        Raises:
            StoreUnavailable: not yet; the store stays failed, reads go on with what was synced before.
        """
        self.failure = self.failure or "reopening"
        self._writer.close()
        with self._reading:
            self._writer = self._open_writer()
            self._reader.close()
            self._reader = self._open_reader()
        self.failure = ""

    def _open_writer(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._connect(self._config.cache_kib)
            connection.execute(f"PRAGMA wal_autocheckpoint = {self._config.checkpoint_pages}")
            connection.execute(f"PRAGMA journal_size_limit = {self._config.wal_bytes_max}")
            schema.add_functions(connection)
            _make_durable(connection)
            schema.migrate(connection)
            _sync_directory(self.path.parent)
            return connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise StoreUnavailable(f"{self.path}: {_describe(error)}") from error
            raise

    def _open_reader(self) -> sqlite3.Connection:
        try:
            connection = self._connect(self._config.read_cache_kib)
            connection.execute("PRAGMA query_only = ON")
            return connection
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self.path}: {_describe(error)}") from error

    def _connect(self, cache_kib: int) -> sqlite3.Connection:
        timeout_s = self._config.busy_timeout_ms / 1_000
        connection = sqlite3.connect(self.path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            connection.close()
            raise sqlite3.OperationalError(f"this file system cannot keep a write-ahead log (journal mode {mode})")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = {-cache_kib}")
        return connection

    def close(self) -> None:
        self._writer.close()
        self._reader.close()
        self._lock.close()


def _make_durable(connection: sqlite3.Connection) -> None:
    """Copies the whole write-ahead log into the file, syncs that and cuts the log to nothing."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("somebody else reads the file: its write-ahead log cannot be emptied")


def _lock_file(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path.with_name(path.name + ".lock"), "a+")  # noqa: SIM115  held open for the life of the store
    except OSError as error:
        raise StoreUnavailable(f"{path}: {_describe(error)}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        holder = file.read(32).strip()
        file.close()
        raise StoreLocked(f"{path} is in use by process {holder or 'unknown'}: one storage worker per file") from error
    try:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
    except OSError:
        pass  # the number is for the error message only; a full disk must not keep the store from its lock
    return file


def _sync_directory(path: Path) -> None:
    """Makes the names of new files durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _describe(error: BaseException) -> str:
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
