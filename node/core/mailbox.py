"""The mailbox of one user: where all devices meet (``design.md`` §4).

Theory of operation. Sessions are *attached*: from then on whatever is said to the user goes to them. Only after that is the sync index read
and are the homes of the candidates asked for heads; what they say is streamed, then ``synced`` with the cursor taken at the attachment.

Laws:
    * Attach first, then ask (P2).
    * A cursor never passes a mark that is not stored yet (P5): ``own_marks.py`` knows the oldest.
    * The copy of the index in memory is used only while the table is the one under which it was read, and this mailbox has been the home
      ever since: every entry said meanwhile came by here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, structs

from node.core.frames import (
    AskCursor,
    AskHead,
    AskHeads,
    Attach,
    Attached,
    CursorAnswer,
    DropSession,
    EchoSent,
    FanOut,
    HeadAnswer,
    HeadOut,
    HeadsOut,
    MarkFrom,
    MarksMoved,
    MarksOut,
    SentOut,
    SyncedOut,
)
from node.core.own_marks import OwnMarks
from storage.rows import unite_revoked
from storage.store import FORGOTTEN, Answer, EntryRow, IndexLoaded, LoadIndex, Outcome, UserRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.core.services import Services

PAGE_BYTES = 131_072
"""A page of heads is sent when it weighs this; with its last head at most 400 KiB, far below what a reader may have waiting."""
HELD_MAX = 256
"""Entries that wait for one session to be let in: the time of one read of its index."""
SessionKey: TypeAlias = tuple[str, int]
"""Edge incarnation and session number."""


class Sync(Struct):
    """One session's catch-up, or one request for a page of heads."""

    key: SessionKey
    n: int
    cursor: int
    wanted: dict[str, int]
    """Conversations whose head has not come yet → the seq that the device has."""
    heads: list[HeadAnswer]
    request: str = ""
    more: str = ""


class Session(Struct):
    device: str
    attached_at: int
    """Cluster time, ms."""
    held: list[EntryRow] | None = None
    """What was said since the attachment, while it is not known yet whether the device is revoked; None: it is let in."""


class Mailbox:
    """One user at home here."""

    def __init__(self, services: Services, user: str, term: int = 0) -> None:
        self.sv = services
        self.user = user
        self.term = term
        """Since which epoch the slot has been at home here."""
        self.name = ""
        """What the user's own token calls him, as his row says it or is about to; empty: not known here."""
        self.named_at = 0
        self.seen_ms = 0
        """When he was last here, as his row said when it was read; 0: it was not, or he never was."""
        self.sessions: dict[SessionKey, Session] = {}
        self.index: dict[str, tuple[int, bool]] | None = None
        """Conversation → (latest of active_at and receipts_at, always)."""
        self.index_epoch = -1
        self.loading: list[Callable[[dict[str, tuple[int, bool]]], None]] = []
        self.revoked: dict[str, int] = {}
        """Devices that are let in no more → when they were revoked, cluster time, ms."""
        self.revoking: dict[str, dict[str, int]] = {}
        """Devices whose revocation is not durable yet → who waits for it, under which number."""
        self.marks = OwnMarks(services, user)
        self.syncs: dict[int, Sync] = {}
        self.n = 0
        self.idle_since = services.now
        self.closed = False

    # -------------------------------------------------------------- sessions

    def on_attach(self, frame: Attach, edge: str) -> None:
        """Attaches the session, then lets it catch up."""
        key = (edge, frame.session)
        if key in self.sessions:
            if self.sessions[key].held is None:
                self.sv.send(edge, Attached(self.user, frame.session))
            return
        for other, session in list(self.sessions.items()):
            if session.device == frame.device:
                self._drop(other, "session_replaced")
        if len(self.sessions) >= self.sv.limits.sessions_per_user_max:
            self.sv.send(edge, DropSession(frame.session, "overloaded"))
            return
        now = self.sv.time_ms()
        if self.sv.rules.attach_first:
            self.sessions[key] = Session(frame.device, now, [])
        self.with_index(lambda index: self._start_sync(key, frame, now, index))

    def _start_sync(self, key: SessionKey, frame: Attach, cursor: int, index: dict[str, tuple[int, bool]]) -> None:
        if frame.device in self.revoked:
            self.sessions.pop(key, None)
            self.sv.send(key[0], DropSession(key[1], "device_revoked"))
            return
        if key not in self.sessions and self.sv.rules.attach_first:
            return
        self.sv.send(key[0], Attached(self.user, key[1]))
        self._let_in(key)
        self._learn_name(frame.name)
        have = dict(frame.have)
        since = frame.cursor - self.sv.limits.index_slack_ms
        found = [(at, c) for c, (at, always) in index.items() if always or at >= since or not frame.cursor]
        found.sort(reverse=True)
        more = ""
        if not frame.cursor and len(found) > self.sv.limits.sync_heads_max:
            found = found[: self.sv.limits.sync_heads_max]
            more = f"{found[-1][0]}.{found[-1][1]}"
        self._ask_heads(Sync(key, 0, cursor, {c: have.get(c, 0) for _, c in found}, [], "", more))

    def _let_in(self, key: SessionKey) -> None:
        session = self.sessions.get(key)
        if session is not None and session.held is not None:
            self.sv.live.came(self.user, self.seen_ms)
            held, session.held = session.held, None
            for row in held:
                self._send(key, FanOut(row, (key[1],)))

    def _learn_name(self, name: str) -> None:
        """Written only when it is another one: most attachments bring the name that is there."""
        if name and name != self.name:
            self.name, self.named_at = name, self.sv.time_ms()
            self.sv.write(UserRow(self.user, self.named_at, (), name, self.named_at), _ignore, None)

    def on_detach(self, key: SessionKey) -> None:
        if self.sessions.pop(key, None) is not None:
            self.sv.live.detached(self.user, key, all(session.held is not None for session in self.sessions.values()))
            if not self.sessions:
                self.idle_since = self.sv.now
        for n in [n for n, sync in self.syncs.items() if sync.key == key]:
            del self.syncs[n]

    def revoke(self, device: str, now_ms: int) -> None:
        """From now on no session of this device is let in, and those that are here end."""
        self.revoked[device] = now_ms
        for key in [key for key, session in self.sessions.items() if session.device == device]:
            self._drop(key, "device_revoked")

    def forget_revoked(self, until_ms: int) -> tuple[tuple[str, int], ...]:
        """Forgets who was revoked no later than ``until_ms``; returns what the row has to say then, nothing if there is nobody."""
        kept = {device: at for device, at in self.revoked.items() if at > until_ms}
        if len(kept) == len(self.revoked):
            return ()
        self.revoked = kept
        return ((FORGOTTEN, until_ms),)

    def _drop(self, key: SessionKey, code: str) -> None:
        self.on_detach(key)
        if not self.sv.send(key[0], DropSession(key[1], code)):
            self._drop_when_open(key, code)

    def let_go(self) -> list[SessionKey]:
        """This home ends by plan: detaches all sessions and returns them, so that they can be asked to come back."""
        keys = list(self.sessions)
        for key in keys:
            self.on_detach(key)
        return keys

    def drop_edge(self, edge: str) -> None:
        """A process is gone, and its sockets with it."""
        for key in [key for key in self.sessions if key[0] == edge]:
            self.on_detach(key)

    # -------------------------------------------------------------- index and heads

    def with_index(self, then: Callable[[dict[str, tuple[int, bool]]], None]) -> None:
        if self.index is not None and self.index_epoch == self.sv.epoch:
            return then(self.index)
        self.loading.append(then)
        if len(self.loading) == 1:
            epoch = self.sv.epoch
            self.sv.ask(LoadIndex(self.user), lambda answer: self._on_index(answer, epoch))

    def _on_index(self, answer: Answer, epoch: int) -> None:
        assert isinstance(answer, IndexLoaded)
        if self.closed:
            return
        index = {row.conversation: (max(row.active_at, row.receipts_at), row.always) for row in answer.rows}
        if answer.user is not None:
            # Beside those whose own write an older answer has overtaken.
            self.revoked = dict(unite_revoked(self.revoked.items(), answer.user.revoked))
            self.revoked.pop(FORGOTTEN, None)
            self.seen_ms = max(self.seen_ms, answer.user.last_seen)
            if answer.user.named_at > self.named_at:  # an older answer may overtake our own write
                self.name, self.named_at = answer.user.name, answer.user.named_at
        if len(index) <= self.sv.limits.mailbox_index_rows_max:
            self.index, self.index_epoch = index, epoch
        waiting, self.loading = self.loading, []
        for then in waiting:
            then(index)

    def _touch(self, conversation: str) -> None:
        """Keeps the copy of the index as new as the rows are; to the minute, which the slack below a cursor has room for."""
        index = self.index
        if index is None:
            return
        now = self.sv.time_ms()
        at, always = index.get(conversation, (0, False))
        if at < now - self.sv.limits.index_touch_ms:
            index[conversation] = (now, always)
            if len(index) > self.sv.limits.mailbox_index_rows_max:
                self.index = None

    def _ask_heads(self, sync: Sync) -> None:
        self.n += 1
        sync.n = self.n
        self.syncs[sync.n] = sync
        self.ask_again(sync)
        self._ask_later(sync)
        self._stream(sync)

    def _ask_later(self, sync: Sync) -> None:
        """A home that was frozen, or that lost the question, is asked again."""

        def again() -> None:
            if sync.n in self.syncs and not self.closed:
                self.ask_again(sync)
                self._ask_later(sync)

        self.sv.at(self.sv.now + self.sv.limits.request_timeout_s / 4, again)

    def ask_again(self, sync: Sync) -> None:
        """Asks the homes of all that is still wanted; a home that changes is asked anew, what an older one answers is dropped."""
        if sync.n not in self.syncs:
            return
        for conversation, have in sync.wanted.items():
            home = self.sv.owner_of(conversation)
            if home:
                self.sv.send(home, AskHead(conversation, self.user, sync.n, have))

    def on_table(self) -> None:
        """Owners have changed: what was asked of an old one is asked of the new one, marks are reported to it."""
        for sync in list(self.syncs.values()):
            self.ask_again(sync)
        self.marks.report_all()

    def on_head(self, frame: HeadAnswer, home: str) -> None:
        sync = self.syncs.get(frame.n)
        if sync is None or frame.conversation not in sync.wanted or home != self.sv.owner_of(frame.conversation):
            return
        del sync.wanted[frame.conversation]
        if frame.seq:
            sync.heads.append(frame)
        self._stream(sync)

    def _stream(self, sync: Sync) -> None:
        """Sends full pages, and the end of the stream when all heads are there."""
        session = sync.key[1]
        while not sync.request and (count := self._full_page(sync)):
            self._send(sync.key, HeadsOut(session, tuple(sync.heads[:count])))
            del sync.heads[:count]
        if sync.wanted:
            return
        del self.syncs[sync.n]
        if sync.request:
            heads = _lightened(sorted(sync.heads, key=lambda h: -(h.last.created_at if h.last else 0)))
            self._send(sync.key, HeadsOut(session, tuple(heads), sync.request, sync.more))
            return
        if not self.sv.rules.attach_first:
            self.sessions[sync.key] = Session("", sync.cursor)
        if sync.heads or sync.more:
            self._send(sync.key, HeadsOut(session, tuple(sync.heads), "", sync.more))
        cursor, marks_ms = self.marks.cursor(sync.cursor)
        self._send(sync.key, SyncedOut(session, cursor, marks_ms))

    def _full_page(self, sync: Sync) -> int:
        """How many of the heads that are there make a page, by number or by weight; 0: not enough yet."""
        weight = 0
        for n, head in enumerate(sync.heads, 1):
            weight += _weight(head)
            if n >= self.sv.limits.heads_page or weight >= PAGE_BYTES:
                return n
        return 0

    def on_ask_heads(self, frame: AskHeads, edge: str) -> None:
        """A client's page of the conversation list: ``before`` is ``time.conversation`` of the page before."""
        key = (edge, frame.session)

        def page(index: dict[str, tuple[int, bool]]) -> None:
            at, _, conversation = frame.before.partition(".")
            limit = (int(at), conversation) if at.isdecimal() else None
            found = sorted(((t, c) for c, (t, _always) in index.items() if limit is None or (t, c) < limit), reverse=True)
            more = f"{found[frame.limit - 1][0]}.{found[frame.limit - 1][1]}" if len(found) > frame.limit else ""
            self._ask_heads(Sync(key, 0, 0, {c: 0 for _, c in found[: frame.limit]}, [], frame.id, more))

        self.with_index(page)

    # -------------------------------------------------------------- what is said

    def fan_out(self, row: EntryRow, into: dict[str, list[int]], but: set[SessionKey] | frozenset[SessionKey] = frozenset()) -> None:
        """Notes the sessions that get the entry, by edge."""
        self._touch(row.conversation)
        for (edge, number), session in self.sessions.items():
            if (edge, number) in but:
                continue
            if session.held is None:
                into.setdefault(edge, []).append(number)
            elif len(session.held) < HELD_MAX:
                session.held.append(row)
            else:
                self.sv.at(self.sv.now, lambda key=(edge, number): self._drop(key, "overloaded"))  # type: ignore[misc]  # binds key

    def on_echo(self, frame: EchoSent) -> None:
        """``sent`` for the sessions that asked, the message for the others."""
        row = frame.row
        asked: set[SessionKey] = set()
        for edge, session, id_ in frame.requests:
            if (edge, session) in self.sessions:
                asked.add((edge, session))
                self._send((edge, session), SentOut(row, session, id_))
        others: dict[str, list[int]] = {}
        self.fan_out(row, others, asked)
        for edge, sessions in others.items():
            self._send_all(edge, sessions, FanOut(row, tuple(sessions)))

    def on_grown(self, conversation: str, seq: int) -> None:
        self._touch(conversation)
        for edge, sessions in self.by_edge().items():
            self._send_all(edge, sessions, HeadOut(conversation, seq, tuple(sessions)))

    def on_marks_moved(self, frame: MarksMoved) -> None:
        self._touch(frame.conversation)
        for edge, sessions in self.by_edge().items():
            self._send_all(edge, sessions, MarksOut(frame.conversation, frame.marks, tuple(sessions)))

    def by_edge(self) -> dict[str, list[int]]:
        """The sessions' numbers, by the process that holds them."""
        found: dict[str, list[int]] = {}
        for key, session in self.sessions.items():
            if session.held is None:
                found.setdefault(key[0], []).append(key[1])
        return found

    def _send(self, key: SessionKey, frame: Struct) -> None:
        self._send_all(key[0], [key[1]], frame)

    def _send_all(self, edge: str, sessions: list[int], frame: Struct) -> None:
        """To an edge that takes nothing more the sessions are lost: they are detached here, it closes them and they catch up (P7)."""
        if not self.sv.send(edge, frame):
            for session in sessions:
                self.lose((edge, session))

    def lose(self, key: SessionKey) -> None:
        """A session whose edge takes nothing more."""
        self.on_detach(key)
        self._drop_when_open(key, "slow_reader")

    def _drop_when_open(self, key: SessionKey, code: str) -> None:
        services, session = self.sv, key[1]
        services.send_when_open(key[0], f"{self.user}.{session}", lambda edge: _drop_now(services, edge, session, code))

    # -------------------------------------------------------------- marks and cursor

    def on_mark(self, frame: MarkFrom, edge: str) -> None:
        """A device's ack or read: kept until the conversation's home has stored it."""
        key = (edge, frame.session)
        is_session = key in self.sessions
        if not self.marks.take(frame, edge, len(self.sessions) > is_session) and is_session:
            # A device repeats at its next hello what the last cursors did not cover: so it is asked for one (P5, P7).
            self._drop(key, "overloaded")

    def unfreeze(self) -> None:
        """The move is taken back."""
        for frame, edge, _ in self.marks.unfreeze():
            self.on_mark(frame, edge)

    def end(self) -> None:
        """The user was at home elsewhere for a while, unnoticed here: what was said meanwhile came to none of these sessions (P2)."""
        for key in list(self.sessions):
            self._drop(key, "home_lost")

    def close(self) -> None:
        """The user is at home elsewhere."""
        self.closed = True
        self.marks.close()

    def on_ask_cursor(self, frame: AskCursor, edge: str) -> None:
        key = (edge, frame.session)
        if key not in self.sessions:
            self.sv.send(edge, DropSession(frame.session, "home_lost"))
            return
        if any(sync.key == key and not sync.request for sync in self.syncs.values()):
            # What came before this cursor is not listed yet: a sign of life without a cursor.
            self._send(key, CursorAnswer(frame.session, 0, 0))
            return
        cursor, marks_ms = self.marks.cursor(self.sv.time_ms())
        self._send(key, CursorAnswer(frame.session, cursor, marks_ms))

    def is_idle(self) -> bool:
        idle = self.sv.now - self.idle_since >= self.sv.limits.mailbox_idle_s
        return not (self.sessions or self.marks.unstored or self.loading or self.syncs or self.revoking) and idle


def _weight(head: HeadAnswer) -> int:
    """Bytes of a head at most, roughly: a character has up to four, most have one."""
    chars = sum(len(row.body) for row in head.rows) + (len(head.last.body) if head.last else 0)
    return 512 + 4 * chars + 64 * len(head.marks)


def _lightened(heads: list[HeadAnswer]) -> list[HeadAnswer]:
    """One frame has to hold them: past its weight heads come without their last entry and marks, which can be fetched."""
    weight, light = 0, []
    for head in heads:
        weight += _weight(head)
        light.append(head if weight <= 2 * PAGE_BYTES else structs.replace(head, last=None, marks=(), rows=()))
    return light


def _ignore(_outcome: Outcome, _what: None) -> None:
    """Nobody waits for the row: storage writes it for as long as it takes."""


def _drop_now(services: Services, edge: str, session: int, code: str) -> None:
    services.send(edge, DropSession(session, code))
