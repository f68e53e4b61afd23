"""`homing directory`: the process of a directory. Wiring only.

It ends with exit code 0 on SIGTERM or SIGINT. Its row stays: started again it goes on with the table that it had.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from msgspec import Struct

from directory.config import DirectoryConfig
from directory.http import Discovery
from directory.metrics import DirectoryMetrics
from directory.service import DirectoryService
from directory.table import Member
from router import life, logs
from router.config import MeshConfig
from router.ops import Ops, OpsServer, process_registry
from router.process import ProcessConfig
from router.pump import Pump

log = logs.get("directory.main")

REQUEST_BYTES_MAX = 64 * 1024
"""Nobody sends this process a body."""


class Settings(Struct, frozen=True):
    """The sections of the configuration that a directory reads."""

    process: ProcessConfig
    mesh: MeshConfig
    directory: DirectoryConfig


class DirectoryProcess:
    """One start of the process."""

    def __init__(self, settings: Settings) -> None:
        process = settings.process
        self.settings = settings
        self.me = process.new_incarnation()
        self.service: DirectoryService | None = None
        self._stop = asyncio.Event()
        registry = process_registry(process.name, "directory", lambda: self.me.incarnation)
        DirectoryMetrics(registry, lambda: self.service)
        self.app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        Ops(registry, self._unready).add_to(self.app)
        self.ops = OpsServer(self.app, process.http_host, process.http_port)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> int:
        """Runs until ``stop``; returns the exit code.

        Raises:
            OSError: a port is taken.
            KeyFileError: there is no usable key.
        """
        settings, loop = self.settings, asyncio.get_running_loop()
        transport, mesh = life.open_mesh(settings.process, self.me, settings.mesh, loop.time())
        self.me = mesh.me
        member = Member(self.me.incarnation, self.me.name, "directory", self.me.endpoint)
        service = DirectoryService(member, mesh, settings.directory, lambda: pump.flush())
        pump = Pump(mesh, transport, service.handle, service.tick)
        Discovery(service.core, loop.time).add_to(self.app)
        await pump.start()
        try:
            await self.ops.start()
            service.start(loop.time())
            pump.flush()
            self.service = service
            log.info("started", endpoint=self.me.endpoint, http_port=self.ops.port)
            await life.until_stopped(pump, self._stop)
            return 0
        finally:
            await self.ops.stop()
            await pump.stop()
            await service.stop()
            log.info("stopped")

    def _unready(self) -> str | None:
        return self.service.unready if self.service is not None else "is starting"


def main(config: Path | None, name: str | None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong.
        KeyFileError: there is no usable key.
        OSError: a port is taken.
    """
    settings = life.read_settings(Settings, config, name)
    return life.run(settings.process, lambda: DirectoryProcess(settings))
