"""Which tails are behind, and the pages asked for to complete them. Sans-I/O; knows tails, nothing of requests or marks.

A tail that is behind is *wanted* at a time: at once when a head says so, after `gap_wait_s` when an entry overtook others. One page a
conversation is under way, `fetches_max` over all, the lowest missing range first: what is shown must be shown in order.
"""

from __future__ import annotations

from collections.abc import Mapping

from homing.effects import Effect, Gap, Transmit
from homing.limits import Limits
from homing.protocol import Entries, Entry, Fetch
from homing.tail import Tail


class _Page:
    __slots__ = ("conversation", "first", "last", "sent_at")

    def __init__(self, conversation: str, first: int, last: int, now: float) -> None:
        self.conversation, self.first, self.last, self.sent_at = conversation, first, last, now


class Catchup:
    def __init__(self, limits: Limits, tails: Mapping[str, Tail]) -> None:
        self._limits = limits
        self._tails = tails
        self._wanted: dict[str, float] = {}
        self._pages: dict[str, _Page] = {}
        self._paging: set[str] = set()
        self._number = 0
        self.held = 0
        """Entries held above holes, over all tails."""

    def __contains__(self, id_: str | None) -> bool:
        """Whether a request id is a page's."""
        return id_ in self._pages

    @property
    def behind(self) -> bool:
        """Whether anything is missing."""
        return bool(self._wanted)

    def want(self, tail: Tail, at: float) -> None:
        """The tail is behind: asks for what it lacks at `at`, or before if that was said."""
        if tail.state.contig < tail.state.head:
            self._wanted[tail.state.id] = min(at, self._wanted.get(tail.state.id, at))

    def settle(self, tail: Tail) -> None:
        """The tail moved: is it complete?"""
        if tail.state.contig >= tail.state.head:
            self._wanted.pop(tail.state.id, None)

    def want_all(self, now: float) -> None:
        """Waits for nothing any more."""
        for id_, at in self._wanted.items():
            self._wanted[id_] = min(at, now)

    def welcome(self, now: float) -> None:
        for tail in self._tails.values():
            if tail.state.base:
                self.want(tail, now)

    def lost(self) -> None:
        """The session is gone, and with it what was asked."""
        self._wanted.clear()
        self._pages.clear()
        self._paging.clear()

    def hold(self, tail: Tail, entry: Entry) -> None:
        """Takes an entry that came by itself; past the bounds only its number, and it is fetched later."""
        room = len(tail.held) < self._limits.held_entries_max and self.held < self._limits.held_total_max
        if room or entry.seq == tail.state.contig + 1:
            before = len(tail.held)
            tail.hold(entry)
            self.held += len(tail.held) - before
        else:
            tail.raise_head(entry.seq)

    def flush(self, now: float, effects: list[Effect]) -> list[Tail]:
        """Asks for what is due. Returns tails that skipped what is too far back: they may have something to show."""
        skipped: list[Tail] = []
        for id_, at in list(self._wanted.items()) if self._wanted and len(self._pages) < self._limits.fetches_max else ():
            if at <= now and id_ not in self._paging:
                tail = self._tails[id_]
                if self._skip(tail, effects):
                    skipped.append(tail)
                else:
                    self._ask(tail, now, effects)
                if len(self._pages) >= self._limits.fetches_max:
                    break
        return skipped

    def _skip(self, tail: Tail, effects: list[Effect]) -> bool:
        state = tail.state
        behind = state.head - state.contig - self._limits.catchup_entries_max
        if behind <= 0:
            return False
        effects.append(Gap(state.id, state.contig + 1, state.contig + behind, "too_many"))
        before = len(tail.held)
        tail.skip_to(state.contig + behind)
        self.held += len(tail.held) - before
        return True

    def _ask(self, tail: Tail, now: float, effects: list[Effect]) -> None:
        missing = tail.missing(self._limits.fetch_entries)
        if missing is None:
            del self._wanted[tail.state.id]
            return
        self._number += 1
        id_ = f"~{self._number}"
        self._pages[id_] = _Page(tail.state.id, *missing, now)
        self._paging.add(tail.state.id)
        frame = Fetch(id=id_, conversation=tail.state.id, from_seq=missing[0], to_seq=missing[1], limit=self._limits.fetch_entries)
        effects.append(Transmit(frame))

    def page(self, f: Entries, now: float) -> tuple[Tail, list[Effect]]:
        """A page came: its tail may have something to show now."""
        page = self._close(f.id)
        tail = self._tails[page.conversation]
        state = tail.state
        tail.raise_head(f.head)
        before, contig = len(tail.held), state.contig
        entries = [e for e in f.entries if page.first <= e.seq <= page.last and e.conversation == state.id]
        for entry in entries:
            tail.hold(entry)
        if f.head >= page.first:
            # An empty page says that nothing of the range is ours to see; one that starts late may have been cut below.
            tail.void(min((e.seq for e in entries), default=page.first), min(page.last, f.head))
        self.held += len(tail.held) - before
        # A home that does not know of what others said is not the right one (any more): give it a moment.
        self._wanted[state.id] = now + self._limits.retry_s if f.head < page.first else now
        self.settle(tail)
        return tail, [Gap(state.id, contig + 1, state.contig, "not_visible")] if state.contig > contig else []

    def refused(self, id_: str) -> list[Effect]:
        """The range is not ours to see."""
        tail = self._tails[self._close(id_).conversation]
        first, last = tail.state.contig + 1, tail.state.head
        self.held -= len(tail.held)
        tail.forget_above()
        self.settle(tail)
        return [Gap(tail.state.id, first, last, "not_visible")] if first <= last else []

    def again(self, id_: str, at: float) -> str:
        """The page could not be given: asks again at `at`. Returns the conversation."""
        page = self._close(id_)
        self._wanted[page.conversation] = at
        return page.conversation

    def expire(self, now: float) -> None:
        """Gives up waiting for pages that do not come."""
        for id_, page in list(self._pages.items()):
            if now >= page.sent_at + self._limits.answer_wait_s:
                self.again(id_, now)

    def next_deadline(self) -> float | None:
        times = [p.sent_at + self._limits.answer_wait_s for p in self._pages.values()]
        if len(self._pages) < self._limits.fetches_max:
            times.extend(at for id_, at in self._wanted.items() if id_ not in self._paging)
        return min(times, default=None)

    def _close(self, id_: str) -> _Page:
        page = self._pages.pop(id_)
        self._paging.discard(page.conversation)
        return page

    def check(self) -> None:
        assert self.held == sum(len(t.held) for t in self._tails.values())
        assert len(self._pages) <= self._limits.fetches_max
        assert self._paging == {p.conversation for p in self._pages.values()}
