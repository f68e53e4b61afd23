"""`homing directory`: the process of a directory. Wiring only.

It ends with exit code 0 on SIGTERM or SIGINT. Its row stays: started again it goes on with the table that it had.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import uvloop
from aiohttp import web
from msgspec import Struct, structs

from directory.config import DirectoryConfig
from directory.http import Discovery
from directory.metrics import DirectoryMetrics
from directory.service import DirectoryService
from directory.table import Member
from router import keys, logs
from router.config import MeshConfig, load, section
from router.mesh import Mesh
from router.ops import Ops, OpsServer, process_registry
from router.process import ProcessConfig
from router.pump import Pump
from router.zmq_transport import ZmqTransport

log = logs.get("directory.main")

REQUEST_BYTES_MAX = 64 * 1024
"""Nobody sends this process a body."""


class Settings(Struct, frozen=True):
    """The sections of the configuration that a directory reads."""

    process: ProcessConfig
    mesh: MeshConfig
    directory: DirectoryConfig

    @classmethod
    def load(cls, path: Path | None, name: str | None) -> Settings:
        """Reads them.

        Raises:
            ConfigError: something in them is wrong.
        """
        types: dict[str, type[Struct]] = {"process": ProcessConfig, "mesh": MeshConfig, "directory": DirectoryConfig}
        sections = load(path, types, {"process.name": name} if name else None)
        return cls(
            section(sections, "process", ProcessConfig),
            section(sections, "mesh", MeshConfig),
            section(sections, "directory", DirectoryConfig),
        )


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
        process, loop = self.settings.process, asyncio.get_running_loop()
        keys_dir = Path(process.keys_dir)
        transport = ZmqTransport(process.endpoint, keys.load(keys_dir, process.name), keys.KeyRing(keys_dir), self.settings.mesh)
        self.me = structs.replace(self.me, endpoint=transport.bind())
        mesh = Mesh(self.me, self.settings.mesh, loop.time())
        member = Member(self.me.incarnation, self.me.name, "directory", self.me.endpoint)
        service = DirectoryService(member, mesh, self.settings.directory, lambda: pump.flush())
        pump = Pump(mesh, transport, service.handle, service.tick)
        Discovery(service.core, loop.time).add_to(self.app)
        await pump.start()
        try:
            await self.ops.start()
            service.start(loop.time())
            pump.flush()
            self.service = service
            log.info("started", endpoint=self.me.endpoint, http_port=self.ops.port)
            await self._until_stopped(pump)
            return 0
        finally:
            await self.ops.stop()
            await pump.stop()
            await service.stop()
            log.info("stopped")

    async def _until_stopped(self, pump: Pump) -> None:
        failed, stopped = asyncio.ensure_future(pump.failed()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                failed.result()
        finally:
            failed.cancel()
            stopped.cancel()

    def _unready(self) -> str | None:
        return self.service.unready if self.service is not None else "is starting"


async def run(settings: Settings) -> int:
    """Runs a directory until SIGTERM or SIGINT; returns the exit code."""
    process = DirectoryProcess(settings)
    logs.identify(settings.process.name, process.me.incarnation)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, process.stop)
    return await process.run()


def main(config: Path | None, name: str | None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong.
        KeyFileError: there is no usable key.
        OSError: a port is taken.
    """
    settings = Settings.load(config, name)
    logs.configure(settings.process.name, level=settings.process.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings))
