"""Runs a plan against servers and takes the readings: one or more processes of clients, started and stopped here."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import msgspec
from msgspec import Struct

from tools.bench.load import Person, Plan, Tally
from tools.bench.servers import Reading, Server
from tools.errors import CommandError

PEOPLE_PER_PROCESS = 6_000
"""Sockets of one process of clients; open files are often capped at 20,000."""


class Measured(Struct):
    """One run."""

    tally: Tally
    before: Reading
    """Before anybody connected."""
    warm: Reading
    over: Reading
    connections: int


class Percentiles(Struct):
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0


class Figures(Struct):
    """The figures of one run, under the names that the JSON has."""

    cpu_us_per_message: float
    by_process: dict[str, float]
    cpu_us_per_copy: float
    messages_per_s: float
    send_sent_ms: Percentiles
    send_delivered_ms: Percentiles
    mesh_frames_per_message: float
    rows_per_message: float
    commits_per_message: float
    reads_per_message: float
    kib_per_connection: float
    messages: int
    copies: int
    errors: dict[str, int]
    missing: int

    def as_json(self) -> dict[str, object]:
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]

    def rows(self, scenario: str) -> list[tuple[str, str]]:
        """The table's rows: label and cell."""
        if scenario == "idle":
            return [("connections' memory, KiB each", f"{self.kib_per_connection:.1f}")]
        if scenario == "resume":
            return [
                ("resumes/s", f"{self.messages_per_s:,.0f}"),
                ("CPU µs per resume, all servers", f"{self.cpu_us_per_message:.0f}"),
                *((f"  {name}", f"{value:.0f}") for name, value in self.by_process.items()),
                ("connect → synced ms, p50 / p99 / p99.9", _three(self.send_sent_ms)),
                ("mesh frames per resume", f"{self.mesh_frames_per_message:.2f}"),
                ("storage reads per resume", f"{self.reads_per_message:.3f}"),
                ("rows per resume", f"{self.rows_per_message:.2f}"),
                ("errors", ", ".join(f"{k} {v}" for k, v in self.errors.items()) or "none"),
            ]
        rows = [
            ("messages/s", f"{self.messages_per_s:,.0f}"),
            ("CPU µs per message, all servers", f"{self.cpu_us_per_message:.0f}"),
            *((f"  {name}", f"{value:.0f}") for name, value in self.by_process.items()),
            ("CPU µs per delivered copy", f"{self.cpu_us_per_copy:.1f}"),
            ("send → sent ms, p50 / p99 / p99.9", _three(self.send_sent_ms)),
            ("send → delivered ms, p50 / p99 / p99.9", _three(self.send_delivered_ms)),
            ("mesh frames per message", f"{self.mesh_frames_per_message:.2f}"),
            ("rows per message", f"{self.rows_per_message:.2f}"),
            ("commits per message", f"{self.commits_per_message:.3f}"),
            ("memory, KiB per connection", f"{self.kib_per_connection:.1f}"),
        ]
        if self.errors or self.missing:
            rows.append(("errors", ", ".join(f"{k} {v}" for k, v in self.errors.items()) + f" missing {self.missing}"))
        return rows


def measure(server: Server, plan: Plan) -> Measured:
    """Connects everybody, warms up, runs the load, reads what the servers used meanwhile."""
    before = server.read()
    parts = _split(plan)
    processes = [_start(part) for part in parts]
    try:
        for process in processes:
            _expect(process, "ready")
        _tell(processes, "start")
        for process in processes:
            _expect(process, "warm")
        if plan.idle:
            time.sleep(min(plan.run_s, 3.0))
        warm = server.read()
        _tell(processes, "go")
        for process in processes:
            _expect(process, "over")
        over = server.read()
        tallies = [msgspec.json.decode(_line(process), type=Tally) for process in processes]
        _tell(processes, "end")
        for process in processes:
            process.wait(30)
        return Measured(_sum(tallies), before, warm, over, len(plan.people))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _split(plan: Plan) -> list[Plan]:
    """A plan for each process of clients; a pair stays together, a group is one process."""
    if plan.group or len(plan.people) <= PEOPLE_PER_PROCESS:
        return [plan]
    count = -(-len(plan.people) // PEOPLE_PER_PROCESS)
    size = -(-len(plan.people) // count // 2) * 2
    people: list[list[Person]] = [plan.people[n : n + size] for n in range(0, len(plan.people), size)]
    return [msgspec.structs.replace(plan, people=part, rate=plan.rate / len(people)) for part in people]


def _start(plan: Plan) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "tools.bench.resume" if plan.resume else "tools.bench.load"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan).decode() + "\n")
    process.stdin.flush()
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _expect(process: subprocess.Popen[str], word: str) -> None:
    line = _line(process).strip()
    if line != word:
        raise CommandError(f"a process of clients said {line!r} instead of {word!r}")


def _tell(processes: list[subprocess.Popen[str]], word: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(word + "\n")
        process.stdin.flush()


def _sum(tallies: list[Tally]) -> Tally:
    total = Tally(seconds=max(t.seconds for t in tallies))
    for tally in tallies:
        total.messages += tally.messages
        total.copies += tally.copies
        total.missing += tally.missing
        total.sent_ms += tally.sent_ms
        total.delivered_ms += tally.delivered_ms
        for name, count in tally.errors.items():
            total.errors[name] = total.errors.get(name, 0) + count
    return total


def figures(run: Measured) -> Figures:
    """What a run says per message."""
    tally = run.tally
    messages = max(1, tally.messages)
    used = {name: (run.over.cpu_s[name] - run.warm.cpu_s[name]) * 1e6 for name in run.over.cpu_s}
    counted = {name: run.over.counters.get(name, 0.0) - run.warm.counters.get(name, 0.0) for name in run.over.counters}
    grown = sum(run.warm.rss_kib.values()) - sum(run.before.rss_kib.values())
    total = sum(used.values())
    return Figures(
        cpu_us_per_message=total / messages,
        by_process={name: us / messages for name, us in used.items()},
        cpu_us_per_copy=total / max(1, tally.copies),
        messages_per_s=tally.messages / tally.seconds if tally.seconds else 0.0,
        send_sent_ms=_percentiles(tally.sent_ms),
        send_delivered_ms=_percentiles(tally.delivered_ms),
        mesh_frames_per_message=counted.get("homing_mesh_frames_sent_total", 0.0) / messages,
        rows_per_message=counted.get("homing_storage_rows_total", 0.0) / messages,
        commits_per_message=counted.get("homing_storage_rounds_total", 0.0) / messages,
        reads_per_message=counted.get("homing_storage_reads_total", 0.0) / messages,
        kib_per_connection=grown / run.connections,
        messages=tally.messages,
        copies=tally.copies,
        errors=tally.errors,
        missing=tally.missing,
    )


def _percentiles(values: list[float]) -> Percentiles:
    if len(values) < 2:
        return Percentiles(*([values[0]] * 3 if values else [0.0] * 3))
    cuts = statistics.quantiles(values, n=1_000, method="inclusive")
    return Percentiles(round(cuts[499], 3), round(cuts[989], 3), round(cuts[998], 3))


def _three(p: Percentiles) -> str:
    return f"{p.p50:.1f} / {p.p99:.1f} / {p.p999:.1f}"
