"""A connection node of the simulated cluster: the real core, and a gateway without sockets and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p

from directory.client import DirectoryClient
from directory.config import DirectoryConfig
from directory.table import Member
from node.core.asking import Asking
from node.core.edge import Identity
from node.core.effects import BlockDecided, CloseClient, Effect, EndNode, EntryToClients, PrivacyWanted, SentToClient, ToClient, ToClients
from node.core.limits import CoreLimits
from node.core.node import NodeCore
from node.core.pigeonhole import Cursor, Pigeonhole
from node.core.rules import Rules
from node.core.views import entry_of
from node.gateway import close_code
from router.limits import MeshLimits
from storage.client import StorageClient
from storage.config import ClientConfig
from tools.simulation.member import MeshProcess, WallClockClient
from tools.simulation.polling import Polled, PollEnd
from tools.simulation.settings import HEARTBEAT_S, RESTART_S
from tools.simulation.socket import Socket
from tools.simulation.world import Network, World

if TYPE_CHECKING:
    from tools.simulation.device import SimDevice

IDLE_S = 3 * HEARTBEAT_S
"""A socket on which nothing came for so long is closed, as the real edge does."""


class SimNode(MeshProcess):
    """One name; each start is a new incarnation."""

    def __init__(
        self, world: World, network: Network, name: str, mesh: MeshLimits, core: CoreLimits, config: DirectoryConfig,
        client: ClientConfig, rules: Rules, resend: bool, cluster_time: bool,
    ) -> None:  # fmt: skip
        super().__init__(world, network, name, mesh, resend)
        self.core_limits = core
        self.config = config
        self.client_config = client
        self.rules = rules
        self.cluster_time = cluster_time
        self.stopping = False
        self.restart_s: float | None = RESTART_S
        """After its end it starts again so much later; None: it does not."""
        self.ends: list[str] = []
        self.after_step: Callable[[SimNode], None] = lambda node: None
        self.on_made: Callable[[SimNode], None] = lambda node: None
        self.on_block: Callable[[SimNode, BlockDecided], None] = lambda node, effect: None
        self.on_privacy: Callable[[SimNode, PrivacyWanted], None] | None = None
        """Reads what people show of themselves; None: everybody shows all."""
        self.core: NodeCore
        self.sockets: dict[int, Socket | PollEnd] = {}
        self.polls: dict[str, PollEnd] = {}
        """Device → its session here, of those that poll."""
        self.hole: type[Pigeonhole] = Pigeonhole
        self._heard: dict[int, float] = {}
        self._sweep_at = 0.0

    # ------------------------------------------------------------ life

    def on_start(self) -> None:
        now = self.clock()
        self.make_mesh()
        member = Member(self.incarnation, self.name, "node", self.endpoint, f"ws://{self.name}")
        if self.cluster_time:
            directory = DirectoryClient(member, self.config, self.wall_ms(), now)
        else:
            directory = WallClockClient(member, self.config, self, now)
        storage = StorageClient(self.client_config)
        self.core = NodeCore(self.mesh, storage, directory, self.core_limits, self.config.lease_s, now, self.rules)
        self.core.live.privacies.open_to_all = self.on_privacy is None
        self.sockets, self.polls, self._heard = {}, {}, {}
        self.stopping = False
        self._sweep_at = now + HEARTBEAT_S
        for name, endpoint in self.config.endpoints().items():
            self.mesh.connect(name, endpoint, now)
        self.on_made(self)

    def on_end(self) -> None:
        sockets, self.sockets = self.sockets, {}
        for socket in sockets.values():
            socket.at_node = False
            # Mostly the kernel says that nobody is there any more; a machine that lost its power says nothing.
            if self.world.random.random() < 0.8:
                self.world.after(0.001, socket.reset_at_device)

    def drain(self) -> None:
        """SIGTERM: everybody is asked to go, all is brought to rest, good-bye; then the process ends."""
        if not self.up or self.stopping or self.paused:
            return
        self.stopping = True
        for socket in list(self.sockets.values()):
            socket.to_device(p.Reconnect(after_ms=20 + int(self.world.random.random() * 300), reason="this node is being stopped"))
        self.core.drain(self.clock())
        self._apply()
        until = self.world.now + self.core_limits.drain_s + 1.0
        self._stop_when_done(until, self.starts)

    def _stop_when_done(self, until: float, start: int) -> None:
        if not self.up or self.starts != start:
            return
        if self.paused:
            self.world.after(0.1, lambda: self._stop_when_done(until, start))
            return
        self.settle()
        gone = self.core.is_drained and self.incarnation not in self.core.directory.table.by_incarnation
        if self.up and (gone or self.world.now >= until):
            self._finish("stopped")
        elif self.up:
            self.world.after(0.02, lambda: self._stop_when_done(until, start))

    def _finish(self, reason: str) -> None:
        """The process ends by itself: sockets are closed properly, and it is started again."""
        self.ends.append(reason)
        for socket in list(self.sockets.values()):
            socket.close_at_node(codes.CLOSE_RESTART, "going_away")
        self.sockets = {}
        self.end()
        if self.restart_s is not None:
            self.world.after(self.restart_s, self.start)

    # ------------------------------------------------------------ what comes in

    def on_packet(self, data: bytes, sender: str) -> None:
        now = self.clock()
        events = self.mesh.receive(data, sender, now)
        if events:
            self.core.on_events(events, now)
            self.after_step(self)
        self.settle()

    def on_hint(self, endpoint: str, reached: bool) -> None:
        if reached:
            self.mesh.connected(endpoint, self.clock())
        else:
            self.core.on_events(self.mesh.disconnected(endpoint, self.clock()), self.clock())
        self.settle()

    def settle(self) -> None:
        if not self.up:
            return
        now = self.clock()
        core = self.core
        if now >= core.due_at:
            core.directory.set_health(bool(core.storage.workers), not self.stopping, len(self.sockets), now)
            core.tick(now)
        if now >= self._sweep_at:
            self._sweep(now)
        if not self._apply():
            return
        self.put_on_wire(now)
        self.wake_at(core.due_at, self._sweep_at, self.mesh.next_deadline())

    # ------------------------------------------------------------ sockets

    def on_socket(self, socket: Socket) -> None:
        self.sockets[socket.number] = socket
        self._heard[socket.number] = self.clock()

    def on_client_frame(self, socket: Socket, frame: p.ClientFrame) -> None:
        now = self.clock()
        self._heard[socket.number] = now
        if isinstance(frame, p.Hello):
            self._hello(socket, frame, now)
        else:
            self.core.on_client(socket.number, frame, now)
        self.after_step(self)
        self.settle()

    def on_socket_gone(self, socket: Socket) -> None:
        if self.sockets.pop(socket.number, None) is not None:
            self.core.on_closed(socket.number, self.clock())
            self.settle()

    def on_poll(self, device: SimDevice, cursor: Cursor | None, number: int, reply: Callable[[Polled], None]) -> None:
        """``GET /v1/events``, as ``node/polls.py`` answers it."""
        now = self.clock()
        if self.stopping or not self.core.directory.joined:
            return reply(codes.GOING_AWAY)
        before = self.polls.get(device.name)
        if before is not None and before.at_node and cursor is not None and before.hole.knows(cursor):
            end = before
            end.hole.accept(cursor)
            if now - end.pinged_at >= HEARTBEAT_S:
                end.pinged_at = now
                self.core.on_client(end.number, p.Ping(), now)
        else:
            sync = cursor.sync if cursor is not None else 0
            end = self.polls[device.name] = self.sockets[number] = PollEnd(self, device, number, sync)
            who = Identity(device.user, device.name, device.name)
            self.core.open(number, who, sync, {}, int(HEARTBEAT_S * 1_000), now)
            if before is not None:
                self.on_poll_gone(before, codes.SESSION_REPLACED.name)
        self._heard[end.number] = now
        end.wait(reply)
        self.after_step(self)
        self.settle()

    def on_poll_gone(self, end: PollEnd, reason: str) -> None:
        """This node ends the session of who polls."""
        self._drop(end, 1006, reason)
        self.core.on_closed(end.number, self.clock())
        self.settle()

    def on_ask(self, ask: Callable[[Asking], None]) -> None:
        """What HTTP asks for."""
        self.core.do(lambda: ask(self.core.asking), self.clock())
        self.after_step(self)
        self.settle()

    def _hello(self, socket: Socket, frame: p.Hello, now: float) -> None:
        if self.stopping or not self.core.directory.joined:
            socket.to_device(p.Reconnect(after_ms=50 + int(self.world.random.random() * 200), reason="this node takes no sessions now"))
            self._drop(socket, codes.CLOSE_RESTART, "going_away")
            return
        device = socket.device
        heartbeat_ms = int(HEARTBEAT_S * (0.9 + 0.2 * self.world.random.random()) * 1000)
        who = Identity(device.user, device.name, device.name)
        self.core.open(socket.number, who, int(frame.cursor or 0), frame.have, heartbeat_ms, now)

    def revoke(self, user: str, device: str, done: Callable[[codes.Code | None], None]) -> None:
        """An operator or the user himself asks this node for it."""
        self.core.revoke(user, device, done, self.clock())
        self.after_step(self)
        self.settle()

    def do(self, what: Callable[[], None]) -> None:
        """The shell has the core do something."""
        self.core.do(what, self.clock())
        self.settle()

    def _drop(self, socket: Socket | PollEnd, code: int, reason: str) -> None:
        if self.sockets.pop(socket.number, None) is not None:
            socket.close_at_node(code, reason)
            if self.polls.get(socket.device.name) is socket:
                del self.polls[socket.device.name]

    def _sweep(self, now: float) -> None:
        """Sockets on which nothing came for long are cut."""
        self._sweep_at = now + HEARTBEAT_S
        for number, socket in list(self.sockets.items()):
            if now - self._heard.get(number, now) > IDLE_S:
                self._drop(socket, 1006, "idle")
                self.core.on_closed(number, now)

    # ------------------------------------------------------------ effects

    def _apply(self) -> bool:
        """Does what the core asks for; whether the process is still there afterwards."""
        for effect in self.core.take_effects():
            self._do(effect)
        return self.up

    def _do(self, effect: Effect) -> None:
        sockets = self.sockets
        match effect:
            case EntryToClients(row, sessions):
                for session in sessions:
                    if session in sockets:
                        sockets[session].to_device(p.Message(entry=entry_of(row)))
            case SentToClient(row, session, id_):
                if session in sockets:
                    sockets[session].to_device(p.Sent(id=id_, entry=entry_of(row)))
            case ToClient(session, frame):
                if session in sockets:
                    sockets[session].to_device(frame)
            case ToClients(frame, sessions):
                for session in sessions:
                    if session in sockets:
                        sockets[session].to_device(frame)
            case PrivacyWanted():
                assert self.on_privacy is not None, "where all is shown nothing is asked for"
                self.on_privacy(self, effect)
            case CloseClient(session, code):
                socket = sockets.get(session)
                if socket is not None:
                    named = codes.CODES[code]
                    socket.to_device(p.Error(code=named.number, name=named.name, message="this session ends here"))
                    self._drop(socket, close_code(named), named.name)
            case BlockDecided():
                self.on_block(self, effect)
            case EndNode(reason):
                self._finish(reason)
