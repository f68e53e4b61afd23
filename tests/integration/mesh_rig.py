"""What the mesh's integration tests share: an owner with a pump over CURVE, and a proxy that cuts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from router.config import MeshConfig
from router.events import Acked, Event, FrameIn, Peer, PeerDown, PeerUp
from router.keys import KeyRing, create
from router.mesh import Mesh
from router.pump import Pump
from router.zmq_transport import ZmqTransport

CONFIG = MeshConfig()


class Owner:
    """A process of the mesh inside the test: its pump, and what its handler saw."""

    def __init__(
        self,
        keys: Path,
        name: str,
        life: str = "1",
        bind: str = "tcp://127.0.0.1:0",
        advertise: str = "",
        versions: tuple[int, int] = (1, 1),
    ) -> None:
        self.seen: list[Event] = []
        self._changed = asyncio.Event()
        self.transport = ZmqTransport(bind, create(keys, name), KeyRing(keys), CONFIG)
        self.bound = self.transport.bind()
        me = Peer(name, f"{name}:{life}", advertise or self.bound)
        self.mesh = Mesh(me, CONFIG, self.now(), versions)
        self.pump = Pump(self.mesh, self.transport, self.handle)

    def handle(self, events: list[Event], now: float) -> None:
        self.seen += events
        self._changed.set()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def connect(self, name: str, endpoint: str) -> None:
        self.mesh.connect(name, endpoint, self.now())
        self.pump.flush()

    def send(self, incarnation: str, frame: bytes) -> int:
        number = self.mesh.send(incarnation, frame, self.now())
        self.pump.flush()
        return number

    async def until(self, done: Callable[[], object], seconds: float = 20) -> None:
        """Waits for what events bring; looks now and then for what counters bring."""
        async with asyncio.timeout(seconds):
            while not done():
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.05)
                except TimeoutError:
                    continue

    def up(self, incarnation: str) -> bool:
        return any(isinstance(e, PeerUp) and e.peer.incarnation == incarnation for e in self.seen)

    def down(self, incarnation: str) -> bool:
        return any(isinstance(e, PeerDown) and e.incarnation == incarnation for e in self.seen)

    def frames(self, incarnation: str) -> list[bytes]:
        return [e.frame for e in self.seen if isinstance(e, FrameIn) and e.incarnation == incarnation]

    def acked(self, incarnation: str) -> int:
        return max((e.number for e in self.seen if isinstance(e, Acked) and e.incarnation == incarnation), default=0)


@asynccontextmanager
async def running(*owners: Owner) -> AsyncIterator[None]:
    """Their pumps run meanwhile."""
    try:
        for owner in owners:
            await owner.pump.start()
        yield
    finally:
        for owner in owners:
            await owner.pump.stop()


class Proxy:
    """TCP between two ports; ``cut`` breaks every connection, with whatever was under way in it."""

    def __init__(self) -> None:
        self._target = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def aim(self, endpoint: str) -> None:
        self._target = int(endpoint.rpartition(":")[2])

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, back}
        self._writers |= ends
        copies = [asyncio.create_task(self._copy(reader, back)), asyncio.create_task(self._copy(there, writer))]
        self._tasks.update(copies)
        await asyncio.wait(copies)
        self._tasks.difference_update(copies)
        self._writers -= ends

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
