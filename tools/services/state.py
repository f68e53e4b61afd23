"""What is known of a service between two calls: its ports and the processes that were started for it.

Law: a process is one of ours only if the number that we stored belongs to a process whose command line holds the marker that we started
it with (a path below our data directory). A number alone may long be somebody else's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

from tools.errors import CommandError

POLL_S = 0.05
REAP_S = 15.0
KILL_S = 5.0
"""How long a killed process is waited for."""


class Running(Struct, frozen=True):
    """A process that was started."""

    pid: int
    marker: str
    """A word of its command line that no other process has."""


class State(Struct):
    """The file ``state.json`` of a service."""

    ports: dict[str, int]
    options: dict[str, int]
    """What its data was made with (``nodes``), which must not change."""
    processes: dict[str, Running]
    """By the name of the part: ``node-1``."""


def load(path: Path) -> State | None:
    """None: nothing was ever started here.

    Raises:
        CommandError: the file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise CommandError(f"{path} is damaged ({error}): stop what runs there by hand, then remove it") from error


def save(path: Path, state: State) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".new")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    part.replace(path)


def is_alive(running: Running) -> bool:
    """Whether the process that was started still runs."""
    try:
        process = psutil.Process(running.pid)
        return process.status() != psutil.STATUS_ZOMBIE and running.marker in process.cmdline()
    except psutil.Error:
        return False


def runs(running: Running) -> bool:
    """Whether a child that was just started has not ended. Between fork and exec it has not got its command line yet."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(running.pid, os.WNOHANG) == (0, 0)
    return is_alive(running)


def stop(running: Running, number: signal.Signals, wait_s: float) -> bool:
    """Ends a process of ours; returns whether it had to be killed. What is not ours any more is left alone."""
    if not _signal(running, number) or _gone_within(running, wait_s):
        return False
    _signal(running, signal.SIGKILL)
    if not _gone_within(running, KILL_S):
        raise CommandError(f"process {running.pid} does not end, not even killed")
    return True


def _signal(running: Running, number: signal.Signals) -> bool:
    try:
        fd = os.pidfd_open(running.pid)  # from here on the number means this process, whatever ends meanwhile
    except ProcessLookupError:
        return False
    try:
        if not is_alive(running):
            return False
        signal.pidfd_send_signal(fd, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise CommandError(f"process {running.pid} is another user's") from error
    finally:
        os.close(fd)


def _gone_within(running: Running, wait_s: float) -> bool:
    until = time.monotonic() + wait_s
    while is_alive(running):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(running.pid, os.WNOHANG)  # our own child must be waited for, or it stays
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def wait_reaped(running: Running) -> None:
    """Waits, a bounded time, until nothing is left of a process that has ended: some programs take a zombie with the number in their lock
    file for themselves, and not every machine's first process reaps at once."""
    until = time.monotonic() + REAP_S
    with contextlib.suppress(psutil.Error):
        while psutil.Process(running.pid).status() == psutil.STATUS_ZOMBIE and time.monotonic() < until:
            time.sleep(POLL_S)


@contextlib.contextmanager
def only_one(directory: Path) -> Iterator[None]:
    """Holds the directory's lock: two commands at once would start everything twice. Waits for the other one."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
