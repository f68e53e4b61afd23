"""A client's WebSocket in the simulated cluster: frames in order each way, or none at all.

Laws:
    * What is sent on an open way arrives in order, or not at all once the socket is broken.
    * While the client is out of reach nothing arrives and nobody is told; what was sent waits, as TCP would, until it is in reach again or
      the socket is broken.
    * A socket that one side has closed is closed for the other side when the news arrives; to who is out of reach it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from homing import protocol as p

from tools.simulation.world import World

if TYPE_CHECKING:
    from tools.simulation.device import SimDevice
    from tools.simulation.node import SimNode

CONNECT_S = 1.5
"""How long a device waits for a socket to open."""
_CLIENT = msgspec.json.Decoder(p.ClientFrame)
_SERVER = msgspec.msgpack.Decoder(p.ServerFrame)


class Socket:
    """One connection of a device to a node."""

    def __init__(self, world: World, device: SimDevice, node: SimNode, number: int, encoded: bool) -> None:
        self.world = world
        self.device = device
        self.node = node
        self.node_start = node.starts
        self.number = number
        self.encoded = encoded
        self.at_device = True
        """Open, as the device sees it."""
        self.at_node = False
        self.opened = False
        self._up_at = self._down_at = 0.0
        self._held: list[Callable[[], None]] = []

    # ------------------------------------------------------------ frames

    def to_node(self, frame: p.ClientFrame) -> None:
        if self.encoded:
            frame = _CLIENT.decode(msgspec.json.encode(frame))
        self._up(lambda: self._at_node(lambda: self.node.on_client_frame(self, frame)))

    def to_device(self, frame: p.ServerFrame) -> None:
        if self.encoded:
            frame = _SERVER.decode(msgspec.msgpack.encode(frame))
        self._down(lambda: self._at_device(lambda: self.device.on_frame(self, frame)))

    def open(self) -> None:
        """The handshake: the device hears whether it worked."""

        def arrive() -> None:
            node = self.node
            if not node.up or node.starts != self.node_start:
                self._down(lambda: self._at_device(lambda: self.device.on_socket_closed(self, 1006, "refused")))
                return
            node.take(self._accepted)

        self._up(arrive)
        self.world.after(CONNECT_S, self._give_up)

    def _give_up(self) -> None:
        """Nobody answered: the shell's own time limit, which needs no network."""
        if self.at_device and not self.opened:
            self.device.take(lambda: self.device.on_socket_closed(self, 1006, "no answer") if self.at_device and not self.opened else None)

    def _accepted(self) -> None:
        if self.at_device:
            self.at_node = True
            self.node.on_socket(self)
            self._down(lambda: self._at_device(self._opened))

    def _opened(self) -> None:
        self.opened = True
        self.device.on_socket_open(self)

    # ------------------------------------------------------------ ends

    def close_at_device(self) -> None:
        """The device is done with it."""
        self.at_device = False
        self._up(lambda: self._at_node(lambda: self._gone_at_node()))

    def close_at_node(self, code: int, reason: str) -> None:
        self.at_node = False
        self._down(lambda: self._at_device(lambda: self.device.on_socket_closed(self, code, reason)))

    def break_off(self) -> None:
        """The connection is reset: both sides hear of it, what is under way is lost."""
        self._held.clear()
        if self.at_node:
            self.world.after(0.001, lambda: self._at_node(self._gone_at_node))
        if self.at_device:
            self.world.after(0.001, self.reset_at_device)

    def reset_at_device(self) -> None:
        """The device hears that there is nobody at the other end any more."""
        self._at_device(lambda: self.device.on_socket_closed(self, 1006, "reset"))

    def _gone_at_node(self) -> None:
        self.at_node = False
        self.node.on_socket_gone(self)

    # ------------------------------------------------------------ ways

    def _at_node(self, call: Callable[[], None]) -> None:
        node = self.node
        if node.up and node.starts == self.node_start:
            node.take(lambda: call() if self.at_node and node.up and node.starts == self.node_start else None)

    def _at_device(self, call: Callable[[], None]) -> None:
        self.device.take(lambda: call() if self.at_device else None)

    def _up(self, arrive: Callable[[], None]) -> None:
        self._up_at = self._later(self._up_at, arrive)

    def _down(self, arrive: Callable[[], None]) -> None:
        self._down_at = self._later(self._down_at, arrive)

    def _later(self, after: float, arrive: Callable[[], None]) -> float:
        at = max(after, self.world.now + 0.0005 + self.world.random.random() * 0.004)
        self.world.at(at, lambda: self._arrive(arrive))
        return at

    def _arrive(self, arrive: Callable[[], None]) -> None:
        if self.device.reachable and not self._held:
            arrive()
        else:
            self._held.append(arrive)

    def in_reach(self) -> None:
        """The device has its network back: what waited arrives, in order."""
        held, self._held = self._held, []
        for arrive in held:
            arrive()
