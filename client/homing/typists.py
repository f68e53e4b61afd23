"""Who is writing or recording: what the own user does, said no more often than it has to be, and what others do, shown no longer than it
is true. Sans-I/O. Nothing of it is kept or repeated over a reconnect.

Laws:
    * One conversation at a time is said to be written in. It is said again every `typing_again_s`, and ends by the program, by a message
      that is sent there, or by itself: typing `typing_idle_s` after the last key, recording after `recording_max_s`.
    * What others do ends by their word, by an entry of theirs, after the time that the server named, and with the session.
"""

from __future__ import annotations

from homing.effects import Effect, Transmit, TypingChanged
from homing.limits import Limits
from homing.protocol import Entry, Typing, TypingKind, TypingShown


class _Said:
    """What the own user does."""

    __slots__ = ("conversation", "due", "is_known", "kind", "to", "until")

    def __init__(self, to: str, conversation: str, kind: TypingKind, due: float, until: float, is_known: bool) -> None:
        self.to = to
        """As the program named it: a conversation or a user."""
        self.conversation = conversation
        self.kind = kind
        self.due = due
        """When it is to be said (again)."""
        self.until = until
        self.is_known = is_known
        """The server was told that he does something there."""


class Typists:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._said: _Said | None = None
        self._ended: dict[str, None] = {}
        self._not_before = 0.0
        self._shown: dict[tuple[str, str], tuple[TypingKind, float]] = {}
        """(Conversation, user) → what he does, and until when that is shown; in the order in which they began."""

    def of(self, conversation: str) -> dict[str, TypingKind]:
        """Who is at it in a conversation, and what he does."""
        return {user: kind for (where, user), (kind, _) in self._shown.items() if where == conversation}

    # ------------------------------------------------------------ the own user

    def say(self, to: str, conversation: str, kind: TypingKind, now: float) -> None:
        """The user does this in a conversation; `to`: as it is to be named."""
        if kind == "stopped":
            return self.stop(conversation)
        if self._said is not None and self._said.conversation != conversation:
            self.stop(self._said.conversation)
        until = now + (self._limits.typing_idle_s if kind == "typing" else self._limits.recording_max_s)
        said = self._said
        if said is not None and said.kind == kind:
            said.until = until
        else:
            self._said = _Said(to, conversation, kind, max(now, self._not_before), until, said is not None and said.is_known)

    def stop(self, conversation: str) -> None:
        """The user is done in this conversation: he stopped, or sent what he wrote."""
        if self._said is not None and self._said.conversation == conversation:
            if self._said.is_known:
                self._ended[self._said.to] = None
            self._said = None

    # ------------------------------------------------------------ others

    def take(self, f: TypingShown, now: float) -> list[Effect]:
        key = (f.conversation, f.user)
        before = self._shown.get(key)
        if f.kind == "stopped":
            return self._end(key)
        if before is None and len(self._shown) >= self._limits.typing_shown_max:
            return []
        self._shown[key] = f.kind, now + min(f.ms / 1000, self._limits.typing_shown_s)
        return [] if before is not None and before[0] == f.kind else [TypingChanged(f.conversation, f.user, f.kind)]

    def entry(self, entry: Entry) -> list[Effect]:
        """Somebody said something: he is not at it any more."""
        return self._end((entry.conversation, entry.sender))

    def _end(self, key: tuple[str, str]) -> list[Effect]:
        return [TypingChanged(*key, "stopped")] if self._shown.pop(key, None) is not None else []

    # ------------------------------------------------------------ the session

    def lost(self) -> list[Effect]:
        self._said, self._not_before = None, 0.0
        self._ended.clear()
        return [effect for key in list(self._shown) for effect in self._end(key)]

    def flush(self, now: float, effects: list[Effect]) -> None:
        for key, (_, until) in list(self._shown.items()):
            if now >= until:
                effects += self._end(key)
        if self._said is not None and now >= self._said.until:
            self.stop(self._said.conversation)
        for to in self._ended:
            effects.append(Transmit(Typing(conversation=to, kind="stopped")))
        self._ended.clear()
        said = self._said
        if said is not None and now >= said.due:
            said.is_known = True
            said.due = now + self._limits.typing_again_s
            self._not_before = now + self._limits.typing_pace_s
            effects.append(Transmit(Typing(conversation=said.to, kind=said.kind)))

    def next_deadline(self) -> float | None:
        times = [until for _, until in self._shown.values()]
        if self._said is not None:
            times += [self._said.due, self._said.until]
        return 0.0 if self._ended else min(times, default=None)

    def check(self) -> None:
        assert len(self._shown) <= self._limits.typing_shown_max
