"""A network in memory, on virtual time: for tests and the simulator. The equal of router/zmq_transport.py.

Owns what is under way. Passes bytes on as they are, knows nothing of packets. Law: the same seed and the same calls give the same
deliveries. Without faults a direction keeps its order and loses nothing, as TCP does; each fault is asked for.
"""

from __future__ import annotations

import heapq
from random import Random

from msgspec import Struct


class Faults(Struct, frozen=True, kw_only=True):
    """What one direction does to packets; chances from 0 to 1."""

    delay_min_s: float = 0.0002
    delay_max_s: float = 0.0005
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Chance that a packet takes an extra delay and may be overtaken."""
    reorder_extra_s: float = 0.02


class MemoryNetwork:
    """Carries packets between endpoints. ``random`` decides every fault; ``queue_max`` bounds what may be under way."""

    def __init__(self, random: Random, faults: Faults | None = None, queue_max: int = 100_000) -> None:
        self.faults = faults or Faults()
        """What holds for every direction that has no faults of its own."""
        self.dropped = 0
        self._random = random
        self._queue_max = queue_max
        self._directions: dict[tuple[str, str], Faults] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._names: dict[str, str] = {}
        self._queue: list[tuple[float, int, str, str, str, bytes]] = []
        self._no = 0
        self._last_at: dict[tuple[str, str], float] = {}

    def join(self, endpoint: str, name: str) -> None:
        """A process named ``name`` listens at ``endpoint``. What is still under way to it reaches the new process."""
        self._names[endpoint] = name

    def leave(self, endpoint: str) -> None:
        """Nobody listens there any more; packets to it vanish."""
        self._names.pop(endpoint, None)

    def is_joined(self, endpoint: str) -> bool:
        return endpoint in self._names

    def set_faults(self, src_endpoint: str, dst_endpoint: str, faults: Faults | None) -> None:
        """Faults of one direction; None = those of the network."""
        if faults is None:
            self._directions.pop((src_endpoint, dst_endpoint), None)
        else:
            self._directions[src_endpoint, dst_endpoint] = faults

    def cut(self, src_endpoint: str, dst_endpoint: str, both: bool = False) -> None:
        """Nothing passes from ``src`` to ``dst`` (``both``: nor back) until ``heal``; what is under way is lost."""
        self._cuts.add((src_endpoint, dst_endpoint))
        if both:
            self._cuts.add((dst_endpoint, src_endpoint))

    def heal(self, src_endpoint: str = "", dst_endpoint: str = "", both: bool = False) -> None:
        """Takes a cut back; without arguments all of them."""
        if not src_endpoint:
            self._cuts.clear()
        self._cuts.discard((src_endpoint, dst_endpoint))
        if both:
            self._cuts.discard((dst_endpoint, src_endpoint))

    def send(self, src_endpoint: str, dst_endpoint: str, data: bytes, now: float) -> bool:
        """Puts a packet on its way; False = lost at once (cut, full, nobody listens there, or the dice)."""
        direction = (src_endpoint, dst_endpoint)
        faults = self._directions.get(direction, self.faults)
        name = self._names.get(src_endpoint)
        if name is None or dst_endpoint not in self._names or direction in self._cuts or len(self._queue) >= self._queue_max:
            self.dropped += 1
            return False
        if faults.drop and self._random.random() < faults.drop:
            self.dropped += 1
            return False
        copies = 2 if faults.duplicate and self._random.random() < faults.duplicate else 1
        for _ in range(copies):
            self._no += 1
            heapq.heappush(self._queue, (self._arrival(direction, faults, now), self._no, src_endpoint, dst_endpoint, name, data))
        return True

    def _arrival(self, direction: tuple[str, str], faults: Faults, now: float) -> float:
        at = now + self._random.uniform(faults.delay_min_s, faults.delay_max_s)
        if faults.reorder and self._random.random() < faults.reorder:
            return at + self._random.random() * faults.reorder_extra_s
        at = max(at, self._last_at.get(direction, at))
        self._last_at[direction] = at
        return at

    def due(self, now: float) -> list[tuple[str, str, bytes]]:
        """What arrives up to ``now``: (endpoint, name of the sender, packet), in order of arrival."""
        arrived: list[tuple[str, str, bytes]] = []
        while self._queue and self._queue[0][0] <= now:
            _, _, src, dst, name, data = heapq.heappop(self._queue)
            if (src, dst) in self._cuts or dst not in self._names:
                self.dropped += 1
            else:
                arrived.append((dst, name, data))
        return arrived

    def next_deadline(self) -> float | None:
        """When the next packet arrives."""
        return self._queue[0][0] if self._queue else None
