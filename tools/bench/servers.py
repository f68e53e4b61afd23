"""The servers that a bench measures: a cluster that it starts itself (or one that runs), and the two relays that are the floors."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
from homing.ids import SLOTS
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from tools.errors import CommandError
from tools.layout import Layout
from tools.ports import is_free

START_S = 60.0
RELAYS = {"picows": "tools.bench.relays.picows_relay", "aiohttp": "tools.bench.relays.aiohttp_relay"}


class Reading(Struct):
    """What the servers had used at one moment."""

    cpu_s: dict[str, float]
    rss_kib: dict[str, float]
    counters: dict[str, float]
    """Prometheus counters of all processes, added up by name."""


class _Node(Struct):
    public_url: str
    slots: list[tuple[int, int]]
    """Runs: first slot, count."""


class SlotMap(Struct):
    """The directory's ``GET /v1/slots``, as far as it is needed here."""

    nodes: list[_Node]


class Server:
    """Some processes whose cost is counted."""

    def __init__(self, pids: dict[str, int], metrics: dict[str, str]) -> None:
        self.processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.metrics = metrics
        """Process name → URL of its metrics."""

    def read(self) -> Reading:
        cpu = {name: _cpu_s(process) for name, process in self.processes.items()}
        rss = {name: process.memory_info().rss / 1024 for name, process in self.processes.items()}
        counters: dict[str, float] = {}
        for url in self.metrics.values():
            for name, value in scrape(url).items():
                counters[name] = counters.get(name, 0.0) + value
        return Reading(cpu, rss, counters)


class Running(Server):
    """A cluster of `homing up`.

    Attributes:
        layout: its files and ports.
        nodes: node name → WebSocket URL.
    """

    def __init__(self, layout: Layout) -> None:
        state = json.loads(layout.state_file.read_text(encoding="utf-8"))
        parts = {p["name"]: p for p in state["processes"]}
        super().__init__({name: p["pid"] for name, p in parts.items()}, {name: f"{p['url']}/metrics" for name, p in parts.items()})
        self.layout = layout
        self.nodes = {name: p["url"].replace("http:", "ws:") + "/v1/ws" for name, p in parts.items() if p["role"] == "node"}
        self.directory = next(p["url"] for p in parts.values() if p["role"] == "directory")

    def slots(self) -> list[str]:
        """The WebSocket URL of the home of each slot."""
        with urllib.request.urlopen(f"{self.directory}/v1/slots", timeout=5) as answer:
            found = msgspec.json.decode(answer.read(), type=SlotMap)
        owners = [""] * SLOTS
        for node in found.nodes:
            for first, count in node.slots:
                owners[first : first + count] = [f"{node.public_url}/v1/ws"] * count
        return owners


def free_base(nodes: int) -> int:
    """A base port whose whole scheme is free."""
    for _ in range(200):
        base = random.randrange(20_000, 32_000, 200)
        if all(is_free(port) for part in Layout(Path(), base, nodes).parts() for port in (part.http_port, part.mesh_port)):
            return base
    raise CommandError("no free ports for a cluster")


@contextlib.contextmanager
def own_cluster(nodes: int) -> Iterator[Running]:
    """Starts a cluster on free ports with a data directory of its own, and stops it."""
    data = Path(tempfile.mkdtemp(prefix="homing-bench-"))
    base = free_base(nodes)
    command = [sys.executable, "-P", "-m", "tools.cli", "up", "--nodes", str(nodes), "--data", str(data), "--base-port", str(base)]
    log = data / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        layout = Layout(data, base, nodes)
        wait_until_ready(layout, process, log)
        yield Running(layout)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            process.wait(15)
        shutil.rmtree(data, ignore_errors=True)


def wait_until_ready(layout: Layout, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        if all(_answers(f"{part.url}/readyz") for part in layout.parts()):
            return
        time.sleep(0.1)
    raise CommandError(f"the cluster did not become ready:\n{log.read_text(errors='replace')[-2_000:]}")


@contextlib.contextmanager
def relay(kind: str) -> Iterator[tuple[str, Server]]:
    """Starts a bare relay, ``picows`` or ``aiohttp``; gives its URL."""
    command = [sys.executable, "-P", "-m", RELAYS[kind], "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        yield url, Server({kind: process.pid}, {})
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _cpu_s(process: psutil.Process) -> float:
    """Seconds on a processor, all threads; the scheduler's own nanoseconds, for ``times`` counts in hundredths."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def scrape(url: str) -> dict[str, float]:
    """Counters (names that end in ``_total``) and gauges of one process, labels added up."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except OSError as error:
        raise CommandError(f"{url} does not answer: {error}") from error
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
