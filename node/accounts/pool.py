"""A few threads for what blocks, with a bound on how many may wait for them.

Law: what is asked for past the bound is refused at once (P7); a call that began is finished, whoever still waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from homing import codes

from node.refusal import Refused

T = TypeVar("T")
RETRY_AFTER_S = 1.0
"""What a full pool asks for: it is empty again within less."""


class Pool:
    """The threads.

    Args:
        name: in the threads' names.
        threads: how many; they are made when needed.
        waiting_max: calls that may wait for one.
    """

    def __init__(self, name: str, threads: int, waiting_max: int) -> None:
        self.busy_max = threads + waiting_max
        self.busy = 0
        """Calls that run or wait."""
        self.refused = 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, call: Callable[..., T], *args: object) -> T:
        """Runs ``call(*args)`` in one of the threads.

        Raises:
            Refused: too many wait already.
        """
        if self.busy >= self.busy_max:
            self.refused += 1
            raise Refused(codes.OVERLOADED, "too many requests of this kind at the moment", retry_after_s=RETRY_AFTER_S)
        loop = asyncio.get_running_loop()
        self.busy += 1
        future = self._executor.submit(call, *args)

        def on_done(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody counts
                loop.call_soon_threadsafe(self._done)

        future.add_done_callback(on_done)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """Waits for what has begun; what waits is not begun any more."""
        await asyncio.to_thread(self._executor.shutdown, True, cancel_futures=True)

    def _done(self) -> None:
        self.busy -= 1
