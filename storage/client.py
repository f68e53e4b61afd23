"""What a node or the directory keeps of its writes and asks until a storage worker has answered them. Without I/O.

Owns every row and query under way and to whom it was given. It must not know actors, the mesh or a clock.

Laws:
    * A write ends by STORED or FENCED, an ask by its answer, and by nothing else: after a time-out, an UNKNOWN, a refusal, a worker
      that is gone or a link that takes nothing, the same row is asked again under the same number, of whichever worker there is, for
      as long as it takes. So a row is written with the same timestamp each time, and once is enough.
    * UNKNOWN is told to the caller once a write, so that it can tell its own client; the write goes on.
    * What comes from a process that is not among the workers is dropped (it is asked again of one that is).
    * Bounds are kept by admission: who makes work asks ``has_room`` first. What work in hand needs is taken up to twice the bound;
      past that the caller did not ask, which is a bug and raises.

Use: after ``write``, ``ask``, ``on_frame``, ``on_members`` and at ``next_deadline``, take ``outgoing`` and send it; what the link did not
take goes to ``put_back``, and ``on_window_open`` says when the link takes more.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import TypeAlias

import msgspec

from storage.config import ClientConfig
from storage.frames import Answered, AnswerPart, Ask, StorageBusy, StorageFrame, WriteRow, Written
from storage.store import ANSWER_BYTES_MAX, ANSWERS, Answer, EntryRow, Outcome, Query, ReadFailed, Row

Request: TypeAlias = WriteRow | Ask
Outgoing: TypeAlias = list[tuple[str, Request]]
Result: TypeAlias = tuple[int, Outcome | Answer]

_decode = msgspec.msgpack.Decoder(Answer).decode
_NOBODY = ""
_ROW_BYTES = 200
"""What a row weighs besides its body, roughly, in the count of bytes under way."""


class StorageFull(Exception):
    """More was written than the bounds allow although ``has_room`` said no: the caller's bug."""


class _Pending:
    __slots__ = ("attempts", "bytes", "frame", "told", "waits", "worker")

    def __init__(self, frame: Request, worker: str, size: int) -> None:
        self.frame = frame
        self.worker = worker
        """Who was asked last; nobody: there was no worker."""
        self.bytes = size
        self.attempts = 0
        """How often it was answered UNKNOWN, busy or failed; the wait doubles with it."""
        self.waits = False
        """It lies in the heap of retries."""
        self.told = False
        """The caller heard of UNKNOWN."""


class StorageClient:
    """See the module's docstring."""

    def __init__(self, config: ClientConfig | None = None) -> None:
        self.config = config or ClientConfig()
        self.workers: list[str] = []
        self.bytes = 0
        """Sum of ``bytes`` over what is pending."""
        self.asked_again = 0
        self._pending: dict[int, _Pending] = {}
        self._out: Outgoing = []
        self._held: dict[str, list[Request]] = {}
        """What the link of a worker did not take, in order, and what came after it."""
        self._parts: dict[int, tuple[str, list[bytes]]] = {}
        """Of answers that come in parts: the worker, and what has come."""
        self._n = 0
        self._retries: list[tuple[float, int]] = []
        self._swept_to = 0
        self._sweep_at: float | None = None

    def __len__(self) -> int:
        """How many writes and asks are under way."""
        return len(self._pending)

    @property
    def has_room(self) -> bool:
        """Whether new work may be taken on."""
        return len(self._pending) < self.config.pending_max and self.bytes < self.config.pending_bytes_max

    # ------------------------------------------------------------ requests

    def write(self, row: Row, now: float) -> int:
        """Writes ``row`` until it is stored or fenced; returns the number under which the outcome comes.

        Raises:
            StorageFull: twice the bound is under way.
        """
        self._n = n = self._n + 1
        size = _ROW_BYTES + (len(row.body) if isinstance(row, EntryRow) else 0)
        self._start(n, WriteRow(n, row), size, now)
        return n

    def ask(self, query: Query, now: float) -> int:
        """Asks ``query`` until it is answered; returns the number under which the answer comes.

        Raises:
            StorageFull: twice the bound is under way.
        """
        self._n = n = self._n + 1
        self._start(n, Ask(n, query), _ROW_BYTES, now)
        return n

    def forget(self, n: int) -> None:
        """Gives up an ask whose asker has no use for it any more. (A write is never given up: it may land.)"""
        pending = self._pending.get(n)
        if pending is not None and isinstance(pending.frame, Ask):
            self._finish(n, pending)

    def _start(self, n: int, frame: Request, size: int, now: float) -> None:
        if len(self._pending) >= 2 * self.config.pending_max:
            raise StorageFull(f"{len(self._pending)} writes and asks under way; has_room was not asked")
        workers = self.workers
        worker = workers[n % len(workers)] if workers else _NOBODY
        self._pending[n] = _Pending(frame, worker, size)
        self.bytes += size
        if workers:
            self._out.append((worker, frame))
            if self._sweep_at is None:
                self._sweep_at = now + self.config.answer_timeout_s

    # ------------------------------------------------------------ answers

    def on_frame(self, incarnation: str, frame: StorageFrame, now: float) -> list[Result]:
        """What a worker said: the outcomes and answers that are news to the caller."""
        if incarnation not in self.workers:
            return []
        match frame:
            case Written(outcomes):
                return self._on_written(outcomes, now)
            case Answered(n, answer):
                return self._on_answered(n, answer, now)
            case AnswerPart():
                return self._on_part(incarnation, frame, now)
            case StorageBusy(n, retry_after_ms):
                self._retry(n, retry_after_ms, now)
        return []

    def _on_written(self, outcomes: list[tuple[int, Outcome]], now: float) -> list[Result]:
        results: list[Result] = []
        for n, outcome in outcomes:
            pending = self._pending.get(n)
            if pending is None or not isinstance(pending.frame, WriteRow):
                continue
            if outcome is not Outcome.UNKNOWN:
                self._finish(n, pending)
            else:
                self._retry(n, self.config.retry_min_ms, now)
                if pending.told:
                    continue
                pending.told = True
            results.append((n, outcome))
        return results

    def _on_part(self, worker: str, frame: AnswerPart, now: float) -> list[Result]:
        """Parts come in order; where one is missing the answer is asked for again, by and by."""
        n = frame.n
        before, parts = self._parts.pop(n, ("", []))
        if frame.part == 0:
            parts = []
        elif before != worker or frame.part != len(parts):
            return []
        parts.append(frame.data)
        if n not in self._pending or sum(map(len, parts)) > ANSWER_BYTES_MAX:
            return []
        if not frame.is_last:
            self._parts[n] = worker, parts
            return []
        try:
            answer = _decode(b"".join(parts))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            answer = ReadFailed(str(error))
        return self._on_answered(n, answer, now)

    def _on_answered(self, n: int, answer: Answer, now: float) -> list[Result]:
        pending = self._pending.get(n)
        if pending is None or not isinstance(pending.frame, Ask):
            return []
        if not isinstance(answer, ANSWERS[type(pending.frame.query)]):  # ReadFailed, or a worker that is out of its mind
            self._retry(n, self.config.retry_min_ms, now)
            return []
        self._finish(n, pending)
        return [(n, answer)]

    def _finish(self, n: int, pending: _Pending) -> None:
        del self._pending[n]
        self._parts.pop(n, None)
        self.bytes -= pending.bytes
        if not self._pending:
            self._sweep_at = None

    # ------------------------------------------------------------ asking again

    def on_members(self, workers: Iterable[str], now: float) -> None:
        """The workers of the newest table. What was asked of one that is gone is asked of another at once."""
        fresh = sorted(workers)
        if fresh == self.workers:
            return
        self.workers = fresh
        self._out = [(worker, frame) for worker, frame in self._out if worker in fresh]
        self._held = {worker: frames for worker, frames in self._held.items() if worker in fresh}
        for n, pending in self._pending.items():
            if pending.worker not in fresh and not pending.waits:
                self._ask_again(n, pending)
        self._sweep_at = now + self.config.answer_timeout_s if fresh and self._pending else None

    def put_back(self, frames: Outgoing) -> None:
        """Takes back, in order, what links did not take because their window is full."""
        for worker, frame in frames:
            if worker in self.workers:
                self._held.setdefault(worker, []).append(frame)

    def on_window_open(self, worker: str) -> None:
        """The worker's link takes frames again: the next ``outgoing`` has what was held."""
        self._out[:0] = [(worker, frame) for frame in self._held.pop(worker, ())]

    def outgoing(self, now: float) -> Outgoing:
        """What is to be sent now."""
        while self._retries and self._retries[0][0] <= now:
            _, n = heappop(self._retries)
            if (pending := self._pending.get(n)) is not None:
                pending.waits = False
                self._ask_again(n, pending)
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        out, self._out = self._out, []
        if not self._held:
            return out
        self.put_back([(worker, frame) for worker, frame in out if worker in self._held])
        return [(worker, frame) for worker, frame in out if worker not in self._held]

    def next_deadline(self) -> float | None:
        """When ``outgoing`` is to be called at the latest, if nothing else happens."""
        if not self._retries:
            return self._sweep_at
        retry_at = self._retries[0][0]
        return retry_at if self._sweep_at is None else min(retry_at, self._sweep_at)

    def _sweep(self, now: float) -> None:
        """Asks again what was under way at the last sweep and still is. Numbers rise, so one number remembers that: no timer a row."""
        for worker in list(self._held):  # a window that nobody said is open is tried again
            self.on_window_open(worker)
        asked = {frame.n for _, frame in self._out}  # not on its way yet
        for n, pending in self._pending.items():
            if n > self._swept_to:
                break
            if not pending.waits and n not in asked:
                self._ask_again(n, pending)
        self._swept_to = self._n
        self._sweep_at = now + self.config.answer_timeout_s if self._pending else None

    def _retry(self, n: int, wait_ms: int, now: float) -> None:
        pending = self._pending.get(n)
        if pending is None or pending.waits:
            return
        wait_ms = min(wait_ms << min(pending.attempts, 10), self.config.retry_max_ms)
        pending.attempts += 1
        pending.waits = True
        heappush(self._retries, (now + wait_ms / 1_000, n))

    def _ask_again(self, n: int, pending: _Pending) -> None:
        if not self.workers:
            pending.worker = _NOBODY
            return
        pending.worker = self.workers[(n + pending.attempts) % len(self.workers)]
        self.asked_again += 1
        self._out.append((pending.worker, pending.frame))

    def check(self) -> None:
        """Asserts what always holds."""
        assert self.bytes == sum(pending.bytes for pending in self._pending.values())
        waiting = {n for _, n in self._retries}
        assert all((n in waiting) == pending.waits or not pending.waits for n, pending in self._pending.items())
        assert all(pending.worker in self.workers or pending.waits or not self.workers for pending in self._pending.values())
        assert (self._sweep_at is None) == (not self._pending or not self.workers), "a sweep is due exactly while something is asked"
