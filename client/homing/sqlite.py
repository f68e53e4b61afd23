"""The store in a local SQLite file.

SQLite runs in one thread of its own, never on the event loop: a commit waits for the disk (synchronous FULL, so that a queued message
survives a power cut), and a chat must not stutter meanwhile. The thread takes all that waits and commits it as one transaction: a burst
of messages costs one sync of the disk, not one each. A file belongs to one process at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from homing import ids
from homing.protocol import Entry
from homing.state import ConversationState, CoreState, MarkState, OutboxItem, PersonState
from homing.store import Batch, Store, Stored, StoreFailed

VERSION = 2
_SCHEMA = """
CREATE TABLE session (n INTEGER PRIMARY KEY CHECK (n = 1), user TEXT NOT NULL, cursor TEXT, touches INTEGER NOT NULL);
CREATE TABLE conversations (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (conversation TEXT, user TEXT, delivered INTEGER NOT NULL, read INTEGER NOT NULL,
  PRIMARY KEY (conversation, user)) WITHOUT ROWID;
CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, item BLOB NOT NULL);
CREATE TABLE entries (conversation TEXT, seq INTEGER, entry BLOB NOT NULL, PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
CREATE TABLE people (user TEXT PRIMARY KEY, typed TEXT NOT NULL, told TEXT NOT NULL, asked_ms INTEGER NOT NULL) WITHOUT ROWID;
"""
_SESSION = "INSERT OR REPLACE INTO session VALUES (1, ?, ?, ?)"
_CONVERSATION = "INSERT OR REPLACE INTO conversations VALUES (?, ?)"
_MARK = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)"
_QUEUED = "INSERT INTO outbox (id, item) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET item = excluded.item"
_ANSWERED = "DELETE FROM outbox WHERE id = ?"
_ENTRY = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
_PERSON = "INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM people WHERE user = ?"
_RUN = "SELECT seq, entry FROM entries WHERE conversation = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
BATCHES_PER_COMMIT_MAX = 256

T = TypeVar("T")
Rows = list[tuple[str, list[tuple[object, ...]]]]
_encode = msgspec.msgpack.encode


class _Job:
    __slots__ = ("error", "future", "loop", "path", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], object], path: Path) -> None:
        self.work = work
        self.path = path
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[object] = self.loop.create_future()
        self.result: object = None
        self.error: Exception | None = None

    def done(self) -> None:
        def settle() -> None:
            if self.future.cancelled():
                return
            if self.error is None:
                self.future.set_result(self.result)
            else:
                self.future.set_exception(StoreFailed(f"{self.path}: {self.error}"))
                self.future.exception()  # a batch that nobody waits for must not complain at the collector

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(settle)


class SqliteStore:
    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def open(self) -> Stored:
        started: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(started,), name=f"homing-store {self._path.name}", daemon=True)
        self._thread.start()
        try:
            error = await asyncio.get_running_loop().run_in_executor(None, started.get)
            if error is not None:
                raise StoreFailed(f"{self._path}: {error}") from error
            return await self._do(_load)
        except BaseException:  # also of whoever does not want to wait: the file must not stay locked
            await self.close()
            raise

    def write(self, batch: Batch) -> Awaitable[None]:
        rows = _rows(batch)

        def work(db: sqlite3.Connection) -> None:
            for sql, values in rows:
                db.executemany(sql, values)

        return self._do(work)

    async def entries(self, conversation: str, before: int, limit: int) -> list[Entry]:
        return await self._do(lambda db: _read_run(db, conversation, before, limit))

    async def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
            self._thread = None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        if self._thread is None:
            raise StoreFailed("the store is not open")
        job = _Job(work, self._path)
        self._jobs.put(job)
        return job.future  # type: ignore[return-value]  # its result is what `work` returns

    # ------------------------------------------------------------ in the thread

    def _run(self, started: queue.SimpleQueue[Exception | None]) -> None:
        try:
            db = _connect(self._path)
        except (sqlite3.Error, OSError) as error:
            started.put(error)
            return
        started.put(None)
        running = True
        while running:
            jobs: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) >= BATCHES_PER_COMMIT_MAX or self._jobs.empty():
                    break
                job = self._jobs.get()
            running = job is not None
            _commit(db, jobs)
            for done in jobs:
                done.done()
        db.close()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=0.2, isolation_level=None)
    try:
        # Exclusive: two processes with one device would overwrite each other's cursor.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        elif version == 1:
            _from_1(db)
        elif version != VERSION:
            raise sqlite3.DatabaseError(f"written by another version (schema {version}, this one knows {VERSION})")
        db.execute("COMMIT")
        path.chmod(0o600)  # messages lie in it
    except BaseException:
        db.close()
        raise
    return db


def _from_1(db: sqlite3.Connection) -> None:
    """Version 1 kept names without saying who gave them: an account's name is what one types."""
    db.execute(_SCHEMA.split(";\n")[-2])
    names = db.execute("SELECT user, name FROM names").fetchall()
    db.executemany(_PERSON, [(user, name, "", 0) if ids.user_id(name) == user else (user, "", name, 0) for user, name in names])
    db.execute("DROP TABLE names")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _commit(db: sqlite3.Connection, jobs: list[_Job]) -> None:
    """One transaction for all; if it fails, none of them happened."""
    try:
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            try:
                job.result = job.work(db)
            except msgspec.MsgspecError as error:
                job.error = error  # what lies there cannot be read: no reason not to write the others
        db.execute("COMMIT")
    except Exception as error:  # whatever it is: a thread that ended would let everybody wait for ever
        for job in jobs:
            job.error = error
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")


def _rows(batch: Batch) -> Rows:
    rows: Rows = []
    if (c := batch.changes) is not None:
        rows.append((_SESSION, [(c.user, c.cursor, c.touches)]))
        rows.append((_CONVERSATION, [(s.id, _encode(s)) for s in c.conversations]))
        rows.append((_MARK, [(m.conversation, m.user, m.delivered, m.read) for m in c.marks]))
        rows.append((_QUEUED, [(i.id, _encode(i)) for i in c.outbox]))
        rows.append((_ANSWERED, [(id_,) for id_ in c.answered]))
    rows.append((_ENTRY, [(e.conversation, e.seq, _encode(e)) for e in batch.entries]))
    rows.append((_PERSON, [(p.user, p.typed, p.told, p.asked_ms) for p in batch.people]))
    rows.append((_FORGET, [(user,) for user in batch.forgotten]))
    return [(sql, values) for sql, values in rows if values]


def _load(db: sqlite3.Connection) -> Stored:
    decode = msgspec.msgpack.decode
    core = CoreState()
    row = db.execute("SELECT user, cursor, touches FROM session").fetchone()
    if row is not None:
        core.user, core.cursor, core.touches = row
    core.conversations = [decode(blob, type=ConversationState) for (blob,) in db.execute("SELECT state FROM conversations")]
    core.marks = [MarkState(*values) for values in db.execute("SELECT conversation, user, delivered, read FROM marks")]
    core.outbox = [decode(blob, type=OutboxItem) for (blob,) in db.execute("SELECT item FROM outbox ORDER BY n")]
    return Stored(core, [PersonState(*values) for values in db.execute("SELECT user, typed, told, asked_ms FROM people ORDER BY asked_ms")])


def _read_run(db: sqlite3.Connection, conversation: str, before: int, limit: int) -> list[Entry]:
    result: list[Entry] = []
    for seq, blob in db.execute(_RUN, (conversation, before, limit)):
        if seq != before - 1 - len(result):
            break
        result.append(msgspec.msgpack.decode(blob, type=Entry))
    return result


def open_store(store: Store | Path | str | None) -> Store:
    """A store itself, the store in a file, or (None) one in memory."""
    from homing.store import MemoryStore

    if store is None:
        return MemoryStore()
    return SqliteStore(store) if isinstance(store, Path | str) else store
