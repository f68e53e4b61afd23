"""Operating-system processes of a cluster: start one, find those that already run, watch one end, signal one.

A process is known by its command line: ``… ROLE --config FILE``. So what runs can be found again without any file that says so, also after
its supervisor was killed between starting it and writing that down. A process is watched through a pidfd: that tells of the end of
processes that somebody else started, too, and never means another process that got the same number later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil


def command_line(role: str, config: Path) -> list[str]:
    """How a process of ``role`` is started; ``-P``: a folder named like one of our packages where one stands must not be imported."""
    return [sys.executable, "-P", "-m", "tools.cli", role, "--config", str(config)]


def running(config_dir: Path) -> Iterator[tuple[str, int]]:
    """The processes that were started with a configuration in ``config_dir``, as pairs (name, pid)."""
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if (
            process.info["status"] == psutil.STATUS_ZOMBIE
            or words[2:4] != ["-m", "tools.cli"]
            or words[5:6] != ["--config"]
            or len(words) < 7
        ):
            continue
        config = Path(words[6])
        if config.parent == config_dir:
            yield config.stem, process.pid


class Process:
    """One running process, a child or one that was found.

    Attributes:
        pid: its number.
        fd: the pidfd; readable once the process has ended.
    """

    def __init__(self, pid: int, popen: subprocess.Popen[bytes] | None = None) -> None:
        """Takes over a process that runs.

        Raises:
            ProcessLookupError: there is none with that number any more.
        """
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self._popen = popen

    @classmethod
    def start(cls, command: list[str], log: Path) -> Process:
        """Starts a process in a session of its own (a Ctrl-C on the terminal is its supervisor's affair) that appends to ``log``."""
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
        with log.open("ab") as out:
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=environment)
        return cls(popen.pid, popen)

    @property
    def adopted(self) -> bool:
        return self._popen is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; to an ended process: nothing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, number)

    def reap(self) -> str:
        """After the end: forgets the process and tells how it ended."""
        os.close(self.fd)
        if self._popen is None:
            return "ended"
        code = self._popen.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
