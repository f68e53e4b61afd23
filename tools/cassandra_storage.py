"""`homing up --storage cassandra`: the Cassandra that a cluster on this machine keeps its rows in.

It is brought up as `homing services up` does, below the cluster's data directory, its tables are made, and it is stopped at the end if
it was started here; one that ran already stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from storage.config import CassandraConfig
from storage.engines import NEEDS_DRIVER
from tools.errors import CommandError
from tools.layout import Layout
from tools.services import state
from tools.services.cassandra import Cassandra
from tools.services.service import Options

Say = Callable[[str], None]


@contextlib.contextmanager
def running(layout: Layout, say: Say) -> Iterator[Layout]:
    """The layout with where Cassandra is, while it runs.

    Raises:
        CommandError: it cannot be had.
    """
    try:
        import storage.cassandra.checks  # noqa: F401  before anything is started
    except ModuleNotFoundError as error:
        raise CommandError(f"{NEEDS_DRIVER} (./run --setup-only does it here)") from error
    directory = layout.data / "services" / Cassandra.name
    service = Cassandra(directory)
    with state.only_one(directory):
        before = service.status()
        options = Options(nodes=max(1, len(before.endpoints)), port=None if before.endpoints else 0)
        now = service.up(options, lambda text: say(f"  {Cassandra.name:<12}{text}"))
    try:
        points = tuple(endpoint.rpartition(":")[0] for endpoint in now.endpoints)
        found = dataclasses.replace(layout, cassandra=points, cassandra_port=int(now.endpoints[0].rpartition(":")[2]))
        _migrate(found, say)
        yield found
    finally:
        if before.state != "running":
            with state.only_one(directory):
                service.down(lambda text: say(f"  {Cassandra.name:<12}{text}"))


def replication_factor(layout: Layout) -> int:
    """Copies of each row: three, where there are three nodes."""
    return min(3, len(layout.cassandra))


def _migrate(layout: Layout, say: Say) -> None:
    from storage.cassandra.checks import StoreRefused, migrate
    from storage.cassandra.connection import Connection, StoreUnreachable

    config = CassandraConfig(contact_points=layout.cassandra, port=layout.cassandra_port, replication_factor=replication_factor(layout))
    try:
        connection = Connection(config)
        try:
            migrate(connection, lambda text: say(f"  {Cassandra.name:<12}{text}"))
        finally:
            connection.close()
    except (StoreUnreachable, StoreRefused) as error:
        raise CommandError(f"cassandra: {error}") from error
