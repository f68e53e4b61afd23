"""What became of single messages, as this node saw it: a ring of the latest steps, kept in memory for `homing trace`.

A message's *cause* is its client message id: it is in every frame, row and log line that the message causes, before it has a seq and after.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

STEPS_MAX = 65_536
"""Some 8 MiB; minutes of a calm node, seconds of a saturated one. What is durable can be read from the log at any time."""


class Step(NamedTuple):
    at: float
    """Monotonic seconds of this process."""
    what: str
    conversation: str
    seq: int
    """0 while there is none."""
    cause: str
    """The client message id; empty for what concerns all up to ``seq``."""
    detail: str


class Trace:
    """The ring."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: deque[tuple[float, str, str, int, str, str]] = deque(maxlen=STEPS_MAX)

    def of(self, conversation: str, seq: int, cause: str = "") -> list[Step]:
        """The steps of one message, oldest first; ``cause`` is looked up if it is not given."""
        here = [step for step in map(Step._make, self.steps) if step.conversation == conversation]
        cause = cause or next((step.cause for step in here if step.seq == seq and step.cause), "")
        return [step for step in here if _concerns(step, seq, cause)]


def _concerns(step: Step, seq: int, cause: str) -> bool:
    if step.cause:
        return step.cause == cause and step.seq in (0, seq)
    return step.seq == seq or (step.what in ("delivered mark", "read mark") and step.seq >= seq)
