"""Devices that poll, on a clock of the test's own: when they are answered, with what, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from homing import codes
from homing import protocol as p

from node.core.pigeonhole import Batch, Cursor
from node.edge.tokens import Claims
from node.poll_limits import PollLimits
from node.polls import FIRST, LISTING_S, LOOK_S, Poll, Polls
from node.refusal import Refused


def claims(user: str) -> Claims:
    return Claims(user, "phone", "Alice", 0, "")


WHO = claims("a" * 32)
LIMITS = PollLimits(frames_max=4, bytes_max=1_000, bytes_total_max=1_500, sessions_max=3)
WELCOME, SYNCED, LATER = b'{"op":"welcome"}', b'{"op":"synced","cursor":"70"}', b'{"op":"head","seq":1}'


class Timer:
    def __init__(self, at: float, call: Callable[[], object]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Rig:
    """The gateway's place, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.connections: dict[int, Any] = {}
        self.opened: list[tuple[int, str, int]] = []
        self.closed: list[int] = []
        self.pinged: list[int] = []
        self.watched: list[tuple[Any, ...]] = []
        self.stopping = False
        self.config = SimpleNamespace(heartbeat_s=10.0)
        self.core = self
        self.polls = Polls(self, LIMITS, self, lambda: f"{len(self.opened):016x}")  # type: ignore[arg-type]
        self.tasks: list[asyncio.Task[Any]] = []

    # ---- the gateway

    def open_poll(self, c: Any, claims: Claims, cursor: int) -> None:
        self.connections[c.id] = c
        self.opened.append((c.id, claims.device, cursor))

    def on_close(self, c: Any, code: int) -> None:
        del self.connections[c.id]
        self.closed.append(c.id)

    def on_client(self, session: int, frame: Any, now: float) -> None:
        if isinstance(frame, p.Watch):
            return self.watched.append((session, *frame.users))
        assert isinstance(frame, p.Ping)
        self.pinged.append(session)

    def apply(self) -> None:
        pass

    # ---- the clock

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Timer:
        timer = Timer(self.now + delay, lambda: callback(*args))
        self.timers.append(timer)
        return timer

    async def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        await settle()
        while due := sorted((t for t in self.timers if t.at <= until and not t.cancelled), key=lambda t: t.at)[:1]:
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].at)
            due[0].call()
            await settle()
        self.now = until

    def open_timers(self) -> int:
        return sum(not timer.cancelled for timer in self.timers)

    # ---- a poller

    def ask(
        self, cursor: Cursor | None = None, timeout_s: float = 25, who: Claims = WHO, is_gone: Any = lambda: False
    ) -> asyncio.Task[Batch]:
        task = asyncio.ensure_future(self.polls.next(who, cursor, timeout_s, is_gone))
        self.tasks.append(task)
        return task

    def poll(self, who: Claims = WHO) -> Poll:
        return self.polls.by_device[who.user, who.device]

    async def in_session(self, who: Claims = WHO) -> Cursor:
        """A device whose first batch has come."""
        task = self.ask(who=who)
        await settle()
        self.poll(who).send(WELCOME)
        self.poll(who).send(SYNCED)
        await self.pass_time(LIMITS.gather_s)
        await self.pass_time(LIMITS.pace_s)
        assert task.done()
        return task.result().cursor


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    rig.polls.stop()
    await settle()
    assert all(task.done() for task in rig.tasks)
    assert (rig.polls.bytes, rig.polls.by_device, rig.polls.waiting, rig.connections) == (0, {}, {}, {})
    assert rig.open_timers() == 0, "no timer is left"
    for task in rig.tasks:
        task.exception()


def code_of(task: asyncio.Task[Batch]) -> codes.Code:
    error = task.exception()
    assert isinstance(error, Refused), task
    return error.code


async def test_the_first_answer_is_the_whole_list(rig: Rig) -> None:
    task = rig.ask()
    await rig.pass_time(0)
    assert rig.opened == [(FIRST, "phone", 0)]
    rig.poll().send(WELCOME)
    await rig.pass_time(LISTING_S / 2)
    rig.poll().send(SYNCED)
    assert not task.done()
    await rig.pass_time(LIMITS.gather_s)
    assert task.result() == ([WELCOME, SYNCED], Cursor(f"{0:016x}", 1, 70))


async def test_it_waits_for_something_and_answers_soon_after_it(rig: Rig) -> None:
    cursor = await rig.in_session()
    task = rig.ask(cursor)
    await rig.pass_time(10)
    assert not task.done()
    rig.poll().send(LATER)
    rig.poll().send(LATER)
    assert not task.done()
    await rig.pass_time(LIMITS.gather_s)
    assert task.result().frames == [LATER, LATER]
    lost = rig.ask(cursor)
    await rig.pass_time(LIMITS.pace_s)
    assert lost.result() == task.result(), "the answer was lost: it comes again"
    assert rig.polls.counts["repeated_batches"] == 1


async def test_answers_come_no_faster_than_their_pace(rig: Rig) -> None:
    cursor = await rig.in_session()
    answered = []
    for _ in range(3):
        task = rig.ask(cursor)
        await rig.pass_time(0)
        rig.poll().send(LATER)
        while not task.done():
            await rig.pass_time(0.001)
        answered.append(rig.now)
        cursor = task.result().cursor
    assert answered[2] - answered[1] == pytest.approx(LIMITS.pace_s, abs=0.002)


async def test_without_anything_the_answer_is_empty_and_its_cursor_newer(rig: Rig) -> None:
    cursor = await rig.in_session()
    rig.now += 10
    task = rig.ask(cursor, timeout_s=25)
    await rig.pass_time(0)
    assert rig.pinged == [FIRST], "it says to the home that it is there, and hears how far it is"
    rig.poll().send(b'{"op":"pong","time":1,"cursor":"99"}')
    await rig.pass_time(24.9)
    assert not task.done()
    await rig.pass_time(0.1)
    assert task.result() == ([], Cursor(cursor.hole, cursor.n, 99))


async def test_a_timeout_of_zero_looks_only(rig: Rig) -> None:
    task = rig.ask(timeout_s=0)
    await rig.pass_time(0)
    assert task.result() == ([], Cursor(f"{0:016x}", 0, 0))
    rig.poll().send(WELCOME)
    again = rig.ask(task.result().cursor, timeout_s=0)
    await rig.pass_time(0)
    assert again.result().frames == [WELCOME]


async def test_between_polls_the_session_lives_on_for_its_time(rig: Rig) -> None:
    cursor = await rig.in_session()
    await rig.pass_time(LIMITS.linger_s - 1)
    assert rig.closed == []
    task = rig.ask(cursor, timeout_s=1)
    await rig.pass_time(1)
    assert task.result().frames == []
    await rig.pass_time(LIMITS.linger_s - 1)
    assert rig.closed == []
    await rig.pass_time(1)
    assert rig.closed == [FIRST]
    assert rig.polls.counts["expired"] == 1
    task = rig.ask(cursor)
    await rig.pass_time(0)
    assert rig.opened[1:] == [(FIRST + 1, "phone", 70)], "it goes on from its sync cursor"


async def test_two_polls_at_once_leave_the_later_one(rig: Rig) -> None:
    cursor = await rig.in_session()
    first, second = rig.ask(cursor), rig.ask(cursor)
    await rig.pass_time(0)
    assert code_of(first) is codes.SESSION_REPLACED
    rig.poll().send(LATER)
    await rig.pass_time(1)
    assert second.result().frames == [LATER]
    assert len(rig.opened) == 1


async def test_another_programs_poll_of_the_same_device_takes_over(rig: Rig) -> None:
    cursor = await rig.in_session()
    first = rig.ask(cursor)
    await rig.pass_time(0)
    second = rig.ask()
    await rig.pass_time(0)
    assert code_of(first) is codes.SESSION_REPLACED
    assert (rig.closed, len(rig.polls.by_device)) == ([FIRST], 1)
    assert not second.done()


async def test_who_was_replaced_elsewhere_is_told_and_any_other_end_goes_on_silently(rig: Rig) -> None:
    for code, told in (
        (codes.SESSION_REPLACED, True),
        (codes.DEVICE_REVOKED, True),
        (codes.OVERLOADED, True),
        (codes.HOME_LOST, False),
        (codes.GOING_AWAY, False),
    ):
        cursor = await rig.in_session()
        task = rig.ask(cursor)
        await rig.pass_time(0)
        poll = rig.poll()
        poll.send(LATER)
        poll.send(b'{"op":"error","code":1,"name":"x","message":""}')
        poll.close(1008, code.name)
        assert poll.id in rig.connections, "not from inside close"
        await rig.pass_time(0)
        assert poll.id not in rig.connections
        if told:
            assert code_of(task) is code
        else:
            assert task.result().frames == [LATER], "what has come is not thrown away, and the error is no event"


async def test_who_does_not_fetch_loses_his_session_and_nothing_else(rig: Rig) -> None:
    cursor = await rig.in_session()
    for _ in range(LIMITS.frames_max + 1):
        rig.poll().send(LATER)
    await rig.pass_time(0)
    assert (rig.closed, rig.polls.counts["slow"]) == ([FIRST], 1)
    task = rig.ask(cursor)
    await rig.pass_time(0)
    assert rig.opened[1:] == [(FIRST + 1, "phone", 70)]
    assert not task.done()


async def test_past_the_bound_of_all_the_heaviest_goes(rig: Rig) -> None:
    whos = [claims(letter * 32) for letter in "ab"]
    for who in whos:
        await rig.in_session(who)
    for who, size in zip(whos, (800, 900), strict=True):
        rig.poll(who).send(b"x" * size)
    await rig.pass_time(0)
    assert rig.closed == [FIRST + 1]
    assert rig.polls.bytes == 800 + len(WELCOME) + len(SYNCED)


async def test_one_device_too_many_is_refused(rig: Rig) -> None:
    for number in range(LIMITS.sessions_max):
        await rig.in_session(claims(f"{number:032x}"))
    task = rig.ask(who=WHO)
    await rig.pass_time(0)
    assert code_of(task) is codes.OVERLOADED
    again = rig.ask(who=claims(f"{0:032x}"))
    await rig.pass_time(0)
    assert not again.done(), "who has a session may begin another one"


async def test_a_client_that_has_gone_is_let_go(rig: Rig) -> None:
    cursor = await rig.in_session()
    gone = False
    task = rig.ask(cursor, is_gone=lambda: gone)
    await rig.pass_time(2 * LOOK_S)
    assert not task.done()
    gone = True
    await rig.pass_time(LOOK_S)
    assert isinstance(task.exception(), ConnectionResetError)
    assert rig.polls.waiting == {}
    await rig.pass_time(LIMITS.linger_s)
    assert rig.closed == [FIRST]


async def test_a_cancelled_request_leaves_nothing_waiting(rig: Rig) -> None:
    cursor = await rig.in_session()
    task = rig.ask(cursor)
    await rig.pass_time(0)
    task.cancel()
    await settle()
    rig.tasks.remove(task)
    assert rig.polls.waiting == {}
    again = rig.ask(cursor)
    await rig.pass_time(0)
    rig.poll().send(LATER)
    await rig.pass_time(1)
    assert again.result().frames == [LATER]


async def test_a_node_that_stops_tells_who_waits_and_takes_nobody(rig: Rig) -> None:
    cursor = await rig.in_session()
    task = rig.ask(cursor)
    await rig.pass_time(1)
    rig.stopping = True
    rig.poll().send(b'{"op":"reconnect","after_ms":1}')
    await rig.pass_time(0)
    assert task.result().frames == [b'{"op":"reconnect","after_ms":1}'], "at once"
    refused = rig.ask(task.result().cursor)
    await rig.pass_time(0)
    assert code_of(refused) is codes.GOING_AWAY


async def test_a_node_that_ends_answers_who_waits(rig: Rig) -> None:
    cursor = await rig.in_session()
    task = rig.ask(cursor)
    await rig.pass_time(0)
    rig.polls.stop()
    await settle()
    assert code_of(task) is codes.GOING_AWAY
    assert rig.closed == [FIRST]


async def test_whom_a_device_watches_is_said_once_and_again_to_a_new_session(rig: Rig) -> None:
    users = ("b" * 32, "c" * 32)

    def ask(cursor: Cursor, watch: tuple[str, ...]) -> asyncio.Task[Batch]:
        task = asyncio.ensure_future(rig.polls.next(WHO, cursor, 0, lambda: False, watch))
        rig.tasks.append(task)
        return task

    cursor = await rig.in_session()
    for watch in (users, users, (), ()):
        task = ask(cursor, watch)
        await rig.pass_time(0)
        cursor = task.result().cursor
    assert rig.watched == [(FIRST, *users), (FIRST,)]
    await rig.pass_time(LIMITS.linger_s)
    ask(cursor, users)
    await rig.pass_time(0)
    assert rig.watched[2:] == [(FIRST + 1, *users)]
