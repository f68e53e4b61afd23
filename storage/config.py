"""The configuration section ``storage``: where the rows lie and every bound of the storage worker, with its unit and its reason."""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct


class SqliteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How the SQLite file is driven."""

    cache_kib: int = 32_768
    """Page cache of the writing connection: holds the inner pages of some ten million rows, so that a row written costs no read."""
    read_cache_kib: int = 16_384
    """Page cache of the reading connection."""
    checkpoint_pages: int = 4_000
    """The write-ahead log is copied into the file when it has this many pages (16 MiB): seldom enough that hot pages are copied once
    for many commits, often enough that one copy stays short."""
    wal_bytes_max: int = 64 << 20
    """What the write-ahead log keeps of a burst after its copy."""
    busy_timeout_ms: int = 5_000
    """How long to wait for somebody who looks at the file with another tool."""


class CassandraConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How a Cassandra cluster is reached and driven."""

    contact_points: tuple[str, ...] = ("127.0.0.1",)
    """Addresses of some of its nodes; the others are learnt from them."""
    port: int = 9_042
    keyspace: str = "homing"
    """Made by `homing store migrate`; nobody else writes in it."""
    datacenter: str = "datacenter1"
    """The data centre of this cell: reads and writes meet in its quorum."""
    replication_factor: int = 3
    """Copies of each row in that data centre. At the start the keyspace must have just these: with fewer the loss of one node stops the
    cell."""
    username: str = ""
    """Empty: no authentication."""
    password_file: str = ""
    """A file with the password, which only this process's user may read."""
    accept_periodic_sync: bool = False
    """With `commitlog_sync: periodic` Cassandra acknowledges what a power failure takes away, on all replicas of a rack at once. Refused
    unless this says that it is accepted."""
    request_timeout_ms: int = 3_000
    """Longer than the server's own time-outs (2 s for a write), so that it is the server that tells how a request ended."""
    in_flight_max: int = 256
    """Requests under way for writes: enough to fill a server's write threads, few enough that none of them waits for its time-out."""
    batch_statements_max: int = 100
    """Statements of one partition that go as one mutation."""
    batch_bytes_max: int = 256 << 10
    """Their bytes: far below the largest mutation (half a segment of the commit log)."""
    mixed_partitions_max: int = 4
    """Small partitions that share a batch: a request costs the driver more than a row. More would each wait for a sync of their own."""
    mixed_from: int = 16
    """Requests of a round from which partitions share batches at all: below, there is CPU to spare, and a lone partition waits for one
    sync only."""
    mixed_bytes_max: int = 4 << 10
    """Bytes of such a batch: servers warn from 5 KiB on."""
    read_threads: int = 16
    """Reads under way: one waits some milliseconds for the servers, and does nothing meanwhile."""
    known_buckets_max: int = 65_536
    """Buckets of long conversations that a worker remembers to have noted; what it does not remember it notes again (a row more)."""


class WorkerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds and pace of a storage worker."""

    pace_ms: float = 2.0
    """A commit starts at once if none began within this time, else when it has passed since the last began. A pace, not a fill: a
    lone row never waits, under load a sync is shared (measured: 110 µs of CPU for one row a commit, 27 each for eight, 16 for 64)."""
    round_rows_max: int = 1_024
    """Rows of one commit: some 20 ms of work, so that the rows behind it, and heartbeats, wait no longer than that."""
    round_bytes_max: int = 4 << 20
    """Bytes of one commit, for the same reason."""
    queue_rows_max: int = 16_384
    """Rows waiting for a commit, a third of a second's work; past it ``StorageBusy``."""
    queue_bytes_max: int = 64 << 20
    """Their bytes as they came in: the worker's memory."""
    asks_max: int = 4_096
    """Reads waiting; past it ``StorageBusy``. At some 0.1 ms a read, what is behind them is answered within its time-out."""
    busy_retry_ms: int = 50
    """What ``StorageBusy`` tells the writer: thousands of rows are done by then."""
    answers_held_bytes_max: int = 64 << 20
    """Answers kept for peers whose link takes nothing now; past it they are dropped, and the peer asks again."""
    reopen_min_ms: int = 100
    """After a failure the file is opened anew, first after this time: a single failed sync is over by then."""
    reopen_max_ms: int = 2_000
    """The wait doubles up to this; room on a full disk is noticed within it."""


class StorageConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``storage`` of a worker's configuration."""

    engine: Literal["sqlite", "cassandra"] = "sqlite"
    """sqlite: one worker, one file. cassandra: any number of workers on one keyspace (docs/cluster.md)."""
    path: str = "data/store/homing.db"
    """The SQLite file; its directory is made. On a local disk: a network file system keeps neither locks nor syncs."""
    sqlite: SqliteConfig = SqliteConfig()
    cassandra: CassandraConfig = CassandraConfig()
    worker: WorkerConfig = WorkerConfig()

    def problems(self, section: str) -> list[str]:
        """Relations that do not hold, as sentences that name the key."""
        worker, sqlite, cassandra = self.worker, self.sqlite, self.cassandra
        rules = [
            (bool(self.path), f"{section}.path must name a file"),
            (worker.pace_ms >= 0, f"{section}.worker.pace_ms must not be negative"),
            (worker.round_rows_max <= worker.queue_rows_max, f"{section}.worker.round_rows_max must be at most queue_rows_max"),
            (worker.round_bytes_max <= worker.queue_bytes_max, f"{section}.worker.round_bytes_max must be at most queue_bytes_max"),
            (worker.reopen_min_ms <= worker.reopen_max_ms, f"{section}.worker.reopen_min_ms must be at most reopen_max_ms"),
            (bool(cassandra.contact_points), f"{section}.cassandra.contact_points must name a node"),
            (bool(re.fullmatch(r"[a-z][a-z0-9_]{0,47}", cassandra.keyspace)), f"{section}.cassandra.keyspace must be a name: a-z, 0-9, _"),
            (bool(re.fullmatch(r"[\w.-]+", cassandra.datacenter)), f"{section}.cassandra.datacenter must be a name"),
            (0 < cassandra.port < 65_536, f"{section}.cassandra.port must be at most 65535"),
            (bool(cassandra.username) == bool(cassandra.password_file), f"{section}.cassandra.username needs password_file, and it that"),
            (sqlite.wal_bytes_max >= sqlite.checkpoint_pages * 4_096, f"{section}.sqlite.wal_bytes_max must hold checkpoint_pages"),
        ]
        counts = [(f"worker.{name}", value) for name, value in _numbers(worker) if name != "pace_ms"]
        counts += [(f"sqlite.{name}", value) for name, value in _numbers(sqlite)]
        counts += [(f"cassandra.{name}", value) for name, value in _numbers(cassandra)]
        problems = [f"{section}.{name} must be greater than 0" for name, value in counts if value <= 0]
        return problems + [text for holds, text in rules if not holds]


def _numbers(config: Struct) -> list[tuple[str, int | float]]:
    values = [(name, getattr(config, name)) for name in config.__struct_fields__]
    return [(name, value) for name, value in values if isinstance(value, int | float) and not isinstance(value, bool)]


class ClientConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds and waits of a storage client (node or directory)."""

    pending_max: int = 32_768
    """Writes and asks under way above which ``has_room`` says no: twice what one worker queues."""
    pending_bytes_max: int = 64 << 20
    """The same for the bytes of bodies: this process's memory."""
    answer_timeout_s: float = 4.0
    """A write or ask without an answer is asked again after this, at the latest after twice this. Links resend by themselves, so this
    only covers what a worker lost; shorter than a lease, longer than a slow sync."""
    retry_min_ms: int = 50
    """Wait after the first UNKNOWN or ReadFailed: about the time a store needs to reopen its file."""
    retry_max_ms: int = 1_000
    """The wait doubles up to this: a full disk is noticed to be free within a second."""
