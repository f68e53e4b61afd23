"""Measures the first minute: from `git clone` on a machine that has nothing of Homing to the first message between two new accounts.

    python3 .ci/first_minute.py        # needs only git and the machine's Python

Clones what is committed here, with an empty home directory and so without pip's cache, calls `./run` as README.md says, registers two
people as docs/rest.md says, sends a message from one to the other with the client library, waits until it is there, stops everything, and
prints how long each step took. The clock starts before `git clone` and stops when the message is there. Exit code 1: it took longer than a
minute.

The minute is meant for a machine that does nothing else. What other processes have of each core meanwhile (all that the kernel counted,
less what our processes used, divided by the cores) is added to the limit, up to another minute: a busy machine is not taken for a slow
Homing, and what is too slow by itself is still seen. That time is part of what is printed, and so is the load.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 60.0
OTHERS_S_MAX = 60.0
GIVE_UP_S = 300.0
STOP_S = 30.0
PORTS = range(12_000, 19_000, 200)
"""Base ports to choose from; a cluster takes up to 200 ports from there."""
STARTING, READY, ALL_SAID = "Starting a directory", "Homing is ready", "Ctrl-C stops all of it."

FIRST_MESSAGE = """
import asyncio, json, sys, time, urllib.request
import homing

url = sys.argv[1]

def register(handle):
    body = json.dumps({"handle": handle, "password": "correct horse", "device_name": "Phone"}).encode()
    request = urllib.request.Request(f"{url}/v1/accounts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["access_token"]

async def main(alice, bob):
    async with homing.connect(url, bob) as receiver, homing.connect(url, alice) as sender:
        events = receiver.events()
        await receiver.wait_for()
        sent = await sender.send("bob", "hello")
        async for event in events:
            if isinstance(event, homing.Shown) and event.entry.body == "hello":
                break
        await sent.delivered

tokens = [register(name) for name in ("alice", "bob")]
print("registered", flush=True)
asyncio.run(asyncio.wait_for(main(*tokens), 60))
print("there", flush=True)
"""


class Clock:
    """Steps and how long each took."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    def step(self, name: str) -> None:
        now = time.monotonic()
        self.steps.append((name, now - self.last))
        self.last = now

    @property
    def total_s(self) -> float:
        return self.last - self.began


class Lines:
    """What a process says, as it says it."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], limit_s: float) -> None:
        self.said: list[str] = []
        self._until = time.monotonic() + limit_s
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
        )
        self._timer = threading.Timer(limit_s, self.end, [signal.SIGKILL])
        self._timer.daemon = True
        self._timer.start()

    def wait_for(self, start: str) -> None:
        """Raises SystemExit: it ended, or took too long, without saying this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith(start):
                return
        self.process.wait()
        sys.exit(f"first minute: no {start!r} from this (exit code {self.process.returncode}):\n{''.join(self.said)}")

    def end(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def close(self, number: signal.Signals) -> int:
        """Ends it; returns its exit code."""
        self.end(number)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.end(signal.SIGKILL)
            code = self.process.wait()
        self._timer.cancel()
        return code


def free_base_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        if all(_is_free(port + n) for n in (0, 1, 2, 3, 99, 100, 101, 102, 103, 199)):
            return port
    sys.exit("first minute: no ports are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def environment(home: Path) -> dict[str, str]:
    """This machine's, with an empty home, and nothing of another Homing or Python environment."""
    foreign = ("VIRTUAL_ENV", "PYTHON", "HOMING", "PIP_CACHE_DIR", "PIP_NO_CACHE", "XDG_", "COVERAGE")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(foreign)}, "HOME": str(home)}


def busy_s() -> float:
    """What all processes of this machine have had of its cores, in seconds of CPU."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_s() -> float:
    """The same of this one and those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(folder: Path, clock: Clock) -> tuple[int, str]:
    """Does all of it. Returns the exit code of `./run` when it was stopped, and what it said."""
    home, clone = folder / "home", folder / "homing"
    home.mkdir()
    env = environment(home)
    config = folder / "gitconfig"  # a checkout of CI may belong to another user
    config.write_text("[safe]\n\tdirectory = *\n")
    command = ["git", "clone", "--quiet", ROOT.as_uri(), str(clone)]
    subprocess.run(command, env={**env, "GIT_CONFIG_GLOBAL": str(config)}, check=True)
    clock.step("git clone")
    base_port = free_base_port()
    run = Lines(["./run", "--base-port", str(base_port)], clone, env, GIVE_UP_S)
    try:
        run.wait_for(STARTING)
        clock.step("./run: environment, with all downloads")
        run.wait_for(READY)
        clock.step("./run: three nodes are ready, the demo is made")
        run.wait_for(ALL_SAID)
        program = [str(clone / ".venv" / "bin" / "python"), "-c", FIRST_MESSAGE, f"http://127.0.0.1:{base_port + 1}"]
        talk = Lines(program, clone, env, GIVE_UP_S)
        try:
            talk.wait_for("registered")
            clock.step("two accounts are registered")
            talk.wait_for("there")
            clock.step("the first message is there")
        finally:
            talk.close(signal.SIGTERM)
    finally:
        code = run.close(signal.SIGINT)
    return code, "".join(run.said)


def main() -> int:
    cores = os.cpu_count() or 1
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        print("first minute: this is no git checkout: there is nothing to clone")
        return 0
    with tempfile.TemporaryDirectory(prefix="homing-first-minute-") as name:
        busy, own = busy_s(), own_s()
        clock = Clock()
        code, said = measure(Path(name), clock)
        total_s = clock.total_s
        began = time.monotonic()
        clock.steps.append(("(./run is stopped)", began - clock.last))
        own = own_s() - own
        others = max(0.0, busy_s() - busy - own) / cores
    limit_s = LIMIT_S + min(OTHERS_S_MAX, others)
    for step, seconds in clock.steps:
        print(f"  {step:<50}{seconds:6.1f} s")
    print(f"  {'from git clone to the first message':<50}{total_s:6.1f} s   (at most {limit_s:.0f})")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"  CPU of our processes {own:.1f} s; others had {others:.1f} s of each of {cores} cores meanwhile; load {load}")
    if code != 0:
        print(f"first minute: ./run ended with {code} when it was stopped:\n{said}")
    if total_s > limit_s:
        print(f"first minute: it took longer than {limit_s:.0f} s")
    return 1 if code != 0 or total_s > limit_s else 0


if __name__ == "__main__":
    sys.exit(main())
