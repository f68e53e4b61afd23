"""Bounded streams of events for programs that read them at their own pace.

A reader that is too slow loses the oldest events, never the newest, and is told which entries it lost (`Gap`): memory does not grow, and
the connection does not wait for it. What it lost is in the store: `conversation.history()` gives it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TypeAlias, get_args

from homing.effects import (
    ConversationChanged,
    Delivered,
    Gap,
    Named,
    PresenceChanged,
    ReadBy,
    Refused,
    Resumed,
    Shown,
    StateChanged,
    Stored,
    TypingChanged,
)

Event: TypeAlias = (
    Shown | Stored | Refused | Delivered | ReadBy | StateChanged
    | PresenceChanged | TypingChanged | ConversationChanged | Gap | Named | Resumed
)  # fmt: skip
EVENT_TYPES = get_args(Event)
EVENTS_MAX = 1_000
"""Events that wait in a stream: some seconds of the busiest group."""


def conversation_of(event: Event) -> str | None:
    """The conversation that an event is about, None: all, or none."""
    if isinstance(event, Shown | Stored):
        return event.entry.conversation
    if isinstance(event, StateChanged | PresenceChanged | Named | Resumed):
        return None
    return event.error.conversation if isinstance(event, Refused) else event.conversation


class EventStream(AsyncIterator[Event]):
    """Iterate it with ``async for``; it holds what comes from the moment it was made. Ends when the client is closed."""

    def __init__(self, conversation: str | None = None, events_max: int = EVENTS_MAX, awaited: set[EventStream] | None = None) -> None:
        self._awaited = set() if awaited is None else awaited
        """Streams that somebody waits at. The client knows the others only weakly: one that nobody reads any more goes by itself."""
        self._conversation = conversation
        self._events_max = events_max
        self._events: deque[Event] = deque()
        self._lost: dict[str, tuple[int, int]] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    def put(self, event: Event) -> None:
        if self._ended or (self._conversation is not None and conversation_of(event) != self._conversation):
            return
        if len(self._events) >= self._events_max:
            self._lose(self._events.popleft())
        self._events.append(event)
        self._wake()

    def _lose(self, event: Event) -> None:
        if isinstance(event, Shown):
            first, _ = self._lost.get(event.entry.conversation, (event.entry.seq, 0))
            self._lost[event.entry.conversation] = (first, event.entry.seq)

    def end(self) -> None:
        """No more events come; what waits can still be read."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._lost:
                conversation, (first, last) = self._lost.popitem()
                return Gap(conversation, first, last, "slow_consumer")
            if self._events:
                return self._events.popleft()
            if self._ended:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            self._awaited.add(self)
            try:
                await self._waiter
            finally:
                self._awaited.discard(self)
                self._waiter = None
