"""The Cassandra store while real servers hang, are killed and come back: what was STORED is there, what was UNKNOWN is written again under
the same key and timestamp, and nothing is twice."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cassandra import DriverException
from cassandra.query import SimpleStatement
from homing import ids

from node.core.log import counting, run_of, with_term
from storage.cassandra.connection import StoreUnreachable
from storage.cassandra.store import CassandraStore
from storage.store import CellRow, EntriesRead, EntryRow, LoadLog, LogLoaded, LogRow, Outcome, ReadEntries, Row, Write
from tests.cassandra_rig import CassandraServer, connection, server

ME = "node-1:aaaaaaaa"
CONVERSATION, ALICE = ids.group_id(b"0123456789abcdef"), ids.user_id("alice")
PATIENCE_S = 60.0
pytestmark = pytest.mark.timeout(300)  # real servers that start, on a machine that may be busy


@pytest.fixture(scope="module")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    with server(tmp_path_factory.mktemp("faults")) as started:
        yield started


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    with server(tmp_path_factory.mktemp("three"), nodes=3) as started:
        yield started


def opened(cassandra: CassandraServer) -> CassandraStore:
    store = CassandraStore(cassandra.new_keyspace(request_timeout_ms=1_000))
    assert store.commit([Write(ME, CellRow(1, (ME,)))]) == [Outcome.STORED]
    return store


def entry(seq: int) -> EntryRow:
    return EntryRow(CONVERSATION, seq, 1, ALICE, f"m{seq}", "text", f"message {seq}", 1_700_000_000_000 + seq, seq)


def wait(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.05)


class Writer:
    """Writes entry after entry, each until it is stored, as a storage worker and its clients do together."""

    def __init__(self, store: CassandraStore) -> None:
        self.store = store
        self.stored = 0
        """All entries up to this one were said to be stored."""
        self.unknown = 0
        self.other: list[Outcome] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            seqs = range(self.stored + 1, self.stored + 4)
            outcomes = self.store.commit([Write(ME, entry(seq)) for seq in seqs])
            if outcomes == [Outcome.STORED] * 3:
                self.stored += 3
                continue
            self.unknown += outcomes.count(Outcome.UNKNOWN)
            self.other += [outcome for outcome in outcomes if outcome is Outcome.FENCED]
            if self.store.failure:
                time.sleep(0.1)
                try:
                    self.store.reopen()
                except StoreUnreachable:
                    continue

    def advance(self) -> None:
        """Waits until more is stored."""
        goal = self.stored + 6
        wait(lambda: self.stored >= goal, f"nothing is stored any more: {self.store.failure}")


def check(store: CassandraStore, writer: Writer) -> None:
    """Every entry that was stored is there, once, as it was written; what comes after is part of the last round."""
    rows: list[EntryRow] = []
    first = 1
    while True:
        answer = store.read(ReadEntries(CONVERSATION, first, 1 << 40, 256, newest=False))
        assert isinstance(answer, EntriesRead), answer
        rows += answer.entries
        if not answer.cut:
            break
        first = answer.entries[-1].seq + 1
    assert rows[: writer.stored] == [entry(seq) for seq in range(1, writer.stored + 1)]
    assert len(rows) <= writer.stored + 3 and writer.other == []


def test_what_hangs_leaves_rows_unknown_until_it_goes_on(cassandra: CassandraServer) -> None:
    store = opened(cassandra)
    try:
        with Writer(store) as writer:
            writer.advance()
            cassandra.signal(signal.SIGSTOP)
            try:
                wait(lambda: writer.unknown > 0 and store.failure != "", "a server that hangs was not noticed")
                stored = writer.stored
                time.sleep(0.5)
                assert writer.stored == stored, "a row was stored by a server that hangs"
            finally:
                cassandra.signal(signal.SIGCONT)
            writer.advance()
        check(store, writer)
    finally:
        store.close()


def test_a_killed_server_that_comes_back_has_all_that_was_stored(cassandra: CassandraServer) -> None:
    store = opened(cassandra)
    try:
        with Writer(store) as writer:
            for _ in range(2):
                writer.advance()
                cassandra.signal(signal.SIGKILL)
                wait(lambda: store.failure != "", "a killed server was not noticed")
                cassandra.start()
                writer.advance()
        assert writer.unknown > 0
        check(store, writer)
    finally:
        store.close()


def test_one_node_of_three_may_be_killed_and_two_only_make_wait(three: CassandraServer, tmp_path: Path) -> None:
    store = opened(three)
    try:
        with Writer(store) as writer:
            writer.advance()
            three.signal(signal.SIGKILL, "node-2")
            for _ in range(20):
                writer.advance()
            assert store.failure == "", "one node of three was missed"
            three.signal(signal.SIGKILL, "node-3")
            wait(lambda: store.failure != "", "two nodes of three were not missed")
            three.start()
            writer.advance()
        check(store, writer)
    finally:
        store.close()


def test_a_write_that_lands_after_a_take_over_does_not_count_and_its_writer_is_fenced(three: CassandraServer) -> None:
    """The fence, with late writes as they come about: one replica took the row while the two others hung, all of them died, the two
    others went on, and the one came back, with its hints."""
    old, new, late = "node-1:older", "node-2:newer", msgspec.structs.replace(entry(4), body="late")
    store = CassandraStore(three.new_keyspace(request_timeout_ms=1_000))
    keyspace = store._config.keyspace
    try:
        first: list[Row] = [CellRow(1, (old,)), LogRow(CONVERSATION, ((1, 1),)), *(entry(seq) for seq in (1, 2, 3))]
        assert store.commit([Write(old, row) for row in first]) == [Outcome.STORED] * 5
        with connection(store._config) as admin:
            (one,) = [host for host in admin.cluster.metadata.all_hosts() if host.address == "127.0.0.1"]
            partition = f"conversation = 0x{CONVERSATION} AND bucket = 0"
            ask = SimpleStatement(f"SELECT seq FROM {keyspace}.log_entries WHERE {partition} AND seq = 4", consistency_level=1)
            for node in ("node-2", "node-3"):
                three.signal(signal.SIGSTOP, node)

            def is_at_the_first_replica() -> bool:
                store.failure = ""
                assert store.commit([Write(old, late)]) == [Outcome.UNKNOWN]
                with contextlib.suppress(DriverException):  # it asks one of the others, which hang
                    return bool(list(admin.session.execute(ask, host=one)))
                return False

            wait(is_at_the_first_replica, "the row did not land anywhere")
            for node in ("node-1", "node-2", "node-3"):  # with all that is on the way between them
                three.signal(signal.SIGKILL, node)
        three.start_only(2, 3)

        def commits(writer: str, *rows: Row) -> Callable[[], bool]:
            def until_stored() -> bool:
                with contextlib.suppress(StoreUnreachable):
                    store.reopen()
                return store.commit([Write(writer, row) for row in rows]) == [Outcome.STORED] * len(rows)

            return until_stored

        def log() -> LogLoaded:
            wait(lambda: isinstance(store.read(LoadLog(CONVERSATION)), LogLoaded), "the log cannot be read")
            loaded = store.read(LoadLog(CONVERSATION))
            assert isinstance(loaded, LogLoaded) and loaded.log is not None
            return loaded

        wait(commits(new, CellRow(2, (new,))), "nobody can be taken out")
        loaded = log()
        run, head = run_of(loaded.entries, loaded.log.terms)  # type: ignore[union-attr]
        assert (len(run), head) == (3, 3), "the late row was seen: the test did not bring about what it tests"
        taken_over = with_term(loaded.log.terms, 2, head + 1)  # type: ignore[union-attr]
        own = msgspec.structs.replace(entry(4), term=2, body="own")
        wait(commits(new, LogRow(CONVERSATION, taken_over)), "the log row")
        wait(commits(new, own), "the new owner's entry")

        three.start()
        wait(lambda: [row.term for row in log().entries if row.seq == 4] == [1, 2], "the late row never came")
        assert store.commit([Write(old, late)]) == [Outcome.FENCED]
        loaded = log()
        run, head = run_of(loaded.entries, loaded.log.terms)  # type: ignore[union-attr]
        assert head == 4 and [row.term for row in run] == [1, 1, 1, 2]
        entries = store.read(ReadEntries(CONVERSATION, 1, 9))
        assert isinstance(entries, EntriesRead)
        assert counting(entries.entries, taken_over) == [entry(1), entry(2), entry(3), own]
    finally:
        store.close()
