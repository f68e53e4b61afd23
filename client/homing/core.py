"""The client without I/O: every rule of sync, order, resend and receipts. No clock, no randomness, no asyncio.

A shell (`homing.client`, or a simulator) opens sockets, hands over frames and the time, and carries out the effects:

    core.start(now)                      -> [.., Connect]
    core.connected(now, token)           -> [Transmit(Hello)]
    core.frame(frame, now)               -> effects; several frames may come before one
    core.flush(now)                      -> what goes out: acks and read marks (coalesced), requests, questions, fetches
    core.disconnected(now, code, reason) -> the socket is gone (or never came)
    core.send(..) and other requests     -> queued; they go out with the next `flush`
    core.tick(now)                       -> when `next_deadline()` has passed; includes `flush`

A shell that stores entries does so between the frames and their `flush`: an ack then never says more than the disk holds.

Laws:
    * Every entry is shown once per device and in seq order (P3, P4); only what the server shows to be invisible is passed over (`Gap`).
    * A queued request goes out under the same id and `after` until it is answered (P4). A `resync` is answered by a search of the log
      for the own entry, and only then by a newer `after`.
    * Own marks only move forward and are repeated at hello while a home may not have stored them (P5).
    * A new cursor is in force at once, because the heads that it covers are part of the state: a missing range stays known as missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from homing import codes, ids
from homing.effects import (
    Answered,
    Close,
    ConversationChanged,
    CursorChanged,
    Delivered,
    Effect,
    Gap,
    ReadBy,
    Refused,
    Shown,
    Stored,
    Transmit,
)
from homing.limits import DEFAULTS, Limits
from homing.outbox import Outbox, OutboxFull
from homing.protocol import (
    FRAME_BYTES_MAX,
    HAVE_MAX,
    Ack,
    Entries,
    Entry,
    Error,
    Fetch,
    FetchHeads,
    FetchMembers,
    GroupCreate,
    Head,
    HeadChanged,
    Heads,
    Hello,
    Mark,
    MembersPage,
    Message,
    Pong,
    Read,
    Receipts,
    Reconnect,
    Send,
    Sent,
    ServerFrame,
    Synced,
    Welcome,
)
from homing.session import Session
from homing.state import Changes, ConversationState, CoreState, MarkState, OutboxItem, Request
from homing.tail import Tail

Question: TypeAlias = Fetch | FetchHeads | FetchMembers
_NO_STATE = CoreState()
_REQUESTS = msgspec.json.Decoder(Request)
_NEVER = float("inf")


class RequestInvalid(ValueError):
    """The request could never be accepted; nothing was queued."""


class _Fetching:
    """A page asked for by the core itself: of a tail that is behind, or in search of an own entry."""

    __slots__ = ("conversation", "frame", "request", "sent_at")

    def __init__(self, conversation: str, frame: Fetch, request: str, now: float) -> None:
        self.conversation, self.frame, self.request, self.sent_at = conversation, frame, request, now


class _Search:
    """Looks for the entry of a request that was answered with `resync`: pages downwards from the head to the request's `after`."""

    __slots__ = ("at", "head", "looked", "to")

    def __init__(self, at: float) -> None:
        self.at = at
        self.to: int | None = None
        self.head = 0
        self.looked = 0


class _Ask:
    __slots__ = ("at", "frame")

    def __init__(self, frame: Question) -> None:
        self.frame = frame
        self.at = 0.0
        """When it is to be asked (again); infinity: it is under way."""


class ClientCore:
    """One device of one user. `random` gives values from 0 to 1; `state` is what `export` gave before a restart."""

    def __init__(
        self,
        user: str,
        device: str,
        random: Callable[[], float],
        state: CoreState | None = None,
        limits: Limits = DEFAULTS,
        client: str = "",
        track_changes: bool = False,
    ) -> None:
        state = state or _NO_STATE
        self.user = user or state.user
        self.device = device
        self.limits = limits
        self.session = Session(limits, random)
        self.cursor = state.cursor
        self._cursor_number = state.cursor_number
        self._touches = state.touches
        self._client = client
        self.tails: dict[str, Tail] = {c.id: Tail(c) for c in state.conversations}
        self.marks: dict[str, dict[str, tuple[int, int]]] = {}
        for m in state.marks:
            self.marks.setdefault(m.conversation, {})[m.user] = (m.delivered, m.read)
        for item in state.outbox:
            item.attempts = max(1, item.attempts)  # it may have gone out and not been noted
        self.outbox = Outbox(limits, state.outbox)
        self._synced = False
        self._have: frozenset[str] = frozenset()
        self._held = 0
        self._wanting: dict[str, float] = {}
        self._fetching: dict[str, _Fetching] = {}
        self._fetching_tails: set[str] = set()
        self._searches: dict[str, _Search] = {}
        self._asks: dict[str, _Ask] = {}
        self._fetch_number = 0
        self._to_ack: dict[str, None] = {}
        self._to_read: dict[str, None] = {}
        self._track = track_changes
        self._changed: set[str] = set()
        self._changed_marks: set[tuple[str, str]] = set()
        self._changed_outbox: set[str] = set()

    # ------------------------------------------------------------ the connection

    def start(self, now: float) -> list[Effect]:
        """Begins to connect, from idle or closed."""
        return self.session.start(now)

    def connected(self, now: float, token: str) -> list[Effect]:
        """A socket is open: hello."""
        self.session.connected(now)
        latest = heapq.nlargest(HAVE_MAX, (t.state for t in self.tails.values() if t.state.contig), key=lambda s: s.touched)
        have = {s.id: s.contig for s in latest}
        self._have = frozenset(have)
        return [Transmit(Hello(token=token, cursor=self.cursor, have=have, client=self._client))]

    def disconnected(self, now: float, code: int = 0, reason: str = "") -> list[Effect]:
        """The socket is gone, or could not be opened. Ignored when the core itself gave it up."""
        if code == codes.CLOSE_SIGN_IN:
            return self._lost(self.session.sign_in(code, reason, now))
        return self._lost(self.session.lost(code, reason, now))

    def close(self, now: float) -> list[Effect]:
        """The program is done. What is queued stays in the state."""
        had_socket = self.session.state in ("connecting", "syncing", "live")
        effects: list[Effect] = [Close(codes.CLOSE_NORMAL, "")] if had_socket else []
        return effects + self._lost(self.session.close(0, "closed"))

    def tick(self, now: float) -> list[Effect]:
        """Does what is due by time."""
        effects = self.session.tick(now)
        if any(isinstance(e, Close) for e in effects):
            self._lost(effects)
        if self.session.welcomed:
            for id_, fetching in list(self._fetching.items()):
                if now >= fetching.sent_at + self.limits.answer_wait_s:
                    self._fetch_failed(id_, now)
        return effects + self.flush(now)

    def next_deadline(self) -> float | None:
        """When `tick` should be called; a time in the past: `flush` (or `tick`) has something to do already."""
        times = [self.session.next_deadline()]
        if self.session.welcomed:
            caught_up = self.session.state == "syncing" and self._synced and not self._wanting
            times.append(0.0 if self._to_ack or self._to_read or caught_up else None)
            times.append(self.outbox.next_deadline())
            times.extend(a.at for a in self._asks.values() if a.at < _NEVER)
            times.extend(f.sent_at + self.limits.answer_wait_s for f in self._fetching.values())
            if len(self._fetching) < self.limits.fetches_max:
                times.extend(at for id_, at in self._wanting.items() if id_ not in self._fetching_tails)
                times.extend(s.at for s in self._searches.values())
        return min((t for t in times if t is not None), default=None)

    def frame(self, frame: ServerFrame, now: float) -> list[Effect]:
        """Handles one frame of the server. Coalesced answers wait for `flush`."""
        if self.session.state not in ("connecting", "syncing", "live"):
            return []
        return _HANDLERS[type(frame)](self, frame, now)

    def flush(self, now: float) -> list[Effect]:
        """What waits to go out, and whether the client is caught up."""
        if not self.session.welcomed:
            return []
        effects: list[Effect] = []
        for item in self.outbox.due(now):
            effects.append(Transmit(item.frame))
            self._changed_outbox.add(item.id)
        for ask in self._asks.values():
            if ask.at <= now:
                ask.at = _NEVER
                effects.append(Transmit(ask.frame))
        self._flush_fetches(now, effects)
        self._flush_marks(effects)
        if self.session.state == "syncing" and self._synced and not self._wanting:
            effects += self.session.caught_up(now)
        if not self._track:
            self._forget_changes()
        return effects

    # ------------------------------------------------------------ requests

    def send(self, id_: str, to: str, body: str, type_: str, now: float, ts: int = 0) -> list[Effect]:
        """Queues a message to a user or into a conversation; its `after` is fixed here.

        Raises:
            OutboxFull: too many requests wait to be answered.
            RequestInvalid: it could never be accepted.
        """
        return self.request(Send(id=id_, to=to, body=body, type=type_, ts=ts), now)

    def request(self, frame: Request, now: float) -> list[Effect]:
        """Queues a message or a group operation; see `send`."""
        _validate(frame)
        conversation = self.conversation_of(frame)
        if not isinstance(frame, GroupCreate):
            frame = msgspec.structs.replace(frame, after=self._known_head(conversation))
        self.outbox.add(OutboxItem(frame, conversation))
        self._changed_outbox.add(frame.id)
        if isinstance(frame, Send) and frame.to != conversation:
            self._tail(conversation).state.peer = frame.to
            self._changed.add(conversation)
        return []

    def conversation_of(self, frame: Request) -> str:
        """The conversation that a request goes to."""
        if not isinstance(frame, Send):
            return frame.conversation
        if ids.kind_of(frame.to) != ids.USER:
            return frame.to
        if not self.user:
            raise RequestInvalid("the own user is not known before the first welcome")
        return ids.direct_id(self.user, frame.to)

    def read(self, conversation: str, seq: int, now: float, ordinal: int | None = None) -> list[Effect]:
        """The user has seen everything up to `seq` (and its `ordinal`, if the caller knows it)."""
        tail = self.tails.get(conversation)
        if tail is None or min(seq, tail.state.head) <= tail.state.read:
            return []
        effects = self._own_read(tail, min(seq, tail.state.head), ordinal)
        self._to_read[conversation] = None
        return effects

    def fetch_history(self, id_: str, conversation: str, before: int, limit: int, now: float) -> list[Effect]:
        """Asks for the newest `limit` entries below `before`: `Answered` with `Entries`, or `Refused`."""
        return self.ask(Fetch(id=id_, conversation=conversation, from_seq=1, to_seq=before - 1, limit=limit), now)

    def ask(self, frame: Question, now: float) -> list[Effect]:
        """Asks a question: `Answered` or `Refused` under its id. It is asked again after a reconnect until `cancel`.

        Raises:
            OutboxFull: too many questions are under way.
        """
        if len(self._asks) >= self.limits.asks_max:
            raise OutboxFull(f"{len(self._asks)} questions are under way")
        self._asks[frame.id] = _Ask(frame)
        return []

    def cancel(self, id_: str) -> None:
        """Nobody waits for this question's answer any more."""
        self._asks.pop(id_, None)

    def name(self, conversation: str, title: str) -> list[Effect]:
        """A group's title, learnt by a question."""
        tail = self.tails.get(conversation)
        if tail is None or tail.state.title == title:
            return []
        tail.state.title = title
        self._changed.add(conversation)
        return [ConversationChanged(conversation)]

    # ------------------------------------------------------------ state

    def export(self) -> CoreState:
        """Everything that a restart needs; shares its parts with the core: encode it before the core goes on."""
        return CoreState(
            user=self.user,
            cursor=self.cursor,
            cursor_number=self._cursor_number,
            touches=self._touches,
            conversations=[t.state for t in self.tails.values()],
            marks=[MarkState(c, u, d, r) for c, marks in self.marks.items() for u, (d, r) in marks.items()],
            outbox=list(self.outbox),
        )

    def take_changes(self) -> Changes | None:
        """What must be written to disk, None: nothing. Shares its parts with the core: encode it before the core goes on."""
        if not (self._changed or self._changed_marks or self._changed_outbox):
            return None
        changes = Changes(
            user=self.user,
            cursor=self.cursor,
            cursor_number=self._cursor_number,
            touches=self._touches,
            conversations=[self.tails[c].state for c in self._changed if c in self.tails],
            marks=[MarkState(c, u, *self.marks[c][u]) for c, u in self._changed_marks],
            outbox=[item for id_ in self._changed_outbox if (item := self.outbox.get(id_))],
            answered=[id_ for id_ in self._changed_outbox if id_ not in self.outbox],
        )
        self._forget_changes()
        return changes

    def _forget_changes(self) -> None:
        self._changed.clear()
        self._changed_marks.clear()
        self._changed_outbox.clear()

    def check(self) -> None:
        """Asserts the invariants; tests call it after every step."""
        self.outbox.check()
        for tail in self.tails.values():
            tail.check()
        assert self._held == sum(len(t.held) for t in self.tails.values())
        assert len(self._fetching) <= self.limits.fetches_max
        assert self._fetching_tails == {f.conversation for f in self._fetching.values() if not f.request}
        if self.session.state == "live":
            assert self.session.welcomed and self._synced

    # ------------------------------------------------------------ frames: the session

    def _on_welcome(self, f: Welcome, now: float) -> list[Effect]:
        if self.session.welcomed:
            return []
        if self.user and self.user != f.user:
            why = "the stored state belongs to another user"
            return self._lost([Close(codes.CLOSE_NORMAL, why), *self.session.close(codes.FORBIDDEN.number, why)])
        if not self.user:
            self.user = f.user
            self._changed.add("")
        for id_, tail in self.tails.items():
            state = tail.state
            if state.contig < state.head:
                self._wanting[id_] = now
            if state.moved and state.moved >= self._cursor_number - self.limits.repeat_cursors:
                self._repeat_marks(state)
        return self.session.welcome(f.heartbeat_ms, now)

    def _repeat_marks(self, state: ConversationState) -> None:
        if state.acked:
            self._to_ack[state.id] = None
        if state.read:
            self._to_read[state.id] = None

    def _on_synced(self, f: Synced, now: float) -> list[Effect]:
        self._synced = True
        for id_, at in self._wanting.items():
            self._wanting[id_] = min(at, now)
        return self._new_cursor(f.cursor)

    def _on_pong(self, f: Pong, now: float) -> list[Effect]:
        self.session.pong()
        # A cursor before `synced` would cover changes that were not listed yet.
        return self._new_cursor(f.cursor) if f.cursor is not None and self._synced else []

    def _new_cursor(self, cursor: str) -> list[Effect]:
        self.cursor = cursor
        self._cursor_number += 1
        self._changed.add("")
        return [CursorChanged(cursor)]

    def _on_reconnect(self, f: Reconnect, now: float) -> list[Effect]:
        reason = f.reason or "asked to reconnect"
        lost = self.session.lost(codes.GOING_AWAY.number, reason, now, f.after_ms / 1000, f.url)
        return self._lost([Close(codes.CLOSE_NORMAL, reason), *lost])

    def _lost(self, effects: list[Effect]) -> list[Effect]:
        if not self.session.welcomed:
            self._synced = False
            self._wanting.clear()
            self._fetching.clear()
            self._fetching_tails.clear()
            self.outbox.disconnected()
            for search in self._searches.values():
                search.at = 0.0
            for ask in self._asks.values():
                ask.at = 0.0
        return effects

    # ------------------------------------------------------------ frames: refusals

    def _on_error(self, f: Error, now: float) -> list[Effect]:
        action = action_of(f.code)
        if action == "reconnect":
            return self._lost([Close(codes.CLOSE_NORMAL, f.name), *self.session.lost(f.code, f.name, now)])
        if action == "sign_in":
            return self._lost([Close(codes.CLOSE_NORMAL, f.name), *self.session.sign_in(f.code, f.name, now)])
        if f.id in self._asks:
            if action in ("retry", "sync"):
                self._asks[f.id].at = now + self._retry_s(f, 0)
                return []
            del self._asks[f.id]
            return [Refused(f.id, f)]
        if f.id in self._fetching:
            return self._fetch_refused(f.id, f, action, now)
        if f.id is not None and (item := self.outbox.get(f.id)):
            return self._request_refused(item, f, action, now)
        if not self.session.welcomed:
            lost = self.session.lost(f.code, f.name, now, extra_s=(f.retry_after_ms or 0) / 1000)
            return self._lost([Close(codes.CLOSE_NORMAL, f.name), *lost])
        return [Refused("", f)] if f.id is None else []

    def _request_refused(self, item: OutboxItem, f: Error, action: str, now: float) -> list[Effect]:
        if action == "retry":
            self.outbox.postpone(item.id, now + self._retry_s(f, item.attempts))
            return []
        if action == "sync" and not isinstance(item.frame, GroupCreate):
            self._start_search(item, now)
            return []
        return self._give_up(item.id, f)

    def _give_up(self, id_: str, error: Error) -> list[Effect]:
        self.outbox.pop(id_)
        self._searches.pop(id_, None)
        self._changed_outbox.add(id_)
        return [Refused(id_, error)]

    def _retry_s(self, f: Error, attempts: int) -> float:
        if f.retry_after_ms is not None:
            return f.retry_after_ms / 1000
        return min(self.limits.retry_max_s, self.limits.retry_s * 2.0 ** min(attempts, 10))

    # ------------------------------------------------------------ frames: entries and heads

    def _on_message(self, f: Message, now: float) -> list[Effect]:
        return self._take(f.entry, now)

    def _on_sent(self, f: Sent, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self.outbox.pop(f.id) is not None:
            self._searches.pop(f.id, None)
            self._changed_outbox.add(f.id)
            effects.append(Stored(f.id, f.entry))
        return effects + self._take(f.entry, now)

    def _take(self, entry: Entry, now: float) -> list[Effect]:
        """An entry came by itself."""
        tail = self._tail(entry.conversation)
        tail.begin(entry.seq - self.limits.unknown_entries_max + 1)
        self._hold(tail, entry)
        effects = self._drain(tail)
        if tail.state.contig < tail.state.head:
            self._want(tail, now + self.limits.gap_wait_s)
        return effects

    def _hold(self, tail: Tail, entry: Entry) -> None:
        self._note_own(entry)
        room = len(tail.held) < self.limits.held_entries_max and self._held < self.limits.held_total_max
        if room or entry.seq == tail.state.contig + 1:
            before = len(tail.held)
            tail.hold(entry)
            self._held += len(tail.held) - before
        else:
            tail.raise_head(entry.seq)
        self._changed.add(tail.state.id)

    def _note_own(self, entry: Entry) -> None:
        """Remembers where a request's entry lies; the request itself waits for `sent`, which says that all members have it."""
        if entry.sender == self.user and (item := self.outbox.get(entry.id)) and item.conversation == entry.conversation:
            item.seen_seq = entry.seq

    def _drain(self, tail: Tail) -> list[Effect]:
        effects: list[Effect] = []
        before = len(tail.held)
        state = tail.state
        hidden: Gap | None = None
        for shown in tail.drain():
            if isinstance(shown, int):
                hidden = Gap(state.id, hidden.from_seq if hidden else shown, shown, "not_visible")
                continue
            if hidden:
                effects.append(hidden)
                hidden = None
            self._learn(state, shown)
            effects.append(Shown(shown))
            if shown.sender != self.user:
                self._to_ack[state.id] = None
        if hidden:
            effects.append(hidden)
        self._held += len(tail.held) - before
        if effects:
            self._touch(state)
        if state.contig >= state.head:
            self._wanting.pop(state.id, None)
        return effects

    def _learn(self, state: ConversationState, entry: Entry) -> None:
        state.last = entry
        state.ordinal = max(state.ordinal, entry.ordinal)
        if ids.kind_of(state.id) == ids.DIRECT and not state.peer and entry.sender != self.user:
            state.peer = entry.sender
        if entry.type in ("group.create", "group.rename"):
            state.title = title_of(entry) or state.title

    def _on_heads(self, f: Heads, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for head in f.heads:
            effects += self._take_head(head, f.id is not None, now)
        if f.id is not None and f.id in self._asks:
            del self._asks[f.id]
            effects.append(Answered(f.id, f))
        return effects

    def _take_head(self, head: Head, asked: bool, now: float) -> list[Effect]:
        tail = self._tail(head.conversation)
        state = tail.state
        state.title = head.title or state.title
        state.role, state.until_seq = head.role, head.until_seq
        if isinstance(head.peer, str):
            state.peer = head.peer
        state.ordinal = max(state.ordinal, head.ordinal)
        self._changed.add(state.id)
        effects: list[Effect] = [ConversationChanged(state.id)]
        if head.read > state.read:
            effects += self._own_read(tail, head.read, head.read_ordinal)
        elif head.read == state.read:
            state.read_ordinal = max(state.read_ordinal, head.read_ordinal)
        else:
            self._to_read[state.id] = None
        if max(head.delivered, head.read) < state.acked:
            self._to_ack[state.id] = None
        effects += self._take_marks(state.id, head.marks)
        if asked and not state.base:
            state.last = head.last  # an older page of the list: nothing new, so nothing to show before somebody speaks
        elif head.seq:
            effects += self._take_head_seq(tail, head, now)
        return effects

    def _take_head_seq(self, tail: Tail, head: Head, now: float) -> list[Effect]:
        state = tail.state
        new_device = self.cursor is None
        tail.begin(head.seq if new_device else head.seq - self.limits.unknown_entries_max + 1)
        tail.raise_head(head.seq)
        if head.last is not None:
            self._hold(tail, head.last)
        effects = self._drain(tail)
        if state.contig < state.head:
            # What `have` named may be streamed to us: do not ask for it in the same moment.
            self._want(tail, now + self.limits.gap_wait_s if state.id in self._have and not self._synced else now)
        return effects

    def _on_head_changed(self, f: HeadChanged, now: float) -> list[Effect]:
        tail = self._tail(f.conversation)
        tail.begin(f.seq - self.limits.unknown_entries_max + 1)
        tail.raise_head(f.seq)
        self._changed.add(f.conversation)
        if tail.state.contig < tail.state.head:
            self._want(tail, now)
        return []

    # ------------------------------------------------------------ fetching what is missing

    def _want(self, tail: Tail, at: float) -> None:
        id_ = tail.state.id
        self._wanting[id_] = min(at, self._wanting.get(id_, at))

    def _flush_fetches(self, now: float, effects: list[Effect]) -> None:
        if len(self._fetching) >= self.limits.fetches_max or not (self._wanting or self._searches):
            return
        for id_, at in list(self._wanting.items()):
            if at <= now and id_ not in self._fetching_tails:
                self._fetch_tail(self.tails[id_], now, effects)
                if len(self._fetching) >= self.limits.fetches_max:
                    return
        searching = {f.request for f in self._fetching.values()}
        for request, search in list(self._searches.items()):
            if search.at <= now and request not in searching and len(self._fetching) < self.limits.fetches_max:
                self._fetch_search(request, search, now, effects)

    def _fetch_tail(self, tail: Tail, now: float, effects: list[Effect]) -> None:
        state = tail.state
        behind = state.head - state.contig - self.limits.catchup_entries_max
        if behind > 0:
            effects.append(Gap(state.id, state.contig + 1, state.contig + behind, "too_many"))
            before = len(tail.held)
            tail.skip_to(state.contig + behind)
            self._held += len(tail.held) - before
            self._changed.add(state.id)
            effects += self._drain(tail)
        missing = tail.missing(self.limits.fetch_entries)
        if missing is None:
            self._wanting.pop(state.id, None)
            return
        frame = Fetch(id=self._fetch_id(), conversation=state.id, from_seq=missing[0], to_seq=missing[1], limit=self.limits.fetch_entries)
        self._fetching[frame.id] = _Fetching(state.id, frame, "", now)
        self._fetching_tails.add(state.id)
        effects.append(Transmit(frame))

    def _fetch_id(self) -> str:
        self._fetch_number += 1
        return f"~{self._fetch_number}"

    def _on_entries(self, f: Entries, now: float) -> list[Effect]:
        if self._asks.pop(f.id, None):
            tail = self.tails.get(f.conversation)
            if tail is not None and tail.state.base and f.head > tail.state.head:
                tail.raise_head(f.head)
                self._want(tail, now + self.limits.gap_wait_s)
            return [Answered(f.id, f)]
        fetching = self._fetching.pop(f.id, None)
        if fetching is None:
            return []
        if fetching.request:
            return self._on_search_page(fetching, f, now)
        self._fetching_tails.discard(fetching.conversation)
        return self._on_tail_page(fetching, f, now)

    def _on_tail_page(self, fetching: _Fetching, f: Entries, now: float) -> list[Effect]:
        tail = self._tail(fetching.conversation)
        state = tail.state
        first, last = fetching.frame.from_seq, fetching.frame.to_seq or 0
        tail.raise_head(f.head)
        before = len(tail.held)
        entries = [e for e in f.entries if first <= e.seq <= last]
        for entry in entries:
            self._note_own(entry)
            tail.hold(entry)
        shown_from = state.contig
        # An empty page says that nothing of the range is ours to see; one that starts late may have been cut below.
        start = min((e.seq for e in entries), default=first)
        if f.head >= first:
            tail.void(start, min(last, f.head))
        effects: list[Effect] = []
        if state.contig > shown_from:
            effects.append(Gap(state.id, shown_from + 1, state.contig, "not_visible"))
        self._held += len(tail.held) - before
        effects += self._drain(tail)
        self._changed.add(state.id)
        if state.contig < state.head:
            # A home that does not know of what others said is not the right one (any more): give it a moment.
            self._wanting[state.id] = now + self.limits.retry_s if f.head < first else now
        return effects

    def _fetch_refused(self, id_: str, f: Error, action: str, now: float) -> list[Effect]:
        fetching = self._fetching[id_]
        if action != "fix":
            self._fetch_failed(id_, now + self._retry_s(f, 0))
            return []
        del self._fetching[id_]
        if fetching.request:
            return self._give_up(fetching.request, f)
        self._fetching_tails.discard(fetching.conversation)
        tail = self._tail(fetching.conversation)
        first, last = tail.state.contig + 1, tail.state.head
        self._held -= len(tail.held)
        tail.forget_above()
        self._wanting.pop(fetching.conversation, None)
        self._changed.add(fetching.conversation)
        return [Gap(fetching.conversation, first, last, "not_visible")]

    def _fetch_failed(self, id_: str, again_at: float) -> None:
        fetching = self._fetching.pop(id_)
        if fetching.request:
            if search := self._searches.get(fetching.request):
                search.at = again_at
        else:
            self._fetching_tails.discard(fetching.conversation)
            self._wanting[fetching.conversation] = again_at

    # ------------------------------------------------------------ resync: is our entry there already?

    def _start_search(self, item: OutboxItem, now: float) -> None:
        """The server cannot tell whether it has the entry: `after` lies too far back. It waits until the log was searched."""
        self.outbox.postpone(item.id, _NEVER)
        if item.seen_seq:
            self._send_newer(item, item.seen_seq - 1)
        else:
            self._searches.setdefault(item.id, _Search(now))

    def _fetch_search(self, request: str, search: _Search, now: float, effects: list[Effect]) -> None:
        item = self.outbox.get(request)
        if item is None:
            del self._searches[request]
            return
        limit = 1 if item.attempts <= 1 and search.to is None else self.limits.fetch_entries
        frame = Fetch(id=self._fetch_id(), conversation=item.conversation, from_seq=_after(item) + 1, to_seq=search.to, limit=limit)
        self._fetching[frame.id] = _Fetching(item.conversation, frame, request, now)
        effects.append(Transmit(frame))

    def _on_search_page(self, fetching: _Fetching, f: Entries, now: float) -> list[Effect]:
        item = self.outbox.get(fetching.request)
        search = self._searches.get(fetching.request)
        if item is None or search is None:
            return []
        search.head = max(search.head, f.head)
        search.looked += len(f.entries)
        lowest = min((e.seq for e in f.entries), default=0)
        own = next((e for e in f.entries if e.id == item.id and e.sender == self.user), None)
        if own is not None:
            self._send_newer(item, own.seq - 1)
        elif item.attempts <= 1 or lowest <= _after(item) + 1:
            # It went out once and was refused, or the log was searched down to `after`: there is no entry of ours.
            self._send_newer(item, search.head)
        elif search.looked >= self.limits.search_entries_max:
            error = Error(code=codes.RESYNC.number, name=codes.RESYNC.name, message="too old to be sent again safely", id=item.id)
            return self._give_up(item.id, error)
        else:
            search.to = lowest - 1
        return []

    def _send_newer(self, item: OutboxItem, after: int) -> None:
        assert not isinstance(item.frame, GroupCreate)
        self._searches.pop(item.id, None)
        item.frame = msgspec.structs.replace(item.frame, after=after)
        self._changed_outbox.add(item.id)
        self.outbox.postpone(item.id, 0.0)

    # ------------------------------------------------------------ marks

    def _on_receipts(self, f: Receipts, now: float) -> list[Effect]:
        return self._take_marks(f.conversation, f.marks)

    def _take_marks(self, conversation: str, marks: list[Mark]) -> list[Effect]:
        effects: list[Effect] = []
        known = self.marks.setdefault(conversation, {}) if marks else {}
        for mark in marks:
            if mark.user == self.user:
                tail = self.tails.get(conversation)
                if tail is not None and mark.read > tail.state.read:
                    effects += self._own_read(tail, mark.read, None)
                continue
            delivered, read = known.get(mark.user, (0, 0))
            new = (max(delivered, mark.delivered, mark.read), max(read, mark.read))
            if new == (delivered, read):
                continue
            known[mark.user] = new
            self._changed_marks.add((conversation, mark.user))
            if new[0] > delivered:
                effects.append(Delivered(conversation, mark.user, new[0]))
            if new[1] > read:
                effects.append(ReadBy(conversation, mark.user, new[1]))
        return effects

    def _own_read(self, tail: Tail, seq: int, ordinal: int | None) -> list[Effect]:
        state = tail.state
        state.read = seq
        if ordinal is None:
            # Between two entries the ordinal grows by at most one a seq.
            last = state.last.seq if state.last else state.contig
            ordinal = state.ordinal - max(0, last - seq)
        state.read_ordinal = max(state.read_ordinal, ordinal)
        state.moved = self._cursor_number + 1
        self._changed.add(state.id)
        return [ReadBy(state.id, self.user, seq)]

    def _flush_marks(self, effects: list[Effect]) -> None:
        for id_ in self._to_read:
            effects.append(Transmit(Read(conversation=id_, seq=self.tails[id_].state.read)))
        for id_ in self._to_ack:
            state = self.tails[id_].state
            if id_ in self._to_read and state.read >= state.contig:
                continue  # reading says delivered too
            state.acked = state.contig
            state.moved = self._cursor_number + 1
            self._changed.add(id_)
            effects.append(Transmit(Ack(conversation=id_, seq=state.contig)))
        self._to_read.clear()
        self._to_ack.clear()

    # ------------------------------------------------------------ small things

    def _on_members(self, f: MembersPage, now: float) -> list[Effect]:
        return [Answered(f.id, f)] if self._asks.pop(f.id, None) else []

    def _tail(self, conversation: str) -> Tail:
        tail = self.tails.get(conversation)
        if tail is None:
            tail = self.tails[conversation] = Tail(ConversationState(conversation))
        return tail

    def _touch(self, state: ConversationState) -> None:
        self._touches += 1
        state.touched = self._touches
        self._changed.add(state.id)

    def _known_head(self, conversation: str) -> int:
        """What a request queued now can be sure to lie behind; 0 is always true."""
        tail = self.tails.get(conversation)
        return tail.state.head if tail else 0


def action_of(code: int) -> str:
    """What a client does about an error: the ranges of `homing.codes`; what is outside of them is not repeated."""
    return {2: "retry", 3: "reconnect", 4: "sign_in", 5: "sync"}.get(code // 1000, "fix")


def title_of(entry: Entry) -> str:
    """The title in a ``group.*`` entry, "" if there is none."""
    try:
        return msgspec.json.decode(entry.body, type=_GroupBody).title
    except msgspec.MsgspecError:
        return ""


class _GroupBody(msgspec.Struct):
    title: str = ""


def _after(item: OutboxItem) -> int:
    return 0 if isinstance(item.frame, GroupCreate) else item.frame.after or 0


def _validate(frame: Request) -> None:
    try:
        encoded = msgspec.json.encode(frame)
        _REQUESTS.decode(encoded)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise RequestInvalid(str(error)) from None
    if len(encoded) > FRAME_BYTES_MAX:
        raise RequestInvalid(f"the request is {len(encoded)} bytes long, {FRAME_BYTES_MAX} are allowed")


_HANDLERS: dict[type, Callable[..., list[Effect]]] = {
    Welcome: ClientCore._on_welcome,
    Heads: ClientCore._on_heads,
    Synced: ClientCore._on_synced,
    Message: ClientCore._on_message,
    Sent: ClientCore._on_sent,
    HeadChanged: ClientCore._on_head_changed,
    Receipts: ClientCore._on_receipts,
    Entries: ClientCore._on_entries,
    MembersPage: ClientCore._on_members,
    Pong: ClientCore._on_pong,
    Error: ClientCore._on_error,
    Reconnect: ClientCore._on_reconnect,
}
