"""What every process does at its start and at its end: settings from a file, a mesh, signals, a loop that runs until it is told to stop.

Knows no kind of process. Law: what a handler raised comes out of ``until_stopped``, so that the process ends with it.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import uvloop
from msgspec import Struct, structs

from router import keys, logs
from router.config import MeshConfig, load
from router.events import Peer
from router.mesh import Mesh
from router.process import ProcessConfig
from router.pump import Pump
from router.zmq_transport import ZmqTransport

S = TypeVar("S", bound=Struct)


class Process(Protocol):
    """One start of a process."""

    me: Peer

    def stop(self) -> None:
        """Told to end, by a signal."""

    async def run(self) -> int:
        """Runs until ``stop``, or until it is over by itself; returns the exit code."""


def read_settings(kind: type[S], path: Path | None, name: str | None) -> S:
    """The sections of a configuration that a process reads: the fields of ``kind``, each a section of its own name.

    Raises:
        ConfigError: something in them is wrong.
    """
    types: dict[str, type[Struct]] = {field.name: field.type for field in structs.fields(kind)}
    return kind(**load(path, types, {"process.name": name} if name else None))


def open_mesh(process: ProcessConfig, me: Peer, config: MeshConfig, now: float) -> tuple[ZmqTransport, Mesh]:
    """A transport that listens, and a mesh that says where.

    Raises:
        KeyFileError: there is no usable key.
    """
    keys_dir = Path(process.keys_dir)
    transport = ZmqTransport(process.endpoint, keys.load(keys_dir, process.name), keys.KeyRing(keys_dir), config)
    return transport, Mesh(structs.replace(me, endpoint=transport.bind()), config, now)


async def until_stopped(pump: Pump, stop: asyncio.Event) -> None:
    """Waits until ``stop`` is set; raises what a handler of the pump raised."""
    failed, stopped = asyncio.ensure_future(pump.failed()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        failed.cancel()
        stopped.cancel()


def run(config: ProcessConfig, make: Callable[[], Process]) -> int:
    """Runs what ``make`` makes, in the loop, until SIGTERM or SIGINT; returns the exit code."""

    async def live() -> int:
        process = make()
        logs.identify(config.name, process.me.incarnation)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, process.stop)
        return await process.run()

    logs.configure(config.name, level=config.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(live())
