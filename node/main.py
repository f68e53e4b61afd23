"""The node's process: the wiring of core, mesh, edge and HTTP, and nothing else.

One start is one incarnation. When the core says that it has ended (fenced, or no lease), the process ends with ``EXIT_ENDED`` and whoever
supervises it starts it again: what comes back is a new incarnation without anything remembered.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from homing.codes import CLOSE_RESTART

from directory.client import DirectoryClient
from directory.table import Member
from node.config import Settings
from node.core.node import NodeCore
from node.edge.picows_edge import PicowsEdge
from node.edge.tokens import TokenChecker
from node.gateway import Gateway
from node.http import NodeHttp
from node.rest.connect_routes import connect_routes, homes_of
from node.rest.limiters import Limiters
from node.rest.metrics import RestMetrics
from node.rest.server import RestServer, Surroundings
from router import life, logs
from router.config import ConfigError
from router.events import Event
from router.pump import Pump
from storage.client import StorageClient

if TYPE_CHECKING:
    from node.edge.jwks import KeyFetcher
    from node.rest.door import Door

EXIT_ENDED = 75
"""This incarnation is over; start the process again (EX_TEMPFAIL of sysexits.h)."""


class Node:
    """One incarnation of a node, running."""

    def __init__(self, settings: Settings, read_again: Callable[[], Settings]) -> None:
        """``read_again`` reads the configuration as it is now."""
        self._read_again = read_again
        self.settings = settings
        self.me = settings.process.new_incarnation()
        self.log = logs.get("node")
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stopping = False
        self._build()

    def _build(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        settings, process = self.settings, self.settings.process
        url = process.public_url or f"ws://{process.http_host}:{process.http_port}"
        transport, self.mesh = life.open_mesh(process, self.me, settings.mesh, now)
        member = Member(self.me.incarnation, process.name, "node", self.mesh.me.endpoint, url)
        self.directory = DirectoryClient(member, settings.directory, int(time.time() * 1_000), now)
        self.core = NodeCore(
            self.mesh, StorageClient(settings.storage_client), self.directory, settings.node.limits, settings.directory.lease_s, now
        )
        self.core.on_bad_frame = self._on_bad_frame
        self.pump = Pump(self.mesh, transport, self._on_events, self._tick, settings.mesh.turn_pace_s)
        checker = TokenChecker(Path(process.tokens_dir), process.cluster)
        self.issuers_keys = self._fetch_keys_for(checker) if settings.tokens.issuers else None
        self.gateway = Gateway(
            self.core, checker, settings.node, settings.rates, loop, self.pump.flush, random.Random().random, self._on_end
        )  # fmt: skip
        app = web.Application()
        ops_key = Path(process.ops_key_file).read_bytes().strip() if process.ops_key_file else b""
        self.http = NodeHttp(self.core, self.gateway, self.unready, ops_key)
        self.http.add_to(app)
        self.door = self._build_door(checker, app) if settings.accounts.enabled else None
        self.rest = self.door.server if self.door is not None else self._build_rest(checker, app)
        if settings.demo.directory:
            self._build_demo(app)
        self.edge = PicowsEdge(self.gateway, app, settings.edge)
        self.edge.sweeper.on_silent = self.gateway.on_silent

    def _fetch_keys_for(self, checker: TokenChecker) -> KeyFetcher:
        from node.edge.jwks import KeyFetcher

        fetcher = KeyFetcher(self.settings.tokens, checker.forget)
        checker.issuers = fetcher.issuers
        return fetcher

    def _build_door(self, checker: TokenChecker, app: web.Application) -> Door:
        from node.rest.door import Clocks, Door, Keys  # what no accounts need is not loaded

        settings, loop = self.settings, asyncio.get_running_loop()
        clocks = Clocks(loop.time, lambda: self.directory.time_ms(loop.time()), lambda: self.directory.joined)
        keys = Keys(Path(settings.process.tokens_dir), settings.process.cluster)
        origins = settings.edge.origins
        door = Door(settings.accounts, settings.limiters, keys, checker, clocks, origins, self.http.revoked, self.gateway, settings.polls)
        self.http.before_revoke = door.end_renewals
        door.add_to(app, self.http.ops.registry)
        return door

    def _build_rest(self, checker: TokenChecker, app: web.Application) -> RestServer:
        """What is there without accounts; the home of its user, and nothing else, knows which devices are signed out."""

        async def is_revoked(_user: str, _device: str) -> bool:
            return False

        loop = asyncio.get_running_loop()
        clocks = (loop.time, lambda: self.directory.time_ms(loop.time()), lambda: self.directory.joined)
        around = Surroundings(checker, *clocks, is_revoked)
        rest = RestServer(connect_routes(homes_of(self.core)), around, Limiters(self.settings.limiters), self.settings.edge.origins)
        rest.add_to(app)
        self.http.ops.registry.register(RestMetrics(rest))
        return rest

    def _build_demo(self, app: web.Application) -> None:
        from node.demo.door import DemoDoor

        settings = self.settings
        if wrong := settings.demo.relations(settings.process.http_host, settings.accounts.enabled):
            raise ConfigError("\n".join(["configuration is wrong:", *(f"  {text}" for text in wrong)]))
        assert self.door is not None, "relations() wants accounts"
        DemoDoor(Path(settings.demo.directory), self.door.accounts, self.rest.limiters, asyncio.get_running_loop().time).add_to(app)
        self.http.web.add_page_to(app, "/demo")

    # -------------------------------------------------------------- the pump calls

    def _on_events(self, events: list[Event], now: float) -> None:
        self.core.on_events(events, now)
        self.gateway.perform()

    def _tick(self, now: float) -> float:
        core = self.core
        if now >= core.due_at:
            self.directory.set_health(self.http.storage_ok(), not self.stopping, self.edge.connections(), now)
            core.tick(now)
            self.gateway.perform()
        return core.due_at

    def _on_bad_frame(self, source: str, why: str) -> None:
        """A peer's fault, or a bug of ours in another release: it is seen, and cannot fill the log."""
        counts = self.core.counts
        count = counts["frames_unreadable"] + counts["frames_absurd"]
        if count == 1 or count % 1_000 == 0:
            self.log.error("bad_frame", peer=source, reason=why, count=count)

    def _on_end(self, reason: str) -> None:
        if self.stopping:
            return self._finish(0)
        self.log.error("this incarnation has ended", reason=reason)
        self._finish(EXIT_ENDED)

    def _finish(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    def unready(self) -> str | None:
        """Why the node does not serve yet; None when it does."""
        if not self.directory.joined:
            return "not in the cluster yet"
        if not self.core.storage.workers:
            return "no storage worker"
        return "stopping" if self.stopping else None

    # -------------------------------------------------------------- life

    async def run(self) -> int:
        """Serves until told to stop or until the incarnation has ended; returns the exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        now = loop.time()
        for name, endpoint in self.settings.directory.endpoints().items():
            self.mesh.connect(name, endpoint, now)
        await self.pump.start()
        port = await self.edge.start(self.settings.process.http_host, self.settings.process.http_port)
        self.log.info("started", port=port, endpoint=self.mesh.me.endpoint)
        if self.issuers_keys is not None:
            self.issuers_keys.start()
        if self.door is not None:
            self.door.start()
        failed = asyncio.ensure_future(self.pump.failed())
        waited: set[asyncio.Future[int] | asyncio.Future[None]] = {self.ended, failed}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if failed.done() and not self.ended.done():
            self.log.error("a handler failed", exc_info=failed.exception())
            code = EXIT_ENDED
        else:
            code = self.ended.result()
        failed.cancel()
        if self.door is not None:
            self.door.polls.stop()  # the edge waits for requests that are not answered yet
        await self.edge.stop(CLOSE_RESTART, "going_away")
        if self.issuers_keys is not None:
            await self.issuers_keys.stop()
        if self.door is not None:
            await self.door.stop()
        await self.pump.stop()
        self.log.info("stopped", code=code)
        return code

    def _reload(self) -> None:
        """SIGHUP: takes the limiters from the configuration as it is now; the rest needs a new start."""
        try:
            limiters = self._read_again().limiters
        except ConfigError as error:
            self.log.error("limiters_not_reloaded", reason=str(error))
            return
        self.log.info("limiters_reloaded", changed=self.rest.limiters.configure(limiters))

    def stop(self) -> None:
        """Told to end, by a signal; told twice, at once."""
        if self.stopping:
            return self._finish(0)
        self.stopping = True
        self._stopper = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        """Brings everything to rest, tells the directory, lets the clients go (P6)."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.settings.node.stop_s
        self.log.info("stopping", sessions=self.edge.connections())
        self.gateway.send_all_away()
        self.core.drain(loop.time())
        self.gateway.apply()
        while loop.time() < until and not self.ended.done():
            self.pump.flush()
            await asyncio.sleep(0.02)
            if self.core.is_drained and not self._owns_anything():
                break
        self._finish(0)

    def _owns_anything(self) -> bool:
        return self.me.incarnation in self.directory.table.by_incarnation


def _spare_the_collector() -> None:
    """Most objects of a node live long and refer to each other in no circle: the collector looks for the few that do less often, and
    never at what was there at the start (measured: 8 % of the CPU at 2,000 messages/s)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main(config: Path | None, name: str | None) -> int:
    """Runs until the incarnation ends, or SIGTERM or SIGINT ends it; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong.
        KeyFileError: there is no usable key.
    """
    settings = life.read_settings(Settings, config, name)

    def start() -> Node:
        _spare_the_collector()
        return Node(settings, lambda: life.read_settings(Settings, config, name))

    return life.run(settings.process, start)
