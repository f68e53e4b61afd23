"""Questions of the program (a page of history, of heads, of members, a name): asked until answered, over reconnects too. Sans-I/O.

Laws:
    * At most `asks_max` are under way, the others wait their turn; names give way to what somebody waits for at the screen, and leave
      `asks_reserved` places to it.
"""

from __future__ import annotations

from typing import TypeAlias

from homing.effects import Effect, Transmit
from homing.limits import Limits
from homing.outbox import OutboxFull
from homing.protocol import Fetch, FetchHeads, FetchMembers, FetchPerson

Question: TypeAlias = Fetch | FetchHeads | FetchMembers | FetchPerson


class Questions:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[str, Question] = {}
        self._due: dict[str, float] = {}
        """When those under way are asked again."""
        self._waiting: dict[str, None] = {}
        self._names: dict[str, None] = {}
        """Those that wait, in order; names apart."""

    def __contains__(self, id_: str | None) -> bool:
        return id_ in self._open

    def ask(self, question: Question) -> None:
        if len(self._open) >= self._limits.asks_max + self._limits.asks_waiting_max:
            raise OutboxFull(f"{len(self._open)} questions wait to be answered")
        self._open[question.id] = question
        (self._names if isinstance(question, FetchPerson) else self._waiting)[question.id] = None

    def close(self, id_: str | None) -> bool:
        """Answered, refused or no longer of interest; False: nobody asked."""
        if id_ is None or self._open.pop(id_, None) is None:
            return False
        for part in (self._due, self._waiting, self._names):
            part.pop(id_, None)
        return True

    def again(self, id_: str, at: float) -> None:
        if id_ in self._due:
            self._due[id_] = at

    def lost(self) -> None:
        self._due = dict.fromkeys(self._due, 0.0)

    def flush(self, now: float, effects: list[Effect]) -> None:
        while (queue := self._next()) is not None:
            id_ = next(iter(queue))
            del queue[id_]
            self._due[id_] = 0.0
        for id_, at in self._due.items():
            if at <= now:
                self._due[id_] = now + self._limits.answer_wait_s
                effects.append(Transmit(self._open[id_]))

    def _next(self) -> dict[str, None] | None:
        """The queue whose first question may go on its way."""
        room = self._limits.asks_max - len(self._due)
        if self._waiting and room > 0:
            return self._waiting
        return self._names if self._names and room > self._limits.asks_reserved else None

    def next_deadline(self) -> float | None:
        return 0.0 if self._next() is not None else min(self._due.values(), default=None)

    def check(self) -> None:
        assert len(self._due) <= self._limits.asks_max
        assert self._open.keys() == self._due.keys() | self._waiting.keys() | self._names.keys()
        assert len(self._open) == len(self._due) + len(self._waiting) + len(self._names)
