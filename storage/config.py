"""The configuration section ``storage``: where the rows lie and every bound of the storage worker, with its unit and its reason."""

from __future__ import annotations

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

    path: str = "data/store/homing.db"
    """The SQLite file; its directory is made. On a local disk: a network file system keeps neither locks nor syncs."""
    sqlite: SqliteConfig = SqliteConfig()
    worker: WorkerConfig = WorkerConfig()

    def problems(self, section: str) -> list[str]:
        """Relations that do not hold, as sentences that name the key."""
        worker, sqlite = self.worker, self.sqlite
        rules = [
            (bool(self.path), f"{section}.path must name a file"),
            (worker.pace_ms >= 0, f"{section}.worker.pace_ms must not be negative"),
            (worker.round_rows_max <= worker.queue_rows_max, f"{section}.worker.round_rows_max must be at most queue_rows_max"),
            (worker.round_bytes_max <= worker.queue_bytes_max, f"{section}.worker.round_bytes_max must be at most queue_bytes_max"),
            (worker.reopen_min_ms <= worker.reopen_max_ms, f"{section}.worker.reopen_min_ms must be at most reopen_max_ms"),
            (sqlite.wal_bytes_max >= sqlite.checkpoint_pages * 4_096, f"{section}.sqlite.wal_bytes_max must hold checkpoint_pages"),
        ]
        counts = [(f"worker.{name}", value) for name, value in _numbers(worker) if name != "pace_ms"]
        counts += [(f"sqlite.{name}", value) for name, value in _numbers(sqlite)]
        problems = [f"{section}.{name} must be greater than 0" for name, value in counts if value <= 0]
        return problems + [text for holds, text in rules if not holds]


def _numbers(config: Struct) -> list[tuple[str, int | float]]:
    values = [(name, getattr(config, name)) for name in config.__struct_fields__]
    return [(name, value) for name, value in values if isinstance(value, int | float)]


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
