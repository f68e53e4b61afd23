"""SQLAlchemy's engine for one of Homing's relational databases, and its schema by Alembic.

Owns how a database is opened and migrated. It must not know a table. Every call blocks: who uses it has threads for it.

Laws:
    * Several processes use the same database, the same SQLite file too: a transaction that may write takes SQLite's write lock when it
      begins, for one that began as a reader could not get it later however long it waited.
    * Of several processes that bring a schema up to date at the same time one does it, the others find it done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

READS_ONLY = "reads_only"
"""Execution option of a connection whose transactions only read."""
_MIGRATION_LOCK = 0x484F4D494E47
"""PostgreSQL's advisory lock, held while a schema is brought up to date: "HOMING"."""


class SchemaError(Exception):
    """The schema that the database has is none that this release knows."""


def make_engine(url: str, timeout_s: float, connections_max: int = 1) -> Engine:
    """An engine; nothing is connected yet.

    Args:
        url: SQLAlchemy's; ``sqlite:///FILE`` or PostgreSQL.
        timeout_s: how long a statement may wait for another's lock, or a call for a connection.
        connections_max: as many as there are threads that use it.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_size=connections_max, max_overflow=1, pool_timeout=timeout_s, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": timeout_s})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:  # the DB-API has no common type
        connection.isolation_level = None  # the driver begins no transaction by itself: ``begin`` below does
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get(READS_ONLY, False)
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    return engine


def migrate(engine: Engine, scripts: Path, version_table: str, head: str) -> None:
    """Brings a schema up to date.

    Args:
        scripts: the folder of its migrations.
        version_table: where the database keeps the schema's version.
        head: the newest version that this release has: with it there is nothing to do, and Alembic is not even loaded.

    Raises:
        SQLAlchemyError, OSError: it could not be done.
        SchemaError: the schema is of a newer release, or the migrations do not fit it.
    """
    if _version(engine, version_table) == head:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SchemaError(str(error)) from error


def _version(engine: Engine, version_table: str) -> str | None:
    with engine.connect().execution_options(**{READS_ONLY: True}) as connection:
        if not engine.dialect.has_table(connection, version_table):
            return None
        found = connection.execute(text(f"SELECT version_num FROM {version_table}")).first()
    return str(found[0]) if found is not None else None


def one_line(error: Exception) -> str:
    """What a database said, for a log."""
    origin = getattr(error, "orig", None) or error
    return f"{type(origin).__name__}: {origin}".splitlines()[0]
