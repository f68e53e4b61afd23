"""Devices that poll: a session of the core whose frames wait in a pigeonhole (``GET /v1/events``), for who cannot open a WebSocket.

Theory of operation. To gateway and core a poll is a connection like any other; it says hello by its first request. Between two requests it
lives on for ``linger_s``, so nobody who polls goes offline between polls. Whatever ends it (its home's death, a slow reader's bound, this
node's end) is no error to the device: its next request, here or at any other node, starts a new session from the sync cursor that its
cursor carries, and what was said meanwhile is listed, as after a hello.

Laws:
    * One session a device, as with sockets: who comes later goes on, and a request of the one before that still waits is answered with
      ``session_replaced``. So two programs under one device's name do not take turns for ever.
    * A poll asks its home for nothing, so an error that comes to it is the end of its session, and is told as the answer's code.
    * Who has gone is let go within ``LOOK_S``; sessions, frames and bytes are bounded (P7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from homing import codes
from homing import protocol as p
from homing.codes import Code

from node.core.pigeonhole import Batch, Cursor, Pigeonhole
from node.edge.tokens import Claims
from node.gateway import Clock, Gateway, Timer
from node.poll_limits import PollLimits
from node.refusal import Refused

FIRST = 1 << 39
"""The numbers of polls as sessions begin here: above those of sockets, below those of requests (``node.core.asking``)."""
LOOK_S = 1.0
"""So often it is looked whether those who wait are still there."""
GONE_MAX = 100
"""So many are let go in one turn of the loop."""
LISTING_S = 0.25
"""So long the first answer of a session waits for the list to be complete."""
_ERROR = b'{"op":"error"'
_RECONNECT = b'{"op":"reconnect"'
TOLD = frozenset({codes.SESSION_REPLACED, codes.DEVICE_REVOKED, codes.OVERLOADED})
"""Ends of a session that a poller hears of; after any other it just goes on."""


class Poll:
    """One device that polls, as a connection of the gateway's."""

    __slots__ = (
        "answered_at", "binary", "device", "due", "due_at", "ended", "hole", "id", "is_gone", "linger", "pinged_at", "polls", "remote",
        "session", "user", "waiter", "watch",
    )  # fmt: skip

    def __init__(self, polls: Polls, id_: int, who: Claims, hole: Pigeonhole, now: float) -> None:
        self.polls = polls
        self.id = id_
        self.binary = False
        self.remote = ""
        self.session: object | None = None
        self.user, self.device = who.user, who.device
        self.hole = hole
        self.ended: Code | None = None
        self.waiter: asyncio.Future[Code | None] | None = None
        """The request that waits; it hears the code that it is refused with, or None."""
        self.is_gone: Callable[[], bool] = lambda: False
        self.due: Timer | None = None
        """When the request that waits is answered."""
        self.due_at = 0.0
        self.linger: Timer | None = None
        self.answered_at = now - 1.0
        self.pinged_at = now
        self.watch: tuple[str, ...] = ()
        """Whose presence it is told."""

    def send(self, data: bytes) -> None:
        if self.ended is None:
            self.polls.on_frame(self, data)

    def buffered(self) -> int:
        return self.hole.bytes

    def close(self, code: int, reason: str = "") -> None:
        self.polls.end(self, codes.CODES.get(reason, codes.GOING_AWAY))


class Polls:
    """All polls of one node.

    Args:
        gateway: the node's.
        limits: the section ``[polls]``.
        clock: the event loop.
        new_name: 16 hexadecimal digits, never the same.
    """

    def __init__(self, gateway: Gateway, limits: PollLimits, clock: Clock, new_name: Callable[[], str]) -> None:
        self.gateway = gateway
        self.limits = limits
        self.clock = clock
        self.by_device: dict[tuple[str, str], Poll] = {}
        self.bytes = 0
        """What waits in all pigeonholes."""
        self.waiting: dict[int, Poll] = {}
        """Those with a request that waits."""
        self.counts = {"opened": 0, "resumed": 0, "slow": 0, "expired": 0, "repeated_batches": 0}
        self.stopped = False
        self._new_name = new_name
        self._numbers = count(FIRST)
        self._look_timer: Timer | None = None

    # -------------------------------------------------------------- a request

    async def next(
        self, who: Claims, cursor: Cursor | None, timeout_s: float, is_gone: Callable[[], bool], watch: tuple[str, ...] = ()
    ) -> Batch:
        """What is there for the device, as soon as something is, at the latest after ``timeout_s``; ``watch``: whose presence counts.

        Raises:
            Refused: SESSION_REPLACED, DEVICE_REVOKED, OVERLOADED, GOING_AWAY.
            ConnectionResetError: the client has gone.
        """
        if self.stopped or self.gateway.stopping:
            raise _refused(codes.GOING_AWAY)
        poll = self._poll_of(who, cursor)
        if poll.watch != watch:
            poll.watch = watch
            self._say(poll, p.Watch(users=list(watch)))
        heard: asyncio.Future[Code | None] = asyncio.get_running_loop().create_future()
        self._begin(poll, heard, is_gone)
        timer = self.clock.call_later(timeout_s, _wake, heard)
        try:
            code = await heard
        finally:
            timer.cancel()
            self._rest(poll, heard)
        if code is None and poll.ended in TOLD:
            code = poll.ended
        if code is not None:
            raise _refused(code)
        poll.answered_at = self.clock.time()
        before = poll.hole.bytes
        batch = poll.hole.take(self.limits.answer_bytes_max)
        self._weigh(poll, before)
        return batch

    def _poll_of(self, who: Claims, cursor: Cursor | None) -> Poll:
        """The device's session, or a new one."""
        poll = self.by_device.get((who.user, who.device))
        if poll is None or poll.ended is not None or cursor is None or not poll.hole.knows(cursor):
            return self._open(who, cursor, poll)
        before = poll.hole.bytes
        poll.hole.accept(cursor)
        self._weigh(poll, before)
        if poll.hole.n > cursor.n:
            self.counts["repeated_batches"] += 1
        if poll.waiter is not None:
            _refuse(poll.waiter, codes.SESSION_REPLACED)
        now = self.clock.time()
        if now - poll.pinged_at >= self.gateway.config.heartbeat_s:
            poll.pinged_at = now
            self._say(poll, p.Ping())
        return poll

    def _say(self, poll: Poll, frame: p.Ping | p.Watch) -> None:
        self.gateway.core.on_client(poll.id, frame, self.clock.time())
        self.gateway.apply()

    def _open(self, who: Claims, cursor: Cursor | None, before: Poll | None) -> Poll:
        if before is None and len(self.by_device) >= self.limits.sessions_max:
            raise Refused(codes.OVERLOADED, "too many devices poll at this node", retry_after_s=5.0)
        self.counts["opened"] += 1
        self.counts["resumed"] += cursor is not None
        sync = cursor.sync if cursor is not None else 0
        hole = Pigeonhole(self._new_name(), sync, self.limits.frames_max, self.limits.bytes_max)
        poll = Poll(self, next(self._numbers), who, hole, self.clock.time())
        self.by_device[who.user, who.device] = poll
        self.gateway.open_poll(poll, who, sync)
        if before is not None:
            if before.waiter is not None:
                _refuse(before.waiter, codes.SESSION_REPLACED)
            before.ended = before.ended or codes.SESSION_REPLACED
            self._gone(before)
        return poll

    def _begin(self, poll: Poll, heard: asyncio.Future[Code | None], is_gone: Callable[[], bool]) -> None:
        poll.waiter, poll.is_gone = heard, is_gone
        self.waiting[poll.id] = poll
        if poll.linger is not None:
            poll.linger.cancel()
            poll.linger = None
        if poll.ended is not None:
            _wake(heard)
        elif poll.hole.has_something():
            self._answer_within(poll, self.limits.gather_s)
        if self._look_timer is None:
            self._look_timer = self.clock.call_later(LOOK_S, self._look)

    def _rest(self, poll: Poll, heard: asyncio.Future[Code | None]) -> None:
        """The request is over, however it ended."""
        if poll.waiter is not heard:
            return  # another one waits
        poll.waiter, poll.is_gone = None, _here
        self.waiting.pop(poll.id, None)
        self._forget_due(poll)
        if poll.ended is None:
            poll.linger = self.clock.call_later(self.limits.linger_s, self._expire, poll)

    # -------------------------------------------------------------- what the gateway brings

    def on_frame(self, poll: Poll, data: bytes) -> None:
        if data.startswith(_ERROR):
            return  # the end of the session comes next, and says the same
        before = poll.hole.bytes
        if not poll.hole.put(data):
            self.counts["slow"] += 1
            return self.end(poll, codes.SLOW_READER)
        self._weigh(poll, before)
        if self.bytes > self.limits.bytes_total_max:
            self._end_heaviest()
        if poll.ended is not None or not poll.hole.has_something():
            return
        if data.startswith(_RECONNECT):
            return self._answer(poll)
        self._answer_within(poll, self.limits.gather_s if poll.hole.synced else LISTING_S)

    def end(self, poll: Poll, code: Code) -> None:
        """The session is over; gateway and core hear of it in the loop's next turn, as of a socket that has gone."""
        if poll.ended is not None:
            return
        poll.ended = code
        if poll.waiter is not None:
            _wake(poll.waiter)
        self.clock.call_later(0.0, self._gone, poll)

    def _end_heaviest(self) -> None:
        heaviest = max((poll for poll in self.by_device.values() if poll.ended is None), key=lambda poll: poll.hole.bytes, default=None)
        if heaviest is not None:
            self.counts["slow"] += 1
            self.end(heaviest, codes.SLOW_READER)

    # -------------------------------------------------------------- when to answer

    def _answer_within(self, poll: Poll, wait_s: float) -> None:
        if poll.waiter is None:
            return
        now = self.clock.time()
        at = max(now + wait_s, poll.answered_at + self.limits.pace_s)
        if poll.due is not None:
            if poll.due_at <= at:
                return
            poll.due.cancel()
        poll.due_at = at
        poll.due = self.clock.call_later(at - now, self._answer, poll)

    def _answer(self, poll: Poll) -> None:
        self._forget_due(poll)
        if poll.waiter is not None:
            _wake(poll.waiter)

    def _forget_due(self, poll: Poll) -> None:
        if poll.due is not None:
            poll.due.cancel()
            poll.due = None

    # -------------------------------------------------------------- ends

    def _look(self) -> None:
        """Lets go who has gone: no answer would tell it."""
        gone = [poll.waiter for poll in self.waiting.values() if poll.waiter is not None and not poll.waiter.done() and poll.is_gone()]
        for waiter in gone[:GONE_MAX]:
            waiter.set_exception(ConnectionResetError("the client has gone"))
        again = LOOK_S if len(gone) <= GONE_MAX else LOOK_S / 20
        self._look_timer = self.clock.call_later(again, self._look) if self.waiting else None

    def _expire(self, poll: Poll) -> None:
        poll.linger = None
        if poll.waiter is None and poll.ended is None:
            self.counts["expired"] += 1
            poll.ended = codes.HEARTBEAT_LOST
            self._gone(poll)

    def _gone(self, poll: Poll) -> None:
        if poll.linger is not None:
            poll.linger.cancel()
            poll.linger = None
        if self.by_device.get((poll.user, poll.device)) is poll:
            del self.by_device[poll.user, poll.device]
        if poll.id in self.gateway.connections:
            self.bytes -= poll.hole.bytes
            self.gateway.on_close(poll, codes.CLOSE_NORMAL)

    def _weigh(self, poll: Poll, before: int) -> None:
        if poll.id in self.gateway.connections:
            self.bytes += poll.hole.bytes - before

    def stop(self) -> None:
        """This node ends: who waits is sent to another one."""
        self.stopped = True
        for poll in list(self.by_device.values()):
            if poll.waiter is not None and poll.hole.has_something():
                _wake(poll.waiter)
            elif poll.waiter is not None:
                _refuse(poll.waiter, codes.GOING_AWAY)
            poll.ended = poll.ended or codes.GOING_AWAY
            self._gone(poll)
        if self._look_timer is not None:
            self._look_timer.cancel()


_WORDS = {
    codes.SESSION_REPLACED: "another program goes on as this device",
    codes.DEVICE_REVOKED: "this device was signed out",
    codes.OVERLOADED: "too many devices of this user are connected",
    codes.GOING_AWAY: "this node is being stopped: ask another one",
}


def _refused(code: Code) -> Refused:
    retry_after_s = None if code in (codes.SESSION_REPLACED, codes.DEVICE_REVOKED) else 1.0
    return Refused(code, _WORDS[code], retry_after_s=retry_after_s)


def _here() -> bool:
    return False


def _wake(heard: asyncio.Future[Code | None]) -> None:
    if not heard.done():
        heard.set_result(None)


def _refuse(heard: asyncio.Future[Code | None], code: Code) -> None:
    if not heard.done():
        heard.set_result(code)
