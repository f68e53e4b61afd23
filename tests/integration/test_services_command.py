"""`homing services` with a real Cassandra: twice, stopped, killed, started again with what it held, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cassandra_rig import CassandraServer, server


@pytest.fixture(scope="module")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    with server(tmp_path_factory.mktemp("services")) as started:
        yield started


def refused(data: Path, *arguments: str) -> str:
    command = [sys.executable, "-P", "-m", "tools.cli", "services", *arguments, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_to_start_it_twice_changes_nothing(cassandra: CassandraServer) -> None:
    before = cassandra.services("status")
    assert before["state"] == "running" and cassandra.services("up") == before


def test_what_runs_is_not_moved_nor_grown(cassandra: CassandraServer) -> None:
    assert "stop it first" in refused(cassandra.data, "up", "cassandra", "--port", str(cassandra.port - 1))
    assert "holds a Cassandra of 1 nodes" in refused(cassandra.data, "up", "cassandra", "--nodes", "3")


def test_the_port_of_another_program_is_refused_and_it_is_named(cassandra: CassandraServer, tmp_path: Path) -> None:
    said = refused(tmp_path, "up", "cassandra", "--port", str(cassandra.port))
    assert f"port {cassandra.port} is in use by java (pid {cassandra.pids['node-1']})" in said
    assert not list((tmp_path / "services" / "cassandra").glob("node-*"))


def test_a_killed_one_is_seen_and_started_again_at_its_place(cassandra: CassandraServer) -> None:
    pid = cassandra.pids["node-1"]
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while cassandra.pids and time.monotonic() < until:
        time.sleep(0.1)
    assert cassandra.services("status")["state"] == "stopped"
    again = cassandra.services("up")
    assert again["state"] == "running" and again["endpoints"] == cassandra.endpoints and cassandra.pids["node-1"] != pid


def test_one_that_hangs_is_partial_and_is_stopped_all_the_same(cassandra: CassandraServer) -> None:
    cassandra.signal(signal.SIGSTOP)
    assert cassandra.services("status")["state"] == "partial"
    os.kill(cassandra.pids["node-1"], signal.SIGCONT)
    cassandra.stop()
    assert cassandra.services("status")["state"] == "stopped" and cassandra.services("down")["state"] == "stopped"
    cassandra.start()
