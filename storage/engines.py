"""Which store a worker's configuration names, and how to open it. The one module that knows all of them; what one engine needs is imported
only when it is the one asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from storage.config import StorageConfig
from storage.sqlite import SqliteStore, StoreLocked
from storage.sqlite_schema import SchemaTooNew
from storage.store import Store

NEEDS_DRIVER = "storage.engine is cassandra, and cassandra-driver is not installed: pip install 'homing[cluster]'"


class FailingStore(Store, Protocol):
    """A store that tells when it has failed and can be opened anew."""

    failure: str

    def reopen(self) -> None:
        """Ends a failure.

        Raises:
            OSError: not yet.
        """


class OpenedStore(FailingStore, Protocol):
    """What ``open_store`` gives."""

    rejected: int
    """Rows that can never be written."""


class StoreUnusable(Exception):
    """It will not get well by itself; the text says who has to do what."""


def open_store(config: StorageConfig) -> OpenedStore:
    """Opens it; blocks.

    Raises:
        StoreUnusable: somebody has to do something first.
        OSError: not now; later it may be possible.
    """
    try:
        return _open_cassandra(config) if config.engine == "cassandra" else SqliteStore(Path(config.path), config.sqlite)
    except (StoreLocked, SchemaTooNew) as error:
        raise StoreUnusable(str(error)) from error


def _open_cassandra(config: StorageConfig) -> OpenedStore:
    try:
        from storage.cassandra.store import CassandraStore, StoreRefused
    except ModuleNotFoundError as error:
        raise StoreUnusable(NEEDS_DRIVER) from error
    try:
        return CassandraStore(config.cassandra)
    except StoreRefused as error:
        raise StoreUnusable(str(error)) from error


def place(config: StorageConfig) -> str:
    """Where the rows lie, for a log line."""
    if config.engine == "cassandra":
        return f"keyspace {config.cassandra.keyspace} at {', '.join(config.cassandra.contact_points)}:{config.cassandra.port}"
    return config.path


def waits(config: StorageConfig) -> int:
    """How many reads may wait at once, for a store that waits for servers; 0: it is this machine's disk, and reads are work."""
    return config.cassandra.read_threads if config.engine == "cassandra" else 0
