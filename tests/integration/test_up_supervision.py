"""`homing up` with the real processes: ready, killed, killed itself, started twice, stopped early, once and twice."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import ClusterProcess
from tools.ports import is_free
from tools.processes import running
from tools.status import once, where

NAMES = {"directory-1", "storage-1", "node-1", "node-2", "node-3"}


def get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        value = json.loads(answer.read())
    assert isinstance(value, dict)
    return value


def homing(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-P", "-m", "tools.cli", *arguments], capture_output=True, text=True, timeout=60)


async def test_it_says_where_everything_is_and_every_process_answers(shared_cluster: ClusterProcess) -> None:
    said = shared_cluster.said()
    assert "Homing is ready" in said and shared_cluster.url in said and str(shared_cluster.data) in said
    first, *others = shared_cluster.node_urls
    assert f"{first}/v1/ws" in said and all(url.rpartition(":")[2] in said for url in others)
    for part in shared_cluster.layout.parts():
        assert get(f"{part.url}/healthz") == {"ok": True}
        assert get(f"{part.url}/readyz") == {"ready": True}
    url, known = where(None, shared_cluster.data)
    status = await once(url, known, 0.1)
    assert {p.name for p in status.processes} == NAMES
    assert all(p.reachable and p.ready and p.in_table is not False for p in status.processes)
    assert sum(p.slots or 0 for p in status.processes if p.role == "node") == 16_384
    assert all(p.rates["cpu"] is not None for p in status.processes)


def test_status_from_the_command_line(shared_cluster: ClusterProcess) -> None:
    table = homing("status", "--data", str(shared_cluster.data), "--interval", "0.1")
    assert table.returncode == 0 and all(name in table.stdout for name in NAMES) and "?" not in table.stdout
    value = json.loads(homing("status", "--data", str(shared_cluster.data), "--interval", "0.1", "--json").stdout)
    assert value["schema"] == "homing.status/1" and len(value["processes"]) == len(NAMES)
    by_url = homing("status", "--url", shared_cluster.url, "--interval", "0.1")
    assert by_url.returncode == 0 and "?" in by_url.stdout, "the directory does not tell storage's HTTP address: unknown, not 0"


def test_a_second_one_on_the_same_data_is_refused_and_told_who_holds_it(shared_cluster: ClusterProcess) -> None:
    assert shared_cluster.up is not None
    second = homing("up", "--data", str(shared_cluster.data), "--base-port", "19000")
    assert second.returncode == 1 and f"pid {shared_cluster.up.pid}" in second.stderr and second.stderr.count("\n") == 1
    assert set(shared_cluster.pids) == NAMES


def test_a_port_in_use_is_told_before_anything_is_started(tmp_path: Path, shared_cluster: ClusterProcess) -> None:
    base_port = str(shared_cluster.layout.base_port)
    refused = homing("up", "--data", str(tmp_path / "d"), "--base-port", base_port)
    assert refused.returncode == 1 and f"port {base_port} is in use" in refused.stderr
    assert list((tmp_path / "d" / "logs").glob("*-*.log")) == [], "no process was started"


@pytest.mark.parametrize("name", ["node-2", "storage-1", "directory-1"])
def test_what_is_killed_runs_again(cluster: ClusterProcess, name: str) -> None:
    old = cluster.kill(name)
    assert cluster.wait_restarted(name, old) != old
    assert set(cluster.pids) == NAMES
    assert f"{name:<12}was killed by SIGKILL; starting it again now" in cluster.said()
    assert cluster.stop() == 0


def test_the_cluster_outlives_its_supervisor_and_the_next_one_takes_it_over(cluster: ClusterProcess) -> None:
    before = cluster.pids
    cluster.kill_supervisor()
    assert cluster.pids == before
    assert all(get(f"{part.url}/readyz") == {"ready": True} for part in cluster.layout.parts()), "it goes on by itself"
    cluster.start()
    cluster.wait_ready()
    assert cluster.pids == before, "nothing was interrupted"
    assert cluster.said().count("taken over") == len(NAMES)
    old = cluster.kill("node-1")
    cluster.wait_restarted("node-1", old)
    assert cluster.stop() == 0 and cluster.pids == {}


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.5])
def test_a_supervisor_killed_while_it_starts_does_not_make_the_next_start_fail(
    start_cluster: Callable[..., ClusterProcess], after_s: float
) -> None:
    cluster = start_cluster(1, ready=False)
    cluster.wait(lambda: bool(cluster.pids), 20, "nothing was started")
    time.sleep(after_s)
    cluster.kill_supervisor()
    cluster.start()
    cluster.wait_ready()
    assert len(list(running(cluster.layout.config_dir))) == 3, "one process of each, not two"
    assert cluster.stop() == 0


def test_json_tells_every_event_and_where_everything_is(tmp_path: Path) -> None:
    cluster = ClusterProcess(tmp_path / "data", 1)
    layout = cluster.layout
    command = [
        sys.executable,
        "-P",
        "-m",
        "tools.cli",
        "up",
        "--nodes",
        "1",
        "--data",
        str(layout.data),
        "--base-port",
        str(layout.base_port),
        "--json",
    ]
    up = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert up.stdout is not None
    events: list[dict[str, object]] = []
    try:
        for line in up.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] == "cluster_ready":
                up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
    finally:
        up.kill()
        up.wait()
        up.stdout.close()
        left = cluster.clean_up()
    assert left == {}
    assert {e["schema"] for e in events} == {"homing.up/1"} and events[-1]["event"] == "cluster_stopped"
    ready = next(e for e in events if e["event"] == "cluster_ready")
    assert ready["url"] == cluster.url and ready["data"] == str(cluster.data)
    started = {e["name"]: e["pid"] for e in events if e["event"] == "started"}
    assert isinstance(ready["processes"], list)
    assert {p["name"]: p["pid"] for p in ready["processes"]} == started and len(started) == 3


def test_processes_that_no_longer_belong_are_stopped_when_fewer_nodes_are_asked_for(start_cluster: Callable[..., ClusterProcess]) -> None:
    big = start_cluster(2)
    node_1 = big.pids["node-1"]
    big.kill_supervisor()
    small = ClusterProcess(big.data, 1, big.layout.base_port)
    small.start()
    small.wait_ready()
    assert set(small.pids) == {"directory-1", "storage-1", "node-1"} and small.pids["node-1"] == node_1
    assert small.stop() == 0


def test_stopping_is_clean_and_ordered_and_the_ports_are_free_again(cluster: ClusterProcess) -> None:
    assert cluster.stop(signal.SIGTERM) == 0
    assert cluster.pids == {} and "Stopped." in cluster.said() and not cluster.layout.state_file.exists()
    assert all(is_free(port) for part in cluster.layout.parts() for port in (part.http_port, part.mesh_port))
    events = [json.loads(line) for line in cluster.layout.log_file("up").read_text().splitlines()]
    stopped = [e["name"].rpartition("-")[0] for e in events if e["event"] == "process_stopped"]
    assert stopped == ["node", "node", "node", "storage", "directory"]
    assert {e["reason"] for e in events if e["event"] == "process_stopped"} == {"ended with exit code 0"}


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 1.2])
def test_pressed_early_it_leaves_nothing_behind(start_cluster: Callable[..., ClusterProcess], after_s: float) -> None:
    cluster = start_cluster(2, ready=False)
    time.sleep(after_s)
    code = cluster.stop()
    assert cluster.pids == {}
    assert code in ({0, 130} if "starting" in cluster.said() else {0, 130, -signal.SIGINT, 1}), cluster.said()


def test_pressed_twice_it_does_not_wait(cluster: ClusterProcess) -> None:
    assert cluster.up is not None
    os.kill(cluster.pids["node-1"], signal.SIGSTOP)  # does not answer SIGTERM
    cluster.up.send_signal(signal.SIGINT)
    cluster.wait(lambda: "Stopping" in cluster.said(), 10, "it does not stop")
    began = time.monotonic()
    assert cluster.stop() == 130
    assert time.monotonic() - began < 5 and cluster.pids == {}
    assert "Killing what is left" in cluster.said()


def test_what_cannot_start_is_given_up_with_the_end_of_its_log(start_cluster: Callable[..., ClusterProcess], tmp_path: Path) -> None:
    data = tmp_path / "broken"
    (data / "store").mkdir(parents=True, mode=0o700)
    (data / "store" / "homing.db").mkdir()  # where storage wants a file
    cluster = ClusterProcess(data, 1)
    cluster.start("--start-timeout", "10")
    assert cluster.up is not None
    assert cluster.up.wait(60) == 1
    assert "storage-1" in cluster.said() and cluster.pids == {}


def test_a_port_taken_while_it_runs_is_no_reason_to_hang(tmp_path: Path, start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(1)
    node = next(part for part in cluster.layout.parts() if part.role == "node")
    os.kill(cluster.pids["node-1"], signal.SIGSTOP)
    old = cluster.kill("node-1")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(100):
            try:
                thief.bind(("127.0.0.1", node.http_port))
                break
            except OSError:
                time.sleep(0.01)
        else:
            pytest.fail("the port was never free: the node was faster than this test")
        thief.listen()
        cluster.wait(lambda: cluster.said().count("node-1      ended") >= 2, 30, "it is not tried again")
    cluster.wait_restarted("node-1", old)
    assert cluster.stop() == 0
