"""The edge of a node without its sockets: sessions, what each waits for, where its mailbox is (``design.md`` §4).

Laws:
    * A session speaks to one mailbox, that of its user's present home. When the home moves by plan the session is attached to the new one,
      the socket stays open; when the home is lost the socket is closed, and the device says hello again. One that no home had let in yet
      has nothing to lose: it waits for the next home.
    * A request that waits is asked again when the owner changes, under the same id; after ``request_timeout_s`` the client hears
      ``unavailable``: the same id again tells what became of it.
    * An answer counts only from the present owner of what was asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p
from msgspec import Struct

from node.core.effects import CloseClient, EntryToClients, SentToClient, ToClient
from node.core.frames import (
    AskCursor,
    AskEntries,
    Attach,
    Attached,
    CursorAnswer,
    Detach,
    DropSession,
    EntriesAnswer,
    FanOut,
    HeadOut,
    HeadsOut,
    MarkFrom,
    MarksOut,
    MembersAnswer,
    NotHere,
    PersonAnswer,
    Refusal,
    SentOut,
    SyncedOut,
)
from node.core.questions import QUESTIONS, Question, Wrong
from node.core.typists import Pace
from node.core.views import entry_of, head_of, newest_within_page
from node.core.wishes import Wish

if TYPE_CHECKING:
    from node.core.services import Services

RETURN_SPREAD_MS = 500
"""Within this time the sessions whose home is stopped come back."""


class Identity(Struct, frozen=True):
    """Who a token says that the client is."""

    user: str
    device: str
    name: str = ""


class Request(Struct):
    """A client's request that has no answer yet."""

    place: str
    """The conversation or user at whose home it is answered."""
    frame: Question
    deadline: float
    asked: str = ""
    """The incarnation that was asked last; empty: it is to be asked again."""
    tried: bool = False
    """Somebody was asked: there may be an entry by now."""


class EdgeSession(Struct):
    who: Identity
    home: str
    cursor: int
    have: tuple[tuple[str, int], ...]
    heartbeat_ms: int
    attached: bool = False
    home_since: float = 0.0
    """When ``home`` was first asked to attach the session; while it is ``behind``, when it began to be."""
    welcomed: bool = False
    synced: bool = False
    """The device was told that it has everything, and believes so until its socket is closed."""
    behind: bool = False
    """It believes so, but its new home has not listed yet what was said while it moved."""
    requests: dict[str, Request] = {}
    wish: Wish | None = None
    """Whom it watches."""
    pace: Pace | None = None
    """How often it said that its user writes."""


class Edge:
    """All sessions of one node."""

    def __init__(self, services: Services, name: str, public_url: str) -> None:
        self.sv = services
        self.name = name
        self.public_url = public_url
        self.sessions: dict[int, EdgeSession] = {}
        self.deadlines: deque[tuple[float, int, str]] = deque()
        self.ask_again_at: float | None = None
        self.on_home: Callable[[int, EdgeSession], None] = lambda session, s: None
        """Called when a session has a home, or another one."""
        self.client: dict[type, Callable[..., None]] = {
            p.Ack: self._ack,
            p.Read: self._read,
            p.Ping: self._ping,
        }

    # -------------------------------------------------------------- sessions

    def open(self, session: int, who: Identity, cursor: int, have: dict[str, int], heartbeat_ms: int) -> None:
        """A client said hello and its token is good: attaches it to its mailbox."""
        self.sessions[session] = s = EdgeSession(who, "", cursor, tuple(have.items()), heartbeat_ms)
        self._attach(session, s)

    def _attach(self, session: int, s: EdgeSession) -> None:
        s.home, s.attached = self.sv.owner_of(s.who.user), False
        if not s.behind:
            s.home_since, s.behind = self.sv.now, s.synced
        self._ask_attach(session, s.home)

    def _ask_attach(self, session: int, home: str) -> None:
        s = self.sessions.get(session)
        if s is None or s.attached or s.home != home:
            return
        if home:
            self.sv.send(home, Attach(s.who.user, session, s.who.device, s.cursor, s.have, s.who.name))
        self.sv.at(self.sv.now + self.sv.limits.request_timeout_s / 4, lambda: self._ask_attach(session, home))

    def close(self, session: int, code: codes.Code | None = None) -> None:
        """The socket is gone, or is to go for the reason ``code``."""
        s = self.sessions.pop(session, None)
        if s is None:
            return
        if s.home:
            self.sv.send(s.home, Detach(s.who.user, session))
        if code is not None:
            self.sv.emit(CloseClient(session, code.name))

    def on_table(self, members: frozenset[str]) -> None:
        """Homes and owners have changed; ``members`` are the incarnations that live."""
        for session, s in list(self.sessions.items()):
            home = self.sv.owner_of(s.who.user)
            if home != s.home:
                if s.home and s.home not in members and s.welcomed:
                    self.close(session, codes.HOME_LOST)
                    continue
                if s.home in members:
                    self.sv.send(s.home, Detach(s.who.user, session))
                if s.welcomed:
                    s.have = ()  # what it lacked then was streamed to it
                self._attach(session, s)
        self.ask_again()

    def ask_again(self) -> None:
        """Asks the present owners for what waits and was not asked of them; homes answer a repeat as they answer the first."""
        self.ask_again_at = None
        for session, s in list(self.sessions.items()):
            for id_, request in list(s.requests.items()):
                if request.asked != self.sv.owner_of(request.place):
                    self._put(session, id_, request)

    def silent(self, home: str) -> None:
        """Nothing was heard of that process for a lease time: its sessions cannot be known to be complete (P2)."""
        for session in [n for n, s in self.sessions.items() if s.home == home and s.attached]:
            self.close(session, codes.HOME_LOST)

    def close_unattached(self, since_before: float) -> None:
        """The same for sessions that no mailbox has let in for a lease time (it may be reached one way only), or that it has not told what
        was said while they moved."""
        for session in [n for n, s in self.sessions.items() if (not s.attached or s.behind) and s.home_since < since_before]:
            self.close(session, codes.HOME_LOST)

    def tick(self) -> None:
        """Ends requests whose time is over."""
        while self.deadlines and self.deadlines[0][0] <= self.sv.now:
            deadline, session, id_ = self.deadlines.popleft()
            s = self.sessions.get(session)
            request = s.requests.get(id_) if s else None
            if request is not None and request.deadline == deadline:
                self._end(session, id_)
                self.error(session, codes.UNAVAILABLE, "no answer in time; the same id again tells what became of it", id_, retry_ms=1_000)

    def next_deadline(self) -> float | None:
        return self.deadlines[0][0] if self.deadlines else None

    # -------------------------------------------------------------- requests of clients

    def on_client(self, session: int, frame: p.ClientFrame) -> None:
        """Handles a frame of an open session."""
        s = self.sessions.get(session)
        if s is None:
            return
        ask = QUESTIONS.get(type(frame))
        if ask is not None:
            asked = ask(s.who.user, session, frame)
            if isinstance(asked, Wrong):
                return self.error(session, codes.INVALID, asked.message, frame.id, asked.field)  # type: ignore[union-attr]  # all have one
            return self._ask(session, s, *asked)
        handler = self.client.get(type(frame))
        if handler is None:
            return self.error(session, codes.HELLO_TWICE, "hello was said already")
        handler(session, s, frame)

    def _ask(self, session: int, s: EdgeSession, place: str, frame: Question) -> None:
        id_ = frame.id
        if id_ not in s.requests and len(s.requests) >= self.sv.limits.requests_per_session_max:
            return self.error(session, codes.OVERLOADED, "too many requests without an answer", id_, retry_ms=500)
        if type(frame) is AskEntries and id_ not in s.requests and self._pages(s) >= self.sv.limits.fetches_per_session_max:
            return self.error(session, codes.OVERLOADED, "too many pages under way", id_, retry_ms=200)
        deadline = self.sv.now + self.sv.limits.request_timeout_s
        request = s.requests[id_] = Request(place, frame, deadline)
        self.sv.note("asked", place, 0, id_, f"session {session}")
        self.deadlines.append((deadline, session, id_))
        self._put(session, id_, request)

    @staticmethod
    def _pages(s: EdgeSession) -> int:
        return sum(type(request.frame) is AskEntries for request in s.requests.values())

    def _put(self, session: int, id_: str, request: Request) -> None:
        owner = request.asked = self.sv.owner_of(request.place)
        if owner and not self.sv.send(owner, request.frame):
            self._end(session, id_)
            # Overloaded is said only of what cannot have a seq (P7).
            code = codes.UNAVAILABLE if request.tried else codes.OVERLOADED
            return self.error(session, code, "the home of this conversation takes nothing now", id_, retry_ms=500)
        request.tried = request.tried or bool(owner)

    def _end(self, session: int, id_: str) -> Request | None:
        s = self.sessions.get(session)
        return s.requests.pop(id_, None) if s else None

    def _ack(self, session: int, s: EdgeSession, f: p.Ack) -> None:
        self._to_home(session, s, MarkFrom(s.who.user, session, f.conversation, f.seq, 0))

    def _read(self, session: int, s: EdgeSession, f: p.Read) -> None:
        self._to_home(session, s, MarkFrom(s.who.user, session, f.conversation, f.seq, f.seq))

    def _ping(self, session: int, s: EdgeSession, _: p.Ping) -> None:
        if s.attached:
            self._to_home(session, s, AskCursor(s.who.user, session))
        else:
            self.sv.emit(ToClient(session, p.Pong(time=self.sv.time_ms())))

    def _to_home(self, session: int, s: EdgeSession, frame: MarkFrom | AskCursor) -> None:
        """What is lost here would be lost silently: the session is closed instead, and the device repeats it at hello."""
        if not s.home or not self.sv.send(s.home, frame):
            self.close(session, codes.HOME_LOST)

    # -------------------------------------------------------------- answers of homes

    def on_attached(self, frame: Attached, home: str) -> None:
        s = self.sessions.get(frame.session)
        if s is None:
            self.sv.send(home, Detach(frame.user, frame.session))
            return
        if s.home != home:
            return
        s.attached = True
        if s.welcomed:
            # What was answered while the session had no mailbox went to nobody.
            for id_, request in list(s.requests.items()):
                self._put(frame.session, id_, request)
        else:
            s.welcomed = True
            who = s.who
            welcome = p.Welcome(
                session=f"{self.sv.me}/{frame.session}", user=who.user, device=who.device, name=who.name, node=self.name,
                time=self.sv.time_ms(), heartbeat_ms=s.heartbeat_ms,
            )  # fmt: skip
            self.sv.emit(ToClient(frame.session, welcome))
        self.on_home(frame.session, s)

    def on_drop(self, frame: DropSession, home: str) -> None:
        s = self.sessions.get(frame.session)
        if s is None or s.home != home:
            return
        if frame.code == codes.GOING_AWAY.name:
            # Planned: nothing is wrong. Many sessions hear it at once, so each comes back at a moment of its own, and to here: this
            # node stays, and another address may be that of the one that is being stopped.
            after_ms, reason = frame.session * 37 % RETURN_SPREAD_MS, "the home of this user is being stopped"
            self.sv.emit(ToClient(frame.session, p.Reconnect(after_ms=after_ms, url=self.public_url or None, reason=reason)))
        self.close(frame.session, codes.CODES.get(frame.code, codes.HOME_LOST))

    def on_fan_out(self, frame: FanOut, _: str) -> None:
        self.sv.emit(EntryToClients(frame.row, frame.sessions))

    def on_sent(self, frame: SentOut, _: str) -> None:
        self._end(frame.session, frame.id)
        if frame.session in self.sessions:
            self.sv.note("sent", frame.row.conversation, frame.row.seq, frame.id, f"session {frame.session}")
            self.sv.emit(SentToClient(frame.row, frame.session, frame.id))

    def on_head(self, frame: HeadOut, _: str) -> None:
        for session in frame.sessions:
            self.sv.emit(ToClient(session, p.HeadChanged(conversation=frame.conversation, seq=frame.seq)))

    def on_marks(self, frame: MarksOut, _: str) -> None:
        receipts = p.Receipts(conversation=frame.conversation, marks=[p.Mark(*mark) for mark in frame.marks])
        for session in frame.sessions:
            self.sv.emit(ToClient(session, receipts))

    def on_heads(self, frame: HeadsOut, home: str) -> None:
        s = self.sessions.get(frame.session)
        if s is None or s.home != home:
            return
        for head in frame.heads:
            for row in head.rows:
                self.sv.emit(EntryToClients(row, (frame.session,)))
        if frame.id:
            self._end(frame.session, frame.id)
        heads = [head_of(head) for head in frame.heads]
        self.sv.emit(ToClient(frame.session, p.Heads(heads=heads, id=frame.id or None, more=frame.more or None)))

    def on_synced(self, frame: SyncedOut, home: str) -> None:
        s = self.sessions.get(frame.session)
        if s is not None and s.home == home:
            s.cursor, s.synced, s.behind = frame.cursor, True, False
            self.sv.emit(ToClient(frame.session, p.Synced(cursor=str(frame.cursor), marks_ms=frame.marks_ms)))

    def on_cursor(self, frame: CursorAnswer, home: str) -> None:
        s = self.sessions.get(frame.session)
        if s is not None and s.home == home:
            s.cursor = frame.cursor or s.cursor
            cursor = str(frame.cursor) if frame.cursor else None
            self.sv.emit(ToClient(frame.session, p.Pong(time=self.sv.time_ms(), cursor=cursor, marks_ms=frame.marks_ms)))

    def _answered(self, frame: Refusal | EntriesAnswer | MembersAnswer | PersonAnswer, owner: str) -> bool:
        """Whether the frame answers a request that waits, and comes from where that is answered."""
        s = self.sessions.get(frame.session)
        request = s.requests.get(frame.id) if s else None
        if request is None or self.sv.owner_of(request.place) != owner:
            return False
        self._end(frame.session, frame.id)
        return True

    def on_refusal(self, frame: Refusal, owner: str) -> None:
        if self._answered(frame, owner):
            code = codes.CODES.get(frame.code, codes.UNAVAILABLE)
            self.sv.note("refused", frame.conversation, 0, frame.id, frame.code)
            self.error(frame.session, code, frame.message, frame.id, frame.field, frame.conversation, frame.retry_after_ms)

    def on_not_here(self, frame: NotHere, _: str) -> None:
        s = self.sessions.get(frame.session)
        if s is not None and frame.id in s.requests:
            s.requests[frame.id].asked = ""
        if self.ask_again_at is None:
            self.ask_again_at = self.sv.now + self.sv.limits.ask_again_s
            self.sv.at(self.ask_again_at, self.ask_again)

    def on_entries(self, frame: EntriesAnswer, owner: str) -> None:
        if self._answered(frame, owner):
            entries = [entry_of(row) for row in newest_within_page(frame.rows)]
            self.sv.emit(ToClient(frame.session, p.Entries(id=frame.id, conversation=frame.conversation, entries=entries, head=frame.head)))

    def on_person(self, frame: PersonAnswer, owner: str) -> None:
        if self._answered(frame, owner):
            self.sv.emit(ToClient(frame.session, p.Person(id=frame.id, user=frame.user, name=frame.name)))

    def on_members(self, frame: MembersAnswer, owner: str) -> None:
        if self._answered(frame, owner):
            members = [p.MemberInfo(user=user, role=role) for user, role in frame.members]
            page = p.MembersPage(id=frame.id, conversation=frame.conversation, members=members, title=frame.title)
            self.sv.emit(ToClient(frame.session, page))

    def error(
        self,
        session: int,
        code: codes.Code,
        message: str,
        id_: str | None = None,
        field: str = "",
        conversation: str = "",
        retry_ms: int = 0,
    ) -> None:
        error = p.Error(
            code=code.number, name=code.name, message=message, id=id_, field=field or None,
            conversation=conversation or None, retry_after_ms=retry_ms or None,
        )  # fmt: skip
        self.sv.emit(ToClient(session, error))
