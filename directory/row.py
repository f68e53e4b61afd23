"""The directory's one relational row, through SQLAlchemy; its schema by Alembic (``directory/migrations``).

Owns the table ``directory`` and the compare-and-set on its epoch. Must not know what the row is for. Every call blocks: ``rows.py`` runs
them in one thread.

Laws:
    * The row changes only from the epoch that the caller expects: of two that try, one is refused.
    * When a call fails it says whether its commit may have landed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import JSON, BigInteger, Connection, LargeBinary, String, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from directory.events import Row
from directory.table import Table, decode_delta, encode_delta
from storage.relational.engine import READS_ONLY, SchemaError, make_engine, migrate, one_line

THE_ROW = 1
VERSION_TABLE = "directory_schema"
"""Not Alembic's usual name: other parts of Homing keep their own schemas in the same database."""
HEAD = "0001"
"""The newest migration."""


class RowError(Exception):
    """The database did not do it.

    Args:
        reason: what it said.
        may_land: whether a commit may have landed, or may yet.
    """

    def __init__(self, reason: str, may_land: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_land = may_land


class Base(DeclarativeBase):
    pass


class DirectoryModel(Base):
    """The row as the database has it."""

    __tablename__ = "directory"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(BigInteger)
    slots: Mapped[bytes] = mapped_column(LargeBinary)
    """The whole table as a delta from nothing, msgpack."""
    live: Mapped[list[str]] = mapped_column(JSON)
    """What the cell row of this epoch lists; for people who look, it follows from ``slots``."""
    leader: Mapped[str] = mapped_column(String(128))
    beat: Mapped[int] = mapped_column(BigInteger)
    cluster_time: Mapped[int] = mapped_column(BigInteger)
    joined: Mapped[dict[str, int]] = mapped_column(JSON)


class RowStore:
    """The row in one database.

    Args:
        url: SQLAlchemy's; ``sqlite:///FILE`` or PostgreSQL.
        timeout_s: how long a statement may wait for another's lock.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._engine = make_engine(url, timeout_s)
        self._migrated = False

    def close(self) -> None:
        self._engine.dispose()

    def load(self) -> Row | None:
        """The row; None when there is none yet. The first call brings the schema up to date.

        Raises:
            RowError: the database did not answer, or holds what this release cannot read.
        """
        try:
            if not self._migrated:
                migrate(self._engine, Path(__file__).parent / "migrations", VERSION_TABLE, HEAD)
                self._migrated = True
            with self._engine.connect().execution_options(**{READS_ONLY: True}) as connection:
                found = connection.execute(select(DirectoryModel.__table__)).mappings().first()
            if found is None:
                return None
            table = Table.empty().apply(decode_delta(found["slots"]))
            return Row(table.epoch, table, found["leader"], found["beat"], found["cluster_time"], found["joined"])
        except (SQLAlchemyError, SchemaError, OSError, ValueError) as error:
            raise RowError(one_line(error), may_land=False) from error

    def commit(self, expected_epoch: int, row: Row) -> bool:
        """Writes ``row`` if the row's epoch is ``expected_epoch`` (0: if there is no row); False: it is another.

        Raises:
            RowError: the database did not answer.
        """
        values = {
            "epoch": row.epoch,
            "slots": encode_delta(row.table.delta(0)),
            "live": list(row.live),
            "leader": row.leader,
            "beat": row.beat,
            "cluster_time": row.cluster_time,
            "joined": row.joined,
        }
        change = update(DirectoryModel).where(DirectoryModel.id == THE_ROW, DirectoryModel.epoch == expected_epoch).values(values)
        first = insert(DirectoryModel).values(id=THE_ROW, **values)
        return self._change(first if expected_epoch == 0 else change)

    def beat(self, leader: str, beat: int, cluster_time: int) -> bool:
        """Writes the leader's sign of life; False: another leads.

        Raises:
            RowError: the database did not answer.
        """
        mine = update(DirectoryModel).where(DirectoryModel.id == THE_ROW, DirectoryModel.leader == leader)
        return self._change(mine.values(beat=beat, cluster_time=cluster_time))

    def _change(self, statement: Any) -> bool:  # SQLAlchemy's insert and update have no common type that execute takes
        """Executes one statement in a transaction; whether it changed the row."""
        try:
            with self._engine.connect() as connection:
                try:
                    changed = bool(connection.execute(statement).rowcount == 1)
                except IntegrityError:
                    return False
                if changed:
                    _commit(connection)
                return changed
        except SQLAlchemyError as error:
            raise RowError(one_line(error), may_land=False) from error


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except SQLAlchemyError as error:
        raise RowError(one_line(error), may_land=True) from error
