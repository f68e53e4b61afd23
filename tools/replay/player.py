"""Plays a script: every person with a device of his own, and at the end every participant's history against the file.

Owns the order of what happens. Must not know sockets, tokens or terminals: a `Stage` gives it the devices, and the clock and the
waiting are passed in, so tests play on a stage of their own, on which messages get lost.

Laws:
    * A message goes out when the one before it is stored, so the order in the file is the order in the log. Only messages that follow
      each other from one person are handed over together: a client's outbox keeps their order.
    * Nobody speaks while away (`churn`), and everybody is back before histories are compared.
    * What is compared is what each person's device showed while it ran, and his history, fetched afresh at the end by a device that
      knows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from homing.protocol import Entry

from tools.replay.churn import Plan
from tools.replay.compare import Mismatch, compare
from tools.replay.script import Cue, Person, Script

OPENING_MAX = 32
"""Devices that are opened, or histories that are fetched, at the same time: a cluster meters those who come."""
STORED_WAIT_S = 120.0
"""For one message. A cluster that loses a node takes seconds; what takes this long will not come."""
SETTLE_WAIT_S = 30.0
"""At the end, for devices to show what is still on the way, counted from the last that came: then the rest is missing."""
HANDED_OVER_MAX = 32
"""Messages of one person that wait to be stored: more would only wait in the outbox."""
_SETTLE_LOOK_S = 0.05

T = TypeVar("T")
View: TypeAlias = Literal["live", "history"]


class Sent(Protocol):
    """A message that was handed over to a device."""

    @property
    def id(self) -> str:
        """The client message id."""

    def stored(self) -> Awaitable[object]:
        """Done once the cluster has acknowledged it."""


class Device(Protocol):
    """One person's device, with one group in it."""

    @property
    def shown(self) -> Sequence[Entry]:
        """The group's entries as the person saw them come in, also from before and after absences."""

    async def open(self) -> None:
        """Signs in and waits until all is caught up."""

    async def create_group(self, title: str, members: Sequence[str]) -> str:
        """Makes the group, waits until it is stored, returns its id."""

    async def send(self, group: str, type_: str, body: str) -> Sent: ...

    async def away(self) -> None:
        """Ends the connection in an orderly way."""

    async def back(self) -> None:
        """Returns after `away`; need not wait until all is caught up."""

    async def cut(self) -> None:
        """Loses the connection without a word, and connects again by itself."""

    async def close(self) -> None: ...


class Stage(Protocol):
    def device(self, person: Person) -> Device: ...

    async def history(self, person: Person, group: str) -> list[Entry]:
        """The whole conversation, as a device of this person that knows nothing fetches it, oldest first."""


class Difference(NamedTuple):
    person: str
    view: View
    mismatch: Mismatch
    text: str
    """The mismatch in words, with names."""


class Report(NamedTuple):
    people: int
    messages: int
    seconds: float
    """From the first message sent to the last one stored."""
    absences: int
    breaks: int
    differences: list[Difference]


class ReplayError(Exception):
    """The cluster did not do what it was asked; the message says what."""


Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a phase, how much of it is done, and how much there is."""


class Player:
    """Plays one script once.

    Args:
        script: what is said.
        plan: who goes away and comes back meanwhile.
        stage: the devices.
        speed: how many times faster than the file; None: as fast as it goes.
        clock: monotonic seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        script: Script,
        plan: Plan,
        stage: Stage,
        speed: float | None,
        progress: Progress,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.script, self.plan, self.stage, self.speed = script, plan, stage, speed
        self._progress, self._clock, self._sleep = progress, clock, sleep
        self.devices = [stage.device(person) for person in script.people]
        self.sent_ids: list[str] = []
        self._pending: list[tuple[Cue, Sent]] = []
        self._moves = {"away": 0, "back": 0, "break": 0}

    async def run(self) -> Report:
        """Plays and compares.

        Raises:
            ReplayError: something was not answered in time, or refused.
        """
        async with self._opened():
            group = await self._gather_group()
            started = self._clock()
            for number, cue in enumerate(self.script.cues):
                await self._play(number, cue, group, started)
                self._progress("messages", number + 1, len(self.script.cues))
            await self._wait_stored()
            seconds = self._clock() - started
            await self._turn(len(self.script.cues))
            await self._settle(1 + len(self.script.cues))
            differences = self._compare_live() + await self._compare_histories(group)
        people, messages = len(self.script.people), len(self.script.cues)
        return Report(people, messages, seconds, self._moves["away"], self._moves["break"], differences)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        try:
            await self._all("people", [device.open for device in self.devices])
            yield
        finally:
            await asyncio.gather(*(device.close() for device in self.devices), return_exceptions=True)

    async def _gather_group(self) -> str:
        """The first speaker creates it with everybody; nothing is said before everybody has it."""
        members = [person.user for person in self.script.people[1:]]
        try:
            async with asyncio.timeout(STORED_WAIT_S):
                group = await self.devices[0].create_group(self.script.title, members)
        except TimeoutError:
            raise ReplayError(f"the group was not created within {STORED_WAIT_S:.0f} s") from None
        await self._settle(1)
        for person, device in zip(self.script.people, self.devices, strict=True):
            if not device.shown:
                raise ReplayError(f"the device of {person.name} does not see the group")
        return group

    async def _play(self, number: int, cue: Cue, group: str, started: float) -> None:
        if self.speed is not None:
            wait_s = started + cue.due_s / self.speed - self._clock()
            if wait_s > 0:
                await self._sleep(wait_s)
        await self._turn(number)
        if self._pending and (self._pending[-1][0].person != cue.person or len(self._pending) >= HANDED_OVER_MAX):
            await self._wait_stored()
        device = self.devices[cue.person]
        sent = await device.send(group, cue.said.type, cue.said.body)
        self.sent_ids.append(sent.id)
        self._pending.append((cue, sent))
        if any(turn.move == "break" for turn in self.plan.turns.get(number, ())):
            self._moves["break"] += 1
            await device.cut()

    async def _turn(self, number: int) -> None:
        for person, move in self.plan.turns.get(number, ()):
            if move == "away":
                if self._pending and self._pending[-1][0].person == person:
                    await self._wait_stored()  # what he said last must not wait for his return
                await self.devices[person].away()
            elif move == "back":
                await self.devices[person].back()
            else:
                continue
            self._moves[move] += 1

    async def _wait_stored(self) -> None:
        for cue, sent in self._pending:
            try:
                async with asyncio.timeout(STORED_WAIT_S):
                    await sent.stored()
            except TimeoutError:
                raise ReplayError(f"the message of line {cue.line} was not stored within {STORED_WAIT_S:.0f} s") from None
            except ReplayError as error:
                raise ReplayError(f"the message of line {cue.line}: {error}") from None
        self._pending.clear()

    async def _settle(self, entries: int) -> None:
        """Waits until every device shows so many entries, or nothing has come for long."""
        latest, since = -1, self._clock()
        wanted = entries * len(self.devices)
        while (shown := sum(min(entries, len(device.shown)) for device in self.devices)) < wanted:
            if shown != latest:
                latest, since = shown, self._clock()
            elif self._clock() - since > SETTLE_WAIT_S:
                return
            await self._sleep(_SETTLE_LOOK_S)

    def _compare_live(self) -> list[Difference]:
        pairs = zip(self.script.people, self.devices, strict=True)
        return list(self._differences("live", ((person, device.shown) for person, device in pairs)))

    async def _compare_histories(self, group: str) -> list[Difference]:
        histories = await self._all("histories", [partial(self.stage.history, person, group) for person in self.script.people])
        return list(self._differences("history", zip(self.script.people, histories, strict=True)))

    def _differences(self, view: View, found: Iterable[tuple[Person, Sequence[Entry]]]) -> Iterable[Difference]:
        names = {person.user: person.name for person in self.script.people}
        for person, entries in found:
            mismatch = compare(self.script.cues, self.sent_ids, entries)
            if mismatch is not None:
                yield Difference(person.name, view, mismatch, mismatch.tell(names))

    async def _all(self, phase: str, work: Sequence[Callable[[], Coroutine[None, None, T]]]) -> list[T]:
        """Does all of it, so much at a time; the first that fails ends the rest."""
        gate = asyncio.Semaphore(OPENING_MAX)
        done = 0

        async def one(job: Callable[[], Coroutine[None, None, T]]) -> T:
            nonlocal done
            async with gate:
                result = await job()
            done += 1
            self._progress(phase, done, len(work))
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(job)) for job in work]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]
