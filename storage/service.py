"""The storage worker at work: mesh events in, one transaction, one reply per writer.

Owns the order of things in one turn of the event loop: all packets that are there are read, then (in ``tick``, before anything is
written to the mesh) one commit is made of their rows, then its outcomes leave together with the acknowledgements. On SQLite the commit
runs on the loop's own thread, for it is the loop's only work: measured, handing it to a second thread and back costs more than it saves
(see ``tests/bench_storage.py``). On a store that waits for servers it has a thread of its own (``hands.py``), and the outcomes leave in
the turn after its end. Reads have a thread of their own, or some.

A store that fails is opened anew in this process, after a growing wait, for as long as it takes; meanwhile writes are answered UNKNOWN
and the renewals say so. ``storage/sqlite.py`` tells why that is as safe as a restart; ``storage/cassandra/store.py``, what a failure is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf

import msgspec

from router import logs
from router.events import Event, FrameIn, PeerDown, WindowOpen
from router.mesh import Mesh
from storage.config import WorkerConfig
from storage.engines import FailingStore
from storage.frames import Ask, StorageBusy, WriteRow, Written
from storage.hands import Hands, Helper, OwnHands
from storage.member import Membership
from storage.reader import Frames, Reader
from storage.store import CellRow, Outcome
from storage.worker import Reply, WorkerCore

log = logs.get("storage")

FIRST_TAG, LAST_TAG = 20, 39
"""The tags of the storage's frames; all others are the membership's."""


READS_TOGETHER = 16
"""Queries whose answers are handed back together: a wake-up of the loop for each would cost more than a short read."""
DRAIN_S = 5.0
"""How long the last rows may take at the end: half of what a supervisor gives the process."""


class Held:
    """Frames for peers whose link takes nothing now, in order, bounded in bytes."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        self.dropped = 0
        self._bytes_max = bytes_max
        self._frames: dict[str, deque[bytes]] = {}

    def __contains__(self, peer: str) -> bool:
        return peer in self._frames

    def add(self, peer: str, frame: bytes) -> None:
        if self.bytes + len(frame) > self._bytes_max:
            self.dropped += 1
            return
        self.bytes += len(frame)
        self._frames.setdefault(peer, deque()).append(frame)

    def send(self, peer: str, send: Callable[[str, bytes], bool]) -> None:
        """Sends what ``send`` takes."""
        frames = self._frames.get(peer, deque())
        while frames and send(peer, frames[0]):
            self.bytes -= len(frames.popleft())
        if not frames:
            self._frames.pop(peer, None)

    def forget(self, peer: str) -> None:
        self.bytes -= sum(map(len, self._frames.pop(peer, ())))


class StorageService:
    """One incarnation of the worker.

    Args:
        store: open; it stays its caller's.
        mesh: the links.
        membership: the worker's place in the cluster.
        wake: asks for a ``tick`` soon, in the event loop (the pump's ``flush``).
        frame_bytes_max: what a link takes.
        waits: how many reads may wait at once, for a store that waits for servers; 0: see ``engines.waits``.
    """

    def __init__(
        self,
        store: FailingStore,
        mesh: Mesh,
        membership: Membership,
        config: WorkerConfig,
        wake: Callable[[], None],
        frame_bytes_max: int,
        waits: int = 0,
    ) -> None:
        self.core = WorkerCore(config)
        self.membership = membership
        self.bad_frames = 0
        self.unknown = 0
        """Rows answered UNKNOWN."""
        self.on_commit: Callable[[float, int], None] = lambda seconds, rows: None
        self.held = Held(config.answers_held_bytes_max)
        self.on_expelled: Callable[[], None] = lambda: None
        self._store = store
        self._mesh = mesh
        self._config = config
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._hands: Hands = Helper(wake) if waits else OwnHands()
        self._reader = Reader(store, self._deliver, frame_bytes_max, waits or 1)
        self._reads_together = 1 if waits else READS_TOGETHER
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(WriteRow | Ask).decode
        self._answers: Frames = []
        """Of the reading thread, for the next ``tick``; their number is part of what the queue of asks bounds."""
        self._answered = 0
        """Queries that these answer."""
        self._reopen_at = 0.0
        """When the store is opened anew; infinity while that is under way."""
        self._reopen_wait_s = 0.0

    def start(self, now: float) -> None:
        self._reader.start()
        self.membership.start(now)

    def stop(self) -> None:
        """Ends the threads; rows and asks that still wait are lost with their links, their askers ask again."""
        self._reader.stop()
        self._hands.stop()

    @property
    def failed(self) -> bool:
        return bool(self._store.failure)

    @property
    def unready(self) -> str | None:
        """Why the worker does not do its work; None while it does."""
        if self._store.failure:
            return f"the store failed: {self._store.failure}"
        return None if self.membership.joined else "not in the slot table yet"

    # ------------------------------------------------------------ the mesh says

    def handle(self, events: list[Event], now: float) -> None:
        """Takes the mesh's events; rows are only queued, ``tick`` commits them."""
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            if isinstance(event, FrameIn) and len(event.frame) > 1 and FIRST_TAG <= event.frame[1] <= LAST_TAG:
                self._on_frame(event.incarnation, event.frame, now)
                continue
            if isinstance(event, PeerDown):
                self.core.on_peer_gone(event.incarnation)
                self.held.forget(event.incarnation)
            elif isinstance(event, WindowOpen):
                self.held.send(event.incarnation, lambda peer, frame: self._send(peer, frame, now))
            waiting.extendleft(reversed(self.membership.on_event(event, now)))

    def _on_frame(self, incarnation: str, frame: bytes, now: float) -> None:
        try:
            said = self._decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
            return self._bad(incarnation, str(error))
        if isinstance(said, WriteRow):
            if isinstance(said.row, CellRow) and not self.membership.is_directory(incarnation):
                return self._bad(incarnation, "only a directory says who may write")
            refusals = self.core.on_write(incarnation, said, len(frame))
        else:
            refusals = self.core.on_ask(incarnation, said)
        if refusals:
            self._reply(refusals, now)

    def _bad(self, incarnation: str, reason: str) -> None:
        self.bad_frames += 1
        if self.bad_frames == 1 or self.bad_frames % 1_000 == 0:
            log.warning("bad_frame", peer=incarnation, reason=reason, count=self.bad_frames)

    # ------------------------------------------------------------ the clock says

    def tick(self, now: float) -> float | None:
        """What is due: a renewal, the store's recovery, reads, a commit. Returns when to be called again."""
        self._hands.collect(now)
        if self._store.failure:
            self._reopen(now)
        due = self.membership.tick(now, not self._store.failure)
        while self.core.asks:
            self._reader.submit(self.core.take_asks(self._reads_together))
        if self.membership.expelled:
            self.on_expelled()
        self._send_answers(now)
        self._commit(now)
        times = (due, self.core.next_deadline(), self._reopen_at if self._store.failure and self._reopen_at < inf else None)
        return min((at for at in times if at is not None), default=None)

    def drain(self, now: float) -> None:
        """Commits all that waits, without regard to the pace, as far as that is done within ``DRAIN_S``."""
        until = self._loop.time() + DRAIN_S
        while self.core.rows or self.core.is_committing:
            self._commit(max(now, self.core.next_deadline() or now))
            if self.core.is_committing:
                if not self._hands.finish(until - self._loop.time()):
                    return
                self._hands.collect(now)

    def _commit(self, now: float) -> None:
        round_ = self.core.take_round(now)
        if round_ is None:
            return
        well, began = not self._store.failure, time.perf_counter()

        def on_outcomes(outcomes: list[Outcome], at: float) -> None:
            self.on_commit(time.perf_counter() - began, len(outcomes))
            self.unknown += outcomes.count(Outcome.UNKNOWN)
            if well and self._store.failure:
                self._on_failure(at)
            self._reply(self.core.on_outcomes(round_, outcomes), at)

        self._hands.submit(partial(self._store.commit, round_.writes), on_outcomes, now)

    def _on_failure(self, now: float) -> None:
        log.error("store_failed", reason=self._store.failure, retry_ms=self._config.reopen_min_ms)
        self._reopen_wait_s = self._config.reopen_min_ms / 1_000
        self._reopen_at = now + self._reopen_wait_s

    def _reopen(self, now: float) -> None:
        if now >= self._reopen_at:
            self._reopen_at = inf
            self._hands.submit(self._try_to_reopen, self._on_reopened, now)

    def _try_to_reopen(self) -> str:
        """Returns why it cannot be done yet; empty: it is done."""
        try:
            self._store.reopen()
        except OSError as error:
            return str(error) or type(error).__name__
        return ""

    def _on_reopened(self, reason: str, now: float) -> None:
        if not reason:
            log.info("store_recovered")
            return
        self._reopen_wait_s = min(2 * self._reopen_wait_s, self._config.reopen_max_ms / 1_000)
        self._reopen_at = now + self._reopen_wait_s
        log.error("store_still_fails", reason=reason, retry_ms=int(self._reopen_wait_s * 1_000))

    # ------------------------------------------------------------ replies

    def _reply(self, replies: list[Reply], now: float) -> None:
        """Outcomes and refusals: each answers a frame of its peer, for which a link always has room."""
        for peer, frame in replies:
            assert isinstance(frame, Written | StorageBusy)
            self._mesh.send(peer, self._encode(frame), now, answer=True)

    def _deliver(self, answers: Frames, queries: int) -> None:
        """In the reading thread."""
        try:
            self._loop.call_soon_threadsafe(self._on_answers, answers, queries)
        except RuntimeError:
            return  # the loop is closed: the process ends

    def _on_answers(self, answers: Frames, queries: int) -> None:
        self._answers += answers
        self._answered += queries
        self._wake()

    def _send_answers(self, now: float) -> None:
        answers, self._answers = self._answers, []
        self.core.on_answered(self._answered)
        self._answered = 0
        for peer, frame in answers:
            if peer not in self.held and self._send(peer, frame, now):
                continue
            if self._mesh.heard_at(peer) is not None:  # its window is full; else it is gone and waits for nothing
                self.held.add(peer, frame)

    def _send(self, peer: str, frame: bytes, now: float) -> bool:
        return self._mesh.send(peer, frame, now) > 0
