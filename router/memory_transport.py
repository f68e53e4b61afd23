"""The memory network in real time, behind the transport interface: for tests of what runs in an event loop. Owns one endpoint of it."""

from __future__ import annotations

import asyncio

from router.memory import MemoryNetwork
from router.transport import Hint, NameOf, Receive


class MemoryHub:
    """Drives one network by the event loop's clock and hands packets to the transports that joined."""

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network
        self._receivers: dict[str, Receive] = {}
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, endpoint: str, receive: Receive) -> None:
        self._receivers[endpoint] = receive

    def detach(self, endpoint: str) -> None:
        self._receivers.pop(endpoint, None)
        self.network.leave(endpoint)
        if not self._receivers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, src: str, dst: str, packet: bytes) -> bool:
        sent = self.network.send(src, dst, packet, asyncio.get_running_loop().time())
        self._arm()
        return sent

    def _arm(self) -> None:
        at = self.network.next_deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        for endpoint, name, packet in self.network.due(asyncio.get_running_loop().time()):
            receive = self._receivers.get(endpoint)
            if receive is not None:
                receive(packet, name)
        self._arm()


class MemoryTransport:
    """One process's end of a hub; ``name`` is what the others are told."""

    def __init__(self, hub: MemoryHub, name: str, endpoint: str) -> None:
        self._hub, self._name, self._endpoint = hub, name, endpoint
        self._hint: Hint | None = None
        self._reached: set[str] = set()
        self._dropped = 0

    def bind(self) -> str:
        self._hub.network.join(self._endpoint, self._name)
        return self._endpoint

    async def start(self, receive: Receive, hint: Hint, name_of: NameOf) -> None:
        self.bind()
        self._hint = hint
        self._hub.attach(self._endpoint, receive)

    def send(self, endpoint: str, packet: bytes) -> bool:
        reachable = self._hub.network.is_joined(endpoint)
        if self._hint is not None and reachable != (endpoint in self._reached):
            (self._reached.add if reachable else self._reached.discard)(endpoint)
            asyncio.get_running_loop().call_soon(self._hint, endpoint, reachable)
        sent = self._hub.send(self._endpoint, endpoint, packet)
        self._dropped += not sent
        return sent

    async def stop(self) -> None:
        self._hint = None
        self._hub.detach(self._endpoint)

    def counters(self) -> dict[str, int]:
        return {"dropped": self._dropped}
