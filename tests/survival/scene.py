"""One cluster, the people on it, and a look at everything after each mishap.

Owns the order: all talk, something dies, all go on talking, all fall silent, and what everybody holds is compared.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

from homing import HistoryUnavailable
from homing.ids import slot_of
from homing.protocol import Entry

from tests.integration.conftest import ClusterProcess
from tests.survival import checks
from tests.survival.people import Crowd, Device
from tests.survival.records import Histories
from tools.http import get, session

WARM_S = 2.0
ANSWERED_WITHIN_S = 20.0
"""Bound for "every request is answered" after the last mishap's end: a backoff at its height and a request's time-out."""
SETTLED_WITHIN_S = 20.0
LATE_S = 8.0
"""What takes longer is worth a look at who was late."""
LOOK_S = 0.05
IN_FLIGHT_S = 0.1
"""What was answered before the mishap may be read from the socket so long after it."""
SOON_S = 0.5
"""Only a conversation in which somebody who kept his connection spoke so soon after the mishap tells how long it was away."""


@dataclass
class Outcome:
    """How one mishap went by. Times are seconds from the mishap."""

    name: str
    said: int = 0
    devices_s: dict[str, float] = field(default_factory=dict)
    """device → until the first message is stored that it says over a new connection, of those that were connected to what died."""
    conversations_s: dict[str, float] = field(default_factory=dict)
    """conversation → until its first `stored`, of those that were at home there and in which somebody talked."""
    silence_s: float = 0.0
    """The longest time in which nobody at all got a `stored`."""
    errors: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    settle_s: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.said} said, nobody stored for {self.silence_s:.2f} s, settled in {self.settle_s:.2f} s"]
        for word, values in (("devices of the dead", self.devices_s), ("conversations at home there", self.conversations_s)):
            if values:
                v = sorted(values.values())
                listed = " ".join(f"{x:.2f}" for x in v)
                parts.append(f"  {word} ({len(v)}): p50 {statistics.median(v):.2f} s, max {v[-1]:.2f} s: {listed}")
        parts += [f"  {word}: {dict(values)}" for word, values in (("errors", self.errors), ("connections lost", self.lost)) if values]
        return "\n".join(parts)


class Scene:
    """See the module."""

    def __init__(self, cluster: ClusterProcess, crowd: Crowd, per_s: float) -> None:
        self.cluster, self.crowd, self.per_s = cluster, crowd, per_s
        self.truth: dict[str, list[Entry]] = {}
        """conversation → what stood in it, for all to read, at the last look."""
        self.histories: Histories = {}
        """What was fetched at the last look."""
        self.looks = 0

    # ------------------------------------------------------------ mishaps

    async def mishap(self, name: str, act: Callable[[], Awaitable[object]], run_s: float, hit: Iterable[str] = ()) -> Outcome:
        """All talk, ``act`` happens to the processes ``hit``, all talk for ``run_s`` more, then everything is compared."""
        devices, outcome, first = self.crowd.all_devices, Outcome(name), len(self.crowd.said)
        await asyncio.gather(*(device.go_home() for device in devices))
        before = [(Counter(d.errors), Counter(d.lost)) for d in devices]
        self.crowd.talk(self.per_s)
        await asyncio.sleep(WARM_S)
        hit = set(hit)
        there = [d for d in devices if d.node in hit and d.person in self.crowd.places]
        homes = await self.homes()
        at_home = [c for c in self.crowd.members if homes[c] in hit]
        at = self.crowd.now()
        await act()
        await asyncio.sleep(max(0.0, at + run_s - self.crowd.now()))
        await self.crowd.hush()
        outcome.settle_s = await self.settle()
        outcome.said = len(self.crowd.said) - first
        self._measure(outcome, at, there, at_home)
        for device, (errors, lost) in zip(devices, before, strict=True):
            outcome.errors += device.errors - errors
            outcome.lost += device.lost - lost
        print(outcome, flush=True)
        await self.compare()
        return outcome

    def _measure(self, outcome: Outcome, at: float, there: Sequence[Device], at_home: Iterable[str]) -> None:
        stored = sorted((s.stored_at, s.said_at, s.device, s.conversation) for s in self.crowd.said if s.stored_at > at + IN_FLIGHT_S)
        for device in there:
            back = min((t for t in device.welcomes if t > at), default=float("inf"))
            # Whoever had nothing to say when he was back could have: his first message counts as said then.
            first = (t - max(0.0, said_at - back) for t, said_at, name, _ in stored if name == device.name and t >= back)
            outcome.devices_s[device.name] = next(first, float("inf")) - at
        away = {device.name for device in there}
        wanted = {c for _, said_at, name, c in stored if said_at < at + SOON_S and name not in away}
        for conversation in wanted.intersection(at_home):
            outcome.conversations_s[conversation] = min(t for t, _, _, c in stored if c == conversation) - at
        times = [at, *(t for t, _, _, _ in stored)]
        outcome.silence_s = max((b - a for a, b in pairwise(times)), default=float("inf"))

    async def incarnation(self, name: str) -> str:
        """Which incarnation of a process is in the table; empty: none."""
        async with session() as http:
            members = (await get(http, f"{self.cluster.url}/v1/cluster")).json()["members"]  # type: ignore[index]  # a document of ours
        return next((str(m["incarnation"]) for m in members if m["name"] == name and m["in_table"]), "")

    async def homes(self) -> dict[str, str]:
        """conversation → the node where it is at home, as the directory says."""
        async with session() as http:
            nodes = (await get(http, f"{self.cluster.url}/v1/slots")).json()["nodes"]  # type: ignore[index]  # a document of ours
        owner = {slot: node["name"] for node in nodes for first, count in node["slots"] for slot in range(first, first + count)}
        return {conversation: owner.get(slot_of(conversation), "") for conversation in self.crowd.members}

    # ------------------------------------------------------------ the look at everything

    async def settle(self) -> float:
        """Waits until all that was said is answered and every screen shows all of it; returns how long that took."""
        began = self.crowd.now()
        await self._until(lambda: not self.crowd.unanswered(), LATE_S)
        late = [f"  late: {device.news()}" for device in self.crowd.all_devices if device.said or device.client.state != "live"]
        await self._until(lambda: not self.crowd.unanswered(), ANSWERED_WITHIN_S)
        heads: dict[str, int] = {}
        for said in self.crowd.said:
            if said.entry is not None:
                heads[said.conversation] = max(heads.get(said.conversation, 0), said.entry.seq)
        await self._until(lambda: all(self._has_all(device, heads) for device in self.crowd.all_devices), SETTLED_WITHIN_S)
        took_s = self.crowd.now() - began
        if took_s > LATE_S:
            print(*late, sep="\n")
        await self._until(lambda: not list(self._marks_missing()), SETTLED_WITHIN_S)
        return took_s

    def _has_all(self, device: Device, heads: dict[str, int]) -> bool:
        shown = device.screen.shown
        return (
            device.client.state == "live"
            and all(len(shown.get(c, ())) >= heads.get(c, 0) for c, users in self.crowd.members.items() if device.user in users)
            and all(c in shown and shown[c][-1].seq >= heads.get(c, 0) for c in self.crowd.inside(device.user))
        )

    def _marks_missing(self) -> Iterable[str]:
        for device in self.crowd.all_devices:
            device.note_marks()
        return checks.marks_have_arrived([d.screen for d in self.crowd.all_devices], self.crowd.said, self.crowd.members)

    async def _until(self, holds: Callable[[], bool], timeout_s: float) -> None:
        """Waits, but not for ever: what does not hold then is found by the checks, which say it better."""
        until = self.crowd.now() + timeout_s
        while not holds() and self.crowd.now() < until:
            await asyncio.sleep(LOOK_S)

    async def compare(self, whole: bool = False) -> None:
        """Every member fetches with a new device what is new since the last look (all of it, if ``whole``); all must hold the same."""
        self.looks += 1
        above = {} if whole else {c: len(entries) for c, entries in self.truth.items()}
        histories = await self._fetch(above)
        members = self.crowd.members
        new = {c: histories[users[0]].get(c, []) for c, users in members.items()}
        if whole:
            changed = [c for c, entries in self.truth.items() if new[c][: len(entries)] != entries]
            assert not changed, f"what was read before stands otherwise now: {changed}"
        self.truth = {c: [*(self.truth.get(c, []) if not whole else []), *entries] for c, entries in new.items()}
        self.histories = histories
        report = "\n".join(self.broken(histories, above))
        assert not report, f"broken promises:\n{report}\n(data in {self.cluster.data})"

    def broken(self, histories: Histories, above: dict[str, int]) -> list[str]:
        """What is wrong with these histories (of what lies ``above`` seq, per conversation), and with all that was said and shown."""
        crowd, truth = self.crowd, self.truth
        members, said = crowd.members, crowd.said
        screens = [device.screen for device in crowd.all_devices]
        guests = (
            checks.guests_see_their_time(screen, truth[group], group)
            for group, users in crowd.guests.items()
            for screen in screens
            if screen.user in users
        )
        found = {
            "answered": checks.all_answered(said),
            "acked": checks.acked_is_everywhere(said, histories, members, above),
            "once, in order": checks.once_and_in_order(histories, above),
            "same for all": checks.same_for_all(histories, members),
            "not invented": checks.nothing_invented(said, histories),
            "own order": checks.own_order(said),
            "screens": checks.screens_are_true(screens, truth, members, crowd.guests),
            "guests": chain.from_iterable(guests),
            "marks": checks.marks_have_arrived(screens, said, members),
        }
        return [f"{name}: {problem}" for name, problems in found.items() for problem in checks.some(problems)]

    async def _fetch(self, above: dict[str, int]) -> Histories:
        histories: Histories = {}
        begun = {said.conversation for said in self.crowd.said}
        gate = asyncio.Semaphore(8)

        async def one(person: str) -> None:
            async with gate:
                device = self.crowd.new_device(person, f"look{self.looks}")
                await device.open()
                try:
                    histories[device.user] = {
                        c: await self._history(device, c, above.get(c, 0)) for c in begun.intersection(self.crowd.chats_of(device.user))
                    }
                finally:
                    await device.close()

        async with asyncio.TaskGroup() as group:
            for person in self.crowd.devices:
                group.create_task(one(person))
        return histories

    async def _history(self, device: Device, conversation: str, above: int) -> list[Entry]:
        entries: list[Entry] = []
        try:
            async for entry in device.client.conversation(conversation).history():
                if entry.seq <= above:
                    break
                entries.append(entry)
        except HistoryUnavailable as error:
            raise AssertionError(f"{device.name} cannot fetch {conversation}: {error}") from None
        return entries[::-1]
