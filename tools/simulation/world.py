"""Virtual time, one heap of events, one source of randomness; processes that stand still, end and start again; the network between them.

Owns time and the order of events. Must not know what a process does.

Laws:
    * The same seed gives the same history, to the last event: nothing depends on hashes, on the identity of objects or on the real clock.
    * A process that stands still handles nothing; what reached it meanwhile it handles when it wakes, at the later time.
    * Every process has a monotonic clock of its own, which begins somewhere; nothing may compare those of two.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from math import inf
from random import Random

from msgspec import Struct

EVENTS_MAX = 100_000
"""Events of one history: past it the history is given up as one that spins."""
STEP_S = 0.000_25
"""A process that asks to be called at once is called after this: a turn of its event loop."""


class Spinning(Exception):
    """More events than any honest history has."""


class World:
    """Time, randomness and what happens next."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._n = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._n += 1
        heapq.heappush(self._heap, (when if when > self.now else self.now, self._n, call))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        self.at(self.now + delay, call)

    def run(self, until: float) -> None:
        """Lets everything happen that is due up to ``until``.

        Raises:
            Spinning: too much happens.
        """
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, call = heapq.heappop(heap)
            self.events += 1
            call()
            if self.events > EVENTS_MAX:
                raise Spinning(f"more than {EVENTS_MAX} events by {self.now:.3f} s")
        self.now = max(self.now, until)


class Weather(Struct, frozen=True):
    """What a direction of the network does to packets; chances from 0 to 1."""

    delay_min_s: float = 0.0003
    delay_max_s: float = 0.0012
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_extra_s: float = 0.05


class Network:
    """Carries packets between the endpoints of processes. A cut loses what is under way; without faults a direction keeps its order."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather()
        self.slow: dict[tuple[str, str], float] = {}
        """(from, to) → extra seconds that everything takes on that way."""
        self.cuts: set[tuple[str, str]] = set()
        self.lost: Callable[[str, str], None] = lambda src, dst: None
        self._processes: dict[str, Process] = {}
        self._last_at: dict[tuple[str, str], float] = {}

    def join(self, process: Process) -> None:
        self._processes[process.name] = process

    def send(self, src: str, endpoint: str, data: bytes) -> None:
        """Puts a packet on its way."""
        dst = endpoint[6:]
        way = (src, dst)
        target = self._processes.get(dst)
        if target is None or way in self.cuts:
            return
        world, weather = self.world, self.weather
        random = world.random.random
        if weather.drop and random() < weather.drop:
            return
        copies = 2 if weather.duplicate and random() < weather.duplicate else 1
        for _ in range(copies):
            at = world.now + weather.delay_min_s + random() * (weather.delay_max_s - weather.delay_min_s) + self.slow.get(way, 0.0)
            if weather.reorder and random() < weather.reorder:
                at += random() * weather.reorder_extra_s
            else:
                at = max(at, self._last_at.get(way, 0.0))
                self._last_at[way] = at
            world.at(at, lambda: self._arrive(way, target, data))

    def _arrive(self, way: tuple[str, str], target: Process, data: bytes) -> None:
        if way not in self.cuts:
            target.take(lambda: target.on_packet(data, way[0]))


class Process:
    """One name in the cluster: it starts, stands still, ends, starts again. Subclasses are the kinds of processes."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.endpoint = f"tcp://{name}"
        self.starts = 0
        self.up = False
        self.paused = False
        self.offset = 0.0
        self.well_since = 0.0
        """Since when it neither stood still nor was out of reach."""
        self._backlog: deque[Callable[[], None]] = deque()
        self._wake_at = inf
        self._life = 0

    def clock(self) -> float:
        """The own monotonic clock."""
        return self.world.now + self.offset

    @property
    def incarnation(self) -> str:
        return f"{self.name}:{self.starts}"

    # ------------------------------------------------------------ life

    def start(self) -> None:
        if self.up:
            return
        self.starts += 1
        self.up, self.paused = True, False
        # A whole number of seconds: so sums and differences with it are exact.
        self.offset = float(self.world.random.randrange(64, 1024))
        self.on_start()
        self.settle()

    def end(self) -> None:
        """The process is gone, with all that it held in memory."""
        if self.up:
            self.up = self.paused = False
            self._life += 1
            self._backlog.clear()
            self._wake_at = inf
            self.on_end()

    def pause(self) -> None:
        self.paused = self.up

    def resume(self) -> None:
        """Wakes up: first it reads what came, or first it looks at its timers."""
        if not self.paused:
            return
        self.paused = False
        self.well_since = self.world.now
        if self.world.random.random() < 0.3:
            self.settle()
        while self._backlog and self.up and not self.paused:
            self._backlog.popleft()()
        if self.up and not self.paused:
            self.settle()

    def take(self, call: Callable[[], None]) -> None:
        """Something from outside reaches the process: now, when it wakes up, or never."""
        if self.paused:
            self._backlog.append(call)
        elif self.up:
            call()

    def wake_at(self, *clocks: float | None) -> None:
        """Asks to be settled at the first of these times of the own clock; an earlier wake-up only looks."""
        first = inf
        for clock in clocks:
            if clock is not None and clock < first:
                first = clock
        if first == inf:
            return
        at = max(first - self.offset, self.world.now + STEP_S)
        if at < self._wake_at:
            self._wake_at = at
            life = self._life
            self.world.at(at, lambda: self._wake(at, life))

    def _wake(self, at: float, life: int) -> None:
        if life != self._life or at != self._wake_at:
            return
        self._wake_at = inf
        self.take(self.settle)

    # ------------------------------------------------------------ what the kinds do

    def on_start(self) -> None:
        raise NotImplementedError

    def on_end(self) -> None: ...

    def on_packet(self, data: bytes, sender: str) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Timers, then what goes onto the wire, then the next wake-up."""
        raise NotImplementedError
