"""Between sockets and the core: hello and tokens, rates, encoding (``design.md`` §3, steps 1, 2 and 7).

Owns the sockets' side of each session. It must not know what a conversation is: frames go to the core as they come, effects go to sockets
as they are.

Laws:
    * A connection that has not said a good hello within ``hello_timeout_s`` is closed.
    * What cannot be read is answered with an error that names the field; it never reaches the core.
    * An entry is encoded once per format, whatever the number of its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, get_args

from homing import codes
from homing import protocol as p
from msgspec import Struct

from node.config import NodeConfig
from node.core.edge import Identity
from node.core.effects import BlockDecided, CloseClient, Effect, EndNode, EntryToClients, PrivacyWanted, SentToClient, ToClient, ToClients
from node.core.node import NodeCore
from node.core.privacy import Privacy
from node.core.views import entry_of
from node.edge.codec import PINGS, BadFrame, EncodedEntry, decode, encode, message_frame, pong_frame, sent_frame
from node.edge.limits import RateLimits, SendLimiter, TokenBucket, UserBuckets
from node.edge.tokens import Claims, TokenChecker, TokenError
from node.edge.websocket import Connection

CLOSE_CODES = {
    codes.SLOW_READER.name: codes.CLOSE_TRY_LATER,
    codes.OVERLOADED.name: codes.CLOSE_TRY_LATER,
    codes.HELLO_TIMEOUT.name: codes.CLOSE_HELLO_TIMEOUT,
    codes.SESSION_REPLACED.name: codes.CLOSE_POLICY,
}
CURSOR_S = 25.0
"""So old may be the cursor of a client that says nothing but pings: every third brings a newer one."""
MAKES_ENTRY = frozenset({p.Send, *get_args(p.GroupOp), *get_args(p.BlockOp)})


def close_code(code: codes.Code) -> int:
    """The WebSocket close code that goes with an error code."""
    if code.name in CLOSE_CODES:
        return CLOSE_CODES[code.name]
    by_action = {"reconnect": codes.CLOSE_RESTART, "sign_in": codes.CLOSE_SIGN_IN, "retry": codes.CLOSE_TRY_LATER}
    return by_action.get(code.action, codes.CLOSE_POLICY)


class Clock(Protocol):
    """The event loop, as far as it is needed here."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer: ...


class Timer(Protocol):
    def cancel(self) -> None: ...


class Session(Struct):
    """What the gateway keeps of one connection."""

    timer: Timer | None
    frames: TokenBucket
    sends: SendLimiter | None = None
    bad_frames: int = 0
    cursor_until: float = 0.0
    """Until then a ping is answered here, if nothing else was said: the cursor that the client has is young enough."""


class Gateway:
    """The edge's handler of one node."""

    def __init__(
        self,
        core: NodeCore,
        checker: TokenChecker,
        config: NodeConfig,
        rates: RateLimits,
        clock: Clock,
        flush: Callable[[], None],
        random: Callable[[], float],
        on_end: Callable[[str], None],
    ) -> None:
        self.core = core
        self.checker = checker
        self.config = config
        self.rates = rates
        self.clock = clock
        self.flush = flush
        self.random = random
        self.on_end = on_end
        self.users = UserBuckets(rates.user_sends, rates.users_max)
        self.connections: dict[int, Connection] = {}
        self.on_privacy_wanted: Callable[[str, int], None] = lambda user, n: None
        """Reads what a user shows of himself, for ``told_privacy``; not called where everybody shows all."""
        self.on_block: Callable[[BlockDecided], None] = lambda told: None
        """Repeats what a home decided on a block where others look it up; must not block."""
        self.stopping = False
        self.counts = {"frames_in": 0, "frames_out": 0, "bad_frames": 0, "rate_limited": 0, "hellos": 0}

    # -------------------------------------------------------------- what the edge calls

    def on_open(self, c: Connection) -> None:
        self.connections[c.id] = c
        timer = self.clock.call_later(self.config.hello_timeout_s, self._no_hello, c)
        c.session = Session(timer, TokenBucket(self.rates.connection_frames, self.clock.time()))

    def on_message(self, c: Connection, data: bytes) -> None:
        session = c.session
        assert isinstance(session, Session)
        now = self.clock.time()
        self.counts["frames_in"] += 1
        if now < session.cursor_until and data == PINGS[c.binary] and not session.frames.take(now):
            return self._pong(c, now)
        frame = decode(data, c.binary)
        if isinstance(frame, BadFrame):
            return self._bad(c, session, frame)
        wait_s = session.frames.take(now)
        if session.sends is None:
            if type(frame) is p.Hello:
                return self._hello(c, session, frame, now)
            return self._refuse(c, codes.HELLO_FIRST, "the first frame must be a hello")
        if not wait_s and type(frame) in MAKES_ENTRY:
            wait_s = session.sends.take(now)
        if wait_s:
            return self._too_fast(c, frame, wait_s)
        session.cursor_until = now + CURSOR_S if type(frame) is p.Ping else 0.0
        self.core.on_client(c.id, frame, now)
        self.apply()

    def _pong(self, c: Connection, now: float) -> None:
        """An idle client's sign of life costs its home nothing."""
        self.counts["frames_out"] += 1
        c.send(pong_frame(self.core.directory.time_ms(now), c.binary))

    def open_poll(self, c: Connection, claims: Claims, cursor: int) -> None:
        """A device that polls begins a session; whoever calls has looked at its token."""
        self.connections[c.id] = c
        who = Identity(claims.user, claims.device, claims.name)
        self.core.open(c.id, who, cursor, {}, int(self.config.heartbeat_s * 1_000), self.clock.time())
        self.apply()

    def on_close(self, c: Connection, code: int) -> None:
        self.connections.pop(c.id, None)
        session = c.session
        if isinstance(session, Session) and session.timer is not None:
            session.timer.cancel()
        self.core.on_closed(c.id, self.clock.time())
        self.apply()

    def on_silent(self, c: Connection) -> None:
        """Nothing came for longer than a heartbeat can take: who still reads hears why, and the socket is cut if nobody answers."""
        self._refuse(c, codes.HEARTBEAT_LOST, "nothing came for too long")

    # -------------------------------------------------------------- hello

    def _hello(self, c: Connection, session: Session, frame: p.Hello, now: float) -> None:
        self.counts["hellos"] += 1
        if self.stopping or not self.core.directory.joined:
            return self._send_away(c)
        try:
            claims = self.checker.check(frame.token, self.core.directory.time_ms(now) / 1_000, ticket=True)
        except TokenError as error:
            return self._refuse(c, error.code, error.message, "token")
        if len(frame.have) > p.HAVE_MAX:
            return self._refuse(c, codes.INVALID, f"have lists at most {p.HAVE_MAX} conversations", "have")
        if frame.cursor is not None and not (frame.cursor.isascii() and frame.cursor.isdecimal() and len(frame.cursor) < 16):
            return self._refuse(c, codes.INVALID, "this is not a cursor of this service", "cursor")
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        session.sends = SendLimiter(claims.user, self.users, self.rates, now)
        spread = 1 + self.config.heartbeat_jitter * (2 * self.random() - 1)
        who = Identity(claims.user, claims.device, claims.name)
        self.core.open(c.id, who, int(frame.cursor or 0), frame.have, int(self.config.heartbeat_s * spread * 1_000), now)
        self.apply()

    def _no_hello(self, c: Connection) -> None:
        self._refuse(c, codes.HELLO_TIMEOUT, "no hello in time")

    def _send_away(self, c: Connection) -> None:
        """Not now, not here: nothing is wrong, come back."""
        self._put(c, p.Reconnect(after_ms=self._spread_ms(), reason="this node takes no sessions now"))
        c.close(codes.CLOSE_RESTART, codes.GOING_AWAY.name)

    def _spread_ms(self) -> int:
        return int(100 + self.random() * self.config.reconnect_spread_s * 1_000)

    # -------------------------------------------------------------- what HTTP asks for

    def revoke(self, user: str, device: str, done: Callable[[codes.Code | None], None]) -> None:
        """Lets ``device`` of ``user`` in nowhere any more, and ends its sessions; ``done`` hears None once that is so for ever."""
        self.core.revoke(user, device, done, self.clock.time())
        self.apply()

    def told_privacy(self, answers: Sequence[tuple[str, int, Privacy | None]]) -> None:
        """What ``on_privacy_wanted`` was asked for; None: it could not be read."""
        self.do(lambda: self.core.live.privacies.told_all(answers))

    def do(self, what: Callable[[], None]) -> None:
        """Has the core carry something out, and does what follows from it."""
        self.core.do(what, self.clock.time())
        self.apply()

    # -------------------------------------------------------------- refusals

    def _bad(self, c: Connection, session: Session, frame: BadFrame) -> None:
        self.counts["bad_frames"] += 1
        session.bad_frames += 1
        if session.sends is None or session.bad_frames > self.config.bad_frames_max:
            return self._refuse(c, frame.code, frame.message, frame.field or "")
        self._put(c, frame.as_error())

    def _too_fast(self, c: Connection, frame: p.ClientFrame, wait_s: float) -> None:
        self.counts["rate_limited"] += 1
        code, wait_ms = codes.RATE_LIMITED, int(min(wait_s, 60.0) * 1_000) + 1
        error = p.Error(code=code.number, name=code.name, message="too many frames in too short a time", retry_after_ms=wait_ms)
        # A mark has no id: the conversation says which one was not taken, so that the device repeats it (P5).
        error.id, error.conversation = getattr(frame, "id", None), getattr(frame, "conversation", None)
        self._put(c, error)

    def _refuse(self, c: Connection, code: codes.Code, message: str, field: str = "") -> None:
        """An error that ends the connection."""
        self._put(c, p.Error(code=code.number, name=code.name, message=message, field=field or None))
        c.close(close_code(code), code.name)

    # -------------------------------------------------------------- effects

    def _put(self, c: Connection, frame: p.ServerFrame) -> None:
        self.counts["frames_out"] += 1
        c.send(encode(frame, c.binary))

    def apply(self) -> None:
        """Does what the core asks for, then has the links written."""
        self.perform()
        self.flush()

    def perform(self) -> None:
        """Does what the core asks for; the pump, which calls, writes the links itself."""
        for effect in self.core.take_effects():
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        kind = type(effect)
        if kind is EntryToClients:
            self._message(effect)  # type: ignore[arg-type]  # kind says so
        elif kind is SentToClient:
            self._sent(effect)  # type: ignore[arg-type]
        elif isinstance(effect, ToClient):
            c = self.connections.get(effect.session)
            if c is not None:
                self._put(c, effect.frame)
        elif isinstance(effect, ToClients):
            self._to_all(effect)
        elif isinstance(effect, CloseClient):
            self._close(effect)
        elif isinstance(effect, PrivacyWanted):
            self.on_privacy_wanted(effect.user, effect.n)
        elif isinstance(effect, BlockDecided):
            self.on_block(effect)
        elif isinstance(effect, EndNode):
            self.on_end(effect.reason)

    def _to_all(self, effect: ToClients) -> None:
        encoded: dict[bool, bytes] = {}
        for session in effect.sessions:
            c = self.connections.get(session)
            if c is not None:
                if c.binary not in encoded:
                    encoded[c.binary] = encode(effect.frame, c.binary)
                self.counts["frames_out"] += 1
                c.send(encoded[c.binary])

    def _message(self, effect: EntryToClients) -> None:
        encoded = EncodedEntry(entry_of(effect.row))
        connections = self.connections
        for session in effect.sessions:
            c = connections.get(session)
            if c is not None:
                self.counts["frames_out"] += 1
                c.send(message_frame(encoded, c.binary))

    def _sent(self, effect: SentToClient) -> None:
        c = self.connections.get(effect.session)
        if c is not None:
            self.counts["frames_out"] += 1
            c.send(sent_frame(effect.id, EncodedEntry(entry_of(effect.row)), c.binary))

    def _close(self, effect: CloseClient) -> None:
        c = self.connections.get(effect.session)
        if c is None:
            return
        if effect.code == codes.GOING_AWAY.name:  # a ``reconnect`` has said it: nobody hears of an error (P6)
            c.close(codes.CLOSE_RESTART, effect.code)
        else:
            self._refuse(c, codes.CODES[effect.code], "this session ends here")

    # -------------------------------------------------------------- stopping

    def send_all_away(self) -> None:
        """Asks every client to come back elsewhere, each at a moment of its own."""
        self.stopping = True
        for c in list(self.connections.values()):
            self._put(c, p.Reconnect(after_ms=self._spread_ms(), reason="this node is being stopped"))
