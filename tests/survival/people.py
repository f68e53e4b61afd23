"""People who chat while processes die: each device a real client on a real socket with a store of its own, and what it was seen to do.

Owns clients, who talks in which conversation, and the pace. It must not know what is killed, nor what is right (`checks.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

import aiohttp
from homing import Client, Gap, Handle, Refused, RequestRefused, Shown, StateChanged, Stored, ids
from homing.effects import Effect
from homing.limits import Limits
from homing.protocol import Error, ServerFrame, Welcome
from homing.store import MemoryStore
from homing.streams import Event, EventStream

from tests.survival.records import Said, Screen
from tools.token import issue

UNANSWERED_MAX = 40
"""What somebody whose device is offline says before he waits."""
READ_SHARE = 0.05
"""Entries on whose showing the chat is read; marks of reading travel for a part of the messages only."""
LIMITS = Limits(catchup_entries_max=1_000_000, backoff_max_s=4.0)
"""As by default, but what was missed is never skipped, and whoever lost ten connections in a row comes back before the test's end."""
EVENTS_MAX = 1_000_000
"""Nobody here may be too slow for his own events: all that is shown is compared."""
OPEN_AT_ONCE = 8
LIVE_WAIT_S = 60.0


class Device:
    """One device of a person.

    Attributes:
        client: it.
        node: the node that welcomed it last.
        welcomes: when it was welcomed.
        errors: the error frames it got, by name, also those that the library deals with by itself.
        lost: why connections ended.
    """

    def __init__(self, crowd: Crowd, person: str, device: str, urls: Sequence[str], store: Path | None) -> None:
        self.crowd, self.person, self.device = crowd, person, device
        self.user = ids.user_id(person)
        self.name = f"{person}/{device}"
        self.screen = Screen(self.name, self.user)
        self.node = ""
        self.welcomes: list[float] = []
        self.errors: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.said: dict[str, Said] = {}
        """What it said that has no answer yet."""
        self.count = 0
        self.client = Client(
            urls, crowd.token(person, device), store or MemoryStore(), user=person, session=crowd.sockets, limits=LIMITS, program="survival"
        )
        self._watcher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await self.client.open(connect=False)
        handle = self.client.core.frame

        def frame(frame: ServerFrame, now: float) -> list[Effect]:
            if isinstance(frame, Welcome):
                self.node = frame.node
                self.welcomes.append(now)
            elif isinstance(frame, Error):
                self.errors[frame.name] += 1
            return handle(frame, now)

        self.client.core.frame = frame  # type: ignore[method-assign]  # what the library deals with by itself is to be seen as well
        self._watcher = asyncio.create_task(self._watch(self.client._stream(None, EVENTS_MAX)))
        self.client.connect()
        async with asyncio.timeout(LIVE_WAIT_S):
            await self.client.wait_for("live")

    async def go_home(self) -> None:
        """Back to the node where it was first: after a death its people are elsewhere, and would stay there."""
        if self.client._engine._url_number % len(self.crowd.urls):
            await self.client.disconnect()
            self.client._engine._url_number = 0
            self.client.connect()
        async with asyncio.timeout(LIVE_WAIT_S):
            await self.client.wait_for("live")

    async def close(self) -> None:
        await self.client.close()
        if self._watcher is not None:
            await self._watcher

    async def _watch(self, events: EventStream) -> None:
        async for event in events:
            await self._on_event(event)

    async def _on_event(self, event: Event) -> None:
        match event:
            case Shown(entry):
                self.screen.shown.setdefault(entry.conversation, []).append(entry)
                if entry.sender != self.user and self.crowd.rng.random() < READ_SHARE:
                    await self.client.conversation(entry.conversation).read()
            case Stored(id, entry) if said := self.said.pop(id, None):
                said.entry, said.stored_at = entry, self.crowd.now()
            case Refused(id, error) if said := self.said.pop(id, None):
                said.refused = f"{error.name}: {error.message}"
            case Gap(conversation, first, last, reason):
                self.screen.gaps.append(f"{conversation} {first}-{last}: {reason}")
            case StateChanged("waiting" | "closed" as state, code, reason):
                self.lost[f"{state} {code} {reason}"] += 1

    async def say(self, to: str, body: str) -> Said:
        """Says something to a user or into a group; returns once the client has it safe."""
        self.count += 1
        id_ = f"{self.name}#{self.count}"
        conversation = ids.direct_id(self.user, to) if ids.kind_of(to) == ids.USER else to
        said = self.said[id_] = Said(id_, conversation, self.user, self.name, body, self.crowd.now())
        self.crowd.said.append(said)
        await self.client.send(to, body, id=id_)
        return said

    def news(self) -> str:
        """How it is, for people."""
        due_s = (self.client.core.next_deadline() or self.crowd.now()) - self.crowd.now()
        waits = {said.conversation[:8] for said in self.said.values()}
        return f"{self.name} at {self.node}: {self.client.state} ({self.client.reason}), due in {due_s:.1f} s, {len(self.said)} in {waits}"

    def note_marks(self) -> None:
        """Writes down how far it has come and what it knows of others."""
        core, screen = self.client.core, self.screen
        screen.marks = {c: dict(marks) for c, marks in core.marks.others.items()}
        screen.reached = {c: state.contig for c, state in core.conversations.items()}
        screen.read = {c: state.read for c, state in core.conversations.items()}


class Crowd:
    """All people of a test, on one cluster.

    Args:
        data: the cluster's data directory, whose keys sign the tokens.
        urls: the nodes.
        folder: where local stores lie.
        sockets: for all clients.
        rng: the dice.
    """

    def __init__(self, data: Path, urls: Sequence[str], folder: Path, sockets: aiohttp.ClientSession, rng: random.Random) -> None:
        self.data, self.urls, self.folder, self.sockets, self.rng = data, list(urls), folder, sockets, rng
        self.devices: dict[str, list[Device]] = {}
        """person → his devices."""
        self.members: dict[str, list[str]] = {}
        """conversation → user ids."""
        self.places: dict[str, list[tuple[str, float]]] = {}
        """person → where he talks (a user's or group's id), with weights."""
        self.said: list[Said] = []
        self.guests: dict[str, list[str]] = {}
        """group → user ids of those who come and go."""
        self._inviting: dict[str, tuple[Device, list[str]]] = {}
        self._inside: dict[str, set[str]] = {}
        """group → which of them are in."""
        self._changes = 0
        self._begun: set[asyncio.Task[object]] = set()
        self._talkers: list[asyncio.Task[None]] = []

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def token(self, person: str, device: str) -> Callable[[], Awaitable[str]]:
        async def get() -> str:
            return issue(self.data, person, device)

        return get

    @property
    def all_devices(self) -> list[Device]:
        return [device for devices in self.devices.values() for device in devices]

    # ------------------------------------------------------------ who there is

    def add(self, person: str, devices: int, stored: bool) -> None:
        """Somebody with so many devices, each at another node first; the first one with a local store, if ``stored``."""
        first = len(self.devices)
        made = self.devices[person] = []
        for number in range(devices):
            url = self.urls[(first + number) % len(self.urls)]
            others = [other for other in self.urls if other != url]
            store = self.folder / f"{person}-{number}.db" if stored and not number else None
            made.append(Device(self, person, f"d{number}", [url, *self.rng.sample(others, len(others))], store))

    def new_device(self, person: str, device: str) -> Device:
        """A further device, which knows nothing and keeps nothing."""
        return Device(self, person, device, self.rng.sample(self.urls, len(self.urls)), None)

    def chats_of(self, user: str) -> list[str]:
        return [conversation for conversation, users in self.members.items() if user in users]

    def inside(self, user: str) -> list[str]:
        """The groups that he comes and goes in, and in which he is now."""
        return [group for group, users in self._inside.items() if user in users]

    def invite(self, group: str, maker: str, guests: Sequence[str]) -> None:
        """The group's maker takes the guests in and sends them away again, for as long as all talk."""
        self._inviting[group] = (self.devices[maker][0], [ids.user_id(guest) for guest in guests])
        self.guests[group] = self._inviting[group][1]

    async def _come_and_go(self, group: str, maker: Device, guests: Sequence[str]) -> None:
        conversation = maker.client.conversation(group)
        inside = self._inside.setdefault(group, set())

        async def turn(guest: str) -> None:
            await self._change(await (conversation.remove if guest in inside else conversation.add)(guest), maker)
            inside.symmetric_difference_update({guest})

        while True:
            await self._to_the_end(turn(self.rng.choice(guests)))
            await asyncio.sleep(self.rng.uniform(0.0, 0.6))

    async def _change(self, handle: Handle, maker: Device) -> None:
        """Waits for a change of a group; what its entry says is its home's affair."""
        said = Said(handle.id, handle.conversation, maker.user, maker.name, "", self.now())
        self.said.append(said)
        self._changes += 1
        try:
            said.entry = await handle.stored
            said.body, said.stored_at = said.entry.body, self.now()
        except RequestRefused as error:
            said.refused = str(error)
        finally:
            self._changes -= 1

    def places_of(self, person: str) -> list[str]:
        return [to for to, _ in self.places[person]]

    async def open(self) -> None:
        gate = asyncio.Semaphore(OPEN_AT_ONCE)

        async def one(device: Device) -> None:
            async with gate:
                await device.open()

        async with asyncio.TaskGroup() as group:
            for device in self.all_devices:
                group.create_task(one(device))

    async def close(self) -> None:
        await self.hush()
        await asyncio.gather(*(device.close() for device in self.all_devices))

    def meet(self, a: str, b: str, weight: float = 1.0) -> None:
        """The two talk to each other."""
        users = ids.user_id(a), ids.user_id(b)
        self.members[ids.direct_id(*users)] = list(users)
        for person, other in ((a, users[1]), (b, users[0])):
            self.places.setdefault(person, []).append((other, weight))

    async def gather(self, title: str, people: Sequence[str], weight: float) -> str:
        """The first one makes a group of all."""
        maker = self.devices[people[0]][0]
        handle = await maker.client.create_group(title, *people[1:])
        await self._change(handle, maker)
        self.members[handle.conversation] = [ids.user_id(person) for person in people]
        for person in people:
            self.places.setdefault(person, []).append((handle.conversation, weight))
        return handle.conversation

    # ------------------------------------------------------------ talk

    def talk(self, per_s: float) -> None:
        """Everybody begins to talk, so many messages a second in all."""
        mean_s = len(self.places) / per_s
        self._talkers = [asyncio.create_task(self._talk(person, mean_s)) for person in self.places]
        self._talkers += [asyncio.create_task(self._come_and_go(group, *who)) for group, who in self._inviting.items()]

    async def hush(self) -> None:
        """Nobody says more."""
        for talker in self._talkers:
            talker.cancel()
        for result in await asyncio.gather(*self._talkers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        self._talkers = []

    async def _talk(self, person: str, mean_s: float) -> None:
        rng, devices = self.rng, self.devices[person]
        places, weights = zip(*self.places[person], strict=True)
        await asyncio.sleep(rng.random() * mean_s)
        while True:
            device = rng.choice(devices)
            if len(device.said) < UNANSWERED_MAX:
                (to,) = rng.choices(places, weights)
                await self._to_the_end(device.say(to, f"{person} {rng.getrandbits(64):x}"))
            await asyncio.sleep(rng.uniform(0.5, 1.5) * mean_s)

    async def _to_the_end(self, work: Coroutine[None, None, object]) -> None:
        """Does it all, also when everybody is hushed meanwhile."""
        task = asyncio.create_task(work)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        await asyncio.shield(task)

    def unanswered(self) -> int:
        return self._changes + sum(len(device.said) for device in self.all_devices)


def sockets() -> aiohttp.ClientSession:
    """One session for any number of clients."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)
