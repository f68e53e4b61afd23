"""`homing store migrate` and `homing storage` with Cassandra in their configuration, as an operator calls them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from router import keys
from tests.cassandra_rig import CassandraServer, server
from tests.integration.test_storage_process import free_port
from tools import cli

pytestmark = pytest.mark.timeout(300)  # real servers that start, on a machine that may be busy


@pytest.fixture(scope="module")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    with server(tmp_path_factory.mktemp("commands")) as started:
        yield started


def configuration(folder: Path, *lines: str, engine: str = "cassandra") -> Path:
    file = folder / "storage-1.toml"
    keys.load_or_create(folder / "keys", "storage-1")
    process = f'name = "storage-1"\nendpoint = "tcp://127.0.0.1:{free_port()}"\nhttp_port = {free_port()}\nkeys_dir = "{folder}/keys"'
    directory = f'directories = ["directory-1=tcp://127.0.0.1:{free_port()}"]'
    storage = "\n".join(lines)
    path = f'path = "{folder}/homing.db"'
    file.write_text(
        f'[process]\n{process}\n[directory]\n{directory}\n[storage]\nengine = "{engine}"\n{path}\n[storage.cassandra]\n{storage}\n'
    )
    return file


def storage(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "tools.cli", "storage", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_migrate_makes_what_a_worker_then_takes_and_changes_nothing_the_second_time(
    cassandra: CassandraServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configuration(tmp_path, f"port = {cassandra.port}", "replication_factor = 1", 'keyspace = "operators"')
    refused = storage(config)
    assert refused.returncode == 1
    assert "there is no keyspace operators: run homing store migrate" in json.loads(refused.stderr.splitlines()[-1])["reason"]
    for said in ("made keyspace operators (1 copies in datacenter1)", "already"):
        assert cli.main(["store", "migrate", "--config", str(config)]) == 0
        assert said in capsys.readouterr().out
    worker = subprocess.Popen(
        [sys.executable, "-P", "-m", "tools.cli", "storage", "--config", str(config)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert worker.stderr is not None
        started = next(line for line in worker.stderr if '"started"' in line)
        assert f"keyspace operators at 127.0.0.1:{cassandra.port}" in started
    finally:
        worker.terminate()
        worker.communicate(timeout=30)
    assert worker.returncode == 0


def test_a_worker_whose_servers_hang_says_so_and_still_ends_when_told(cassandra: CassandraServer, tmp_path: Path) -> None:
    config = configuration(tmp_path, f"port = {cassandra.port}", "replication_factor = 1", 'keyspace = "hung"')
    assert cli.main(["store", "migrate", "--config", str(config)]) == 0
    cassandra.signal(signal.SIGSTOP)
    try:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.cli", "storage", "--config", str(config)], stderr=subprocess.PIPE, text=True
        )
        assert worker.stderr is not None
        assert "Cassandra at 127.0.0.1" in next(line for line in worker.stderr if "store_not_open" in line)
        cassandra.signal(signal.SIGCONT)
        next(line for line in worker.stderr if '"started"' in line)
        cassandra.signal(signal.SIGSTOP)
        began = time.monotonic()
        worker.terminate()
        worker.communicate(timeout=60)
        assert worker.returncode == 0 and time.monotonic() - began < 20
    finally:
        cassandra.signal(signal.SIGCONT)


def test_what_migrate_cannot_do_is_one_line_and_a_code(
    cassandra: CassandraServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (["port = 1"], 7, "Cassandra at 127.0.0.1"),
        ([f"port = {cassandra.port}", 'datacenter = "elsewhere"'], 7, "Cassandra at 127.0.0.1"),
        (['keyspace = "a b"'], 78, "storage.cassandra.keyspace"),
    ]
    for lines, code, said in cases:
        config = configuration(tmp_path, *lines)
        assert cli.main(["store", "migrate", "--config", str(config)]) == code
        err = capsys.readouterr().err
        assert err.startswith("homing store: ") and said in err


def test_on_sqlite_there_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["store", "migrate", "--config", str(configuration(tmp_path, engine="sqlite"))]) == 0
    assert "nothing to do" in capsys.readouterr().out and not (tmp_path / "homing.db").exists()
