"""What must hold of a Cassandra cluster before Homing trusts it, and the migration that makes a keyspace so that it holds.

What is promised rests on it: quorums that meet (replication), a read that repairs what it has seen before it answers (`read_repair`), a
write that is synced before it is acknowledged (`commitlog_sync`). The rest, timestamps that do not come from clocks, is
``statements.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cassandra import InvalidRequest

from storage.cassandra import schema
from storage.cassandra.connection import Connection, StoreUnreachable
from storage.config import CassandraConfig

VERSION_MIN = (5, 0)
SYNCED = ("batch", "group")


class StoreRefused(Exception):
    """The cluster is not what it must be; starting again does not help, somebody has to do something. The text says what."""


class Server(NamedTuple):
    """What one node says of itself."""

    address: str
    version: str
    commitlog_sync: str


class Facts(NamedTuple):
    """What is looked at."""

    keyspace: bool
    replication: dict[str, str]
    durable_writes: bool
    read_repair: dict[str, str]
    """By table."""
    version: int
    """Of the tables; 0: there are none."""
    servers: list[Server]


def problems(facts: Facts, config: CassandraConfig) -> list[str]:
    """What does not hold, as sentences that say what to do."""
    found = [text for server in facts.servers for text in _of_server(server, config)]
    if not facts.keyspace:
        return [*found, f"there is no keyspace {config.keyspace}: run homing store migrate"]
    strategy = facts.replication.get("class", "").rpartition(".")[2]
    if strategy != "NetworkTopologyStrategy":
        found.append(f"keyspace {config.keyspace} has replication {strategy}: it must be NetworkTopologyStrategy")
    elif (copies := facts.replication.get(config.datacenter, "0")) != str(config.replication_factor):
        found.append(
            f"keyspace {config.keyspace} has {copies} copies in {config.datacenter}, storage.cassandra.replication_factor is"
            f" {config.replication_factor}: correct the one or the other (ALTER KEYSPACE, then nodetool repair)"
        )
    if not facts.durable_writes:
        found.append(f"keyspace {config.keyspace} has durable_writes = false: its rows are in no commit log")
    for table, repair in sorted(facts.read_repair.items()):
        if repair != "BLOCKING":
            found.append(f"table {table} has read_repair = {repair}: it must be BLOCKING, or what one reader saw the next may miss")
    if facts.version < schema.VERSION:
        found.append(f"the tables have version {facts.version}, this release needs {schema.VERSION}: run homing store migrate")
    elif facts.version > schema.VERSION:
        found.append(f"the tables have version {facts.version}, this release knows up to {schema.VERSION}: start a newer release")
    return found


def _of_server(server: Server, config: CassandraConfig) -> list[str]:
    found = []
    numbers = tuple(int(part) for part in server.version.split(".")[:2] if part.isdigit())
    if numbers < VERSION_MIN:
        found.append(f"{server.address} runs Cassandra {server.version}: 5.0 or newer is needed")
    if server.commitlog_sync not in SYNCED and not config.accept_periodic_sync:
        found.append(
            f"{server.address} has commitlog_sync: {server.commitlog_sync}: a power failure takes away what was acknowledged. Set group"
            " (commitlog_sync_group_window: 2ms), or say storage.cassandra.accept_periodic_sync = true"
        )
    return found


def look(connection: Connection) -> Facts:
    """Asks the cluster, each node that is up for itself.

    Raises:
        StoreUnreachable: a question is not answered.
    """
    keyspace = connection.config.keyspace
    found = connection.query(f"SELECT replication, durable_writes FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'")
    repairs = connection.query(f"SELECT table_name, read_repair FROM system_schema.tables WHERE keyspace_name = '{keyspace}'")
    servers = [server for host in connection.cluster.metadata.all_hosts() if (server := _ask_server(connection, host))]
    if not servers:
        raise StoreUnreachable("no node tells its settings")
    return Facts(
        bool(found),
        dict(found[0][0]) if found else {},
        bool(found and found[0][1]),
        {table: repair for table, repair in repairs if table in schema.TABLES},
        version(connection) if found else 0,
        servers,
    )


def _ask_server(connection: Connection, host: Any) -> Server | None:
    """None: it is down, and looked at by whoever starts when it is up."""
    try:
        values = connection.query("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'", host)
    except StoreUnreachable:
        return None
    return Server(host.address, host.release_version or "0", values[0][0] if values else "unknown")


def version(connection: Connection) -> int:
    """The version of the tables; 0: there are none yet."""
    try:
        found = connection.query(schema.SELECT_VERSION.replace("schema_version", f"{connection.config.keyspace}.schema_version"))
    except InvalidRequest:
        return 0
    return int(found[0][0]) if found else 0


def migrate(connection: Connection, say: Callable[[str], None]) -> None:
    """Makes the keyspace if there is none, and brings its tables to this release's version.

    Args:
        connection: its session uses the keyspace afterwards.

    Raises:
        StoreUnreachable: the cluster does not answer; run it again.
        StoreRefused: the tables are a newer release's.
    """
    config = connection.config
    if not connection.query(f"SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{config.keyspace}'"):
        connection.query(schema.create_keyspace(config.keyspace, config.datacenter, config.replication_factor))
        say(f"made keyspace {config.keyspace} ({config.replication_factor} copies in {config.datacenter})")
    connection.session.set_keyspace(config.keyspace)
    connection.query(schema.CREATE_VERSIONS)
    present = version(connection)
    if present > schema.VERSION:
        raise StoreRefused(f"the tables have version {present}, this release knows up to {schema.VERSION}: start a newer release")
    for number in range(present, schema.VERSION):
        for statement in schema.MIGRATIONS[number]:
            connection.query(statement)
        connection.query(schema.set_version(number + 1))
        say(f"brought the tables from version {number} to {number + 1}")
    if present == schema.VERSION:
        say(f"the tables have version {present} already")
