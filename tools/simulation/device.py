"""A device of a user in the simulated cluster: the real client core, a disk that may be older than it should be, sockets that break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from homing import protocol as p
from homing.core import ClientCore
from homing.effects import Close, Connect, Effect, Transmit
from homing.limits import Limits
from homing.questions import Question
from homing.state import CoreState, Request

from tools.simulation.polling import PollSocket
from tools.simulation.socket import Socket
from tools.simulation.world import Process, World

if TYPE_CHECKING:
    from tools.simulation.node import SimNode

_state = msgspec.msgpack.Decoder(CoreState).decode


class Watcher:
    """What checkers hear of a device; does nothing by itself."""

    def on_frame(self, device: SimDevice, frame: p.ServerFrame) -> None: ...
    def on_effect(self, device: SimDevice, effect: Effect) -> None: ...
    def on_request(self, device: SimDevice, frame: Request) -> None: ...
    def on_end(self, device: SimDevice) -> None: ...
    def on_rolled_back(self, device: SimDevice, shown: int) -> None: ...


class SimDevice(Process):
    """One device; its name is unique."""

    def __init__(self, world: World, name: str, user: str, nodes: Sequence[SimNode], limits: Limits, encoded: bool) -> None:
        super().__init__(world, name)
        self.user = user
        self.nodes = nodes
        self.limits = limits
        self.encoded = encoded
        self.reachable = True
        self.watcher = Watcher()
        self.near: SimNode | None = None
        """The node that it tries first; None: any."""
        self.core: ClientCore
        self.socket: Socket | PollSocket | None = None
        self.polls = False
        """It is behind a network that blocks WebSockets."""
        self.loses = 0.0
        """The chance that an answer to one of its HTTP requests is lost."""
        self.shown = 0
        """How many entries were shown: what a screen has."""
        self._disk: bytes | None = None
        self._snapshot: tuple[bytes, int] | None = None
        self._new_number: Callable[[], int] = lambda: 0

    def numbered_by(self, numbers: Callable[[], int]) -> None:
        self._new_number = numbers

    # ------------------------------------------------------------ life

    def on_start(self) -> None:
        state = _state(self._disk) if self._disk is not None else None
        self.core = ClientCore(self.user, self.name, self.world.random.random, state, self.limits)
        self._do(self.core.start(self.clock()))

    def on_end(self) -> None:
        self._disk = msgspec.msgpack.encode(self.core.export())
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.at_device = False
            if self.reachable and self.world.random.random() < 0.7:
                socket.close_at_device()
        self.watcher.on_end(self)

    def snapshot(self) -> None:
        """What a disk may still hold after the device has lost what it wrote since."""
        if self.up:
            self._snapshot = (msgspec.msgpack.encode(self.core.export()), self.shown)

    def crash(self, lose_writes: bool) -> None:
        """Ends without a word; with ``lose_writes`` it comes back as it was at the last snapshot."""
        self.end()
        if lose_writes and self._snapshot is not None:
            self._disk, self.shown = self._snapshot
            self.watcher.on_rolled_back(self, self.shown)

    def unplug(self) -> None:
        self.reachable = False

    def plug_in(self) -> None:
        if not self.reachable:
            self.reachable = True
            self.well_since = self.world.now
            if self.socket is not None:
                self.socket.in_reach()

    def lose_answers(self, share: float) -> None:
        """From now on; while answers are lost it is out of reach, more or less."""
        if self.loses and not share:
            self.well_since = self.world.now
        self.loses = share

    # ------------------------------------------------------------ what the user does

    def request(self, frame: Request) -> None:
        if self.up and not self.paused:
            self.watcher.on_request(self, frame)
            self._do(self.core.request(frame, self.clock()))
            self.settle()

    def ask(self, question: Question) -> None:
        if self.up and not self.paused:
            self._do(self.core.ask(question, self.clock()))
            self.settle()

    def read(self, conversation: str) -> None:
        state = self.core.conversations.get(conversation) if self.up and not self.paused else None
        if state is not None:
            self._do(self.core.read(conversation, state.contig, self.clock()))
            self.settle()

    # ------------------------------------------------------------ sockets

    def on_socket_open(self, socket: Socket | PollSocket) -> None:
        if socket is self.socket:
            self._do(self.core.connected(self.clock(), "token"))
            self.settle()

    def on_socket_closed(self, socket: Socket | PollSocket, code: int, reason: str) -> None:
        socket.at_device = False
        if socket is self.socket:
            self.socket = None
            self._do(self.core.disconnected(self.clock(), code, reason))
            self.settle()

    def on_frame(self, socket: Socket | PollSocket, frame: p.ServerFrame) -> None:
        if socket is self.socket:
            self.watcher.on_frame(self, frame)
            self._do(self.core.frame(frame, self.clock()))
            self.settle()

    def settle(self) -> None:
        if not self.up:
            return
        now = self.clock()
        due = self.core.next_deadline()
        if due is not None and due <= now:
            self._do(self.core.tick(now))
        else:
            self._do(self.core.flush(now))
        self.wake_at(self.core.next_deadline())

    # ------------------------------------------------------------ effects

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit(frame):
                    if self.socket is not None:
                        self.socket.to_node(frame)
                case Connect():
                    self._connect()
                case Close():
                    socket, self.socket = self.socket, None
                    if socket is not None:
                        socket.close_at_device()
            self.watcher.on_effect(self, effect)

    def _connect(self) -> None:
        up = [node for node in self.nodes if node.up]
        random = self.world.random
        node = self.near if self.near is not None and self.near.up and random.random() < 0.7 else random.choice(up or list(self.nodes))
        if self.polls:
            self.socket = PollSocket(self.world, self, node, self._new_number)
        else:
            self.socket = Socket(self.world, self, node, self._new_number(), self.encoded)
        self.socket.open()
