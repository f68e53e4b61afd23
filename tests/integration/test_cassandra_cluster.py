"""A whole cluster whose rows lie in a real Cassandra: real chats over two storage workers, one of which is killed, and Cassandra itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cassandra_rig import CassandraServer
from tests.integration.conftest import ClusterProcess, free_base_port
from tests.integration.test_replay_cluster import CHATS, RUN_TIMEOUT_S, _wait_for_output, command, long_chat, replay
from tools.layout import Layout

NODES = 2
pytestmark = pytest.mark.timeout(300)  # real servers that start, on a machine that may be busy


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    data = tmp_path_factory.mktemp("cassandra") / "data"
    made = ClusterProcess(data, NODES, free_base_port(98))
    made.layout = Layout(made.layout.data, made.layout.base_port, NODES, workers=2)
    made.start("--storage", "cassandra", "--workers", "2")
    try:
        made.wait_ready()
        yield made
        assert made.stop() == 0
    finally:
        left = made.clean_up()
        CassandraServer(data).stop()
    assert left == {}, f"processes were left behind: {left}"
    shutil.rmtree(data / "services")


def test_a_chat_over_cassandra_is_the_file_on_every_device(cluster: ClusterProcess) -> None:
    result = replay(CHATS / "android-day-first.txt", cluster, "--split-nodes", "--churn", "0.5")
    assert (result["equal"], result["differences"]) == (True, [])


def test_both_workers_write_and_neither_has_the_file_that_there_is_not(cluster: ClusterProcess) -> None:
    assert not list((cluster.data / "store").glob("homing.db*"))
    for name in ("storage-1", "storage-2"):
        line = next(line for line in cluster.layout.log_file(name).read_text().splitlines() if '"started"' in line)
        assert json.loads(line)["store"].startswith("keyspace homing at 127.0.0.1:")


@pytest.mark.parametrize("victim", ["storage-1", "cassandra"])
def test_nothing_is_lost_when_it_is_killed_under_load(victim: str, cluster: ClusterProcess, tmp_path: Path) -> None:
    file = long_chat(tmp_path / "2024-01-01.log", 300, 12)
    out = tmp_path / "out.txt"
    with out.open("wb") as errors:
        process = subprocess.Popen(command(file, cluster, "--speed", "300", "--churn", "0.3"), stdout=subprocess.PIPE, stderr=errors)
    try:
        _wait_for_output(out, process)
        if victim == "cassandra":
            server = CassandraServer(cluster.data)
            os.kill(server.pids["node-1"], signal.SIGKILL)
            server.services("up")
        else:
            cluster.wait_restarted(victim, cluster.kill(victim))
        stdout, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, stdout.decode() + out.read_text()
    result = json.loads(stdout)
    assert (result["equal"], result["people"], result["messages"]) == (True, 12, 300)
    cluster.wait_ready()
