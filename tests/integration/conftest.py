"""Fixtures of the integration tier: a real cluster, started by `homing up` on free ports and a data directory of its own.

* ``cluster``: three nodes, for this test alone; processes may be killed.
* ``shared_cluster``: three nodes for the whole run, for tests that harm nothing.
* ``start_cluster``: makes others (``start_cluster(nodes=1)``).

A process that is left behind fails the test (and is killed).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.layout import Layout
from tools.ports import taken
from tools.processes import running

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
PORTS = range(20_000, 32_000)
"""Below those that the system hands out by itself."""


def free_base_port(nodes: int, data: Path = Path("/nonexistent")) -> int:
    """A base port whose ports are all free now."""
    chance = random.Random(os.getpid() ^ time.monotonic_ns())  # other test runs on this machine choose as well
    for _ in range(200):
        layout = Layout(data, chance.randrange(PORTS.start, PORTS.stop, 10), nodes)
        if not taken(port for part in layout.parts() for port in (part.http_port, part.mesh_port)):
            return layout.base_port
    raise RuntimeError("found no free ports")


class ClusterProcess:
    """A `homing up` that runs.

    Attributes:
        layout: its processes and files.
        up: the supervisor.
    """

    def __init__(self, data: Path, nodes: int = 3, base_port: int | None = None) -> None:
        self.layout = Layout(data.resolve(), base_port or free_base_port(nodes), nodes)
        self.up: subprocess.Popen[bytes] | None = None
        self.output = data.with_name(f"{data.name}-up.txt")

    @property
    def data(self) -> Path:
        return self.layout.data

    @property
    def url(self) -> str:
        """The directory's HTTP."""
        return self.layout.directory.url

    @property
    def node_urls(self) -> list[str]:
        """``ws://host:port`` of each node."""
        return [part.url.replace("http://", "ws://") for part in self.layout.parts() if part.role == "node"]

    @property
    def pids(self) -> dict[str, int]:
        """Name → pid of what runs now."""
        return dict(running(self.layout.config_dir))

    def start(self, *options: str) -> None:
        """Starts the supervisor and returns at once."""
        layout = self.layout
        command = [sys.executable, "-P", "-m", "tools.cli", "up", "--nodes", str(layout.nodes), "--data", str(layout.data)]
        with self.output.open("ab") as out:
            self.up = subprocess.Popen([*command, "--base-port", str(layout.base_port), *options], stdout=out, stderr=out)

    def said(self) -> str:
        return self.output.read_text()

    def wait_ready(self) -> None:
        """Waits until `homing up` says that the cluster is ready."""
        self.wait(lambda: self.state().get("ready") is True, READY_TIMEOUT_S, "the cluster is not ready")

    def wait(self, holds: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        """Waits until ``holds``; fails with what the supervisor said."""
        until = time.monotonic() + timeout_s
        while not holds():
            assert self.up is not None and self.up.poll() is None, f"homing up has ended:\n{self.said()}"
            assert time.monotonic() < until, f"{otherwise}:\n{self.said()}"
            time.sleep(0.05)

    def state(self) -> dict[str, object]:
        """What `homing up` notes of itself; empty while it does not."""
        try:
            value = json.loads(self.layout.state_file.read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(value, dict)
        return value if self.up is not None and value.get("pid") == self.up.pid else {}

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signals a process; returns its pid."""
        pid = self.pids[name]
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> int:
        """Waits until ``name`` runs under another pid and the cluster is ready again; returns the new pid."""
        self.wait(lambda: self.pids.get(name, old_pid) != old_pid, READY_TIMEOUT_S, f"{name} was not started again")
        self.wait_ready()
        return self.pids[name]

    def kill_supervisor(self) -> None:
        assert self.up is not None
        self.up.kill()
        self.up.wait()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stops the cluster as Ctrl-C does; returns the exit code."""
        assert self.up is not None
        if self.up.poll() is None:
            self.up.send_signal(number)
        return self.up.wait(STOP_TIMEOUT_S)

    def clean_up(self) -> dict[str, int]:
        """Ends whatever is left; returns what should not have been there."""
        if self.up is not None and self.up.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill_supervisor()
        left = self.pids
        for pid in left.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


@contextlib.contextmanager
def clusters(folder: Path) -> Iterator[Callable[..., ClusterProcess]]:
    """Makes clusters, and sees to it that nothing of them is left."""
    made: list[ClusterProcess] = []

    def make(nodes: int = 3, *, ready: bool = True, data: Path | None = None) -> ClusterProcess:
        cluster = ClusterProcess(data or folder / f"data-{len(made)}", nodes)
        made.append(cluster)
        cluster.start()
        if ready:
            cluster.wait_ready()
        return cluster

    yield make
    left = {str(cluster.data): pids for cluster in made if (pids := cluster.clean_up())}
    assert left == {}, f"processes were left behind: {left}"


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Callable[..., ClusterProcess]]:
    with clusters(tmp_path) as make:
        yield make


@pytest.fixture
def cluster(start_cluster: Callable[..., ClusterProcess]) -> ClusterProcess:
    return start_cluster()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with clusters(tmp_path_factory.mktemp("shared")) as make:
        yield make()
