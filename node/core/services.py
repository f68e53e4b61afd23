"""What an actor may use of the node it lives in: time, the slot table, the mesh, storage, timers. No I/O happens behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from node.core.effects import Effect
from node.core.limits import CoreLimits
from node.core.rules import Rules
from storage.store import Answer, Outcome, Query, Row

T = TypeVar("T")

NOBODY = ""


class Comings(Protocol):
    """Who hears of sessions that come and go: ``live.py``."""

    def came(self, user: str, row_ms: int) -> None:
        """A session of a user at home here is let in; ``row_ms``: his row's last_seen, 0 if it was not read."""

    def detached(self, user: str, key: tuple[str, int], is_last: bool) -> None:
        """A session of a user at home here is gone, his last one or not."""


class Services(Protocol):
    me: str
    """This incarnation."""
    now: float
    """Monotonic seconds of the event that is being handled."""
    limits: CoreLimits
    rules: Rules
    epoch: int

    @property
    def live(self) -> Comings:
        """Presence and typing."""

    @property
    def has_room(self) -> bool:
        """Whether storage takes new work; if not, a request is refused as overloaded (P7)."""

    def time_ms(self) -> int:
        """Cluster time."""

    def owner_of(self, id_: str) -> str:
        """The incarnation at which a user or conversation is at home; ``NOBODY`` when its slot has no owner."""

    def send(self, incarnation: str, frame: Struct) -> bool:
        """To another process, or to a hand on this one; False when the peer's window is full or there is no link."""

    def send_tracked(self, incarnation: str, frame: Struct, done: Callable[[str, T], None], what: T) -> bool:
        """As ``send``; calls ``done(incarnation, what)`` when the peer has handled the frame."""

    def send_when_open(self, incarnation: str, key: str, again: Callable[[str], None]) -> None:
        """Calls ``again(incarnation)`` once when the peer's window has room; one call for each ``key``."""

    def write(self, row: Row, done: Callable[[Outcome, T], None], what: T) -> None:
        """Writes a row for as long as it takes: ``done`` hears UNKNOWN at most once, then STORED or FENCED."""

    def ask(self, query: Query, done: Callable[[Answer], None]) -> None:
        """Reads; ``done`` hears the answer once, after as many tries as it takes."""

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Calls ``call`` at ``when`` (monotonic seconds)."""

    def emit(self, effect: Effect) -> None: ...

    def report_mark(self, conversation: str, user: str, delivered: int, read: int, urgent: bool = False, tell: bool = False) -> None:
        """A mark on its way to the conversation's home; those of a group are gathered with those of its other members here, unless it is
        urgent that they are stored. ``tell``: the user's devices hear what was accepted."""

    def note(self, what: str, conversation: str, seq: int, cause: str, detail: str = "") -> None:
        """A step of one message's story, see ``trace.py``."""

    def absurd(self, source: str, why: str) -> None:
        """Counts a frame that says what cannot be; nothing may have been changed for it."""

    def fenced(self) -> None:
        """This incarnation is not in the cell row: it must answer nothing more."""
