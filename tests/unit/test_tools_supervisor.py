"""The supervisor: what ends is started again, with growing delays; stopping has an order and a bound; what is found is taken over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.processes import Process, command_line, running
from tools.supervisor import Event, Supervisor, SupervisorLimits, Watched

SLEEP = ["sleep", "60"]
DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]
LIMITS = SupervisorLimits(restart_delay_s_min=0.01, stop_s={"node": 5.0, "storage": 5.0, "directory": 5.0})


class Bench:
    """A supervisor over small processes, and what it reported."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.events: list[Event] = []
        self.supervisor: Supervisor | None = None

    def make(self, commands: dict[tuple[str, str], list[str]], limits: SupervisorLimits = LIMITS) -> Supervisor:
        def starter(name: str, command: list[str]) -> Callable[[], Process]:
            return lambda: Process.start(command, self.tmp / f"{name}.log")

        self.supervisor = Supervisor([Watched(n, r, starter(n, c)) for (n, r), c in commands.items()], self.events.append, limits)
        return self.supervisor

    def kinds(self) -> list[tuple[str, str]]:
        return [(e.kind, e.name) for e in self.events]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for pid in {e.pid for e in made.events if e.pid}:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def test_what_is_killed_is_started_again_at_once(bench: Bench) -> None:
    supervisor = bench.make({("node-1", "node"): SLEEP}, SupervisorLimits(restart_delay_s_min=60))
    supervisor.start({})
    first = supervisor.pids["node-1"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("node-1", first) != first)
    ended = bench.events[1]
    assert (ended.kind, ended.reason, ended.delay_s) == ("ended", "was killed by SIGKILL", 0.0)
    assert await supervisor.stop()


async def test_what_keeps_ending_waits_longer_each_time(bench: Bench) -> None:
    supervisor = bench.make({("node-1", "node"): ["false"]})
    supervisor.start({})
    await until(lambda: sum(e.kind == "ended" for e in bench.events) >= 4)
    ended = [e for e in bench.events if e.kind == "ended"]
    assert [e.delay_s for e in ended[:4]] == [0.0, 0.01, 0.02, 0.04]
    assert ended[0].reason == "ended with exit code 1"
    await supervisor.stop()
    starts = len(bench.events)
    await asyncio.sleep(0.1)
    assert len(bench.events) == starts, "a stopped supervisor starts nothing"


async def test_what_ran_well_starts_afresh(bench: Bench) -> None:
    supervisor = bench.make({("node-1", "node"): ["true"]}, SupervisorLimits(restart_delay_s_min=0.01, well_s=0.0))
    supervisor.start({})
    await until(lambda: sum(e.kind == "ended" for e in bench.events) >= 4)
    assert {e.delay_s for e in bench.events} == {0.0}
    await supervisor.stop()


def test_the_delay_is_bounded() -> None:
    limits = SupervisorLimits()
    delays = [limits.restart_delay_s(n) for n in range(1, 100)]
    assert delays == sorted(delays) and delays[0] == 0 and delays[-1] == limits.restart_delay_s_max


async def test_a_command_that_cannot_be_started_is_tried_again(bench: Bench) -> None:
    supervisor = bench.make({("node-1", "node"): ["/nonexistent/program"]})
    supervisor.start({})
    await until(lambda: len(bench.events) >= 3)
    assert all(e.kind == "ended" and "could not be started" in e.reason for e in bench.events)
    assert await supervisor.stop()


async def test_nodes_stop_first_and_the_directory_last(bench: Bench) -> None:
    supervisor = bench.make({("directory-1", "directory"): SLEEP, ("storage-1", "storage"): SLEEP, ("node-1", "node"): SLEEP})
    supervisor.start({})
    assert await supervisor.stop()
    assert bench.kinds()[3:] == [("stopped", "node-1"), ("stopped", "storage-1"), ("stopped", "directory-1")]
    assert supervisor.pids == {}


async def deaf(bench: Bench, limits: SupervisorLimits) -> Supervisor:
    supervisor = bench.make({("node-1", "node"): DEAF, ("storage-1", "storage"): SLEEP}, limits)
    supervisor.start({})
    await until(lambda: (bench.tmp / "node-1.log").read_text() == "deaf\n")
    return supervisor


async def test_what_does_not_stop_in_time_is_killed_and_the_rest_still_stops_in_order(bench: Bench) -> None:
    supervisor = await deaf(bench, SupervisorLimits(stop_s={"node": 0.05, "storage": 5.0, "directory": 5.0}))
    assert not await supervisor.stop()
    assert bench.kinds()[2:] == [("killed", "node-1"), ("stopped", "node-1"), ("stopped", "storage-1")]


@pytest.mark.parametrize("early", [True, False])
async def test_whoever_hurries_does_not_wait_for_the_limit(bench: Bench, early: bool) -> None:
    supervisor = await deaf(bench, SupervisorLimits(stop_s={"node": 600.0, "storage": 600.0, "directory": 600.0}))
    if early:
        supervisor.hurry()
    stopping = asyncio.ensure_future(supervisor.stop())
    await asyncio.sleep(0.02)
    supervisor.hurry()
    async with asyncio.timeout(5):
        assert not await stopping
    assert supervisor.pids == {}


async def test_a_process_outlives_its_supervisor_and_the_next_one_takes_it_over(bench: Bench) -> None:
    orphan = subprocess.Popen(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, text=True)
    pid = int(orphan.communicate()[0])
    supervisor = bench.make({("node-1", "node"): SLEEP, ("node-2", "node"): SLEEP})
    supervisor.start({"node-1": pid})
    assert supervisor.pids["node-1"] == pid
    assert bench.kinds() == [("adopted", "node-1"), ("started", "node-2")]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("node-1", pid) != pid)
    assert await supervisor.stop()


async def test_a_found_process_that_ended_meanwhile_is_started(bench: Bench) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    supervisor = bench.make({("node-1", "node"): SLEEP})
    supervisor.start({"node-1": ended.pid})
    assert bench.kinds() == [("started", "node-1")]
    await supervisor.stop()


async def test_running_processes_are_found_by_their_command_line(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "cli.py").write_text("import time; time.sleep(60)")  # stands in for the real one: it only has to stay
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    config_dir = tmp_path / "config"
    commands = [command_line("node", d / "node-1.toml") for d in (config_dir, tmp_path / "another")] + [["sleep", str(config_dir)]]
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        await until(lambda: bool(list(running(config_dir))))
        assert list(running(config_dir)) == [("node-1", processes[0].pid)]
        processes[0].kill()
        await until(lambda: not list(running(config_dir)))  # not even as a zombie
    finally:
        for process in processes:
            process.kill()
            process.wait()
