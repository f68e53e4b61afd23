"""What holds of the Cassandra store beyond the contract: migration, refusals, rounds with a row that no server takes, tombstones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from cassandra import OperationTimedOut, WriteTimeout
from homing import ids
from hypothesis import HealthCheck, given, settings

from storage.cassandra import checks, schema
from storage.cassandra.checks import StoreRefused
from storage.cassandra.connection import StoreUnreachable
from storage.cassandra.store import CassandraStore
from storage.config import CassandraConfig
from storage.memory import MemoryStore
from storage.store import (
    BUCKET_ENTRIES,
    CellRow,
    EntriesRead,
    EntryRow,
    IndexLoaded,
    IndexRow,
    LoadIndex,
    LoadLog,
    LoadUser,
    LogLoaded,
    LogRow,
    Outcome,
    ReadEntries,
    ReadFailed,
    Row,
    UserLoaded,
    UserRow,
    Write,
)
from tests.cassandra_rig import CassandraServer, Scratch, connection
from tests.contract.test_store import ALICE, BOB, CONV, A, B, _ordered, entry, put, queries, rounds_

STORED, UNKNOWN = Outcome.STORED, Outcome.UNKNOWN


@pytest.fixture
def store(scratch: Scratch) -> Iterator[CassandraStore]:
    scratch.empty()
    made = CassandraStore(scratch.config)
    put(made, CellRow(1, (A, B)))
    yield made
    made.close()


def test_a_migration_can_be_run_again_and_says_what_it_did(cassandra: CassandraServer) -> None:
    config = cassandra.config("migrated")
    said: list[str] = []
    with connection(config) as admin:
        assert checks.version(admin) == 0
        checks.migrate(admin, said.append)
        assert checks.version(admin) == schema.VERSION
        assert said == ["made keyspace migrated (1 copies in datacenter1)", f"brought the tables from version 0 to {schema.VERSION}"]
        admin.query("TRUNCATE migrated.schema_version")  # as if it had been cut short before the last step
        checks.migrate(admin, said.append)
        checks.migrate(admin, said.append)
    assert said[-1] == f"the tables have version {schema.VERSION} already"
    CassandraStore(config).close()


def test_a_keyspace_that_cannot_keep_the_promises_is_refused(cassandra: CassandraServer) -> None:
    with pytest.raises(StoreRefused, match="there is no keyspace nowhere: run homing store migrate"):
        CassandraStore(cassandra.config("nowhere"))
    config = cassandra.new_keyspace()
    with pytest.raises(StoreRefused, match="has 1 copies in datacenter1"):
        CassandraStore(cassandra.config(config.keyspace, replication_factor=3))
    with connection(config) as admin:
        changes = {
            f"ALTER TABLE {config.keyspace}.logs WITH read_repair = 'NONE'": "table logs has read_repair = NONE",
            f"ALTER KEYSPACE {config.keyspace} WITH durable_writes = false": "durable_writes = false",
            f"INSERT INTO {config.keyspace}.schema_version (one, version) VALUES (1, 99)": "start a newer release",
        }
        for change, said in changes.items():
            admin.query(change)
            with pytest.raises(StoreRefused, match=said):
                CassandraStore(config)
        with pytest.raises(StoreRefused, match="start a newer release"):
            checks.migrate(admin, lambda text: None)


def test_a_server_that_is_not_there_or_in_another_data_centre_is_unreachable_not_refused(cassandra: CassandraServer) -> None:
    for config in (CassandraConfig(port=1), cassandra.config("x", datacenter="elsewhere")):
        with pytest.raises(StoreUnreachable, match=r"Cassandra at 127\.0\.0\.1"):
            CassandraStore(config)


def test_a_row_that_no_server_takes_or_no_column_holds_harms_no_other_of_its_round(store: CassandraStore) -> None:
    long = "x" * 70_000  # a key above 64 KiB
    rows: dict[Row, Outcome] = {
        entry(1): STORED,
        EntryRow(long, 1, 1, ALICE, "c", "text", "", 1, 1): UNKNOWN,  # the driver cannot write it
        IndexRow(long, CONV, 1): UNKNOWN,  # the server calls the whole batch invalid
        IndexRow(ALICE, CONV, 1): STORED,
        entry(3, body="\ud800"): UNKNOWN,
        entry(2): STORED,
        IndexRow(ALICE, CONV, 1 << 63): UNKNOWN,
    }
    assert put(store, *rows) == list(rows.values())
    assert store.rejected == 4 and not store.failure
    loaded = store.read(LoadLog(CONV))
    assert isinstance(loaded, LogLoaded) and [row.seq for row in loaded.entries] == [1, 2]


def test_a_query_that_no_server_takes_is_a_failed_read(store: CassandraStore) -> None:
    for query in (LoadIndex("x" * 70_000), LoadLog("x" * 70_000), LoadLog("\ud800"), ReadEntries("x" * 70_000, 1, 2)):
        assert isinstance(store.read(query), ReadFailed)


def test_the_rows_of_a_burst_in_one_conversation_are_one_request(store: CassandraStore) -> None:
    before = store.requests
    assert put(store, *(entry(seq) for seq in range(1, 61))) == [STORED] * 60
    assert store.requests - before == 1


def test_the_end_of_a_conversation_of_many_buckets_is_found_by_another_worker(store: CassandraStore, scratch: Scratch) -> None:
    seqs = [1, BUCKET_ENTRIES - 1, BUCKET_ENTRIES, 5 * BUCKET_ENTRIES, 40 * BUCKET_ENTRIES + 7, 900 * BUCKET_ENTRIES]
    put(store, *(entry(seq) for seq in seqs), LogRow(CONV, ((1, 1),)))
    other = CassandraStore(scratch.config)
    try:
        loaded = other.read(LoadLog(CONV))
        assert isinstance(loaded, LogLoaded) and [row.seq for row in loaded.entries] == seqs
        for newest in (True, False):
            found = other.read(ReadEntries(CONV, 2, 800 * BUCKET_ENTRIES, 100, newest))
            assert [row.seq for row in found.entries] == seqs[1:-1]  # type: ignore[union-attr]
    finally:
        other.close()


def test_no_read_walks_tombstones_whatever_was_written_before(store: CassandraStore, scratch: Scratch) -> None:
    for n in range(1, 30):
        put(store, *(entry(seq) for seq in range(n, n + 5)), LogRow(CONV, ((n, n),)), IndexRow(ALICE, CONV, n, n % 3, n % 2 == 0))
        put(store, UserRow(ALICE, n, ((f"d{n}", n), ("", n - 3)), f"name {n}", n), CellRow(n + 1, (A, B)))
    with connection(scratch.config) as admin:
        admin.session.execute(f"SELECT JSON * FROM {scratch.config.keyspace}.log_entries")
        for query in queries:
            store.read(query)
        found = admin.query(
            f"SELECT table_name, count, max FROM system_views.tombstones_per_read WHERE keyspace_name = '{scratch.config.keyspace}'"
        )
    tombstones = {table: most for table, count, most in found if table in schema.TABLES and count}
    assert tombstones.keys() >= {"log_entries", "logs", "sync_index", "cell"}, "the server counted no reads"
    assert set(tombstones.values()) <= {0, 1}, tombstones  # the server's lowest step holds 0 and 1


@pytest.mark.parametrize("is_applied", [True, False])
def test_a_write_that_timed_out_is_unknown_whether_it_was_applied_or_not_and_is_written_again(
    is_applied: bool, store: CassandraStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = store._connection.burst

    def times_out(statements: Sequence[object]) -> list[BaseException | None]:
        assert len(statements) == 3, "a request for each partition"
        ends = send(statements if is_applied else statements[2:])
        return [WriteTimeout("too late", write_type=0), OperationTimedOut(), ends[-1]]

    index_row, user_row = IndexRow(ALICE, CONV, 1), UserRow(BOB, 5)
    rows: list[Row] = [entry(1), index_row, user_row]
    monkeypatch.setattr(store._connection, "burst", times_out)
    assert put(store, *rows) == [UNKNOWN, UNKNOWN, STORED]
    monkeypatch.undo()
    assert not store.failure, "the cell row could be read"
    assert put(store, *rows) == [STORED] * 3
    found = store.read(ReadEntries(CONV, 0, 9)), store.read(LoadIndex(ALICE)), store.read(LoadUser(BOB))
    assert found == (EntriesRead([entry(1)], False), IndexLoaded([index_row], None), UserLoaded(user_row))


def test_a_bucket_that_could_not_be_noted_makes_its_entry_unknown(store: CassandraStore, monkeypatch: pytest.MonkeyPatch) -> None:
    send = store._connection.burst
    monkeypatch.setattr(store._connection, "burst", lambda statements: [*send(statements[:1]), WriteTimeout("too late", write_type=0)])
    assert put(store, entry(BUCKET_ENTRIES)) == [UNKNOWN]
    monkeypatch.undo()
    before = store.requests
    assert put(store, entry(BUCKET_ENTRIES)) == [STORED] and store.requests - before == 2, "it is noted after all"
    assert put(store, entry(BUCKET_ENTRIES + 1)) == [STORED] and store.requests - before == 3, "and once is enough"


def test_without_a_server_rows_are_unknown_and_the_store_has_failed(store: CassandraStore) -> None:
    store._connection.session.shutdown()
    assert put(store, entry(1), IndexRow(ALICE, CONV, 1)) == [UNKNOWN] * 2
    assert store.failure and isinstance(store.read(LoadLog(CONV)), ReadFailed)
    with pytest.raises(StoreUnreachable):
        store.reopen()
    assert put(store, IndexRow(ALICE, CONV, 1)) == [UNKNOWN]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=rounds_)
def test_any_rounds_leave_what_the_model_says(scratch: Scratch, rounds: list[list[Write]]) -> None:
    scratch.empty()
    model, store = MemoryStore(), CassandraStore(scratch.config)
    try:
        for writes in rounds:
            assert store.commit(writes) == model.commit(writes)
            for query in queries:
                assert _ordered(store.read(query)) == _ordered(model.read(query))
    finally:
        store.close()


def test_a_group_of_ten_thousand_entries_is_read_page_by_page(store: CassandraStore) -> None:
    conversation = ids.group_id(b"abcdefghabcdefgh")
    for first in range(1, 10_001, 2_000):
        put(store, *(entry(seq, conversation=conversation) for seq in range(first, first + 2_000)))
    seqs: list[int] = []
    last = 10_000
    while last:
        found = store.read(ReadEntries(conversation, 1, last, 256))
        page = [row.seq for row in found.entries]  # type: ignore[union-attr]
        seqs = page + seqs
        last = page[0] - 1
    assert seqs == list(range(1, 10_001))
