"""The client's stores: what is written is there, in order, whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from homing.protocol import Send
from homing.sqlite import SqliteStore, open_store
from homing.state import Changes, ConversationState, MarkState, OutboxItem, PersonState
from homing.store import Batch, MemoryStore, Store, StoreFailed

from tests.unit.client_fakes import BOB, CHAT, EVE, ME, entry


def changes(*outbox: OutboxItem, answered: tuple[str, ...] = (), cursor: str = "c") -> Changes:
    return Changes(ME, cursor, 7, [ConversationState(CHAT, 1, 2, 3)], [MarkState(CHAT, BOB, 2, 1)], list(outbox), list(answered))


def item(id_: str, after: int = 0) -> OutboxItem:
    return OutboxItem(Send(id=id_, to=BOB, body="x", after=after), CHAT)


async def write(store: Store, batch: Batch) -> None:
    written = store.write(batch)
    if written is not None:
        await written


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(None if request.param == "memory" else tmp_path / "deep" / "store.db")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    await store.open()
    yield store
    await store.close()


async def reopened(store: SqliteStore) -> SqliteStore:
    await store.close()
    again = SqliteStore(store._path)
    return again


async def test_a_run_of_entries_ends_at_a_hole(store: Store) -> None:
    await write(store, Batch(entries=[entry(n) for n in (1, 2, 4, 5, 6)]))
    assert [e.seq for e in await store.entries(CHAT, 7, 10)] == [6, 5, 4]
    assert [e.seq for e in await store.entries(CHAT, 7, 2)] == [6, 5]
    assert await store.entries(CHAT, 4, 10) == []
    assert await store.entries(CHAT, 3, 10) == [entry(2), entry(1)]
    assert await store.entries(BOB, 3, 10) == []


async def test_memory_keeps_a_bounded_number_of_entries() -> None:
    store = MemoryStore(entries_max=3)
    store.write(Batch(entries=[entry(n) for n in range(1, 10)]))
    assert [e.seq for e in await store.entries(CHAT, 10, 10)] == [9, 8, 7]


async def test_everything_is_there_after_a_restart_and_the_outbox_in_order(file: SqliteStore) -> None:
    await file.write(Batch(changes(item("z"), item("b"), item("a")), people=[PersonState(BOB, "Bob", "Bobby", 9)]))
    await file.write(Batch(changes(item("z", after=9), answered=("b",), cursor="d")))
    again = await reopened(file)
    stored = await again.open()
    await again.close()
    assert (stored.core.user, stored.core.cursor, stored.core.touches) == (ME, "d", 7)
    assert stored.core.conversations == [ConversationState(CHAT, 1, 2, 3)]
    assert stored.core.marks == [MarkState(CHAT, BOB, 2, 1)]
    assert stored.core.outbox == [item("z", after=9), item("a")]
    assert stored.people == [PersonState(BOB, "Bob", "Bobby", 9)]


async def test_what_is_written_is_what_it_was_when_it_was_handed_over(file: SqliteStore) -> None:
    queued = item("a")
    written = file.write(Batch(changes(queued)))
    queued.attempts = 99
    await written
    again = await reopened(file)
    assert [i.attempts for i in (await again.open()).core.outbox] == [0]
    await again.close()


async def test_a_burst_is_committed_at_once(file: SqliteStore) -> None:
    commits: list[str] = []
    await file._do(lambda db: db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None))
    busy = threading.Event()
    file._do(lambda db: busy.wait(5))
    writes = [file.write(Batch(entries=[entry(n)])) for n in range(1, 101)]
    busy.set()
    await asyncio.gather(*writes)
    assert 1 <= len(commits) <= 3
    assert len(await file.entries(CHAT, 101, 200)) == 100


async def test_a_failed_commit_fails_all_that_was_in_it_and_leaves_nothing(file: SqliteStore) -> None:
    await file.write(Batch(entries=[entry(1)]))
    busy = threading.Event()
    file._do(lambda db: busy.wait(5))
    await asyncio.sleep(0.05)  # the thread is in the first job: what follows goes into the next commit together
    lost, broken = file.write(Batch(entries=[entry(2)])), file._do(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    busy.set()
    for job in (lost, broken):
        with pytest.raises(StoreFailed, match="nowhere"):
            await job
    await file.write(Batch(entries=[entry(3)]))
    assert [e.seq for e in await file.entries(CHAT, 4, 9)] == [3]
    assert [e.seq for e in await file.entries(CHAT, 2, 9)] == [1]


async def test_commits_wait_for_the_disk(file: SqliteStore) -> None:
    assert await file._do(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)
    assert await file._do(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


async def test_only_the_owner_may_read_the_file(file: SqliteStore) -> None:
    assert stat.S_IMODE(file._path.stat().st_mode) == 0o600


async def test_a_second_opener_and_a_newer_schema_are_refused(file: SqliteStore) -> None:
    with pytest.raises(StoreFailed, match="locked"):
        await SqliteStore(file._path).open()
    await file.close()
    db = sqlite3.connect(file._path)
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(StoreFailed, match="another version"):
        await SqliteStore(file._path).open()


async def test_people_are_remembered_and_forgotten(store: Store) -> None:
    await write(store, Batch(people=[PersonState(BOB, "bob", "Bobby", 9), PersonState(EVE, "", "Eve", 5)]))
    await write(store, Batch(people=[PersonState(BOB, "bob", "Robert", 10)], forgotten=[EVE]))
    if isinstance(store, SqliteStore):
        store = await reopened(store)
    assert (await store.open()).people == [PersonState(BOB, "bob", "Robert", 10)]
    await store.close()


async def test_a_store_of_version_1_keeps_everything_and_knows_whose_names_were_typed(tmp_path: Path) -> None:
    """The file is made as version 1 made it."""
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    db.executescript("""
        CREATE TABLE session (n INTEGER PRIMARY KEY CHECK (n = 1), user TEXT NOT NULL, cursor TEXT, touches INTEGER NOT NULL);
        CREATE TABLE conversations (id TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE marks (conversation TEXT, user TEXT, delivered INTEGER NOT NULL, read INTEGER NOT NULL,
          PRIMARY KEY (conversation, user)) WITHOUT ROWID;
        CREATE TABLE outbox (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, item BLOB NOT NULL);
        CREATE TABLE entries (conversation TEXT, seq INTEGER, entry BLOB NOT NULL, PRIMARY KEY (conversation, seq)) WITHOUT ROWID;
        CREATE TABLE names (user TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
        INSERT INTO session VALUES (1, 'me', 'c', 7);
        PRAGMA user_version = 1;
    """)
    db.executemany("INSERT INTO names VALUES (?, ?)", [(BOB, "Bob"), (EVE, "Evelyn")])
    db.execute("INSERT INTO outbox (id, item) VALUES ('m', ?)", (msgspec.msgpack.encode(item("m")),))
    db.commit()
    db.close()
    for _ in range(2):
        store = SqliteStore(path)
        stored = await store.open()
        assert sorted(stored.people, key=lambda p: p.told) == [PersonState(BOB, "Bob"), PersonState(EVE, "", "Evelyn")]
        assert (stored.core.user, stored.core.cursor, stored.core.outbox) == ("me", "c", [item("m")])
        await write(store, Batch(entries=[entry(1)]))
        await store.close()


async def test_a_disk_that_is_full_is_named_with_its_file_and_the_store_goes_on_when_there_is_room(file: SqliteStore) -> None:
    await file.write(Batch(entries=[entry(1)]))
    (pages,) = await file._do(lambda db: db.execute("PRAGMA page_count").fetchone())
    await file._do(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    big = [entry(n, body="x" * 4000) for n in range(2, 30)]
    with pytest.raises(StoreFailed, match=r"store\.db: database or disk is full"):
        await file.write(Batch(entries=big))
    await file._do(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchone())
    await file.write(Batch(entries=big))
    assert len(await file.entries(CHAT, 30, 100)) == 29


async def test_nothing_that_fails_in_the_thread_ends_it(file: SqliteStore) -> None:
    with pytest.raises(StoreFailed, match="surrogates"):
        await file.write(Batch(people=[PersonState(BOB, "b\udcff")]))
    async with asyncio.timeout(5):
        await file.write(Batch(entries=[entry(1)]))


async def test_a_store_that_cannot_be_read_is_let_go(file: SqliteStore) -> None:
    await file._do(lambda db: db.execute("INSERT INTO conversations VALUES ('x', 'no state')"))
    again = await reopened(file)
    for _ in range(2):
        with pytest.raises(StoreFailed, match=r"store\.db"):  # not: it is locked
            await again.open()
    assert not [t for t in threading.enumerate() if t.name.startswith("homing-store")]


async def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, which are longer than the header of a database file, so that it is seen to be none" * 20)
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match="not a database"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before


async def test_a_closed_store_says_so(file: SqliteStore) -> None:
    await file.close()
    with pytest.raises(StoreFailed, match="not open"):
        file.write(Batch())
