"""Meshes joined by the memory network on virtual time: what the mesh tests drive."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from router.events import Acked, Event, FrameIn, Peer, PeerUp
from router.limits import MeshLimits
from router.memory import Faults, MemoryNetwork
from router.mesh import Mesh

CLEAN = Faults(delay_min_s=0.0002, delay_max_s=0.0002)
ROUGH = Faults(delay_min_s=0.0001, delay_max_s=0.003, drop=0.1, duplicate=0.1, reorder=0.2, reorder_extra_s=0.03)

OnEvent = Callable[["Process", Event, float], None]


class Process:
    """One incarnation: its mesh, and all that it was told."""

    def __init__(self, world: World, name: str, life: str, on_event: OnEvent | None, versions: tuple[int, int], follow: bool) -> None:
        self.endpoint = f"mem://{name}"
        self.incarnation = f"{name}:{life}"
        self.mesh = Mesh(Peer(name, self.incarnation, self.endpoint), world.limits, world.now, versions=versions, follow_epochs=follow)
        self.events: list[Event] = []
        self.sent: list[tuple[str, bytes]] = []
        """What was put on the wire: (endpoint, packet)."""
        self.on_event = on_event
        self.alive = True

    def tell(self, events: list[Event], now: float) -> None:
        self.events += events
        if self.on_event is not None:
            for event in events:
                self.on_event(self, event, now)

    def frames(self, incarnation: str) -> list[bytes]:
        return [e.frame for e in self.events if isinstance(e, FrameIn) and e.incarnation == incarnation]

    def acked(self, incarnation: str) -> int:
        return max((e.number for e in self.events if isinstance(e, Acked) and e.incarnation == incarnation), default=0)

    def is_up(self, incarnation: str) -> bool:
        return any(peer.incarnation == incarnation for peer in self.mesh.peers())


class World:
    """The network, the processes, the virtual clock."""

    def __init__(self, seed: int = 1, faults: Faults = CLEAN, limits: MeshLimits | None = None) -> None:
        self.now = 1000.0
        self.limits = limits or MeshLimits()
        self.network = MemoryNetwork(Random(seed), faults)
        self.processes: dict[str, Process] = {}

    def start(
        self, name: str, life: str = "1", on_event: OnEvent | None = None, versions: tuple[int, int] = (1, 1), follow: bool = True
    ) -> Process:
        """A new incarnation of ``name``; the one before it, if any, is dead."""
        if name in self.processes:
            self.kill(self.processes[name])
        process = Process(self, name, life, on_event, versions, follow)
        self.processes[name] = process
        self.network.join(process.endpoint, name)
        return process

    def kill(self, process: Process) -> None:
        process.alive = False
        self.network.leave(process.endpoint)

    def link(self, a: Process, b: Process) -> None:
        """Both say hello and come up."""
        a.mesh.connect(b.mesh.me.name, b.endpoint, self.now)
        self.run(0.05)
        assert a.is_up(b.incarnation) and b.is_up(a.incarnation)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._write()
            at = self._next()
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            for endpoint, sender, packet in self.network.due(self.now):
                process = next((p for p in self.processes.values() if p.alive and p.endpoint == endpoint), None)
                if process is not None:
                    process.tell(process.mesh.receive(packet, sender, self.now), self.now)
        self.now = end

    def _write(self) -> None:
        for process in self.processes.values():
            if process.alive:
                for endpoint, packet in process.mesh.poll(self.now):
                    process.sent.append((endpoint, packet))
                    self.network.send(process.endpoint, endpoint, packet, self.now)

    def _next(self) -> float | None:
        times = [self.network.next_deadline(), *(p.mesh.next_deadline() for p in self.processes.values() if p.alive)]
        return min((at for at in times if at is not None), default=None)


def ups(process: Process) -> list[str]:
    return [e.peer.incarnation for e in process.events if isinstance(e, PeerUp)]
