"""A simulated cluster: its processes, its store and its people, made from a plan."""

from __future__ import annotations

from itertools import count

import msgspec
from homing import ids
from msgspec import Struct

from node.core.pigeonhole import Pigeonhole
from node.core.rules import ALL, Rules
from tools.simulation import settings, tables
from tools.simulation.blocks import Blocks
from tools.simulation.device import SimDevice
from tools.simulation.directory import Database, SimDirectory
from tools.simulation.node import SimNode
from tools.simulation.polling import HOLES
from tools.simulation.presence import Presences
from tools.simulation.revocation import Revocations
from tools.simulation.settings import CLIENT, CORE, MESH, STORAGE_CLIENT, TIGHT, WORKER
from tools.simulation.store import SimStore
from tools.simulation.worker import SimWorker
from tools.simulation.world import Network, Process, World

tables.install()

OWN_RULES = ("cluster-time", "resend", "durable", *HOLES)
"""Rules that belong to the simulator's parts; all others are switches of the node core."""
RULES = (
    "fence", "log-row", "in-order", "dedup", "readdress", "attach-first", "said-law", "cluster-time", "resend", "in-hand", "durable",
    "mark-max", "stale-deliver", "blocks", "presence-silence", "presence-privacy", "watch-again", "reciprocal", "last-seen-durable",
    "typing-members", "asked-number", *HOLES,
)  # fmt: skip


def core_rules(broken: str) -> Rules:
    if not broken or broken in OWN_RULES:
        return ALL
    return msgspec.structs.replace(ALL, **{broken.replace("-", "_"): False})


class Size(Struct, frozen=True):
    """How much of everything there is."""

    nodes: int = 3
    spare_nodes: int = 0
    """Nodes that are not there at first."""
    directories: int = 1
    workers: int = 1
    users: int = 3
    devices: tuple[int, ...] = (1, 2)
    """How many devices a user may have."""
    window_frames: int = 0
    """Frames that a link may have under way; 0: as many as in production."""
    tight: bool = False
    """Whether the nodes' bounds are so low that they are reached."""
    encoded: bool = False
    """Whether clients' frames are encoded."""
    pollers: float = 0.0
    """Share of the devices that poll."""


class Cluster:
    """All processes of a history, none of them started."""

    def __init__(self, world: World, size: Size, broken: str = "") -> None:
        self.world = world
        self.size = size
        self.network = Network(world)
        self.store = SimStore(world, fence=broken != "fence", durable=broken != "durable")
        self.database = Database(world)
        mesh = MESH
        if size.window_frames:
            mesh = msgspec.structs.replace(
                MESH, window_frames=size.window_frames, packet_frames_max=min(MESH.packet_frames_max, size.window_frames)
            )
        resend = broken != "resend"
        names = ["directory-1", "directory-2"][: size.directories]
        config = settings.directory_config(names, size.nodes)
        self.config = config
        self.directories = [SimDirectory(world, self.network, n, self.database, MESH, config, STORAGE_CLIENT, resend) for n in names]
        self.workers = [
            SimWorker(world, self.network, f"storage-{i + 1}", self.store, MESH, config, WORKER, resend) for i in range(size.workers)
        ]
        rules, cluster_time = core_rules(broken), broken != "cluster-time"
        self.nodes = [
            SimNode(
                world,
                self.network,
                f"node-{i + 1}",
                mesh,
                TIGHT if size.tight else CORE,
                config,
                STORAGE_CLIENT,
                rules,
                resend,
                cluster_time,
            )
            for i in range(size.nodes + size.spare_nodes)
        ]
        for node in self.nodes:
            node.hole = HOLES.get(broken, Pigeonhole)
        self.users = [self._user(i) for i in range(size.users)]
        self.devices: list[SimDevice] = []
        numbers = count(1)
        for i, user in enumerate(self.users):
            for k in range(world.random.choice(size.devices)):
                device = SimDevice(world, f"{'abcdefgh'[i]}{k + 1}", user, self.nodes, CLIENT, size.encoded)
                device.numbered_by(lambda: next(numbers))
                device.polls = bool(size.pollers) and world.random.random() < size.pollers
                self.devices.append(device)
        self.revocations = Revocations(self)
        self.blocks = Blocks(self)
        self.presences = Presences(self)

    def _user(self, i: int) -> str:
        """A user at home on any node: ids are as if made from a name."""
        return ids.user_id(f"{'abcdefgh'[i]}{self.world.random.randrange(1000)}")

    @property
    def servers(self) -> list[Process]:
        return [*self.directories, *self.workers, *self.nodes]

    def start(self) -> None:
        """Starts all that is there at first."""
        for process in [*self.directories, *self.workers, *self.nodes[: self.size.nodes]]:
            self.world.after(self.world.random.random() * 0.05, process.start)
        for device in self.devices:
            self.world.after(0.6 + self.world.random.random() * 0.8, device.start)
