"""Who is here: the users at home on this node with a session, and when they were last seen (``design.md`` §4).

Theory of operation. A user is *here* from his first session on until ``linger_s`` after his last one has ended: a reconnect does not
blink. When he was last here is written into his row: soon after he came, unless the row is recent, then now and then, and when he has
gone; never more often than ``last_seen_pace_s``.

Laws:
    * What is told of ``last_seen`` is durable: no later home can say less (``presence.py`` tells only ``stored_ms``).
    * A home that is killed at any moment has the row of somebody who was here at most ``last_seen_store_s`` +
      ``last_seen_first_s`` behind.
    * A session that comes and goes costs no row by itself, and no message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from storage.store import Outcome, UserRow

if TYPE_CHECKING:
    from node.core.services import Services

BEAT_S = 5.0
"""How often ``beat`` is called: rows are written to within this."""
STORED_WAIT_S = 1.0
"""How long that somebody has gone is held back for its time to be durable."""


class Attendee(Struct):
    """Somebody who is here, or was a little while ago."""

    stored_ms: int
    """His row's last_seen, as far as it is known here and durable."""
    written_ms: int = 0
    """The last that was given to storage."""
    due: int = 0
    """The beat at which his row is written."""
    left_ms: int = 0
    """Cluster time at which his last session ended; 0: he has one."""
    leaving: bool = False
    """The linger is over, and his time is being written."""
    gone: bool = False
    """It may be told."""


class Attendance:
    """Of one node."""

    def __init__(self, services: Services, changed: Callable[[str], None]) -> None:
        self.sv = services
        self.changed = changed
        """Called with a user who came, or has gone."""
        self.users: dict[str, Attendee] = {}
        self.leaving: deque[tuple[float, str, int]] = deque()
        """When the linger of whom is over, and when he left."""
        self.beats: dict[int, list[str]] = {}
        """Beat → whose rows are due."""
        self.beat_n = int(services.now / BEAT_S)

    def is_here(self, user: str) -> bool:
        a = self.users.get(user)
        return a is not None and not a.gone

    def stored_ms(self, user: str) -> int:
        """His row's last_seen, if that is known here; 0: it is not."""
        a = self.users.get(user)
        if a is None:
            return 0
        return a.stored_ms if self.sv.rules.last_seen_durable else a.left_ms or a.stored_ms

    # -------------------------------------------------------------- coming and going

    def came(self, user: str, row_ms: int) -> None:
        """A session of his is let in. ``row_ms``: his row's last_seen as his mailbox has read it; 0: not read."""
        a = self.users.get(user)
        if a is None:
            a = self.users[user] = Attendee(row_ms)
            spread_s = self.sv.limits.last_seen_first_s / 2 * (1 + int(user[-4:], 16) / 65_536)
            old_s = (self.sv.time_ms() - row_ms) / 1_000
            self._write_in(user, a, max(spread_s, self.sv.limits.last_seen_store_s - old_s))
            return self.changed(user)
        was_gone, a.left_ms, a.leaving, a.gone = a.gone, 0, False, False
        if a.due <= self.beat_n:
            self._write_in(user, a, self.sv.limits.last_seen_store_s)
        if was_gone:
            self.changed(user)

    def left(self, user: str) -> None:
        """His last session has ended."""
        a = self.users.get(user)
        if a is None or a.left_ms:
            return
        a.left_ms = self.sv.time_ms()
        self.leaving.append((self.sv.now + self.sv.limits.linger_s, user, a.left_ms))
        if len(self.leaving) == 1:
            self.sv.at(self.leaving[0][0], self._look_leaving)

    def _look_leaving(self) -> None:
        while self.leaving and self.leaving[0][0] <= self.sv.now:
            _, user, left_ms = self.leaving.popleft()
            a = self.users.get(user)
            if a is not None and a.left_ms == left_ms:
                self._gone(user, a)
        if self.leaving:
            self.sv.at(self.leaving[0][0], self._look_leaving)

    def _gone(self, user: str, a: Attendee) -> None:
        """Nobody has come back: his time is written, if that may be already, and he is told to be gone."""
        a.leaving = True
        wait_s = self._pace_s(a)
        if a.stored_ms >= a.left_ms:
            self._finish(user, a)
        elif wait_s > 0:
            self._write_in(user, a, wait_s)
            self._tell_gone(user, a.left_ms)
        else:
            left_ms = a.left_ms
            self._write(user, left_ms)
            self.sv.at(self.sv.now + STORED_WAIT_S, lambda: self._tell_gone(user, left_ms))

    def _finish(self, user: str, a: Attendee) -> None:
        """All is done: whoever is told of him from now on hears what is in the row. When that was written is known a little longer."""
        a.gone = True
        self._write_in(user, a, self.sv.limits.last_seen_pace_s)
        self.changed(user)

    def _tell_gone(self, user: str, left_ms: int) -> None:
        a = self.users.get(user)
        if a is not None and a.left_ms == left_ms and left_ms and not a.gone:
            a.gone = True
            self.changed(user)

    def forget(self, user: str) -> None:
        """He is at home elsewhere."""
        a = self.users.pop(user, None)
        if a is not None and a.left_ms > a.stored_ms:
            self._write(user, a.left_ms)

    def flush(self) -> None:
        """This process is being stopped: what its next home should know is written."""
        now_ms = self.sv.time_ms()
        for user, a in self.users.items():
            at_ms = a.left_ms or now_ms
            if at_ms - a.stored_ms > self.sv.limits.last_seen_pace_s * 1_000:
                self._write(user, at_ms)

    # -------------------------------------------------------------- rows

    def beat(self) -> None:
        """Writes the rows that are due."""
        now_n = int(self.sv.now / BEAT_S)
        for n in range(self.beat_n + 1, now_n + 1):
            for user in self.beats.pop(n, ()):
                a = self.users.get(user)
                if a is None or a.due != n:
                    continue
                a.due = 0
                if a.gone and a.stored_ms >= a.left_ms:
                    del self.users[user]
                    continue
                if (wait_s := self._pace_s(a)) > 0:
                    self._write_in(user, a, wait_s)
                    continue
                self._write(user, a.left_ms or self.sv.time_ms())
                if not a.left_ms:
                    self._write_in(user, a, self.sv.limits.last_seen_store_s)
        self.beat_n = now_n

    def _pace_s(self, a: Attendee) -> float:
        """How long his row may not be written yet."""
        return self.sv.limits.last_seen_pace_s - (self.sv.time_ms() - max(a.stored_ms, a.written_ms)) / 1_000

    def _write_in(self, user: str, a: Attendee, seconds: float) -> None:
        a.due = max(self.beat_n + 1, int((self.sv.now + seconds) / BEAT_S) + 1)
        self.beats.setdefault(a.due, []).append(user)

    def _write(self, user: str, at_ms: int) -> None:
        a = self.users.get(user)
        if a is not None:
            a.written_ms = at_ms
        self.sv.write(UserRow(user, at_ms), self._on_stored, (user, at_ms))

    def _on_stored(self, outcome: Outcome, what: tuple[str, int]) -> None:
        user, at_ms = what
        a = self.users.get(user)
        if outcome is not Outcome.STORED or a is None:
            return
        a.stored_ms = max(a.stored_ms, at_ms)
        if a.leaving and a.stored_ms >= a.left_ms:
            self._finish(user, a)
