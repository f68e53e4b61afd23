"""`resync`: the server cannot tell whether it has a request's entry, because the request's `after` lies too far back. Sans-I/O.

The client looks for its own entry itself: from the head down to `after`, page by page. Found, the request is answered: what can be read
is stored, and so much was said after it that nobody's gap stays unnoticed. Not found, it goes out again with the head as its `after`.
One search at a time.
"""

from __future__ import annotations

from homing.effects import Effect, Transmit
from homing.limits import Limits
from homing.outbox import Outbox
from homing.protocol import Entries, Entry, Fetch, GroupCreate
from homing.state import OutboxItem


class _Search:
    __slots__ = ("at", "head", "looked", "page", "to")

    def __init__(self, at: float) -> None:
        self.at = at
        self.to: int | None = None
        self.head = 0
        self.looked = 0
        self.page = ""


class Resync:
    def __init__(self, limits: Limits, outbox: Outbox) -> None:
        self._limits = limits
        self._outbox = outbox
        self._searches: dict[str, _Search] = {}
        self._asking: tuple[str, float] | None = None
        self._number = 0

    def __contains__(self, id_: str | None) -> bool:
        """Whether a request id is a page's of the search."""
        return self._asking is not None and self._searches[self._asking[0]].page == id_

    def start(self, item: OutboxItem, now: float) -> None:
        """The request was answered with `resync`: it waits until the log is searched."""
        self._outbox.postpone(item.id, float("inf"))
        self._searches.setdefault(item.id, _Search(now))

    def drop(self, request: str) -> None:
        """The request was answered meanwhile."""
        if self._searches.pop(request, None) and self._asking and self._asking[0] == request:
            self._asking = None

    def lost(self) -> None:
        self._asking = None
        for search in self._searches.values():
            search.at, search.page = 0.0, ""

    def flush(self, now: float, effects: list[Effect]) -> None:
        """Asks for the next page, if one is due."""
        if self._asking is not None:
            return
        for request, search in self._searches.items():
            item = self._outbox.get(request)
            if search.at <= now and item is not None:
                self._number += 1
                search.page = f"?{self._number}"
                self._asking = (request, now)
                # After a single refused attempt there can be no entry: only the head is needed.
                limit = 1 if item.attempts <= 1 else self._limits.fetch_entries
                frame = Fetch(id=search.page, conversation=item.conversation, from_seq=after_of(item) + 1, to_seq=search.to, limit=limit)
                effects.append(Transmit(frame))
                return

    def page(self, f: Entries, user: str) -> tuple[str, Entry | None, bool]:
        """A page came. Returns the request, its entry if it was found, and whether the search went too far."""
        assert self._asking is not None
        request, self._asking = self._asking[0], None
        search = self._searches[request]
        item = self._outbox.get(request)
        assert item is not None
        search.head = max(search.head, f.head)
        search.looked += len(f.entries)
        lowest = min((e.seq for e in f.entries), default=0)
        own = next((e for e in f.entries if e.id == item.id and e.sender == user), None)
        if own is not None:
            return request, own, False
        if item.attempts <= 1 or lowest <= after_of(item) + 1:
            self._send(item, search.head)
        elif search.looked >= self._limits.search_entries_max:
            return request, None, True
        else:
            search.to = lowest - 1
        return request, None, False

    def refused(self) -> str:
        """The log may not be read. Returns the request."""
        assert self._asking is not None
        return self._asking[0]

    def again(self, at: float) -> None:
        assert self._asking is not None
        self._searches[self._asking[0]].at = at
        self._asking = None

    def expire(self, now: float) -> None:
        if self._asking is not None and now >= self._asking[1] + self._limits.answer_wait_s:
            self.again(now)

    def next_deadline(self) -> float | None:
        if self._asking is not None:
            return self._asking[1] + self._limits.answer_wait_s
        return min((s.at for s in self._searches.values()), default=None)

    def _send(self, item: OutboxItem, after: int) -> None:
        assert not isinstance(item.frame, GroupCreate)
        self.drop(item.id)
        self._outbox.renew(item.id, after)

    def check(self) -> None:
        assert all(request in self._outbox for request in self._searches)
        assert self._asking is None or self._asking[0] in self._searches


def after_of(item: OutboxItem) -> int:
    return 0 if isinstance(item.frame, GroupCreate) else item.frame.after or 0
