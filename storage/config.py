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
    lone row never waits, under load a sync is shared (measured: a third of the CPU per row at eight rows a commit)."""
    round_rows_max: int = 2_048
    """Rows of one commit: some 20 ms of work, so that the rows behind it, and heartbeats, wait no longer than that."""
    round_bytes_max: int = 4 << 20
    """Bytes of one commit, for the same reason."""
    queue_rows_max: int = 16_384
    """Rows waiting for a commit, about a second of work; past it ``StorageBusy``."""
    queue_bytes_max: int = 64 << 20
    """Their bytes as they came in: the worker's memory."""
    asks_max: int = 4_096
    """Reads waiting; past it ``StorageBusy``. At some 0.1 ms a read, what is behind them is answered within its time-out."""
    busy_retry_ms: int = 50
    """What ``StorageBusy`` tells the writer: half of a full queue is done by then."""
    replies_held_max: int = 65_536
    """Outcomes and answers kept for peers whose link takes nothing now; past it they are dropped, the peer asks again."""


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
