"""A real directory and storage worker as processes, and nodes made of the real mesh and the real directory client, without actors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec

from directory.client import ClientEvent, DirectoryClient, Lost, MoveTakenBack, ReleaseAsked, TableChanged, ToDirectory
from directory.config import DirectoryConfig
from directory.frames import DirectoryFrame, Expelled, MoveOff, Publish, Release, Renewed
from directory.table import Member, decode_delta, encode_delta
from router import keys
from router.config import MeshConfig
from router.events import Event, FrameIn, PeerDown, PeerUp, TableIn, TableWanted
from router.mesh import Mesh
from router.process import ProcessConfig
from router.pump import Pump
from router.zmq_transport import ZmqTransport

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 20.0
"""Far more than anything here takes: a test that waits so long has failed."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


async def until(what: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Waits until ``what()`` is true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while not what():
        assert loop.time() < end, "waited in vain"
        await asyncio.sleep(0.01)


class FakeNode:
    """A node as the directory sees it: it renews, follows the table, and releases what it is asked for."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        loop = asyncio.get_running_loop()
        keys.load_or_create(cluster.keys_dir, name)
        process = ProcessConfig(name=name, endpoint="tcp://127.0.0.1:0", http_port=0)
        limits = MeshConfig()
        pair, ring = keys.load(cluster.keys_dir, name), keys.KeyRing(cluster.keys_dir)
        transport = ZmqTransport(process.endpoint, pair, ring, limits)
        me = msgspec.structs.replace(process.new_incarnation(), endpoint=transport.bind())
        self.incarnation = me.incarnation
        self.member = Member(me.incarnation, name, "node", me.endpoint, f"ws://{name}")
        self.client = DirectoryClient(self.member, cluster.config, 0, loop.time())
        self.client.set_health(True, True, 0, loop.time())
        self.mesh = Mesh(me, limits, loop.time())
        self.pump = Pump(self.mesh, transport, self.handle, self.tick)
        self.seen: list[ClientEvent] = []
        self.owned_at: dict[int, float] = {}
        for directory, endpoint in cluster.config.endpoints().items():
            self.mesh.connect(directory, endpoint, loop.time())

    async def start(self) -> FakeNode:
        await self.pump.start()
        return self

    async def kill(self) -> None:
        """Its connections break and it says nothing more."""
        await self.pump.stop()

    async def leave(self) -> None:
        self._tell(self.client.good_bye(), asyncio.get_running_loop().time())
        self.pump.flush()
        await asyncio.sleep(0.1)
        await self.pump.stop()

    @property
    def slots(self) -> int:
        return self.client.table.slots_of(self.incarnation)

    def handle(self, events: list[Event], now: float) -> None:
        todo = list(events)
        while todo:
            event = todo.pop(0)
            match event:
                case PeerUp(peer):
                    self.client.on_peer_up(peer.name, peer.incarnation, now)
                case PeerDown(incarnation):
                    self.client.on_peer_down(incarnation)
                case TableIn(_, delta):
                    self.note(self.client.on_delta(decode_delta(delta)), now)
                    todo[:0] = self.mesh.set_epoch(self.client.table.epoch, now)
                case TableWanted(incarnation, base):
                    self.mesh.send_table(incarnation, encode_delta(self.client.table.delta(base)), now)
                case FrameIn(incarnation, frame):
                    said = msgspec.msgpack.decode(frame, type=DirectoryFrame)
                    assert isinstance(said, Renewed | Publish | Expelled | Release | MoveOff)
                    self.note(self.client.on_frame(incarnation, said, now), now)

    def note(self, events: list[ClientEvent], now: float) -> None:
        self.seen += events
        for event in events:
            if isinstance(event, ReleaseAsked):
                self._tell(self.client.released(event.move), now)

    def tick(self, now: float) -> float | None:
        self._tell(self.client.tick(now), now)
        self.note(self.client.check_lease(now), now)
        return self.client.next_deadline()

    def _tell(self, frames: list[ToDirectory], now: float) -> None:
        for directory, frame in frames:
            self.mesh.send(directory, msgspec.msgpack.encode(frame), now)

    def saw(self, kind: type[Lost | MoveTakenBack | ReleaseAsked | TableChanged]) -> int:
        return sum(isinstance(e, kind) for e in self.seen)


class Cluster:
    """The two processes and their files."""

    def __init__(self, path: Path, expected_nodes: int = 2) -> None:
        mesh_port, self.http_port, storage_port, self.storage_http = free_ports(4)
        self.path = path
        self.keys_dir = path / "keys"
        endpoint = f"directory-1=tcp://127.0.0.1:{mesh_port}"
        self.config = DirectoryConfig(
            directories=[endpoint], database=f"sqlite:///{path}/directory.db", expected_nodes=expected_nodes, settle_s=10.0, beat_s=1.0
        )
        self.nodes: list[FakeNode] = []
        self._running: dict[str, asyncio.subprocess.Process] = {}
        for name in ("directory-1", "storage-1"):
            keys.load_or_create(self.keys_dir, name)
        directory = {k: getattr(self.config, k) for k in ("directories", "database", "expected_nodes", "settle_s", "beat_s")}
        process = {"http_host": "127.0.0.1", "keys_dir": str(self.keys_dir)}
        self._write(
            "directory-1",
            process=process | {"name": "directory-1", "endpoint": f"tcp://127.0.0.1:{mesh_port}", "http_port": self.http_port},
            directory=directory,
        )
        storage = process | {"name": "storage-1", "endpoint": f"tcp://127.0.0.1:{storage_port}", "http_port": self.storage_http}
        self._write("storage-1", process=storage, directory={"directories": [endpoint]}, storage={"path": f"{path}/homing.db"})

    def _write(self, name: str, **sections: dict[str, object]) -> None:
        text = "".join(f"[{s}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()) for s, values in sections.items())
        (self.path / f"{name}.toml").write_text(text, encoding="utf-8")

    # ------------------------------------------------------------ processes

    async def start(self, *names: str) -> None:
        for name in names or ("directory-1", "storage-1"):
            role = name.rpartition("-")[0]
            with (self.path / f"{name}.log").open("ab") as out:
                self._running[name] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tools.cli", role, "--config", str(self.path / f"{name}.toml"),
                    stdout=out, stderr=out, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/client"},
                )  # fmt: skip

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        process = self._running.pop(name)
        if process.returncode is None:
            process.send_signal(number)
        return await process.wait()

    async def node(self, name: str) -> FakeNode:
        node = await FakeNode(self, name).start()
        self.nodes.append(node)
        return node

    async def close(self) -> None:
        for node in self.nodes:
            await node.kill()
        for name in list(self._running):
            await self.kill(name)

    def log(self, name: str = "directory-1") -> str:
        return (self.path / f"{name}.log").read_text(encoding="utf-8")

    # ------------------------------------------------------------ HTTP

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, object]]:
        """A GET at the directory: its status, and the JSON ({} if it is none)."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            text = await response.text()
            self.etag = response.headers.get("ETag", "")
            return response.status, json.loads(text) if text.startswith("{") else {"text": text}
