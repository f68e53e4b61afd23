"""Shows how far a replay is: a bar on a terminal, a plain line now and then elsewhere. Knows nothing of what is played."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_INTERVAL_S = 5.0
"""Between two plain lines of one phase: often enough to see that it goes on, seldom enough for a log."""


class Display:
    """A context; `progress` may be called as often as one likes.

    Args:
        out: where to; a terminal gets a bar.
        clock: monotonic seconds.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._tasks: dict[str, TaskID] = {}
        self._shown_at: dict[str, float] = {}
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(file=out)) if out.isatty() else None
        self._began: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def note(self, text: str) -> None:
        """A line of its own."""
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._out, flush=True)

    def progress(self, phase: str, done: int, total: int) -> None:
        now = self._clock()
        began = self._began.setdefault(phase, now)
        rate = f"{done / (now - began):.0f}/s" if now - began > 0.2 else ""
        if self._bars:
            if phase not in self._tasks:
                self._tasks[phase] = self._bars.add_task(phase, total=total, rate="")
            self._bars.update(self._tasks[phase], completed=done, rate=rate)
        elif done == total or now - self._shown_at.get(phase, began) >= LINE_INTERVAL_S:
            self._shown_at[phase] = now
            print(f"{phase}: {done} of {total} {rate}".rstrip(), file=self._out, flush=True)
