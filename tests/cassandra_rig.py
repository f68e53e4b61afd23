"""A real Cassandra for tests: one node on free ports, brought up by `homing services` once for a test run, stopped at its end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from storage.cassandra import checks, schema
from storage.cassandra.connection import Connection
from storage.config import CassandraConfig

UP_TIMEOUT_S = 600.0
"""A first start fetches Cassandra, and Java and Maven where they are missing."""
START_ONLY = """
import sys
from pathlib import Path
from tools.services.cassandra import Cassandra
from tools.services.service import Options
Cassandra(Path(sys.argv[1])).start_again([int(number) for number in sys.argv[2:]], Options(), print)
"""


class CassandraServer:
    """What `homing services up cassandra --data DATA` started; all processes are told apart by that directory."""

    def __init__(self, data: Path, nodes: int = 1, *options: str) -> None:
        self.data = data
        self.nodes = nodes
        self.options = options
        """More of `homing services up`."""
        self.port = 0
        self.endpoints: list[str] = []
        self._numbers = itertools.count(1)

    def services(self, action: str, *options: str) -> dict[str, object]:
        """Calls the command; returns what it says of Cassandra."""
        command = [sys.executable, "-P", "-m", "tools.cli", "services", action, "cassandra", "--data", str(self.data), "--json"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False)
        assert done.returncode in (0, 7), f"homing services {action}: {done.stderr}"
        (status,) = json.loads(done.stdout)["services"]
        assert isinstance(status, dict)
        return status

    def start(self) -> None:
        port = str(self.port) if self.port else "0"
        status = self.services("up", "--nodes", str(self.nodes), "--port", port, *self.options)
        assert status["state"] == "running"
        self.endpoints = [str(endpoint) for endpoint in status["endpoints"]]  # type: ignore[attr-defined]
        self.port = int(self.endpoints[0].rpartition(":")[2])

    def start_only(self, *numbers: int) -> None:
        """Starts some of its nodes, which were killed; the others stay away."""
        command = [sys.executable, "-P", "-c", START_ONLY, str(self.data / "services" / "cassandra"), *map(str, numbers)]
        subprocess.run(command, check=True, capture_output=True, timeout=UP_TIMEOUT_S)

    def stop(self) -> None:
        self.services("down")

    @property
    def pids(self) -> dict[str, int]:
        """Name of the node → process, of those that run."""
        return dict(self.services("status")["pids"])  # type: ignore[call-overload, no-any-return]

    def signal(self, number: int, node: str = "node-1") -> None:
        os.kill(self.pids[node], number)

    def config(self, keyspace: str, **more: object) -> CassandraConfig:
        """A store's configuration."""
        points = tuple(endpoint.rpartition(":")[0] for endpoint in self.endpoints)
        values = {"contact_points": points, "port": self.port, "keyspace": keyspace, "replication_factor": min(3, self.nodes), **more}
        return CassandraConfig(**values)  # type: ignore[arg-type]

    def new_keyspace(self, **more: object) -> CassandraConfig:
        """The configuration of a store whose keyspace has just been made."""
        config = self.config(f"test_{next(self._numbers)}", **more)
        with connection(config) as admin:
            checks.migrate(admin, lambda text: None)
        return config


class Scratch:
    """A keyspace that tests take in turns: emptying it is ten times faster than making one."""

    def __init__(self, server: CassandraServer) -> None:
        self.config = server.new_keyspace()
        self._admin = Connection(self.config)

    def empty(self) -> None:
        asked = [self._admin.session.execute_async(f"TRUNCATE {self.config.keyspace}.{table}", timeout=30) for table in schema.TABLES]
        for one in asked:
            one.result()

    def close(self) -> None:
        self._admin.close()


@contextlib.contextmanager
def connection(config: CassandraConfig) -> Iterator[Connection]:
    """A session of its own, for looks and changes from outside."""
    made = Connection(config)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def server(data: Path, nodes: int = 1, *options: str) -> Iterator[CassandraServer]:
    made = CassandraServer(data, nodes, *options)
    try:
        made.start()
        yield made
    finally:
        made.stop()
    assert made.services("status")["pids"] == {}, "a Cassandra was left behind"
    shutil.rmtree(data / "services")  # a hundred megabytes a node, which pytest would keep
