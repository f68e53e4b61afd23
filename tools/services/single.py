"""A service that is one process: what PostgreSQL and Redis have in common. Knows neither."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Literal, NamedTuple

from tools.errors import CommandError
from tools.processes import Process
from tools.services import state
from tools.services.service import Options, Say, Status, choose_port, tail
from tools.services.state import Running, State

HOST = "127.0.0.1"
POLL_S = 0.05
STOP_S = 15.0
PART = "server"
"""What its one process is called in the state."""


class Program(NamedTuple):
    """What is to be run."""

    command: list[str]
    marker: str
    """A word of the command that no other process has."""


class Single:
    """Starts, finds and stops one process. ``directory`` is its data's, absolute.

    An engine says: its name and usual port, ``install``, ``prepare`` (make what it starts from), ``program``, ``answers``, ``version``.
    """

    name: str
    usual_port: int
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state_file = directory / "state.json"
        self.log_file = directory / "output.log"

    # ------------------------------------------------------------ what an engine says

    def install(self, say: Say) -> Status:
        raise NotImplementedError

    def prepare(self, port: int, say: Say) -> None:
        raise NotImplementedError

    def program(self, port: int) -> Program:
        raise NotImplementedError

    def answers(self, port: int) -> bool:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    # ------------------------------------------------------------ what they have in common

    def up(self, options: Options, say: Say) -> Status:
        known = state.load(self.state_file)
        if known is not None and state.is_alive(known.processes[PART]):
            port = known.ports[PART]
            if options.port and options.port != port:
                raise CommandError(f"it already runs, on port {port}: stop it first")
            if self.answers(port):
                say(f"already runs (port {port})")
                return self.status()
            raise CommandError(f"its process {known.processes[PART].pid} runs but does not answer on port {port}: stop it first")
        if known is not None:
            state.wait_reaped(known.processes[PART])
        self.install(say)
        port = choose_port(options.port, known.ports[PART] if known else None, self.usual_port, [HOST])
        began = time.monotonic()
        self.prepare(port, say)
        program = self.program(port)
        say(f"starting on port {port} …")
        process = Process.start(program.command, self.log_file)
        os.close(process.fd)
        running = Running(process.pid, program.marker)
        state.save(self.state_file, State({PART: port}, {}, {PART: running}))
        try:
            self._wait(running, port, began + options.start_timeout_s)
        except BaseException:
            state.stop(running, signal.SIGKILL, STOP_S)
            raise
        say(f"ready after {time.monotonic() - began:.1f} s")
        return self.status()

    def _wait(self, running: Running, port: int, until: float) -> None:
        while not self.answers(port):
            if not state.runs(running):
                raise CommandError(f"it ended at once; the end of its log:{tail(self.log_file)}")
            if time.monotonic() > until:
                raise CommandError(f"it did not answer in time; the end of its log:{tail(self.log_file)}")
            time.sleep(POLL_S)

    def down(self, say: Say) -> Status:
        known = state.load(self.state_file)
        if known is not None and state.is_alive(running := known.processes[PART]):
            say(f"stopping process {running.pid} …")
            state.stop(running, self.stop_signal, STOP_S)
        return self.status()

    def status(self) -> Status:
        known = state.load(self.state_file)
        if known is None:
            return Status(self.name, "absent", [], {}, str(self.directory), self.version())
        port, running = known.ports[PART], known.processes[PART]
        is_alive = state.is_alive(running)
        pids = {PART: running.pid} if is_alive else {}
        word: Literal["stopped", "running", "partial"] = "stopped" if not is_alive else "running" if self.answers(port) else "partial"
        return Status(self.name, word, [f"{HOST}:{port}"], pids, str(self.directory), self.version())
