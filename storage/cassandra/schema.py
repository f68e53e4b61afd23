"""The tables of the Cassandra store and how they come to be: versions, and the statements that lead from one to the next.

Laws:
    * Whatever keeps a maximum is a column whose timestamp is its value: the last write wins, and the last one is the largest.
    * Nothing is ever deleted, and no null is ever written (Cassandra would keep a tombstone for it).
    * A partition is bounded: a conversation's entries lie in buckets of 8,192.

`logs` has a row for each bucket of a conversation after the first, so that its end is found without probing; the log row itself is a
static column there, and both are one read. In `sync_index` kind 0 is the user's own row, kind 1 the rows of his conversations.
`control` is the body of an entry that changes the roster, `body` that of any other: an activation reads the one and not the other.
"""

from __future__ import annotations

KIND_USER, KIND_CONVERSATION = 0, 1

_TABLE = "WITH read_repair = 'BLOCKING' AND compaction = {'class': 'UnifiedCompactionStrategy'}"

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"""CREATE TABLE IF NOT EXISTS log_entries (
            conversation blob, bucket bigint, seq bigint, term bigint, created_at bigint, ordinal bigint, sent_ts bigint,
            sender blob, client_message_id text, type text, control text, body text,
            PRIMARY KEY ((conversation, bucket), seq, term)) {_TABLE} AND CLUSTERING ORDER BY (seq DESC, term DESC)""",
        f"""CREATE TABLE IF NOT EXISTS logs (conversation blob, bucket bigint, terms blob static,
            PRIMARY KEY (conversation, bucket)) {_TABLE} AND CLUSTERING ORDER BY (bucket DESC)""",
        f"""CREATE TABLE IF NOT EXISTS members (
            conversation blob, user blob, seq bigint, role text, from_seq bigint, until_seq bigint, title text, blocks boolean,
            PRIMARY KEY (conversation, user)) {_TABLE}""",
        f"CREATE TABLE IF NOT EXISTS receipts (conversation blob PRIMARY KEY, term bigint, count bigint, marks blob) {_TABLE}",
        f"""CREATE TABLE IF NOT EXISTS sync_index (
            user blob, kind tinyint, conversation blob, active_at bigint, receipts_at bigint, always boolean,
            last_seen bigint, revoked map<text, bigint>, forgotten_at bigint, name text, named_at bigint, unnamed_at bigint,
            PRIMARY KEY (user, kind, conversation)) {_TABLE}""",
        f"CREATE TABLE IF NOT EXISTS cell (one tinyint PRIMARY KEY, epoch bigint, live frozen<list<text>>) {_TABLE}",
    ),
)
"""In order; the n-th takes a keyspace from version n to n + 1. Each can be done twice: a migration that was cut short is run again.
Never changed once released."""

VERSION = len(MIGRATIONS)
TABLES = ("log_entries", "logs", "members", "receipts", "sync_index", "cell")

CREATE_VERSIONS = f"CREATE TABLE IF NOT EXISTS schema_version (one tinyint PRIMARY KEY, version int) {_TABLE}"
SELECT_VERSION = "SELECT version FROM schema_version WHERE one = 1"


def set_version(version: int) -> str:
    """Its timestamp is its value as well: two migrations at once end at the higher version."""
    return f"INSERT INTO schema_version (one, version) VALUES (1, {version}) USING TIMESTAMP {version}"


def create_keyspace(keyspace: str, datacenter: str, replication_factor: int) -> str:
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH durable_writes = true AND replication = "
        f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': {replication_factor}}}"
    )
