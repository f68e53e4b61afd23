"""The relational row: compare-and-set, beats, migrations, failures. On SQLite."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from directory.events import Row
from directory.row import VERSION_TABLE, Base, RowError, RowStore
from directory.slots import assign
from directory.table import Table
from tests.unit.directory_rig import member

NODES = [member("a"), member("b")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "directory.db"


@pytest.fixture
def store(path: Path) -> Iterator[RowStore]:
    one = RowStore(f"sqlite:///{path}", 0.2)
    yield one
    one.close()


def row(epoch: int, leader: str = "d:1", beat: int = 1) -> Row:
    return Row(epoch, assign(Table.empty(), NODES, epoch), leader, beat, 1_700_000_000_000 + epoch, {"a:1": 5})


def test_at_first_there_is_none_then_it_is_as_written(store: RowStore) -> None:
    assert store.load() is None
    assert store.commit(0, row(1))
    found = store.load()
    assert found is not None
    assert (found.epoch, found.leader, found.beat, found.cluster_time, found.joined) == (1, "d:1", 1, 1_700_000_000_001, {"a:1": 5})
    assert (found.table.owners, found.table.terms, found.table.members) == (row(1).table.owners, row(1).table.terms, tuple(NODES))
    assert found.live == ("a:1", "b:1")


def test_it_changes_only_from_the_epoch_that_is_expected(store: RowStore, path: Path) -> None:
    store.load()
    other = RowStore(f"sqlite:///{path}", 0.2)
    other.load()
    assert store.commit(0, row(1, "d:1"))
    assert not other.commit(0, row(1, "e:1"))
    assert other.commit(1, row(2, "e:1"))
    assert not store.commit(1, row(2, "d:1"))
    assert not store.commit(7, row(8, "d:1"))
    found = store.load()
    assert found is not None and (found.epoch, found.leader) == (2, "e:1")
    other.close()


def test_only_the_leader_beats(store: RowStore) -> None:
    store.load()
    assert not store.beat("d:1", 1, 1)
    store.commit(0, row(1, "d:1"))
    assert store.beat("d:1", 7, 99) and not store.beat("d:2", 8, 100)
    found = store.load()
    assert found is not None and (found.beat, found.cluster_time, found.epoch) == (7, 99, 1)


def test_the_row_survives_another_start(store: RowStore, path: Path) -> None:
    store.load()
    store.commit(0, row(1))
    store.close()
    again = RowStore(f"sqlite:///{path}", 0.2)
    found = again.load()
    assert found is not None and found.epoch == 1
    again.close()


def test_a_database_that_somebody_holds_is_an_error_that_says_nothing_landed(store: RowStore, path: Path) -> None:
    store.load()
    store.commit(0, row(1))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(RowError, match="locked") as error:
        store.commit(1, row(2))
    assert not error.value.may_land
    holder.execute("ROLLBACK")
    holder.close()
    assert store.commit(1, row(2))


def test_a_database_that_cannot_be_opened_is_an_error_until_it_can(path: Path) -> None:
    path.mkdir()
    store = RowStore(f"sqlite:///{path}", 0.2)
    with pytest.raises(RowError, match="unable to open"):
        store.load()
    path.rmdir()
    assert store.load() is None
    store.close()


def test_a_row_that_cannot_be_read_is_an_error_not_an_empty_cluster(store: RowStore, path: Path) -> None:
    store.load()
    store.commit(0, row(1))
    damage = sqlite3.connect(path)
    damage.execute("UPDATE directory SET slots = x'00ff'")
    damage.commit()
    damage.close()
    with pytest.raises(RowError, match="not a table delta"):
        store.load()


def test_a_schema_of_a_newer_release_is_an_error(store: RowStore, path: Path) -> None:
    store.load()
    newer = sqlite3.connect(path)
    newer.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    newer.commit()
    newer.close()
    with pytest.raises(RowError, match="9999"):
        RowStore(f"sqlite:///{path}", 0.2).load()


def test_the_migrations_lead_to_what_the_model_says(path: Path) -> None:
    for _ in range(2):
        RowStore(f"sqlite:///{path}", 0.2).load()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_directory_whose_schema_is_at_its_head_never_loads_alembic(tmp_path: Path) -> None:
    """Half a second of CPU, in a process that everybody waits for."""
    url = f"sqlite:///{tmp_path}/directory.db"
    RowStore(url, 1.0).load()
    program = f"import sys, directory.main\nfrom directory.row import RowStore\nRowStore({url!r}, 1.0).load()\n"
    done = subprocess.run([sys.executable, "-c", program + "print('alembic' in sys.modules)"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
