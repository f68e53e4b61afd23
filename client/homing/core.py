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

Law:
    * A new cursor is in force at once, because the heads that it covers are part of the state: a missing range stays known as missing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from homing import codes
from homing.effects import (
    Answered,
    Close,
    ConversationChanged,
    CursorChanged,
    Effect,
    Refused,
    Shown,
    Transmit,
)
from homing.limits import DEFAULTS, Limits
from homing.log import Log
from homing.presence import Presence
from homing.protocol import (
    HAVE_MAX,
    Entries,
    Entry,
    Error,
    Fetch,
    HeadChanged,
    Heads,
    Hello,
    MembersPage,
    Message,
    Person,
    Pong,
    Receipts,
    Reconnect,
    Send,
    Sent,
    ServerFrame,
    Synced,
    TypingKind,
    TypingShown,
    Welcome,
)
from homing.protocol import PresenceChanged as PresenceFrame
from homing.questions import Question, Questions
from homing.receipts import Marks
from homing.requesting import Requesting, conversation_with, target_of
from homing.requests import validate
from homing.session import Session
from homing.state import Changes, CoreState, Dirty, MarkState, Request
from homing.typists import Typists

_NO_STATE = CoreState()


class ClientCore:
    """One device of one user. `random` gives values from 0 to 1; `state` is what `export` gave before a restart.

    `user` may be "" before the first welcome (then nothing can be sent to a user). With `track_changes` the shell must call
    `take_changes` now and then. `addresses`: how many the shell takes in turn; the backoff grows when all of them have failed.
    """

    def __init__(
        self,
        user: str,
        device: str,
        random: Callable[[], float],
        state: CoreState | None = None,
        limits: Limits = DEFAULTS,
        client: str = "",
        track_changes: bool = False,
        addresses: int = 1,
    ) -> None:
        state = state or _NO_STATE
        self.user = user or state.user
        self.device = device
        self.limits = limits
        self.cursor = state.cursor
        self._client = client
        self._dirty = Dirty()
        self._track_changes = track_changes
        self.session = Session(limits, random, addresses)
        self.marks = Marks(state.marks, state.conversations, self._dirty, limits)
        self._requesting = Requesting(limits, state.outbox, self._dirty)
        self.outbox = self._requesting.outbox
        self._resync = self._requesting.resync
        self._log = Log(state.conversations, self.marks, limits, self._dirty, state.touches, self._met)
        self._log.user = self.user
        self._catchup = self._log.catchup
        self.conversations = self._log.conversations
        self.tails = self._log.tails
        self.more: str | None = None
        """On a new device with many conversations: what to ask `FetchHeads` for, to list those that hello did not."""
        self._questions = Questions(limits)
        self.presence = Presence(limits)
        self.typists = Typists(limits)
        self.own_name = ""
        """As the own token says."""
        self._synced = False
        self._have: frozenset[str] = frozenset()

    # ------------------------------------------------------------ the connection

    def start(self, now: float) -> list[Effect]:
        """Begins to connect, from idle or closed."""
        return self.session.start(now)

    def connected(self, now: float, token: str) -> list[Effect]:
        """A socket is open: hello."""
        self.session.connected(now)
        held = (s for s in self.conversations.values() if s.contig)
        have = {s.id: s.contig for s in heapq.nlargest(HAVE_MAX, held, key=lambda s: s.touched)}
        self._have = frozenset(have)
        return [Transmit(Hello(token=token, cursor=self.cursor, have=have, client=self._client))]

    def disconnected(self, now: float, code: int = 0, reason: str = "") -> list[Effect]:
        """The socket is gone, or could not be opened. Ignored when the core itself gave it up."""
        if code == codes.CLOSE_SIGN_IN:
            return self._lost(self.session.sign_in(code, reason, now))
        return self._lost(self.session.lost(code, reason, now))

    def close(self, now: float, code: int = 0, reason: str = "closed") -> list[Effect]:
        """The program is done (or has no token any more). What is queued stays in the state."""
        had_socket = self.session.state in ("connecting", "syncing", "live")
        effects: list[Effect] = [Close(codes.CLOSE_NORMAL, "")] if had_socket else []
        return effects + self._lost(self.session.close(code, reason))

    def tick(self, now: float) -> list[Effect]:
        """Does what is due by time."""
        effects = self._lost(self.session.tick(now))
        self._catchup.expire(now)
        self._resync.expire(now)
        return effects + self.flush(now)

    def next_deadline(self) -> float | None:
        """When `tick` should be called; a time in the past: `flush` (or `tick`) has something to do already."""
        times = [self.session.next_deadline()]
        if self.session.welcomed:
            times.append(0.0 if self._is_caught_up() else None)
            parts = (self.presence, self.typists, self.marks, self.outbox, self._questions, self._catchup, self._resync)
            times += (part.next_deadline() for part in parts)
        return min((t for t in times if t is not None), default=None)

    def frame(self, frame: ServerFrame, now: float) -> list[Effect]:
        """Handles one frame of the server. Answers wait for `flush`."""
        if self.session.state not in ("connecting", "syncing", "live"):
            return []
        return self._with_ends(_HANDLERS[type(frame)](self, frame, now))

    def flush(self, now: float) -> list[Effect]:
        """What waits to go out, and whether the client is caught up."""
        if not self.session.welcomed:
            return []
        effects: list[Effect] = []
        self.presence.flush(now, effects)
        self.typists.flush(now, effects)
        self._requesting.flush(now, effects)
        self._questions.flush(now, effects)
        self._log.flush(now, effects)
        self._resync.flush(now, effects)
        self.marks.flush(self.conversations, now, effects)
        if self._is_caught_up():
            effects += self.session.caught_up(now)
        if not self._track_changes:
            self._dirty.clear()
        return self._with_ends(effects)

    def _with_ends(self, effects: list[Effect]) -> list[Effect]:
        """Whoever says something has stopped typing it."""
        if not any(isinstance(effect, Shown) for effect in effects):
            return effects
        told: list[Effect] = []
        for effect in effects:
            told += [effect, *self.typists.entry(effect.entry)] if isinstance(effect, Shown) else [effect]
        return told

    def _is_caught_up(self) -> bool:
        return self.session.state == "syncing" and self._synced and not self._catchup.behind

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
        validate(frame)
        conversation = self.conversation_of(frame)
        self._requesting.add(frame, conversation, self.conversations.get(conversation))
        if isinstance(frame, Send):
            self.typists.stop(conversation)
        target = target_of(frame)
        if target != conversation:
            self._log.tail(conversation).state.peer = target
            self._dirty.conversations.add(conversation)
        return []

    def conversation_of(self, frame: Request) -> str:
        """The conversation that a request goes to."""
        return conversation_with(self.user, target_of(frame))

    def watch(self, users: Iterable[str]) -> list[Effect]:
        """The program wants to know whether these people are here, and of nobody else; said with the next `flush`."""
        self.presence.watch(users)
        return []

    def type(self, to: str, kind: TypingKind, now: float) -> list[Effect]:
        """The user writes or records (`to`: a conversation or a user), or stopped to; said with the next `flush`, and passed over while
        there is no session."""
        if self.session.welcomed:
            self.typists.say(to, conversation_with(self.user, to), kind, now)
        return []

    def read(self, conversation: str, seq: int, now: float, ordinal: int | None = None) -> list[Effect]:
        """The user has seen everything up to `seq` (and its `ordinal`, if the caller knows it)."""
        state = self.conversations.get(conversation)
        if state is None:
            return []
        return self.marks.read(state, min(seq, state.head), ordinal, self.user, tell=True)

    def withdraw(self, id_: str) -> bool:
        """Takes back a request that could not be made safe; False: it went out already."""
        return self._requesting.withdraw(id_)

    def fetch_history(self, id_: str, conversation: str, before: int, limit: int, now: float) -> list[Effect]:
        """Asks for the newest `limit` entries below `before`: `Answered` with `Entries`, or `Refused`."""
        return self.ask(Fetch(id=id_, conversation=conversation, from_seq=1, to_seq=before - 1, limit=limit), now)

    def ask(self, question: Question, now: float) -> list[Effect]:
        """Asks a question: `Answered` or `Refused` under its id. It is asked again after a reconnect until `cancel`.

        Raises:
            OutboxFull: too many questions are under way.
        """
        self._questions.ask(question)
        return []

    def cancel(self, id_: str) -> None:
        """Nobody waits for this question's answer any more."""
        self._questions.close(id_)

    def name(self, conversation: str, title: str) -> list[Effect]:
        """A group's title, learnt by a question."""
        state = self.conversations.get(conversation)
        if state is None or state.title == title:
            return []
        state.title = title
        self._dirty.conversations.add(conversation)
        return [ConversationChanged(conversation)]

    # ------------------------------------------------------------ state

    def export(self) -> CoreState:
        """Everything that a restart needs; shares its parts with the core: encode it before the core goes on."""
        return CoreState(
            user=self.user,
            cursor=self.cursor,
            touches=self._log.touches,
            conversations=list(self.conversations.values()),
            marks=self.marks.export(),
            outbox=list(self.outbox),
        )

    def take_changes(self) -> Changes | None:
        """What must be written to disk, None: nothing. Shares its parts with the core: encode it before the core goes on."""
        dirty = self._dirty
        if not dirty:
            return None
        changes = Changes(
            user=self.user,
            cursor=self.cursor,
            touches=self._log.touches,
            conversations=[self.conversations[c] for c in dirty.conversations],
            marks=[MarkState(c, u, *self.marks.others[c][u]) for c, u in dirty.marks],
            outbox=[item for id_ in dirty.outbox if (item := self.outbox.get(id_))],
            answered=[id_ for id_ in dirty.outbox if id_ not in self.outbox],
        )
        dirty.clear()
        return changes

    def not_written(self, changes: Changes) -> None:
        """What `take_changes` gave could not be written: the next call gives it again."""
        self._dirty.restore(changes)

    def check(self) -> None:
        """Asserts the invariants; tests call it after every step."""
        self._requesting.check()
        self._questions.check()
        self._log.check()
        self.presence.check()
        self.typists.check()
        assert self.session.state != "live" or (self.session.welcomed and self._synced)

    # ------------------------------------------------------------ frames: the session

    def _on_welcome(self, f: Welcome, now: float) -> list[Effect]:
        if self.session.welcomed:
            return []
        if self.user and self.user != f.user:
            return self.close(now, codes.FORBIDDEN.number, "the stored state belongs to another user")
        self._dirty.session |= self.user != f.user
        self.user = self._log.user = f.user
        self.own_name = f.name
        self._catchup.welcome(now)
        self.presence.welcome()
        self.marks.welcome(self.conversations, now)
        return self.session.welcome(f.heartbeat_ms, now)

    def _on_synced(self, f: Synced, now: float) -> list[Effect]:
        self._synced = True
        self._catchup.want_all(now)
        return self._new_cursor(f.cursor, f.marks_ms, now)

    def _on_pong(self, f: Pong, now: float) -> list[Effect]:
        self.session.pong()
        # A cursor before `synced` would cover changes that were not listed yet.
        return self._new_cursor(f.cursor, f.marks_ms, now) if f.cursor is not None and self._synced else []

    def _new_cursor(self, cursor: str, marks_ms: int, now: float) -> list[Effect]:
        self.cursor = cursor
        self._dirty.session = True
        # The server counts from when a mark came; it went out up to a heartbeat's time limit earlier.
        self.marks.durable(now - marks_ms / 1000 - self.session.silence_s, self.conversations)
        return [CursorChanged(cursor)]

    def _on_reconnect(self, f: Reconnect, now: float) -> list[Effect]:
        reason = f.reason or "asked to reconnect"
        lost = self.session.lost(codes.GOING_AWAY.number, reason, now, f.after_ms / 1000, f.url)
        return self._lost([Close(codes.CLOSE_NORMAL, reason, elsewhere=f.url is None), *lost])

    def _lost(self, effects: list[Effect]) -> list[Effect]:
        """After anything that may have ended the session: what was under way is not any more."""
        if self.session.welcomed:
            return effects
        self._synced = False
        for part in (self._catchup, self._questions, self._requesting):
            part.lost()
        return [*effects, *self.presence.lost(), *self.typists.lost()]

    # ------------------------------------------------------------ frames: refusals

    def _on_error(self, f: Error, now: float) -> list[Effect]:
        action = action_of(f.code)
        if action == "reconnect":
            return self._lost([Close(codes.CLOSE_NORMAL, f.name), *self.session.lost(f.code, f.name, now)])
        if action == "sign_in":
            return self._lost([Close(codes.CLOSE_NORMAL, f.name), *self.session.sign_in(f.code, f.name, now)])
        if not self.session.welcomed:
            if f.field == "cursor":
                self.cursor = None  # of another cluster, or another age: all is listed anew
            lost = self.session.lost(f.code, f.name, now, extra_s=(f.retry_after_ms or 0) / 1000)
            return self._lost([Close(codes.CLOSE_NORMAL, f.name, elsewhere=True), *lost])
        if f.id is None:
            return self._on_complaint(f, action, now)
        return self._on_refusal(f.id, f, action, now)

    def _on_complaint(self, f: Error, action: str, now: float) -> list[Effect]:
        """Of what has no id: marks name their conversation, a ping nothing."""
        if action == "retry" and f.conversation is not None:
            self.marks.put_off(f.conversation, now + self._requesting.retry_s(f, 0), self.conversations)
        elif f.code == codes.RATE_LIMITED.number:
            self.session.ping_again(now + self._requesting.retry_s(f, 0))
        else:
            return [Refused("", f)]
        return []

    def _on_refusal(self, id_: str, f: Error, action: str, now: float) -> list[Effect]:
        if id_ in self._questions:
            if action == "fix":
                self._questions.close(id_)
                return [Refused(id_, f)]
            self._questions.again(id_, now + self._requesting.retry_s(f, 0))
        elif id_ in self._catchup:
            if action == "fix":
                return self._catchup.refused(id_)
            self._catchup.again(id_, now + self._requesting.retry_s(f, 0))
        elif id_ in self._resync:
            return self._requesting.page_refused(f, action, now)
        elif item := self.outbox.get(id_):
            return self._requesting.refused(item, f, action, now)
        return []

    # ------------------------------------------------------------ frames: entries, heads, marks

    def _on_message(self, f: Message, now: float) -> list[Effect]:
        return self._log.take(f.entry, now)

    def _on_sent(self, f: Sent, now: float) -> list[Effect]:
        return self._requesting.sent(f) + self._log.take(f.entry, now)

    def _met(self, entry: Entry) -> None:
        self._requesting.met(entry, self.user)

    def _on_entries(self, f: Entries, now: float) -> list[Effect]:
        if f.id in self._catchup:
            return self._log.page(f, now)
        if f.id in self._resync:
            return self._requesting.page(f, self.user)
        if not self._questions.close(f.id):
            return []
        state = self.conversations.get(f.conversation)
        if state is not None and state.base:
            self._log.grown(f.conversation, f.head, now + self.limits.gap_wait_s)
        return [Answered(f.id, f)]

    def _on_heads(self, f: Heads, now: float) -> list[Effect]:
        effects: list[Effect] = []
        listed, new_device = f.id is not None, self.cursor is None
        for head in f.heads:
            streamed = head.conversation in self._have and not self._synced
            effects += self._log.head(head, listed, new_device, now, streamed)
        if f.id is None:
            self.more = f.more or self.more
        elif self._questions.close(f.id):
            effects.append(Answered(f.id, f))
        return effects

    def _on_presence(self, f: PresenceFrame, now: float) -> list[Effect]:
        return self.presence.take(f)

    def _on_typing(self, f: TypingShown, now: float) -> list[Effect]:
        return [] if f.user == self.user else self.typists.take(f, now)

    def _on_head_changed(self, f: HeadChanged, now: float) -> list[Effect]:
        self._log.grown(f.conversation, f.seq, now)
        return []

    def _on_receipts(self, f: Receipts, now: float) -> list[Effect]:
        others = [m for m in f.marks if m.user != self.user]
        effects = self.marks.take(f.conversation, others) if others else []
        state = self.conversations.get(f.conversation)
        if state is not None and len(others) < len(f.marks):
            own = max(m.read for m in f.marks if m.user == self.user)
            effects += self.marks.read(state, own, None, self.user, tell=False)
        return effects

    def _on_members(self, f: MembersPage | Person, now: float) -> list[Effect]:
        return [Answered(f.id, f)] if self._questions.close(f.id) else []


def action_of(code: int) -> str:
    """What a client does about an error: the ranges of `homing.codes`; what is outside of them is not repeated."""
    return {2: "retry", 3: "reconnect", 4: "sign_in", 5: "sync"}.get(code // 1000, "fix")


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
    Person: ClientCore._on_members,
    PresenceFrame: ClientCore._on_presence,
    TypingShown: ClientCore._on_typing,
    Pong: ClientCore._on_pong,
    Error: ClientCore._on_error,
    Reconnect: ClientCore._on_reconnect,
}
