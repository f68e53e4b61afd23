"""An actor alone in a hand-made node: what it sends, writes and asks is noted, and answered when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from homing.ids import direct_id, user_id
from msgspec import Struct

from node.core.conversation import Conversation
from node.core.effects import Effect
from node.core.limits import CoreLimits
from node.core.rules import ALL
from storage.memory import MemoryStore
from storage.store import CellRow, MemberRow, Outcome, Query, Row, Write

ME, OTHER = "node-1:me", "node-2:other"
ALICE, BOB, CAROL, DAVE = (user_id(name) for name in ("alice", "bob", "carol", "dave"))
DIRECT = direct_id(ALICE, BOB)


class Comings:
    """Who came and went."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str]] = []

    def came(self, user: str, row_ms: int) -> None:
        self.noted.append(("came", user))

    def detached(self, user: str, key: tuple[str, int], is_last: bool) -> None:
        self.noted.append(("left" if is_last else "detached", user))

    def on_stop(self) -> None:
        self.noted.append(("stop", ""))


class Rig:
    """Services for actors under test."""

    def __init__(self, limits: CoreLimits | None = None) -> None:
        self.me = ME
        self.now = 100.0
        self.limits = limits or CoreLimits()
        self.rules = ALL
        self.epoch = 1
        self.has_room = True
        self.homes: dict[str, str] = {}
        """Ids that are not at home at OTHER."""
        self.sent: list[tuple[str, Any]] = []
        self.tracked: list[tuple[str, Any, Callable[[str, Any], None], Any]] = []
        self.full: set[str] = set()
        """Incarnations that take nothing."""
        self.opening: dict[tuple[str, str], Callable[[str], None]] = {}
        self.writes: list[tuple[Row, Callable[[Outcome, Any], None], Any]] = []
        self.asks: list[tuple[Query, Callable[[Any], None]]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.effects: list[Effect] = []
        self.reports: list[tuple[str, str, int, int]] = []
        self.to_tell: list[tuple[str, str]] = []
        """Of these the user's other devices are to hear."""
        self.live = Comings()
        self.ended = False
        self.store = MemoryStore()
        self.store.commit([Write(ME, CellRow(1, (ME, OTHER)))])

    # -------------------------------------------------------------- services

    def time_ms(self) -> int:
        return int(self.now * 1_000)

    def owner_of(self, id_: str) -> str:
        return self.homes.get(id_, OTHER)

    def send(self, incarnation: str, frame: Struct) -> bool:
        if incarnation in self.full:
            return False
        self.sent.append((incarnation, frame))
        return True

    def send_tracked(self, incarnation: str, frame: Struct, done: Callable[[str, Any], None], what: Any) -> bool:
        if not self.send(incarnation, frame):
            return False
        self.tracked.append((incarnation, frame, done, what))
        return True

    def send_when_open(self, incarnation: str, key: str, again: Callable[[str], None]) -> None:
        self.opening[incarnation, key] = again

    def write(self, row: Row, done: Callable[[Outcome, Any], None], what: Any) -> None:
        self.writes.append((row, done, what))

    def ask(self, query: Query, done: Callable[[Any], None]) -> None:
        self.asks.append((query, done))

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.timers.append((when, call))

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def report_mark(self, conversation: str, user: str, delivered: int, read: int, urgent: bool = False, tell: bool = False) -> None:
        self.reports.append((conversation, user, delivered, read))
        if tell:
            self.to_tell.append((conversation, user))

    def note(self, what: str, conversation: str, seq: int, cause: str, detail: str = "") -> None:
        pass

    def absurd(self, source: str, why: str) -> None:
        pass

    def fenced(self) -> None:
        self.ended = True

    # -------------------------------------------------------------- what a test does

    def answer_asks(self) -> None:
        while self.asks:
            query, done = self.asks.pop(0)
            done(self.store.read(query))

    def store_all(self, kind: type | None = None, outcome: Outcome = Outcome.STORED) -> int:
        """Commits what waits (rows of ``kind`` only) and tells ``outcome``; returns how many rows."""
        chosen = [w for w in self.writes if kind is None or isinstance(w[0], kind)]
        self.writes = [w for w in self.writes if w not in chosen]
        if outcome is Outcome.STORED:
            self.store.commit([Write(ME, row) for row, _, _ in chosen])
        for _, done, what in chosen:
            done(outcome, what)
        return len(chosen)

    def settle(self) -> None:
        """Answers everything until nothing waits: asks, writes, acknowledgements."""
        for _ in range(100):
            if not (self.asks or self.writes or self.tracked):
                return
            self.answer_asks()
            self.store_all()
            self.hand_over()
        raise AssertionError("it does not come to rest")

    def hand_over(self, home: str | None = None) -> None:
        """Peers have handled what was sent to them."""
        chosen = [t for t in self.tracked if home is None or t[0] == home]
        self.tracked = [t for t in self.tracked if t not in chosen]
        for incarnation, _, done, what in chosen:
            done(incarnation, what)

    def pass_time(self, seconds: float) -> None:
        """Lets time pass and calls the timers that are due."""
        self.now += seconds
        due = [t for t in self.timers if t[0] <= self.now]
        self.timers = [t for t in self.timers if t[0] > self.now]
        for _, call in due:
            call()

    def frames(self, kind: type, to: str | None = None) -> list[Any]:
        """Takes out what was sent of one kind."""
        found = [f for inc, f in self.sent if isinstance(f, kind) and to in (None, inc)]
        self.sent = [(inc, f) for inc, f in self.sent if not (isinstance(f, kind) and to in (None, inc))]
        return found

    def open_conversation(self, id_: str = DIRECT, term: int = 1) -> Conversation:
        """A direct one has the rows of its members, but no entry yet."""
        if id_ == DIRECT:
            self.store.commit([Write(ME, MemberRow(DIRECT, user, 0, "member", 1, 0)) for user in (ALICE, BOB)])
        conversation = Conversation(self, id_, term)
        self.settle()
        assert conversation.state == "open"
        return conversation
