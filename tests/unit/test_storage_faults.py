"""The SQLite store on a disk that fails: what it answers, what it keeps, how it comes back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import sqlite as sqlite_module
from storage.config import SqliteConfig
from storage.sqlite import SqliteStore, StoreLocked, StoreUnavailable
from storage.sqlite_schema import MIGRATIONS, VERSION, SchemaTooNew
from storage.store import (
    CellLoaded,
    CellRow,
    EntriesRead,
    EntryRow,
    IndexRow,
    LoadCell,
    LoadLog,
    LoadUser,
    LogLoaded,
    MemberRow,
    Outcome,
    ReadEntries,
    UserLoaded,
    UserRow,
    Write,
)
from tests.storage_vfs import MAIN_DB, WAL, Disk, faulty_disk

ME = "node-1:aaaaaaaa"
STORED, UNKNOWN = Outcome.STORED, Outcome.UNKNOWN


@pytest.fixture
def disk() -> Iterator[Disk]:
    with faulty_disk() as disk:
        yield disk


@pytest.fixture
def store(disk: Disk, tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "store.db")
    store.commit([Write(ME, CellRow(1, (ME,)))])
    yield store
    store.close()


def write(store: SqliteStore, *seqs: int, body: str = "x") -> list[Outcome]:
    return store.commit([Write(ME, EntryRow("c", seq, 1, "u", f"m{seq}", "text", body, seq, seq)) for seq in seqs])


def seqs(store: SqliteStore) -> list[int]:
    answer = store.read(ReadEntries("c", 0, 1 << 40, limit=8_192, bodies=False))
    assert isinstance(answer, EntriesRead)
    return [row.seq for row in answer.entries]


# ---------------------------------------------------------------- failed syncs


def test_a_failed_sync_gives_unknown_and_nothing_of_it_is_read(store: SqliteStore, disk: Disk) -> None:
    assert write(store, 1) == [STORED]
    disk.fail_sync[WAL] = 1
    assert write(store, 2, 3) == [UNKNOWN, UNKNOWN]
    assert "IOERR" in store.failure
    assert seqs(store) == [1]
    assert disk.failed_syncs == 1


def test_a_failed_store_commits_nothing_before_it_was_reopened(store: SqliteStore, disk: Disk) -> None:
    disk.fail_sync[WAL] = 1
    write(store, 1)
    assert write(store, 2) == [UNKNOWN]
    store.reopen()
    assert store.failure == ""
    assert write(store, 1, 2) == [STORED, STORED]
    assert seqs(store) == [1, 2]


def test_reopening_on_a_disk_that_still_fails_leaves_the_store_failed_and_readable(store: SqliteStore, disk: Disk) -> None:
    write(store, 1)
    disk.fail_sync[WAL] = 1
    write(store, 2)
    disk.fail_sync[MAIN_DB] = 2
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.reopen()
        assert store.failure and write(store, 3) == [UNKNOWN]
        assert seqs(store) == [1]
    store.reopen()
    assert write(store, 2) == [STORED]
    assert seqs(store) == [1, 2]


def test_after_a_failed_sync_and_a_reopening_a_loss_of_power_loses_nothing_acked(store: SqliteStore, disk: Disk, tmp_path: Path) -> None:
    write(store, 1)
    disk.fail_sync[WAL] = 1
    write(store, 2, 3)
    store.reopen()
    write(store, 4)
    assert {1, 4} <= set(after_power_loss(store, disk, tmp_path))


def after_power_loss(store: SqliteStore, disk: Disk, tmp_path: Path) -> list[int]:
    after = SqliteStore(disk.power_loss(store.path, tmp_path / "after power loss"))
    found = seqs(after)
    after.close()
    return found


def _fail_kill_restart(store: SqliteStore, disk: Disk, tmp_path: Path) -> tuple[set[int], list[int]]:
    """A failed sync, a kill before the process can do anything, a restart that reads and writes, a loss of power. Returns what was
    acked or read, and what is there after it."""
    write(store, 1)
    disk.fail_sync[WAL] = 1
    write(store, 2, 3)
    second = SqliteStore(disk.kill(store.path, tmp_path / "killed"))
    told = set(seqs(second))
    assert write(second, 4) == [STORED]
    found = after_power_loss(second, disk, tmp_path)
    second.close()
    return told | {1, 4}, found


def test_after_a_failed_sync_and_a_kill_a_loss_of_power_loses_nothing_acked_or_read(store: SqliteStore, disk: Disk, tmp_path: Path) -> None:
    told, found = _fail_kill_restart(store, disk, tmp_path)
    assert told <= set(found)


def test_without_the_copy_of_the_log_at_opening_an_acked_row_would_be_lost(
    store: SqliteStore, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_make_durable", lambda connection: None)
    told, found = _fail_kill_restart(store, disk, tmp_path)
    assert 4 in told and 4 not in found


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.sampled_from(["write"] * 6 + ["fail log", "fail file", "reopen", "reopen", "kill", "read"]), max_size=40))
def test_whatever_fails_and_in_whatever_order_nothing_acked_or_read_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    root, told, config = tmp_path_factory.mktemp("disk"), set[int](), SqliteConfig(checkpoint_pages=4)
    with faulty_disk() as disk:
        stores = [SqliteStore(root / "store.db", config)]
        stores[-1].commit([Write(ME, CellRow(1, (ME,)))])
        for number, step in enumerate(steps):
            _step(step, number, stores, disk, root, config, told)
        disk.fail_sync.clear()
        found = after_power_loss(stores[-1], disk, root)
        for store in stores:
            store.close()
    assert told <= set(found)


def _step(step: str, number: int, stores: list[SqliteStore], disk: Disk, root: Path, config: SqliteConfig, told: set[int]) -> None:
    store = stores[-1]
    match step:
        case "write":
            told.update(seq for seq, outcome in zip([number], write(store, number), strict=True) if outcome is STORED)
        case "fail log" | "fail file":
            kind = WAL if step == "fail log" else MAIN_DB
            disk.fail_sync[kind] = disk.fail_sync.get(kind, 0) + 1
        case "reopen":
            with suppress(StoreUnavailable):
                store.reopen()
        case "read":
            told.update(seqs(store))
        case "kill":
            stores.append(_open_at_last(disk.kill(store.path, root / f"killed {number}"), config))


def _open_at_last(path: Path, config: SqliteConfig) -> SqliteStore:
    while True:
        with suppress(StoreUnavailable):
            return SqliteStore(path, config)


# ---------------------------------------------------------------- a full disk


def test_a_full_disk_gives_unknown_reads_go_on_and_room_ends_it(store: SqliteStore, disk: Disk) -> None:
    assert write(store, 1) == [STORED]
    disk.full = True
    assert write(store, 2, body="x" * 100_000) == [UNKNOWN]
    assert "FULL" in store.failure
    assert seqs(store) == [1]
    disk.full = False
    store.reopen()
    assert write(store, 2) == [STORED]
    assert seqs(store) == [1, 2]


def test_a_store_opens_when_the_disk_has_room_again(disk: Disk, tmp_path: Path) -> None:
    disk.full = True
    with pytest.raises(StoreUnavailable, match="FULL"):
        SqliteStore(tmp_path / "store.db")
    disk.full = False
    SqliteStore(tmp_path / "store.db").close()


# ---------------------------------------------------------------- opening


def test_a_second_store_on_the_same_file_is_refused_and_told_who_has_it(store: SqliteStore) -> None:
    with pytest.raises(StoreLocked, match=f"in use by process {os.getpid()}"):
        SqliteStore(store.path)


def test_a_closed_file_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        SqliteStore(tmp_path / "deep" / "er" / "store.db").close()


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StoreUnavailable, match="store"):
        SqliteStore(tmp_path / "file" / "store.db")
    with pytest.raises(StoreUnavailable):
        SqliteStore(Path("/proc/store.db"))


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("my diary " * 1_000)
    with pytest.raises(StoreUnavailable, match="NOTADB"):
        SqliteStore(path)
    assert path.read_text() == "my diary " * 1_000


def test_a_file_of_a_newer_release_is_refused_and_its_lock_let_go(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for _ in range(2):
        with pytest.raises(SchemaTooNew, match="99"):
            SqliteStore(path)


def test_a_file_of_version_0_is_brought_to_the_present_one(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_of_version_1_keeps_its_users_and_takes_names(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO users VALUES (?, 7, ?)", (b"\x01" * 16, b"\x91\x92\xa5phone\x05"))
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    store, user = SqliteStore(path), "01" * 16
    assert store.read(LoadUser(user)) == UserLoaded(UserRow(user, 7, (("phone", 5),)))
    store.commit([Write(ME, UserRow(user, 8, (), "Una", 8))])
    assert store.read(LoadUser(user)) == UserLoaded(UserRow(user, 8, (("phone", 5),), "Una", 8))
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_file_of_version_2_keeps_its_members_and_takes_blocks(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    conversation, user = "01" * 16, "02" * 16
    with closing(sqlite3.connect(path)) as connection:
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
            connection.execute(statement)
        connection.execute("INSERT INTO members VALUES (?, ?, 0, 'member', 1, 0, '')", (b"\x01" * 16, b"\x02" * 16))
        connection.execute("PRAGMA user_version = 2")
        connection.commit()
    store = SqliteStore(path)
    assert store.read(LoadLog(conversation)) == LogLoaded(None, [], [MemberRow(conversation, user, 0, "member", 1, 0)], None)
    blocks = MemberRow(conversation, user, 4, "member", 1, 0, "", True)
    store.commit([Write(ME, blocks)])
    assert store.read(LoadLog(conversation)) == LogLoaded(None, [], [blocks], None)
    store.close()


# ---------------------------------------------------------------- other failures


def test_a_row_that_no_column_can_hold_fails_alone(store: SqliteStore) -> None:
    good, huge = IndexRow("u", "c", 1), IndexRow("u", "d", 1 << 63)
    surrogate = EntryRow("c", 1, 1, "u", "m", "text", "\ud800", 1, 1)
    assert store.commit([Write(ME, huge), Write(ME, good), Write(ME, surrogate)]) == [UNKNOWN, STORED, UNKNOWN]
    assert (store.failure, store.rejected) == ("", 2)
    assert seqs(store) == []


def test_another_tool_that_holds_the_file_delays_but_does_not_break(disk: Disk, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", SqliteConfig(busy_timeout_ms=1))
    store.commit([Write(ME, CellRow(1, (ME,)))])
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert write(store, 1) == [UNKNOWN]
        assert store.read(LoadCell()) == CellLoaded(CellRow(1, (ME,)))
        other.execute("ROLLBACK")
    store.reopen()
    assert write(store, 1) == [STORED]
    store.close()


def test_reads_in_another_thread_see_only_whole_commits(store: SqliteStore) -> None:
    seen: list[int] = []
    done = Event()

    def read() -> None:
        while not done.is_set():
            seen.append(len(seqs(store)))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for round_ in range(50):
            write(store, *range(round_ * 10, round_ * 10 + 10))
        done.set()
        reading.result()
    assert seen and all(count % 10 == 0 for count in seen) and seen == sorted(seen)
