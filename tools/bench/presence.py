"""``homing bench --scenario presence``: what it costs that people are there, watch each other, come and go; in percent of a core.

Everybody is connected to his home and says his heartbeat. What presence costs is the difference that watching makes: while nobody comes
or goes, and while some do.
"""

from __future__ import annotations

import subprocess
import sys
import time

import msgspec
from msgspec import Struct

from tools.bench.crowd import Crowd, Heard
from tools.bench.load import Person
from tools.bench.servers import Server
from tools.errors import CommandError

PEOPLE_PER_PROCESS = 5_000
WATCHED = 5
FLAP_PER_S = 20.0
"""People who go a second, and come back: each of 10,000 every eight minutes."""
FIRST_ROWS_S = 65.0
"""From the last one's coming until everybody's first row is written: that belongs to their coming."""
SETTLE_S = 12.0
"""From a change to the next reading: everybody has pinged, who goes is offline, and who was away is back."""


class Share(Struct):
    """What the servers used in one phase."""

    name: str
    percent: float
    """Of one core, all servers together."""
    nodes_percent: float
    frames_per_s: float
    """Mesh frames."""
    rows_per_s: float
    told_per_s: float
    """People in the presence frames that clients got."""


class PresenceFigures(Struct):
    connections: int
    watched: int
    flap_per_s: float
    phases: list[Share]
    at_rest_percent: float = 0.0
    """What watching adds while nobody comes or goes."""
    moving_percent: float = 0.0
    """What it adds while ``flap_per_s`` come and go."""
    lost: int = 0


def measure(server: Server, people: list[Person], seconds: float, flap_per_s: float = FLAP_PER_S) -> PresenceFigures:
    """Connects everybody and goes through the phases."""
    empty = _phase(server, [], "nobody is connected", seconds)
    parts = [people[n : n + PEOPLE_PER_PROCESS] for n in range(0, len(people), PEOPLE_PER_PROCESS)]
    processes = [_start(part) for part in parts]
    try:
        for process in processes:
            _expect(process, "ready")
        time.sleep(FIRST_ROWS_S if len(people) >= 1_000 else 0.0)
        rate = str(flap_per_s / len(processes))
        phases = [empty]
        for name, orders in (
            ("heartbeats", ()),
            ("heartbeats, watching", ("watch 1",)),
            ("coming and going, watching", (f"flap {rate}",)),
            ("coming and going", ("watch 0",)),
        ):
            for order in orders:
                _all(processes, order)
            time.sleep(SETTLE_S)
            phases.append(_phase(server, processes, name, seconds))
        heard = _tally(processes)
        _, rest, watching, moving_watching, moving = phases
        added = watching.percent - rest.percent, moving_watching.percent - moving.percent
        return PresenceFigures(len(people), len(people[0].to), flap_per_s, phases, *added, heard.lost)
    finally:
        for process in processes:
            if process.poll() is None and process.stdin is not None:
                process.stdin.write("end\n")
                process.stdin.flush()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _phase(server: Server, processes: list[subprocess.Popen[str]], name: str, seconds: float) -> Share:
    heard, before, began = _tally(processes), server.read(), time.monotonic()
    time.sleep(seconds)
    after, passed = server.read(), time.monotonic() - began
    told = _tally(processes).people - heard.people
    used = {process: 100 * (after.cpu_s[process] - before.cpu_s[process]) / passed for process in after.cpu_s}

    def per_s(counter: str) -> float:
        return (after.counters.get(counter, 0.0) - before.counters.get(counter, 0.0)) / passed

    return Share(
        name,
        sum(used.values()),
        sum(percent for process, percent in used.items() if process.startswith("node")),
        per_s("homing_mesh_frames_sent_total"),
        per_s("homing_storage_rows_total"),
        told / passed,
    )


def _start(people: list[Person]) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-P", "-m", "tools.bench.crowd"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(Crowd(people)).decode() + "\n")
    process.stdin.flush()
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    line = _line(process)
    if line != word:
        raise CommandError(f"a process of clients said {line!r} instead of {word!r}")


def _say(processes: list[subprocess.Popen[str]], order: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(order + "\n")
        process.stdin.flush()


def _all(processes: list[subprocess.Popen[str]], order: str) -> None:
    _say(processes, order)
    for process in processes:
        _expect(process, "ok")


def _tally(processes: list[subprocess.Popen[str]]) -> Heard:
    _say(processes, "tally")
    total = Heard()
    for process in processes:
        heard = msgspec.json.decode(_line(process), type=Heard)
        for field in Heard.__struct_fields__:
            setattr(total, field, getattr(total, field) + getattr(heard, field))
    return total
