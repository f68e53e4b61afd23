"""One run of `homing up`, from the look at what is there to the last process stopped: the wiring of its parts.

`configure` writes keys and configurations, `supervisor` keeps the processes running, `readiness` asks them, `report` talks to people.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Coroutine

from router import logs
from tools.configure import prepare
from tools.demo import link
from tools.errors import INTERRUPTED, CommandError
from tools.layout import PORTS_LAST, Layout, Part
from tools.ports import holder, taken
from tools.processes import Process, command_line, running
from tools.readiness import Readiness
from tools.report import SCHEMA, Demo, Reporter, contents, guide
from tools.rotation import rotate, tail
from tools.supervisor import Event, Supervisor, Watched

NEWS_INTERVAL_S = 5.0
"""How long a start may be silent before it says what is still missing."""
SHORT_RUNS_MAX = 5
"""A process that ended so often before the cluster was ever ready will not get well by itself: its log says why."""
ROTATE_INTERVAL_S = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Cluster:
    """See the module.

    Args:
        layout: its processes and files; the directories are there, and nobody else works on them.
        out: where progress goes.
        start_timeout_s: how long it may take to become ready.
    """

    def __init__(self, layout: Layout, out: Reporter, start_timeout_s: float) -> None:
        self.layout, self.out, self.start_timeout_s = layout, out, start_timeout_s
        self.parts = {part.name: part for part in layout.parts()}
        self.readiness = Readiness(self.parts, self._on_ready)
        self.supervisor = Supervisor([self._watched(part) for part in self.parts.values()], self._on_event)
        self.replacing: Supervisor | None = None
        self.stop_asked = asyncio.Event()
        self.failure = ""
        self.was_ready = False
        self.all_ready = asyncio.Event()
        self.began_at = 0.0
        self.log = logs.get()

    def _watched(self, part: Part) -> Watched:
        config, log = self.layout.config_file(part.name), self.layout.log_file(part.name)
        return Watched(part.name, part.role, lambda: Process.start(command_line(part.role, config), log))

    async def main(self) -> int:
        """Runs until stopped; returns the exit code: 0 stopped as asked, 130 cut short by a second Ctrl-C.

        Raises:
            CommandError: the cluster could not be started.
            OSError: the data directory cannot be written.
        """
        loop = asyncio.get_running_loop()
        self.began_at = loop.time()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        with self.layout.log_file("up").open("a", encoding="utf-8") as log_file:
            logs.configure("up", stream=log_file)
            self.log = logs.get()
            clean = await self._run(await self._take_stock())
        if self.failure:
            raise CommandError(self.failure)
        return 0 if clean else INTERRUPTED

    async def _run(self, found: dict[str, int]) -> bool:
        work: list[Coroutine[None, None, None]] = [self.readiness.watch(), self._give_news(), self._welcome(), self._rotate()]
        tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
        stop = asyncio.ensure_future(self.stop_asked.wait())
        try:
            if not self.stop_asked.is_set():
                self.out.line(f"Starting {contents(self.layout)} …")
                self.supervisor.start(found)
            await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stop_asked.set()
            for task in tasks:
                task.cancel()
            clean = await self._stop()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        return clean

    # --- before the start -------------------------------------------------------------------------------------------------------

    async def _take_stock(self) -> dict[str, int]:
        """Writes keys and configurations, finds what runs already and may stay (name → pid), sees to it that the ports are free."""
        changed = prepare(self.layout)
        found = dict(running(self.layout.config_dir))
        stay = {name: pid for name, pid in found.items() if name in self.parts and name not in changed}
        await self._replace({name: pid for name, pid in found.items() if name not in stay})
        starting = [part for part in self.parts.values() if part.name not in stay]
        self._refuse_ports([port for part in starting for port in (part.http_port, part.mesh_port)])
        return stay

    def _refuse_ports(self, ports: list[int]) -> None:
        if in_use := taken(ports):
            more = f" (and {len(in_use) - 1} more that it needs)" if len(in_use) > 1 else ""
            other = self.layout.base_port + PORTS_LAST + 1
            raise CommandError(f"port {in_use[0]} is in use by {holder(in_use[0])}{more}; take others, for instance --base-port {other}")

    async def _replace(self, old: dict[str, int]) -> None:
        """Stops processes of an earlier run that have another configuration than they would get now."""
        if not old:
            return
        self.out.line(f"Stopping processes of an earlier run: {', '.join(sorted(old))} …")
        watched = [Watched(name, name.rpartition("-")[0], _never_started) for name in old]
        self.replacing = Supervisor(watched, self._on_old_event)
        self.replacing.start(old)
        await self.replacing.stop()
        self.replacing = None

    # --- while it runs ------------------------------------------------------------------------------------------------------------

    def _on_signal(self) -> None:
        if not self.stop_asked.is_set():
            self.stop_asked.set()
            return
        self.out.line("Killing what is left …")
        for supervisor in (self.supervisor, self.replacing):
            if supervisor is not None:
                supervisor.hurry()

    def _on_old_event(self, event: Event) -> None:
        self.log.info(f"old_process_{event.kind}", name=event.name, pid=event.pid)
        if event.kind == "killed":
            self.out.line(f"  {event.name:<12}does not stop: killed")

    def _on_event(self, event: Event) -> None:
        fields: dict[str, object] = {"name": event.name, "pid": event.pid}
        if event.reason:
            fields |= {"reason": event.reason, "delay_s": event.delay_s}
        self.log.info(f"process_{event.kind}", **fields)
        self.out.object(event.kind, **fields)
        if line := self._line_of(event):
            self.out.line(f"  {event.name:<12}{line}")
        if not self.stop_asked.is_set():
            self.readiness.expect(event.name)
            self._give_up_if_hopeless(event.name)
            self._write_state()

    def _line_of(self, event: Event) -> str:
        match event.kind:
            case "started":
                return "" if not self.was_ready and self.supervisor.watched[event.name].starts <= 1 else f"starting (pid {event.pid})"
            case "adopted":
                return f"was running already, taken over (pid {event.pid})"
            case "ended":
                reason = (
                    "lost its place in the cluster and comes back as a new incarnation" if event.reason.endswith(" 75") else event.reason
                )
                return f"{reason}; starting it again {f'in {event.delay_s:.2g} s' if event.delay_s else 'now'}"
            case "killed":
                return "does not stop: killed"
            case "stopped":
                return ""

    def _give_up_if_hopeless(self, name: str) -> None:
        if not self.was_ready and self.supervisor.watched[name].failures >= SHORT_RUNS_MAX:
            log = self.layout.log_file(name)
            self._fail("\n".join((f"{name} ended {SHORT_RUNS_MAX} times; the end of {log}:", *(f"  {line}" for line in tail(log)))))

    def _fail(self, reason: str) -> None:
        if not self.stop_asked.is_set():
            self.failure = reason
            self.stop_asked.set()

    def _on_ready(self, name: str) -> None:
        if self.was_ready:
            self.out.line(f"  {name:<12}ready")
        self.out.object("ready", name=name, pid=self.supervisor.pids.get(name))
        if not self.readiness.reasons and not self.was_ready:
            self.was_ready = True
            self.all_ready.set()
            self.out.object("cluster_ready", **self._state())
        self._write_state()

    async def _welcome(self) -> None:
        """Once all is ready: makes the demo, if there is to be one, and says where everything is and what to do now."""
        await self.all_ready.wait()
        seconds = asyncio.get_running_loop().time() - self.began_at
        demo = await self._demo() if self.layout.has_demo else None
        for line in ("", *guide(self.layout, seconds, demo)):
            self.out.line(line, strong=demo is not None and line.endswith(demo.link))
        await asyncio.Event().wait()

    async def _demo(self) -> Demo | None:
        """None, and a line that says why: it cannot be had now. The cluster is there all the same."""
        from tools.demo_chat import DemoFailed, make  # nothing that a cluster without a demo needs

        url = next(part.url for part in self.parts.values() if part.role == "node")
        try:
            people = await make(self.layout.demo_dir, url)
            demo = Demo(link(self.layout, url), people.people[0].handle, people.people[1].handle)
        except (DemoFailed, CommandError, OSError) as error:
            self.log.warning("no_demo", reason=str(error))
            self.out.line(f"  no demo this time: {error}")
            return None
        self.out.object("demo", **demo._asdict())
        return demo

    async def _give_news(self) -> None:
        """Until the cluster is ready, says now and then what is missing; gives up when that takes too long."""
        loop = asyncio.get_running_loop()
        left_s = self.start_timeout_s
        while left_s > 0:
            await asyncio.sleep(min(NEWS_INTERVAL_S, left_s))
            if self.was_ready:
                break
            left_s = self.began_at + self.start_timeout_s - loop.time()
            self.out.line(f"  waiting: {self.readiness}")
        else:
            self._fail(f"not ready after {self.start_timeout_s:g} s ({self.readiness}); the logs are in {self.layout.logs_dir}")
        await asyncio.Event().wait()

    async def _rotate(self) -> None:
        while True:
            for name in (*self.parts, "up"):
                try:
                    rotate(self.layout.log_file(name))
                except OSError as error:
                    self.log.warning("log_not_rotated", name=name, reason=str(error))
            await asyncio.sleep(ROTATE_INTERVAL_S)

    # --- the end --------------------------------------------------------------------------------------------------------------------

    async def _stop(self) -> bool:
        if self.supervisor.pids:
            self.out.line("\nStopping (Ctrl-C again: at once) …")
        clean = await self.supervisor.stop()
        with contextlib.suppress(OSError):
            self.layout.state_file.unlink(missing_ok=True)
        left = self.supervisor.pids
        self.out.line(f"Could not be stopped: {left}" if left else "Stopped." if clean else "Stopped; some had to be killed.")
        self.out.object("cluster_stopped", clean=clean)
        return clean

    def _state(self) -> dict[str, object]:
        pids = self.supervisor.pids
        return {
            "pid": os.getpid(),
            "data": str(self.layout.data),
            "url": self.layout.directory.url,
            "base_port": self.layout.base_port,
            "demo": self.layout.has_demo,
            "ready": not self.readiness.reasons,
            "processes": [
                {"name": p.name, "role": p.role, "pid": pids.get(p.name), "url": p.url, "endpoint": p.endpoint} for p in self.parts.values()
            ],
        }

    def _write_state(self) -> None:
        """Notes what runs for whoever wants to know (`homing status`, tests); nothing here depends on it."""
        path = self.layout.state_file
        part = path.with_suffix(".new")
        try:
            part.write_text(json.dumps({"schema": SCHEMA, **self._state()}, indent=1), encoding="utf-8")
            part.replace(path)
        except OSError as error:  # a full disk is no reason to stop
            self.log.warning("state_not_written", reason=str(error))


def _never_started() -> Process:
    raise OSError("a process of an earlier run is stopped, not started")
