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
