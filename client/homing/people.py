"""What people are called: names that the user typed, names that homes told, and whose home is to be asked (again). Sans-I/O.

Laws:
    * What the user typed goes before what a home tells, and is never overwritten by it.
    * A home is asked about somebody at most once in `person_again_s`; about one it knew nothing of also when he has said something since,
      at most once in `stranger_again_s`.
    * At most `people_max` are remembered: whoever was met or asked for longest ago is forgotten first.

Times are ms since 1970 by the device's own clock, for they must outlive the process; a clock that went back only makes it ask again.
"""

from __future__ import annotations

from collections.abc import Iterable

from homing import ids
from homing.limits import Limits
from homing.state import PersonState

NAME_CHARS_MAX = 128
"""What is longer is cut: a name is shown in front of every line."""


class People:
    def __init__(self, limits: Limits, stored: Iterable[PersonState] = ()) -> None:
        self._limits = limits
        self._known = {p.user: p for p in stored}
        self._asked: dict[str, str] = {}
        """Who is asked for now: id of the question -> user."""
        self._under_way: set[str] = set()
        self._changed: dict[str, None] = {}

    def name(self, user: str) -> str:
        """What the user is called, "" if that is not known."""
        p = self._known.get(user)
        return p.typed or p.told if p is not None else ""

    def names(self) -> dict[str, str]:
        """user -> name, of all that have one."""
        return {p.user: p.typed or p.told for p in self._known.values() if p.typed or p.told}

    def load(self, stored: Iterable[PersonState]) -> None:
        """What a store gave; what was typed since is newer."""
        since = self._known
        self._known = {p.user: p for p in stored}
        self._asked.clear()
        self._under_way.clear()
        for p in since.values():
            self.type(p.user, p.typed)

    # ------------------------------------------------------------ names come

    def type(self, user: str, name: str) -> None:
        """The user calls him so."""
        name = _clean(name)
        p = self._known.get(user)
        if name and (p is None or p.typed != name):
            self._change(user).typed = name

    def tell(self, user: str, name: str, now_ms: int) -> bool:
        """His home calls him so ("": it does not know); whether that changes what is shown."""
        before = self.name(user)
        p = self._change(user)
        p.asked_ms = max(1, now_ms)
        p.told = _clean(name) or p.told
        return self.name(user) != before

    def spoke(self, user: str, now_ms: int) -> None:
        """He said something: so his home knows him, though it did not when it was asked."""
        p = self._known.get(user)
        if p is not None and p.asked_ms and not p.told and now_ms - p.asked_ms >= self._limits.stranger_again_s * 1000:
            p.asked_ms = 0

    # ------------------------------------------------------------ questions

    def is_due(self, user: str, now_ms: int) -> bool:
        """Whether his home should be asked."""
        if user in self._under_way or not ids.is_id(user) or ids.kind_of(user) != ids.USER:
            return False
        p = self._known.get(user)
        if p is None or not p.asked_ms:
            return True
        return not p.asked_ms <= now_ms < p.asked_ms + self._limits.person_again_s * 1000

    def ask(self, id_: str, user: str) -> None:
        """A question went on its way."""
        self._asked[id_] = user
        self._under_way.add(user)

    def end(self, id_: str) -> str | None:
        """The question is answered, or nobody will answer it. Returns the user, None: it is not ours."""
        user = self._asked.pop(id_, None)
        if user is not None:
            self._under_way.discard(user)
        return user

    def is_asked(self, user: str) -> bool:
        return user in self._under_way

    # ------------------------------------------------------------ the store

    def take_changes(self) -> tuple[list[PersonState], list[str]]:
        """What must be written, and who must be forgotten."""
        changed, self._changed = self._changed, {}
        return [self._known[u] for u in changed if u in self._known], [u for u in changed if u not in self._known]

    def restore(self, users: Iterable[str]) -> None:
        """What was taken could not be written."""
        self._changed.update(dict.fromkeys(users))

    def _change(self, user: str) -> PersonState:
        p = self._known[user] = self._known.pop(user, PersonState(user))  # the last one touched is the last one forgotten
        self._changed[user] = None
        while len(self._known) > self._limits.people_max:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._changed[oldest] = None
        return p

    def check(self) -> None:
        assert len(self._known) <= self._limits.people_max
        assert set(self._asked.values()) == self._under_way


def _clean(name: str) -> str:
    """Without what no store can hold (half a surrogate pair, as a terminal's arguments may have), and not too long."""
    return name.strip()[:NAME_CHARS_MAX].encode("utf-8", "replace").decode()
