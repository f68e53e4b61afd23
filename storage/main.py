"""`homing storage`: the process of a storage worker. Wiring only.

It ends with exit code 0 on SIGTERM or SIGINT, with 1 when it cannot run as configured (the file is another process's, the store is not
what it must be, or a newer release's), with 75 when the cluster has taken its incarnation out: started again it is a new one, with the
same rows.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec import Struct

from router import life, logs
from router.config import MeshConfig
from router.ops import OpsServer, ops_app, process_registry
from router.process import ProcessConfig
from router.pump import Pump
from storage.config import StorageConfig
from storage.engines import OpenedStore, StoreUnusable, open_store, place, waits
from storage.member import DirectoryConfig, Membership
from storage.metrics import StorageMetrics
from storage.service import StorageService

log = logs.get("storage.main")

EXIT_UNUSABLE, EXIT_EXPELLED = 1, 75
OPEN_RETRY_S = 1.0
"""Wait before a store that cannot be opened now (a full disk, no server) is tried again."""
PARTING_S = 0.2
"""How long the last outcomes and the good-bye have to leave."""


class Settings(Struct, frozen=True):
    """The sections of the configuration that a storage worker reads."""

    process: ProcessConfig
    mesh: MeshConfig
    directory: DirectoryConfig
    storage: StorageConfig


class StorageProcess:
    """One start of the process."""

    def __init__(self, settings: Settings) -> None:
        process = settings.process
        self.settings = settings
        self.me = process.new_incarnation()
        self.service: StorageService | None = None
        self.store: OpenedStore | None = None
        self._stop = asyncio.Event()
        self._opening = "the store is being opened"
        registry = process_registry(process.name, "storage", lambda: self.me.incarnation)
        self._metrics = StorageMetrics(registry, lambda: self.service, lambda: self.store.rejected if self.store else 0)
        self.ops = OpsServer(ops_app(registry, self._unready), process.http_host, process.http_port)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> int:
        """Runs until ``stop``; returns the exit code."""
        await self.ops.start()
        try:
            self.store = await self._open()
            return await self._serve(self.store) if self.store else 0
        finally:
            if self.store is not None:
                self.store.close()
            await self.ops.stop()

    async def _open(self) -> OpenedStore | None:
        """Opens the store, for as long as it takes; None when told to stop meanwhile."""
        while not self._stop.is_set():
            try:
                return await asyncio.to_thread(open_store, self.settings.storage)
            except OSError as error:
                self._opening = str(error)
                log.error("store_not_open", reason=str(error), retry_s=OPEN_RETRY_S)
            await self._wait(OPEN_RETRY_S)
        return None

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _serve(self, store: OpenedStore) -> int:
        process, config = self.settings.process, self.settings.mesh
        loop = asyncio.get_running_loop()
        transport, mesh = life.open_mesh(process, self.me, config, loop.time())
        membership = Membership(mesh, self.settings.directory, loop.time())
        storage = self.settings.storage
        service = StorageService(store, mesh, membership, storage.worker, lambda: pump.flush(), config.frame_bytes_max, waits(storage))
        pump = Pump(mesh, transport, service.handle, service.tick, pace_s=config.turn_pace_s)
        service.on_commit, service.on_expelled = self._metrics.on_commit, self.stop
        service.start(loop.time())
        await pump.start()
        self.service = service
        log.info("started", store=place(storage), endpoint=mesh.me.endpoint, http_port=self.ops.port)
        try:
            await life.until_stopped(pump, self._stop)
            if membership.expelled:
                log.warning("expelled", reason=membership.expelled)
                return EXIT_EXPELLED
            await self._part(service, membership, pump)
            return 0
        finally:
            self.service = None
            await pump.stop()
            service.stop()

    async def _part(self, service: StorageService, membership: Membership, pump: Pump) -> None:
        """Commits what waits, says good-bye, and lets both leave."""
        now = asyncio.get_running_loop().time()
        service.drain(now)
        membership.leave(now)
        pump.flush()
        await asyncio.sleep(PARTING_S)
        log.info("stopped", rows=service.core.rows_written)

    def _unready(self) -> str | None:
        return self.service.unready if self.service is not None else self._opening


def main(config: Path | None, name: str | None) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong.
        KeyFileError: there is no usable key.
    """
    settings = life.read_settings(Settings, config, name)
    try:
        return life.run(settings.process, lambda: StorageProcess(settings))
    except StoreUnusable as error:
        log.error("store_unusable", reason=str(error))
        return EXIT_UNUSABLE
