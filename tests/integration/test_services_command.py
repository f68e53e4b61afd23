"""`homing services` with real servers: twice, stopped, killed, started again with what they held, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cassandra_rig import CassandraServer, server

pytestmark = pytest.mark.timeout(300)  # real servers that start, on a machine that may be busy


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


# ---------------------------------------------------------------- PostgreSQL and Redis


class Server:
    """One of the services that are a single process."""

    def __init__(self, name: str, data: Path) -> None:
        self.name, self.data = name, data

    def call(self, action: str, *options: str) -> dict[str, object]:
        command = [sys.executable, "-P", "-m", "tools.cli", "services", action, self.name, "--data", str(self.data), "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.returncode in (0, 7), done.stderr
        (status,) = json.loads(done.stdout)["services"]
        assert isinstance(status, dict)
        return status

    @property
    def address(self) -> tuple[str, int]:
        endpoints = self.call("status")["endpoints"]
        assert isinstance(endpoints, list)
        (endpoint,) = endpoints
        host, port = str(endpoint).split(":")
        return host, int(port)

    @property
    def pid(self) -> int:
        pids = self.call("status")["pids"]
        assert isinstance(pids, dict)
        return int(pids["server"])


@pytest.fixture(params=["postgres", "redis"])
def single(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    made = Server(request.param, tmp_path)
    made.call("up", "--port", "0")
    yield made
    assert made.call("down")["state"] == "stopped"
    assert made.call("down")["pids"] == {}


def test_a_server_is_started_once_seen_when_killed_and_started_again(single: Server) -> None:
    running = single.call("status")
    assert running["state"] == "running" and single.call("up") == running
    pid, port = single.pid, single.address[1]
    assert "stop it first" in refused(single.data, "up", single.name, "--port", str(port + 1))
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while single.call("status")["state"] != "stopped" and time.monotonic() < until:
        time.sleep(0.1)
    with socket.socket() as other:  # somebody else takes its port meanwhile
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(single.address)
        other.listen()
        assert f"port {port} is in use" in refused(single.data, "up", single.name)
    again = single.call("up")
    assert again["state"] == "running" and single.address[1] == port and single.pid != pid


def test_postgres_keeps_what_was_written_over_a_stop_and_a_kill(tmp_path: Path) -> None:
    server = Server("postgres", tmp_path)
    server.call("up", "--port", "0")

    def sql(text: str) -> str:
        host, port = server.address
        command = ["psql", "-h", host, "-p", str(port), "-U", "homing", "-d", "homing", "-qAtw", "-c", text]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()

    try:
        sql("CREATE TABLE kept (n integer)")
        for n, number in enumerate((signal.SIGKILL, signal.SIGINT), 1):
            sql(f"INSERT INTO kept VALUES ({n})")
            os.kill(server.pid, number)
            until = time.monotonic() + 20
            while server.call("status")["pids"] and time.monotonic() < until:
                time.sleep(0.1)
            server.call("up")
            assert sql("SELECT count(*) FROM kept") == str(n)
    finally:
        server.call("down")
