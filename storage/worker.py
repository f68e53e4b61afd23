"""The storage worker without its I/O: what waits to be written and asked, in which rounds, and who hears what.

Owns the two queues, their bounds and the pace of commits. It must not know the store, the mesh, a clock or a thread.

Laws:
    * The writer of a row is the incarnation whose link it came on; nothing in a frame says otherwise.
    * Every ask or write is answered once, by an outcome, an answer or ``StorageBusy``, unless its peer is gone. No answer is given for
      a row before its round's outcomes are known; a refusal is given at once, before anything is written.
    * One ``Written`` per writer and round. Rounds do not overlap: the caller hands in a round's outcomes before it takes the next.
    * Rows are committed in the order in which they came; two frames of one row are two rows (to write it twice changes nothing).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeAlias

from storage.config import WorkerConfig
from storage.frames import Answered, Ask, StorageBusy, WriteRow, Written
from storage.store import Answer, Outcome, Query, Row, Write

Reply: TypeAlias = tuple[str, Written | Answered | StorageBusy]
"""To which incarnation, what."""


class _Waiting(NamedTuple):
    writer: str
    n: int
    row: Row
    bytes: int


class Round(NamedTuple):
    """What one commit writes: ``numbers[i]`` is its writer's number for ``writes[i]``."""

    writes: list[Write]
    numbers: list[int]


class Asked(NamedTuple):
    """A query and whom to answer."""

    asker: str
    n: int
    query: Query

    def reply(self, answer: Answer) -> Reply:
        return self.asker, Answered(self.n, answer)


class WorkerCore:
    """See the module's docstring."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.rows: deque[_Waiting] = deque()
        self.bytes = 0
        """Sum of ``bytes`` over ``rows``."""
        self.asks: deque[Asked] = deque()
        self.asks_under_way = 0
        """Asks taken and not answered yet; they count against the bound."""
        self.rounds = 0
        self.reads = 0
        self.rows_written = 0
        """Rows whose outcome was STORED or FENCED."""
        self.refused = 0
        """Frames answered ``StorageBusy``."""
        self._pace_s = config.pace_ms / 1_000
        self._next_at = float("-inf")
        self._in_round = False

    # ------------------------------------------------------------ writes

    def on_write(self, writer: str, frame: WriteRow, size: int) -> list[Reply]:
        """Takes a row, or refuses it.

        Args:
            writer: the incarnation whose link it came on.
            size: bytes of the frame as it came.
        """
        config = self.config
        if len(self.rows) >= config.queue_rows_max or self.bytes + size > config.queue_bytes_max:
            return self._refuse(writer, frame.n)
        self.rows.append(_Waiting(writer, frame.n, frame.row, size))
        self.bytes += size
        return []

    def take_round(self, now: float) -> Round | None:
        """The next commit's rows, if there are any, no round is under way, and the pace allows it."""
        if not self.rows or self._in_round or now < self._next_at:
            return None
        self._next_at = now + self._pace_s
        self._in_round = True
        writes: list[Write] = []
        numbers: list[int] = []
        room = self.config.round_bytes_max
        while self.rows and len(writes) < self.config.round_rows_max and (not writes or self.rows[0].bytes <= room):
            waiting = self.rows.popleft()
            room -= waiting.bytes
            self.bytes -= waiting.bytes
            writes.append(Write(waiting.writer, waiting.row))
            numbers.append(waiting.n)
        return Round(writes, numbers)

    def on_outcomes(self, round_: Round, outcomes: list[Outcome]) -> list[Reply]:
        """What the commit of ``round_`` came to: one frame for each writer."""
        assert len(outcomes) == len(round_.writes) and self._in_round, "one outcome a row, one round at a time"
        self._in_round = False
        self.rounds += 1
        self.rows_written += len(outcomes) - outcomes.count(Outcome.UNKNOWN)
        replies: dict[str, list[tuple[int, Outcome]]] = {}
        for write, n, outcome in zip(round_.writes, round_.numbers, outcomes, strict=True):
            if (reply := replies.get(write.writer)) is None:
                replies[write.writer] = [(n, outcome)]
            else:
                reply.append((n, outcome))
        return [(writer, Written(pairs)) for writer, pairs in replies.items()]

    @property
    def is_committing(self) -> bool:
        """A round was taken whose outcomes have not come in."""
        return self._in_round

    def next_deadline(self) -> float | None:
        """When ``take_round`` will give something; None: not before a write or a round's outcomes come in."""
        return self._next_at if self.rows and not self._in_round else None

    # ------------------------------------------------------------ asks

    def on_ask(self, asker: str, frame: Ask) -> list[Reply]:
        """Takes a query, or refuses it."""
        if len(self.asks) + self.asks_under_way >= self.config.asks_max:
            return self._refuse(asker, frame.n)
        self.asks.append(Asked(asker, frame.n, frame.query))
        return []

    def take_asks(self, at_most: int) -> list[Asked]:
        """The next queries to answer, in the order in which they came."""
        taken = [self.asks.popleft() for _ in range(min(at_most, len(self.asks)))]
        self.asks_under_way += len(taken)
        self.reads += len(taken)
        return taken

    def on_answered(self, count: int) -> None:
        """``count`` of the queries taken are answered."""
        self.asks_under_way -= count

    # ------------------------------------------------------------ peers

    def on_peer_gone(self, incarnation: str) -> None:
        """Drops what a gone peer asked. Its rows stay: they may be durable elsewhere already, and the cell row decides about them."""
        self.asks = deque(asked for asked in self.asks if asked.asker != incarnation)

    def _refuse(self, peer: str, n: int) -> list[Reply]:
        self.refused += 1
        return [(peer, StorageBusy(n, self.config.busy_retry_ms))]

    def check(self) -> None:
        """Asserts what always holds."""
        assert self.bytes == sum(waiting.bytes for waiting in self.rows) <= self.config.queue_bytes_max
        assert len(self.rows) <= self.config.queue_rows_max
        assert 0 <= self.asks_under_way <= self.config.asks_max
        assert len(self.asks) + self.asks_under_way <= self.config.asks_max
