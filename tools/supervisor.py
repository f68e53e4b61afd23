"""Keeps the processes of one cluster running: starts them, starts again what ends, stops them in order.

Owns when a process is started, again, and with which delay. It must not know what the processes do, nor print: what happens is handed to
``report`` as an event. Laws:

* What ends is started again at once; one that keeps ending waits longer each time, up to a bound; one that ran well starts afresh.
* Stopping has an order by role and a time limit per role; past it, or when ``hurry`` was called, what is left is killed.
* Children outlive their supervisor when that is killed: the cluster goes on. The next supervisor takes over what it finds running.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tools.processes import Process

STOP_ORDER = ("node", "storage", "directory")
"""Nodes bring their actors to rest and so need the other two to the end; the directory's row is kept by storage's worker no longer."""


@dataclass(frozen=True)
class SupervisorLimits:
    """The bounds of the supervisor.

    Attributes:
        restart_delay_s_min: the wait before the second restart of a process that keeps ending (before the first there is none: a node's
            users must be served again within 3 s).
        restart_delay_s_max: the longest wait: soon enough for whoever has just repaired what was wrong, seldom enough to cost nothing.
        well_s: who ran that long has started well; its next end is a first one again.
        stop_s: per role, how long a process may take to stop before it is killed.
        kill_s: how long a killed process is waited for; only one that hangs in the kernel (a dead disk) takes longer.
    """

    restart_delay_s_min: float = 0.25
    restart_delay_s_max: float = 10.0
    well_s: float = 10.0
    stop_s: dict[str, float] = field(default_factory=lambda: {"node": 15.0, "storage": 10.0, "directory": 5.0})
    kill_s: float = 5.0

    def restart_delay_s(self, failures: int) -> float:
        """The wait before a restart after ``failures`` short runs in a row."""
        if failures <= 1:
            return 0.0
        return float(min(self.restart_delay_s_max, self.restart_delay_s_min * 2 ** min(failures - 2, 16)))


@dataclass(frozen=True)
class Event:
    """What happened to a process: ``reason`` says how it ended, ``delay_s`` when it is started again."""

    kind: Literal["started", "adopted", "ended", "stopped", "killed"]
    name: str
    pid: int
    reason: str = ""
    delay_s: float = 0.0


class Watched:
    """One process that is to run.

    Args:
        name, role: what it is.
        start: starts it.
    """

    def __init__(self, name: str, role: str, start: Callable[[], Process]) -> None:
        self.name, self.role, self.start = name, role, start
        self.process: Process | None = None
        self.started_at = 0.0
        self.failures = 0
        self.starts = 0
        self.timer: asyncio.TimerHandle | None = None
        self.gone = asyncio.Event()
        self.gone.set()


class Supervisor:
    """See the module.

    Args:
        watched: the processes.
        report: told of each event.
        limits: the bounds.
    """

    def __init__(self, watched: list[Watched], report: Callable[[Event], None], limits: SupervisorLimits | None = None) -> None:
        self.watched = {w.name: w for w in watched}
        self.limits = limits or SupervisorLimits()
        self._report = report
        self._stopping = False
        self._hurry = asyncio.Event()

    @property
    def pids(self) -> dict[str, int]:
        return {w.name: w.process.pid for w in self.watched.values() if w.process is not None}

    def start(self, found: dict[str, int]) -> None:
        """Takes over the processes that were ``found`` running (name → pid) and starts the others."""
        for w in self.watched.values():
            try:
                adopted = Process(found[w.name])
            except (KeyError, ProcessLookupError):
                self._start(w)
            else:
                self._watch(w, adopted, "adopted")

    def _start(self, w: Watched) -> None:
        w.timer = None
        try:
            process = w.start()
        except OSError as error:  # no memory, too many processes: as if it had ended at once
            w.started_at = asyncio.get_running_loop().time()
            self._again(w, 0, f"could not be started: {error}")
            return
        self._watch(w, process, "started")

    def _watch(self, w: Watched, process: Process, kind: Literal["started", "adopted"]) -> None:
        loop = asyncio.get_running_loop()
        w.process, w.started_at = process, loop.time()
        w.starts += 1
        w.gone.clear()
        loop.add_reader(process.fd, self._on_end, w)
        self._report(Event(kind, w.name, process.pid))

    def _on_end(self, w: Watched) -> None:
        process = w.process
        assert process is not None, "a pidfd is watched only while its process is known"
        asyncio.get_running_loop().remove_reader(process.fd)
        w.process = None
        w.gone.set()
        reason = process.reap()
        if self._stopping:
            self._report(Event("stopped", w.name, process.pid, reason))
        else:
            self._again(w, process.pid, reason)

    def _again(self, w: Watched, pid: int, reason: str) -> None:
        loop = asyncio.get_running_loop()
        w.failures = 1 if loop.time() - w.started_at >= self.limits.well_s else w.failures + 1
        delay_s = self.limits.restart_delay_s(w.failures)
        self._report(Event("ended", w.name, pid, reason, delay_s))
        w.timer = loop.call_later(delay_s, self._start, w)

    def hurry(self) -> None:
        """Kills, from now on, what is to stop instead of waiting for it."""
        self._hurry.set()

    async def stop(self) -> bool:
        """Stops everything, role by role.

        Returns:
            Whether every process stopped by itself.
        """
        self._stopping = True
        for w in self.watched.values():
            if w.timer is not None:
                w.timer.cancel()
        clean = True
        for role in STOP_ORDER:
            group = [w for w in self.watched.values() if w.role == role and w.process is not None]
            clean = await self._stop_group(group, self.limits.stop_s[role]) and clean
        return clean

    async def _stop_group(self, group: list[Watched], limit_s: float) -> bool:
        if not group:
            return True
        for w in group:
            if w.process is not None:
                w.process.signal(signal.SIGTERM)
        await self._all_gone(group, limit_s, self._hurry)
        left = [w for w in group if w.process is not None]
        for w in left:
            if w.process is not None:
                self._report(Event("killed", w.name, w.process.pid))
                w.process.signal(signal.SIGKILL)
        await self._all_gone(left, self.limits.kill_s, asyncio.Event())
        return not left

    async def _all_gone(self, group: list[Watched], limit_s: float, cut_short: asyncio.Event) -> None:
        """Waits until all of the group have ended, ``limit_s`` have passed or ``cut_short`` is set."""
        ended = asyncio.ensure_future(_each(group))
        cut = asyncio.ensure_future(cut_short.wait())
        await asyncio.wait([ended, cut], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, cut):
            task.cancel()
        await asyncio.gather(ended, cut, return_exceptions=True)


async def _each(group: list[Watched]) -> bool:
    for w in group:
        await w.gone.wait()
    return True
