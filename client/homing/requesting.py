"""The requests of one device, from when they are queued until they are answered. Sans-I/O; knows nothing of the session.

Laws:
    * A queued request goes out under the same id and `after` until it is answered (P4); only a `resync` gives it a newer `after`.
    * It is answered once: by its entry (`Stored`), or by a refusal that must not be repeated (`Refused`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from homing import codes, ids
from homing.effects import Effect, Refused, Stored, Transmit
from homing.limits import Limits
from homing.outbox import Outbox
from homing.protocol import Block, Entries, Entry, Error, GroupCreate, Send, Sent, Unblock
from homing.requests import RequestInvalid
from homing.resync import Resync
from homing.state import ConversationState, Dirty, OutboxItem, Request


class Requesting:
    """`dirty` hears of every request that changed."""

    def __init__(self, limits: Limits, items: Sequence[OutboxItem], dirty: Dirty) -> None:
        for item in items:
            item.attempts = max(1, item.attempts)  # it may have gone out and not been noted
        self._limits = limits
        self._dirty = dirty
        self.outbox = Outbox(limits, items)
        self.resync = Resync(limits, self.outbox)

    # ------------------------------------------------------------ queued

    def add(self, frame: Request, conversation: str, state: ConversationState | None) -> None:
        """Queues a request; its `after` is fixed here: the entry will lie above whatever head is known now; 0 is always true."""
        if not isinstance(frame, GroupCreate):
            frame = msgspec.structs.replace(frame, after=state.head if state else 0)
        self.outbox.add(OutboxItem(frame, conversation))
        self._dirty.outbox[frame.id] = None

    def withdraw(self, id_: str) -> bool:
        """Takes back a request that could not be made safe; False: it went out already."""
        item = self.outbox.get(id_)
        if item is None or item.attempts:
            return False
        self.answered(id_)
        return True

    # ------------------------------------------------------------ going out

    def flush(self, now: float, effects: list[Effect]) -> None:
        for item in self.outbox.due(now):
            effects.append(Transmit(item.frame))

    def lost(self) -> None:
        self.resync.lost()
        self.outbox.lost()

    # ------------------------------------------------------------ answers

    def answered(self, id_: str) -> bool:
        self.resync.drop(id_)
        self._dirty.outbox[id_] = None
        return self.outbox.pop(id_) is not None

    def sent(self, f: Sent) -> list[Effect]:
        return [Stored(f.id, f.entry)] if f.id in self.outbox and self.answered(f.id) else []

    def met(self, entry: Entry, user: str) -> None:
        """Remembers where a request's entry lies; the request itself waits for `sent`, which says that all members have it."""
        if entry.sender == user and (item := self.outbox.get(entry.id)) and item.conversation == entry.conversation:
            item.seen = entry
            self._dirty.outbox[item.id] = None

    def page(self, f: Entries, user: str) -> list[Effect]:
        """A page of the search for a request's entry."""
        request, own, too_far = self.resync.page(f, user)
        self._dirty.outbox[request] = None
        if own is not None:
            self.answered(request)
            return [Stored(request, own)]
        error = Error(code=codes.RESYNC.number, name=codes.RESYNC.name, message="too old to be sent again safely", id=request)
        return self.give_up(request, error) if too_far else []

    def refused(self, item: OutboxItem, f: Error, action: str, now: float) -> list[Effect]:
        if action == "retry":
            self.outbox.postpone(item.id, now + self.retry_s(f, item.attempts))
        elif action == "sync" and not isinstance(item.frame, GroupCreate):
            if item.seen is not None:
                self.answered(item.id)
                return [Stored(item.id, item.seen)]
            self.resync.start(item, now)
        else:
            return self.give_up(item.id, f)
        return []

    def page_refused(self, f: Error, action: str, now: float) -> list[Effect]:
        """The search was refused a page."""
        if action == "fix":
            return self.give_up(self.resync.refused(), f)
        self.resync.again(now + self.retry_s(f, 0))
        return []

    def give_up(self, id_: str, error: Error) -> list[Effect]:
        self.answered(id_)
        return [Refused(id_, error)]

    def retry_s(self, f: Error, attempts: int) -> float:
        """When to ask again, after an error."""
        if f.retry_after_ms is not None:
            return f.retry_after_ms / 1000
        return min(self._limits.retry_max_s, self._limits.retry_s * 2.0 ** min(attempts, 10))

    def check(self) -> None:
        self.outbox.check()
        self.resync.check()


def target_of(frame: Request) -> str:
    """The conversation or user that a request names."""
    if isinstance(frame, Send):
        return frame.to
    return frame.user if isinstance(frame, Block | Unblock) else frame.conversation


def conversation_with(user: str, to: str) -> str:
    """The conversation that is meant by its id, or by the other user's: the direct one with him.

    Raises:
        RequestInvalid: the own user is not known yet.
    """
    if ids.kind_of(to) != ids.USER:
        return to
    if not user:
        raise RequestInvalid("the own user is not known before the first welcome")
    return ids.direct_id(user, to)
