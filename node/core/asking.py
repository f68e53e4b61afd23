"""Requests of users who have no session here: what HTTP asks of homes (``design.md`` §3, §4).

Theory of operation. A request is the same mesh frame as a session's, under a number where a session's would stand (from ``FIRST`` on, so
that the two are told apart), and is answered with the same frames. It is asked again when its place has another owner, when it met a slot
that moves, and now and then: homes answer a repeat as they answer the first, and a message has one entry whatever is repeated (P4).

Laws:
    * ``done`` is called once: with the answer, or with a refusal; at the latest after ``request_timeout_s``.
    * An answer counts only from the present owner of what was asked; ``sent``, which is true from whoever says it, from anybody.
    * The requests are bounded. What finds no room, or no link, is refused before anything was done (P7).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from homing import codes
from homing import protocol as p
from msgspec import Struct, structs

from node.core.frames import (
    AskedSent,
    AskHead,
    EntriesAnswer,
    HeadAnswer,
    HeadsOut,
    MarkFrom,
    MarkReport,
    MarkStored,
    MembersAnswer,
    NotHere,
    Refusal,
)
from node.core.live_frames import AskPresence, PresenceAnswer
from node.core.questions import QUESTIONS, Question, Wrong

if TYPE_CHECKING:
    from node.core.services import Services

FIRST = 1 << 40
"""The numbers of requests begin here; a node never has so many sessions."""
ASKED_MAX = 1_024
"""Requests of one node that wait for an answer."""
ASK_AGAIN_S = 0.5
"""What has no answer is looked at so often: whether its place has another owner."""
MARK_AGAIN_S = 0.1
"""A mark is reported again after this: the first report has it stored, a later one hears so."""
RETRY_MS = 500

Asks: TypeAlias = Question | AskHead | MarkReport | AskPresence
Answer: TypeAlias = AskedSent | EntriesAnswer | MembersAnswer | HeadAnswer | HeadsOut | MarkStored | PresenceAnswer
Done: TypeAlias = Callable[[Answer | Refusal], None]


class Asked(Struct):
    """A request without an answer."""

    place: str
    """Whose home answers."""
    frame: Asks
    done: Done
    until: float
    asked: str = ""
    """The incarnation that was asked last."""
    asked_at: float = 0.0


class Asking:
    """All such requests of one node."""

    def __init__(self, services: Services) -> None:
        self.sv = services
        self.waiting: dict[int, Asked] = {}
        self.marks: dict[str, set[int]] = {}
        """Conversation → which of them are marks that are to be stored there."""
        self.n = FIRST
        self.repeat_s = services.limits.request_timeout_s / 4
        """A home that says nothing is asked again after this."""

    # -------------------------------------------------------------- who asks

    def request(self, user: str, frame: p.ClientFrame, done: Done) -> None:
        """What a session asks by the same frame."""
        asked = QUESTIONS[type(frame)](user, 0, frame)
        if isinstance(asked, Wrong):
            return done(Refusal(0, "", codes.INVALID.name, asked.message, field=asked.field))
        self._ask(*asked, done)

    def head(self, user: str, conversation: str, done: Done) -> None:
        """The head of one conversation, with the others' marks."""
        self._ask(conversation, AskHead(conversation, user, 0, 2**53), done)

    def presence(self, user: str, shows: int, other: str, done: Done) -> None:
        """Whether ``other`` is here, for ``user``, who shows him that much of himself."""
        self._ask(other, AskPresence(other, user, shows, 0, ""), done)

    def mark(self, user: str, conversation: str, delivered: int, read: int, done: Done) -> None:
        """How far the user got; answered when it is durable. His mailbox takes it as from a device: it tells the others, and repeats it
        to every home to come should this node die (P5). The conversation's home is asked as well, for it tells whoever repeats a mark that
        it is stored."""
        home = self.sv.owner_of(user)
        if home and not self.sv.send(home, MarkFrom(user, FIRST, conversation, delivered, read)):
            return done(Refusal(0, "", codes.OVERLOADED.name, "the home of this user takes nothing now", retry_after_ms=RETRY_MS))
        self._ask(conversation, MarkReport(conversation, ((user, delivered, read),), urgent=True), done)

    def _ask(self, place: str, frame: Asks, done: Done) -> None:
        if len(self.waiting) >= ASKED_MAX:
            return done(_overloaded(frame))
        self.n = n = self.n + 1 if self.sv.rules.asked_number else next(free for free in count(FIRST) if free not in self.waiting)
        asked = self.waiting[n] = Asked(place, _numbered(frame, n), done, self.sv.now + self.sv.limits.request_timeout_s)
        if not self._put(asked):
            del self.waiting[n]
            return done(_overloaded(frame))
        if isinstance(frame, MarkReport):
            self.marks.setdefault(place, set()).add(n)
        self._later(n, asked)

    def _put(self, asked: Asked) -> bool:
        """Asks the present owner, if there is one; False: it takes nothing now."""
        owner = self.sv.owner_of(asked.place)
        asked.asked, asked.asked_at = owner, self.sv.now
        return not owner or self.sv.send(owner, asked.frame)

    def _later(self, n: int, asked: Asked) -> None:
        after_s = MARK_AGAIN_S if isinstance(asked.frame, MarkReport) else ASK_AGAIN_S
        self.sv.at(self.sv.now + after_s, partial(self._look, n))

    def _look(self, n: int) -> None:
        asked = self.waiting.get(n)
        if asked is None:
            return
        if self.sv.now >= asked.until:
            self._end(n)
            text = "no answer in time; the same id again tells what became of it"
            return asked.done(Refusal(n, _id_of(asked.frame), codes.UNAVAILABLE.name, text, retry_after_ms=RETRY_MS))
        is_mark = isinstance(asked.frame, MarkReport)
        if is_mark or asked.asked != self.sv.owner_of(asked.place) or self.sv.now - asked.asked_at >= self.repeat_s:
            self._put(asked)
        self._later(n, asked)

    def _end(self, n: int) -> None:
        """The request is answered."""
        asked = self.waiting.pop(n)
        others = self.marks.get(asked.place)
        if others is not None:
            others.discard(n)
            if not others:
                del self.marks[asked.place]

    # -------------------------------------------------------------- answers of homes

    def on_answer(self, frame: EntriesAnswer | MembersAnswer | HeadAnswer | HeadsOut | PresenceAnswer | Refusal, owner: str) -> None:
        n = frame.n if isinstance(frame, HeadAnswer) else frame.session
        asked = self.waiting.get(n)
        if asked is not None and self.sv.owner_of(asked.place) == owner:
            del self.waiting[n]
            asked.done(frame)

    def on_sent(self, frame: AskedSent, _: str) -> None:
        asked = self.waiting.pop(frame.session, None)
        if asked is not None:
            asked.done(frame)

    def on_stored(self, frame: MarkStored, _: str) -> None:
        """True from whoever says it: it is durable."""
        for n in list(self.marks.get(frame.conversation, ())):
            asked = self.waiting[n]
            assert isinstance(asked.frame, MarkReport), "numbers of marks"
            ((user, delivered, read),) = asked.frame.marks
            if any(who == user and got >= delivered and seen >= read for who, got, seen in frame.marks):
                self._end(n)
                asked.done(frame)

    def on_not_here(self, frame: NotHere, _: str) -> None:
        asked = self.waiting.get(frame.session)
        if asked is not None:
            asked.asked = ""  # the next look asks again


def _overloaded(frame: Asks) -> Refusal:
    text = "this node has too many requests without an answer, or the home takes nothing now"
    return Refusal(0, _id_of(frame), codes.OVERLOADED.name, text, retry_after_ms=RETRY_MS)


def _id_of(frame: Asks) -> str:
    return "" if isinstance(frame, AskHead | MarkReport) else frame.id


def _numbered(frame: Asks, n: int) -> Asks:
    if isinstance(frame, MarkReport):
        return frame  # what is stored is told without a number
    return structs.replace(frame, n=n) if isinstance(frame, AskHead) else structs.replace(frame, session=n)
