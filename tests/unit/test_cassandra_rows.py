"""What Cassandra is told: ids, timestamps, which statements go together, and what of a cluster is refused. No server."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.cassandra import checks, schema
from storage.cassandra.checks import Facts, Server, problems
from storage.cassandra.requests import plan
from storage.cassandra.statements import Select, Statement, Upsert, key, receipts_timestamp, text, upsert
from storage.config import CassandraConfig, StorageConfig
from storage.store import EntryRow, IndexRow, ReceiptsRow, UserRow

CONFIG = CassandraConfig()
CONV, USER = "c" * 32, "a" * 32


@given(st.text() | st.sampled_from([CONV, "AB" * 16, "ab" * 15, "", "t", "u" * 14, "x" * 15, "x" * 16, "\0" * 16]))
def test_every_id_has_a_key_of_its_own_that_is_not_empty(id_: str) -> None:
    try:
        id_.encode()
    except UnicodeEncodeError:
        return
    assert key(id_) and text(key(id_)) == id_


def test_no_statement_goes_without_a_timestamp_of_its_own_and_none_deletes() -> None:
    for statement in Statement:
        assert statement.count("USING TIMESTAMP ?") == 1, statement
        assert not re.search(r"\bDELETE\b|\bnull\b|\bTTL\b|\bIF\b", statement, re.IGNORECASE), statement
    assert not any("ALLOW FILTERING" in select for select in Select)
    assert all("read_repair = 'BLOCKING'" in made for step in schema.MIGRATIONS for made in step)


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1)), min_size=2, max_size=2))
def test_timestamps_of_receipts_have_the_order_of_term_and_count(pairs: list[tuple[int, int]]) -> None:
    first, second = (receipts_timestamp(ReceiptsRow(CONV, term, count, ())) for term, count in pairs)
    assert (first < second) == (pairs[0] < pairs[1]) and 0 <= first < 2**63


def test_receipts_that_no_timestamp_can_tell_apart_are_refused() -> None:
    for term, count in ((1, 1 << 32), (1 << 31, 1)):
        with pytest.raises(ValueError, match="no timestamp"):
            upsert(ReceiptsRow(CONV, term, count, ()))


def test_a_column_that_keeps_its_maximum_has_its_value_as_its_timestamp() -> None:
    for row in (IndexRow(USER, CONV, 7, 9), IndexRow(USER, CONV, 7, 7), UserRow(USER, 5, (("phone", 3), ("pad", 4)), "Al", 6)):
        for statement, params in upsert(row).statements:
            if statement is Statement.REVOKED:
                at, devices, _ = params
                assert isinstance(devices, dict) and list(devices.values()) == [at]
            else:
                assert params[-1] == params[-2]
    assert [s for s, _ in upsert(IndexRow(USER, CONV, 7)).statements] == [Statement.INDEX], "nothing is written for what is not there"


sizes = st.integers(1, 3_000)
parts = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3), sizes), max_size=300)


@given(parts)
def test_every_statement_is_in_one_request_and_no_request_is_past_a_bound(made: list[tuple[int, int, int]]) -> None:
    config = CassandraConfig(batch_statements_max=10, batch_bytes_max=8_000, mixed_partitions_max=3, mixed_bytes_max=2_000, mixed_from=5)
    upserts = [
        (row, Upsert((partition,), [(Statement.BUCKET, (row, n, 1)) for n in range(count)], size))
        for row, (partition, count, size) in enumerate(made)
    ]
    requests = plan(upserts, config)
    planned = sorted((row, params[1]) for r in requests for row, (_, params) in zip(r.rows, r.statements, strict=True))
    assert planned == sorted((row, n) for row, upsert_ in upserts for n in range(len(upsert_.statements)))
    assert all(params[0] == row for r in requests for row, (_, params) in zip(r.rows, r.statements, strict=True))
    of_row = {row: (upsert_.partition, upsert_.bytes) for row, upsert_ in upserts}
    for request in requests:
        rows = set(request.rows)
        partitions, size = {of_row[row][0] for row in rows}, sum(of_row[row][1] for row in rows)
        assert len(partitions) == 1 or (len(partitions) <= 3 and size <= 2_000)
        assert size <= 8_000 and (len(partitions) > 1 or len(request.statements) <= 10)


def test_rows_of_one_partition_are_one_request() -> None:
    rows = [EntryRow(CONV, seq, 1, USER, f"m{seq}", "text", "hi", seq, seq) for seq in range(1, 51)]
    requests = plan(((number, upsert(row)) for number, row in enumerate(rows)), CONFIG)
    assert [request.rows for request in requests] == [list(range(50))]


def test_partitions_share_requests_only_where_there_are_many() -> None:
    def requests(count: int) -> int:
        rows = [IndexRow(f"{n:032x}", CONV, n) for n in range(count)]
        return len(plan(((number, upsert(row)) for number, row in enumerate(rows)), CONFIG))

    assert requests(CONFIG.mixed_from - 1) == CONFIG.mixed_from - 1
    assert requests(100) == 25


GOOD = Facts(
    keyspace=True,
    replication={"class": "org.apache.cassandra.locator.NetworkTopologyStrategy", "datacenter1": "3"},
    durable_writes=True,
    read_repair=dict.fromkeys(schema.TABLES, "BLOCKING"),
    version=schema.VERSION,
    servers=[Server("127.0.0.1", "5.0.9", "group"), Server("127.0.0.2", "5.1", "batch")],
)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (GOOD._replace(keyspace=False), "run homing store migrate"),
        (GOOD._replace(version=0), "run homing store migrate"),
        (GOOD._replace(version=schema.VERSION + 1), "start a newer release"),
        (GOOD._replace(replication={"class": "SimpleStrategy", "replication_factor": "3"}), "must be NetworkTopologyStrategy"),
        (GOOD._replace(replication={"class": "NetworkTopologyStrategy", "datacenter1": "1"}), "has 1 copies in datacenter1"),
        (GOOD._replace(replication={"class": "NetworkTopologyStrategy", "elsewhere": "3"}), "has 0 copies in datacenter1"),
        (GOOD._replace(durable_writes=False), "durable_writes"),
        (GOOD._replace(read_repair={**GOOD.read_repair, "logs": "NONE"}), "table logs has read_repair = NONE"),
        (GOOD._replace(servers=[Server("127.0.0.1", "4.1.3", "group")]), "5.0 or newer is needed"),
        (GOOD._replace(servers=[*GOOD.servers, Server("127.0.0.3", "5.0.9", "periodic")]), "127.0.0.3 has commitlog_sync: periodic"),
    ],
)
def test_a_cluster_that_cannot_keep_the_promises_is_refused_with_what_to_do(facts: Facts, said: str) -> None:
    assert any(said in text for text in problems(facts, CONFIG))


def test_a_good_cluster_is_not_refused_and_a_periodic_sync_may_be_accepted() -> None:
    assert problems(GOOD, CONFIG) == []
    periodic = GOOD._replace(servers=[Server("127.0.0.1", "5.0.9", "periodic")])
    assert checks.problems(periodic, CassandraConfig(accept_periodic_sync=True)) == []


@pytest.mark.parametrize(
    ("config", "key_path"),
    [
        (CassandraConfig(keyspace="x; DROP KEYSPACE y"), "cassandra.keyspace"),
        (CassandraConfig(datacenter="a'b"), "cassandra.datacenter"),
        (CassandraConfig(contact_points=()), "cassandra.contact_points"),
        (CassandraConfig(username="homing"), "cassandra.username"),
        (CassandraConfig(in_flight_max=0), "cassandra.in_flight_max"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_key(config: CassandraConfig, key_path: str) -> None:
    assert any(f"storage.{key_path}" in text for text in StorageConfig(cassandra=config).problems("storage"))
