"""Questions of the program (a page of history, of heads, of members): asked until answered, over reconnects too. Sans-I/O."""

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

    def __contains__(self, id_: str | None) -> bool:
        return id_ in self._open

    def ask(self, question: Question) -> None:
        if len(self._open) >= self._limits.asks_max:
            raise OutboxFull(f"{len(self._open)} questions are under way")
        self._open[question.id] = question
        self._due[question.id] = 0.0

    def close(self, id_: str | None) -> bool:
        """Answered, refused or no longer of interest; False: nobody asked."""
        if id_ is None or self._open.pop(id_, None) is None:
            return False
        del self._due[id_]
        return True

    def again(self, id_: str, at: float) -> None:
        self._due[id_] = at

    def lost(self) -> None:
        self._due = dict.fromkeys(self._open, 0.0)

    def flush(self, now: float, effects: list[Effect]) -> None:
        for id_, at in self._due.items():
            if at <= now:
                self._due[id_] = now + self._limits.answer_wait_s
                effects.append(Transmit(self._open[id_]))

    def next_deadline(self) -> float | None:
        return min(self._due.values(), default=None)
