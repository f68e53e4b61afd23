"""Who carries out what the worker's loop asks of the store, one thing at a time: the loop's own thread, or one beside it.

A store on a local disk works while it is called: it is cheapest in the loop's thread (see ``tests/bench_storage.py``). A store behind a
network mostly waits: in a thread of its own, so that the mesh goes on meanwhile, and with one wake-up of the loop for each commit.

Law: what ``work`` returned or raised comes out of ``collect``, in the loop's thread, in the order in which it was handed in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Event, Thread
from typing import Protocol, TypeVar

T = TypeVar("T")
Done = Callable[[float], None]
"""Takes the time at which it is called."""


class Hands(Protocol):
    """See the module's docstring."""

    def submit(self, work: Callable[[], T], done: Callable[[T, float], None], now: float) -> None:
        """Has ``work`` done; ``done`` gets what it returned, at once or from ``collect``."""

    def collect(self, now: float) -> None:
        """Hands over what has been done meanwhile; raises what ``work`` raised."""

    def finish(self, seconds: float) -> bool:
        """Waits until there is something to collect, at most so long; False: there is not."""

    def stop(self) -> None: ...


class OwnHands:
    """The loop's own thread."""

    def submit(self, work: Callable[[], T], done: Callable[[T, float], None], now: float) -> None:
        done(work(), now)

    def collect(self, now: float) -> None: ...

    def finish(self, seconds: float) -> bool:
        return True

    def stop(self) -> None: ...


class Helper:
    """A thread.

    Args:
        wake: asks, in the loop's thread, for a ``collect`` soon.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._todo: SimpleQueue[Callable[[], Done] | None] = SimpleQueue()
        self._done: deque[Done] = deque()
        self._has_done = Event()
        self._thread = Thread(target=self._run, name="storage-commit", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], done: Callable[[T, float], None], now: float) -> None:
        def carry_out() -> Done:
            result = work()
            return lambda at: done(result, at)

        self._todo.put(carry_out)

    def _run(self) -> None:
        while (carry_out := self._todo.get()) is not None:
            try:
                self._done.append(carry_out())
            except BaseException as error:  # a bug: it ends the process, but in the loop's thread
                self._done.append(_raiser(error))
            self._has_done.set()
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                return  # the loop is closed: the process ends

    def collect(self, now: float) -> None:
        self._has_done.clear()
        while self._done:
            self._done.popleft()(now)

    def finish(self, seconds: float) -> bool:
        return self._has_done.wait(seconds)

    def stop(self) -> None:
        """Ends after what was handed in; does not wait for it, for a server may never answer."""
        self._todo.put(None)


def _raiser(error: BaseException) -> Done:
    def raise_(now: float) -> None:
        raise error

    return raise_
