"""What the servers of a simulated cluster share: a mesh on the simulated network, a wall clock, and the rules that belong to these."""

from __future__ import annotations

from directory.client import DirectoryClient
from directory.config import DirectoryConfig
from directory.table import Member
from router.events import Event, Peer
from router.limits import MeshLimits
from router.link import Link
from router.mesh import Mesh
from router.neighbour import Neighbour
from router.packets import Data, Hello
from tools.simulation.settings import EPOCH_MS
from tools.simulation.world import Network, Process, World


class ForgetfulLink(Link):
    """The rule ``resend`` taken out: what is lost counts as handled."""

    __slots__ = ()

    def receive(self, data: Data, now: float, events: list[Event]) -> None:
        self._expected = max(self._expected, data.first_no)
        super().receive(data, now, events)


class ForgetfulMesh(Mesh):
    """A mesh of forgetful links."""

    def _bring_up(self, neighbour: Neighbour, hello: Hello, version: int, now: float) -> list[Event]:
        events = super()._bring_up(neighbour, hello, version, now)
        link = neighbour.link
        assert link is not None
        neighbour.link = ForgetfulLink(self.me.incarnation, link.peer, version, self._limits, now)
        return events


class WallClockClient(DirectoryClient):
    """The rule ``cluster-time`` taken out: time is what the wall clock shows, and that may jump."""

    def __init__(self, member: Member, config: DirectoryConfig, process: MeshProcess, now: float) -> None:
        super().__init__(member, config, process.wall_ms(), now)
        self._process = process

    def time_ms(self, now: float) -> int:
        return self._process.wall_ms()


class MeshProcess(Process):
    """A process with links."""

    def __init__(self, world: World, network: Network, name: str, limits: MeshLimits, resend: bool = True) -> None:
        super().__init__(world, name)
        self.network = network
        self.limits = limits
        self.resend = resend
        self.wall_off_ms = 0
        self.mesh: Mesh
        network.join(self)

    def wall_ms(self) -> int:
        """The own wall clock."""
        return EPOCH_MS + int(self.world.now * 1000) + self.wall_off_ms

    def make_mesh(self, follow_epochs: bool = True) -> None:
        kind = Mesh if self.resend else ForgetfulMesh
        me = Peer(self.name, self.incarnation, self.endpoint)
        self.mesh = kind(me, self.limits, self.clock(), follow_epochs=follow_epochs)

    def put_on_wire(self, now: float) -> None:
        for endpoint, packet in self.mesh.poll(now):
            self.network.send(self.name, endpoint, packet)

    def on_hint(self, endpoint: str, reached: bool) -> None:
        """The transport lost a connection, or has it again."""
        raise NotImplementedError
