"""The node's process: the wiring of core, mesh, edge and HTTP, and nothing else.

One start is one incarnation. When the core says that it has ended (fenced, or no lease), the process ends with ``EXIT_ENDED`` and whoever
supervises it starts it again: what comes back is a new incarnation without anything remembered.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web
from homing.codes import CLOSE_RESTART
from msgspec import Struct

from directory.client import DirectoryClient
from directory.config import DirectoryConfig
from directory.table import Member
from node.accounts.config import AccountsConfig
from node.config import SECTIONS, NodeConfig
from node.core.node import NodeCore
from node.edge.issuers import TokensConfig
from node.edge.limits import RateLimits
from node.edge.picows_edge import PicowsEdge
from node.edge.tokens import TokenChecker
from node.edge.websocket import EdgeLimits
from node.gateway import Gateway
from node.http import NodeHttp
from node.rest.limiters import LimiterConfig
from router import logs
from router.config import ConfigError, MeshConfig, load, section
from router.events import Event
from router.keys import KeyFileError, KeyRing
from router.keys import load as load_key
from router.mesh import Mesh
from router.process import ProcessConfig
from router.pump import Pump
from router.zmq_transport import ZmqTransport
from storage.client import StorageClient
from storage.config import ClientConfig

if TYPE_CHECKING:
    from node.edge.jwks import KeyFetcher
    from node.rest.door import Door

EXIT_ENDED = 75
"""This incarnation is over; start the process again (EX_TEMPFAIL of sysexits.h)."""
EXIT_CONFIG = 78
"""The configuration is wrong; starting again does not help (EX_CONFIG)."""


class Node:
    """One incarnation of a node, running."""

    def __init__(self, sections: dict[str, object], read_again: Callable[[], Mapping[str, Struct]]) -> None:
        """``read_again`` reads the configuration as it is now."""
        self._read_again = read_again
        self.process = section(sections, "process", ProcessConfig)  # type: ignore[arg-type]  # dict is invariant
        self.config = section(sections, "node", NodeConfig)  # type: ignore[arg-type]
        self.directory_config = section(sections, "directory", DirectoryConfig)  # type: ignore[arg-type]
        self.mesh_config = section(sections, "mesh", MeshConfig)  # type: ignore[arg-type]
        self.edge_limits = section(sections, "edge", EdgeLimits)  # type: ignore[arg-type]
        self.rates = section(sections, "rates", RateLimits)  # type: ignore[arg-type]
        self.tokens_config = section(sections, "tokens", TokensConfig)  # type: ignore[arg-type]
        self.accounts_config = section(sections, "accounts", AccountsConfig)  # type: ignore[arg-type]
        self.limiters_config = section(sections, "limiters", LimiterConfig)  # type: ignore[arg-type]
        self.storage_config = section(sections, "storage_client", ClientConfig)  # type: ignore[arg-type]
        self.me = self.process.new_incarnation()
        self.log = logs.get("node")
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stopping = False
        self._build()

    def _build(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        process = self.process
        url = process.public_url or f"ws://{process.http_host}:{process.http_port}"
        keys_dir = Path(process.keys_dir)
        self.mesh = Mesh(self.me, self.mesh_config, now)
        transport = ZmqTransport(process.endpoint, load_key(keys_dir, process.name), KeyRing(keys_dir), self.mesh_config)
        member = Member(self.me.incarnation, process.name, "node", self.me.endpoint, url)
        self.directory = DirectoryClient(member, self.directory_config, int(time.time() * 1_000), now)
        self.core = NodeCore(
            self.mesh, StorageClient(self.storage_config), self.directory, self.config.limits, self.directory_config.lease_s, now
        )
        self.core.on_bad_frame = self._on_bad_frame
        self.pump = Pump(self.mesh, transport, self._on_events, self._tick, self.mesh_config.turn_pace_s)
        checker = TokenChecker(Path(process.tokens_dir), process.cluster)
        self.issuers_keys = self._fetch_keys_for(checker) if self.tokens_config.issuers else None
        self.gateway = Gateway(
            self.core, checker, self.config, self.rates, loop, self.pump.flush, random.Random().random, self._on_end
        )  # fmt: skip
        app = web.Application()
        ops_key = Path(process.ops_key_file).read_bytes().strip() if process.ops_key_file else b""
        self.http = NodeHttp(self.core, self.gateway, checker, self.unready, ops_key)
        self.http.add_to(app)
        self.door = self._build_door(checker, app) if self.accounts_config.enabled else None
        self.edge = PicowsEdge(self.gateway, app, self.edge_limits)
        self.edge.sweeper.on_silent = self.gateway.on_silent

    def _fetch_keys_for(self, checker: TokenChecker) -> KeyFetcher:
        from node.edge.jwks import KeyFetcher

        fetcher = KeyFetcher(self.tokens_config, checker.forget)
        checker.issuers = fetcher.issuers
        return fetcher

    def _build_door(self, checker: TokenChecker, app: web.Application) -> Door:
        from node.rest.door import Clocks, Door, Keys  # what no accounts need is not loaded

        process, loop = self.process, asyncio.get_running_loop()
        clocks = Clocks(loop.time, lambda: self.directory.time_ms(loop.time()), lambda: self.directory.joined)
        keys = Keys(Path(process.tokens_dir), process.cluster)
        origins = self.edge_limits.origins
        door = Door(self.accounts_config, self.limiters_config, keys, checker, clocks, origins, self.http.revoked, self.gateway)
        self.http.before_revoke = door.end_renewals
        door.add_to(app, self.http.ops.registry)
        return door

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
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_soon)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        now = loop.time()
        for name, endpoint in self.directory_config.endpoints().items():
            self.mesh.connect(name, endpoint, now)
        await self.pump.start()
        port = await self.edge.start(self.process.http_host, self.process.http_port)
        self.log.info("started", port=port, endpoint=self.me.endpoint)
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
            limiters = section(self._read_again(), "limiters", LimiterConfig)
        except ConfigError as error:
            self.log.error("limiters_not_reloaded", reason=str(error))
            return
        changed = self.door.server.limiters.configure(limiters) if self.door is not None else []
        self.log.info("limiters_reloaded", changed=changed)

    def _stop_soon(self) -> None:
        if self.stopping:
            return self._finish(0)
        self.stopping = True
        self._stopper = asyncio.ensure_future(self._stop())

    async def _stop(self) -> None:
        """Brings everything to rest, tells the directory, lets the clients go (P6)."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.stop_s
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


def main(config: Path, name: str | None = None) -> int:
    """Runs a node from its configuration file; returns the exit code."""
    try:
        overrides = {"process": {"name": name}} if name else {}
        sections = load(config, SECTIONS, overrides)
        process = section(sections, "process", ProcessConfig)
        logs.configure(process.name, level=process.log_level)

        async def run() -> int:
            _spare_the_collector()
            node = Node(dict(sections), lambda: load(config, SECTIONS, overrides))
            logs.identify(process.name, node.me.incarnation)
            return await node.run()

        return uvloop.run(run())
    except (ConfigError, KeyFileError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
