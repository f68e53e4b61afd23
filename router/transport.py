"""What the pump asks of a transport: packets out, packets in with the sender's name, hints about connections. Two equals implement it:
zmq (router/zmq_transport.py) and memory (router/memory_transport.py); one contract suite runs on both.

Laws: a packet arrives whole or not at all; it may be lost, doubled or overtaken; the name that comes with it is vouched for. ``send`` never
waits and never raises for what the network or the peer does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Receive = Callable[[bytes, str], None]
"""(packet, name of the sender), called in the event loop; it must not raise."""
Hint = Callable[[str, bool], None]
"""(endpoint, True = reached, False = lost)."""
NameOf = Callable[[str], str | None]
"""endpoint → the name of the process there, whose key the transport expects."""


class Transport(Protocol):
    def bind(self) -> str:
        """Listens (authentication first) and returns the endpoint; nothing is read before ``start``. Safe to repeat."""
        ...

    async def start(self, receive: Receive, hint: Hint, name_of: NameOf) -> None:
        """Begins to read in the running event loop."""
        ...

    def send(self, endpoint: str, packet: bytes) -> bool:
        """Puts a packet on its way; False = dropped here."""
        ...

    async def stop(self) -> None:
        """Closes everything. Safe to repeat."""
        ...

    def counters(self) -> dict[str, int]:
        """What was refused or dropped, by reason."""
        ...
