"""The queued requests and when each goes out (again). Sans-I/O.

Laws:
    * Requests of one conversation go out in the order in which they were queued, and with one in flight (the default) arrive so.
    * A request leaves only by an answer: its entry, or a refusal that must not be repeated.
    * `after` stays what it was when the request was queued; only a `resync` gives it a newer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from msgspec import structs

from homing.limits import Limits
from homing.state import OutboxItem


class OutboxFull(Exception):
    """Too many requests wait to be answered; nothing was queued."""


class _Queued:
    __slots__ = ("item", "not_before", "sent_at")

    def __init__(self, item: OutboxItem) -> None:
        self.item = item
        self.sent_at: float | None = None
        self.not_before = 0.0


class Outbox:
    def __init__(self, limits: Limits, items: Sequence[OutboxItem] = ()) -> None:
        self._limits = limits
        self._all: dict[str, _Queued] = {}
        self._queues: dict[str, deque[_Queued]] = {}
        self._in_flight = 0
        for item in items:
            self._put(item)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._all

    def __iter__(self) -> Iterator[OutboxItem]:
        return (queued.item for queued in self._all.values())

    def get(self, id_: str) -> OutboxItem | None:
        queued = self._all.get(id_)
        return queued.item if queued else None

    def add(self, item: OutboxItem) -> None:
        if item.id in self._all:
            raise ValueError(f"a request with the id {item.id!r} is already queued")
        if len(self._all) >= self._limits.outbox_requests_max:
            raise OutboxFull(f"{len(self._all)} requests wait to be answered")
        self._put(item)

    def _put(self, item: OutboxItem) -> None:
        queued = self._all[item.id] = _Queued(item)
        self._queues.setdefault(item.conversation, deque()).append(queued)

    def pop(self, id_: str) -> OutboxItem | None:
        """Takes out an answered request; None: it is not (or no longer) ours."""
        queued = self._all.pop(id_, None)
        if queued is None:
            return None
        self._land(queued)
        queue = self._queues[queued.item.conversation]
        queue.remove(queued)
        if not queue:
            del self._queues[queued.item.conversation]
        return queued.item

    def postpone(self, id_: str, until: float) -> None:
        """The request goes out again at `until`."""
        if queued := self._all.get(id_):
            self._land(queued)
            queued.not_before = until

    def renew(self, id_: str, after: int) -> None:
        """Gives the request a newer `after`, and lets it go out at once."""
        queued = self._all[id_]
        queued.item.frame = structs.replace(queued.item.frame, after=after)
        self.postpone(id_, 0.0)

    def lost(self) -> None:
        """What was under way is not: all goes out again."""
        for queued in self._all.values():
            queued.sent_at, queued.not_before = None, 0.0
        self._in_flight = 0

    def due(self, now: float) -> list[OutboxItem]:
        """The requests to put on the wire now; they count as under way from here on."""
        result: list[OutboxItem] = []
        for queue in self._queues.values():
            for queued in list(_first(queue, self._limits.inflight_per_conversation)):
                if queued.sent_at is not None:
                    if now < queued.sent_at + self._limits.answer_wait_s:
                        continue
                    self._land(queued)
                if now < queued.not_before:
                    break
                if self._in_flight >= self._limits.inflight_requests_max:
                    return result
                queued.sent_at = now
                self._in_flight += 1
                queued.item.attempts += 1
                result.append(queued.item)
        return result

    def next_deadline(self) -> float | None:
        """When `due` has something to give, as far as that depends on time."""
        times: list[float] = []
        has_room = self._in_flight < self._limits.inflight_requests_max
        for queue in self._queues.values():
            blocked = False  # what is put off holds up those behind it
            for queued in _first(queue, self._limits.inflight_per_conversation):
                if queued.sent_at is not None:
                    times.append(queued.sent_at + self._limits.answer_wait_s)
                elif has_room and not blocked:
                    times.append(queued.not_before)
                    blocked = True
        return min((t for t in times if t < float("inf")), default=None)

    def _land(self, queued: _Queued) -> None:
        if queued.sent_at is not None:
            queued.sent_at = None
            self._in_flight -= 1

    def check(self) -> None:
        assert self._in_flight == sum(q.sent_at is not None for q in self._all.values()) <= self._limits.inflight_requests_max
        assert sum(map(len, self._queues.values())) == len(self._all)


def _first(queue: deque[_Queued], count: int) -> Iterator[_Queued]:
    return (queue[i] for i in range(min(count, len(queue))))
