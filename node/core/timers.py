"""What is to be done later: a heap of moments and calls. Without a clock: ``now`` is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timers:
    """Calls in the order of their moments; those of one moment in the order in which they were set."""

    __slots__ = ("_heap", "_n")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._n = 0

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Calls ``call`` at ``when`` (monotonic seconds). There is no cancelling: a call looks whether it is still of use."""
        self._n += 1
        heapq.heappush(self._heap, (when, self._n, call))

    def run(self, now: float) -> None:
        """Makes the calls whose moment has come."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    def next(self) -> float:
        """The next moment; infinity without one."""
        return self._heap[0][0] if self._heap else float("inf")
