"""The player keeps the file's order, moves people as planned, and sees every fault of a cluster. The cluster here is a list."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest
from homing import ids
from homing.protocol import Entry

from tools.replay.churn import Plan, Turn, make_plan
from tools.replay.player import Player, ReplayError, Report
from tools.replay.script import Cue, Person, Said, Script

GROUP = ids.group_id(bytes(16))
NAMES = ("ann", "bea", "cid", "dot")


def script(count: int = 40) -> Script:
    people = [Person(name, ids.user_id(name)) for name in NAMES]
    draw = random.Random(7)
    speakers = [draw.randrange(len(people)) for _ in range(count)]
    return Script("t", people, [Cue(n + 1, p, Said(people[p].user, "text", f"w{n % 5}"), 10.0 * n) for n, p in enumerate(speakers)])


class FakeCluster:
    """A log that takes a random number of loop turns for every entry; a Stage. ``spoil`` changes what one device shows."""

    def __init__(self, spoil: Callable[[list[Entry]], list[Entry]] | None = None, view: str = "live") -> None:
        self.log: list[Entry] = []
        self.devices: list[FakeDevice] = []
        self.moves: list[tuple[int, str, str]] = []
        self.spoil, self.view = spoil, view
        self.draw = random.Random(3)

    def device(self, person: Person) -> FakeDevice:
        self.devices.append(FakeDevice(self, person))
        return self.devices[-1]

    async def history(self, person: Person, group: str) -> list[Entry]:
        assert group == GROUP
        return self.spoil(self.log) if self.spoil and self.view == "history" and person.name == "cid" else self.log

    def append(self, sender: str, id_: str, type_: str, body: str) -> None:
        seq = len(self.log) + 1
        message_id = ids.message_id(GROUP, seq, 1)
        self.log.append(
            Entry(conversation=GROUP, seq=seq, message_id=message_id, sender=sender, id=id_, type=type_, body=body, ts=seq, ordinal=seq)
        )


class FakeSent:
    def __init__(self, id_: str, task: asyncio.Task[None]) -> None:
        self.id, self.task = id_, task

    def stored(self) -> Awaitable[object]:
        return self.task


class FakeDevice:
    def __init__(self, cluster: FakeCluster, person: Person) -> None:
        self.cluster, self.person = cluster, person
        self.online = False
        self.left_at = 0
        self.last: asyncio.Task[None] | None = None

    @property
    def shown(self) -> list[Entry]:
        cluster = self.cluster
        if not self.online:
            return cluster.log[: self.left_at]
        spoiled = cluster.spoil is not None and cluster.view == "live" and self.person.name == "bea"
        return cluster.spoil(cluster.log) if spoiled and cluster.spoil else cluster.log

    async def open(self) -> None:
        self.online = True

    async def close(self) -> None:
        self.online = False

    async def create_group(self, title: str, members: Sequence[str]) -> str:
        assert len(members) == len(NAMES) - 1
        self.cluster.append(self.person.user, "create", "group.create", title)
        return GROUP

    async def send(self, group: str, type_: str, body: str) -> FakeSent:
        assert self.online, "somebody speaks while away"
        id_ = f"id-{self.cluster.draw.random()}"
        self.last = asyncio.create_task(self._store(self.last, id_, type_, body))
        return FakeSent(id_, self.last)

    async def _store(self, before: asyncio.Task[None] | None, id_: str, type_: str, body: str) -> None:
        if before is not None:  # as an outbox does: one after the other
            await before
        for _ in range(self.cluster.draw.randrange(6)):
            await asyncio.sleep(0)
        while not self.online:  # what is queued by who is away waits for him
            await asyncio.sleep(0.001)
        self.cluster.append(self.person.user, id_, type_, body)

    async def away(self) -> None:
        self.move("away")
        self.online, self.left_at = False, len(self.cluster.log)

    async def back(self) -> None:
        self.move("back")
        self.online = True

    async def cut(self) -> None:
        self.move("cut")

    def move(self, move: str) -> None:
        self.cluster.moves.append((len(self.cluster.log), self.person.name, move))


class Time:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def play(cluster: FakeCluster, speed: float | None = None, fraction: float = 0.0, time: Time | None = None) -> Report:
    time = time or Time()
    lines = script()
    plan = make_plan(len(lines.people), [cue.person for cue in lines.cues], fraction, random.Random(5))
    return await Player(lines, plan, cluster, speed, lambda *_: None, time.clock, time.sleep).run()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
async def test_the_log_has_the_files_order_whatever_time_a_message_takes(fraction: float) -> None:
    cluster = FakeCluster()
    report = await play(cluster, fraction=fraction)
    assert [entry.body for entry in cluster.log[1:]] == [cue.said.body for cue in script().cues]
    assert (report.people, report.messages, report.differences) == (4, 40, [])


async def test_people_go_and_come_back_as_planned_and_all_are_closed_at_the_end() -> None:
    cluster = FakeCluster()
    report = await play(cluster, fraction=1.0)
    moves = [move for _, _, move in cluster.moves]
    assert report.absences == moves.count("away") == moves.count("back") > 4
    assert report.breaks == moves.count("cut") == 4
    assert not any(device.online for device in cluster.devices)


async def test_who_is_still_away_at_the_end_returns_before_histories_are_compared() -> None:
    lines = script()
    quiet = next(p for p in range(len(NAMES)) if p != lines.cues[-1].person)
    plan = Plan(frozenset({quiet}), {len(lines.cues) - 1: [Turn(quiet, "away")], len(lines.cues): [Turn(quiet, "back")]})
    time = Time()
    report = await Player(lines, plan, FakeCluster(), None, lambda *_: None, time.clock, time.sleep).run()
    assert report.differences == []


@pytest.mark.parametrize("speed", [1.0, 4.0])
async def test_the_pace_is_the_files_divided_by_the_speed(speed: float) -> None:
    time = Time()
    report = await play(FakeCluster(), speed=speed, time=time)
    assert report.seconds == pytest.approx(390.0 / speed, rel=0.01)


def _swap(log: list[Entry]) -> list[Entry]:
    return log if len(log) < 12 else [*log[:10], log[11], log[10], *log[12:]]


FAULTS: dict[str, Callable[[list[Entry]], list[Entry]]] = {
    "missing": lambda log: [entry for entry in log if entry.seq != 9],
    "doubled": lambda log: [copy for entry in log for copy in [entry] * (2 if entry.seq == 9 else 1)],
    "out of order": _swap,
    "changed": lambda log: [msgspec.structs.replace(entry, body=entry.body + " ") if entry.seq == 9 else entry for entry in log],
}


@pytest.mark.parametrize("view", ["live", "history"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_one_person_sees_is_found(fault: str, view: str) -> None:
    report = await play(FakeCluster(FAULTS[fault], view))
    assert [(d.person, d.view, d.mismatch.fault) for d in report.differences] == [("bea" if view == "live" else "cid", view, fault)]


async def test_a_device_that_stops_showing_is_waited_for_and_then_found() -> None:
    time = Time()
    report = await play(FakeCluster(lambda log: log[:20]), time=time)
    assert [(d.view, d.mismatch.fault, d.mismatch.place) for d in report.differences] == [("live", "missing", 20)]
    assert 30 < time.now < 40


async def test_a_group_that_somebody_does_not_see_ends_the_replay() -> None:
    with pytest.raises(ReplayError, match="the device of bea does not see the group"):
        await play(FakeCluster(lambda log: []))


async def test_a_message_that_is_never_stored_ends_the_replay_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.replay.player.STORED_WAIT_S", 0.01)
    cluster = FakeCluster()
    lines = script(3)
    player = Player(lines, Plan(frozenset(), {}), cluster, None, lambda *_: None, Time().clock, Time().sleep)

    async def never(self: FakeDevice, *_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(FakeDevice, "_store", never)
    with pytest.raises(ReplayError, match="the message of line 1 was not stored"):
        await player.run()
    for device in cluster.devices:
        if device.last is not None:
            device.last.cancel()


async def test_the_first_device_that_fails_ends_the_opening_and_all_are_closed() -> None:
    cluster = FakeCluster()
    lines = script()
    player = Player(lines, Plan(frozenset(), {}), cluster, None, lambda *_: None, Time().clock, Time().sleep)

    async def fails() -> None:
        raise ReplayError("no token")

    cluster.devices[2].open = fails  # type: ignore[method-assign]  # this one device is to fail
    with pytest.raises(ReplayError, match="no token"):
        await player.run()
    assert not any(device.online for device in cluster.devices)
