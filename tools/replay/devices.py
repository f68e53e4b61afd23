"""The stage on which a chat is really played: each person a client of his own, over a real WebSocket, against a running cluster.

Owns clients, tokens and addresses. Must not know the script's order or what is compared.

A person connects to his home node, as the directory names it, or with ``split`` to another one on purpose, so that every message and
every mark crosses the mesh. Other nodes follow as alternatives: a node may die while the chat is played.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
from homing.client import Client, HistoryUnavailable
from homing.effects import Gap, Shown
from homing.engine import SignInStopped
from homing.handles import ClientClosed, Handle, RequestRefused
from homing.limits import Limits
from homing.outbox import OutboxFull
from homing.protocol import Entry
from homing.requests import RequestInvalid
from homing.store import MemoryStore

from tools.errors import UNREACHABLE, CommandError
from tools.http import get, session
from tools.replay.churn import Plan
from tools.replay.player import Player, Progress, ReplayError, Report
from tools.replay.script import Person, Script
from tools.token import issue

DEVICE, CHECKER = "replay", "replay-check"
LIVE_WAIT_S = 60.0
"""For a device to be caught up; a cluster that has just lost a node takes seconds."""
CONNECT_TRIES = 20
"""For a directory that has answered before: a supervisor starts a dead one again within seconds."""
CONNECT_TRIES_FIRST = 3
CONNECT_PAUSE_S = 0.5
CUT_AFTER_S_MAX = 0.004
"""A cut comes up to this long after the message was handed over: sometimes before it arrives, sometimes before its answer does."""
STORE_ENTRIES_MAX = 200
"""Entries that each of the many clients keeps for itself; what it showed is kept here, once for all of them."""
LIMITS = Limits(backoff_min_s=0.1, backoff_max_s=2.0, catchup_entries_max=10_000_000)
"""Some connections are cut on purpose, and the chat waits for them; and whoever was away wants all of it, however much."""
_SPARE_FILES = 64


class ClientDevice:
    """One person's device; see `player.Device`."""

    def __init__(self, stage: ClusterStage, person: Person) -> None:
        self._stage, self._person = stage, person
        self._client: Client | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._shown: defaultdict[str, list[Entry]] = defaultdict(list)

    @property
    def shown(self) -> Sequence[Entry]:
        return self._shown[self._stage.group]

    @property
    def client(self) -> Client:
        assert self._client is not None, "not open"
        return self._client

    async def open(self) -> None:
        self._client = await self._stage.client(self._person, DEVICE)
        self._watcher = asyncio.create_task(self._watch(self._client))
        await self._stage.wait_live(self._client, self._person)

    async def _watch(self, client: Client) -> None:
        """Keeps what the device shows, in the order in which it does."""
        async for event in client.events():
            if isinstance(event, Shown):
                self._shown[event.entry.conversation].append(self._stage.shared(event.entry))
            elif isinstance(event, Gap) and event.reason != "not_visible":
                await self._scroll_back(client, event)

    async def _scroll_back(self, client: Client, gap: Gap) -> None:
        """Reads what was passed over because it was too much at once, as a person does who scrolls."""
        limit = gap.to_seq - gap.from_seq + 1
        entries = [entry async for entry in client.conversation(gap.conversation).history(gap.to_seq + 1, limit)]
        self._shown[gap.conversation] += map(self._stage.shared, reversed(entries))

    async def create_group(self, title: str, members: Sequence[str]) -> str:
        handle = await self.client.create_group(title, *members)
        self._stage.group = handle.conversation
        await SentMessage(handle).stored()
        return handle.conversation

    async def send(self, group: str, type_: str, body: str) -> SentMessage:
        try:
            return SentMessage(await self.client.send(group, body, type_))
        except (RequestInvalid, OutboxFull, ClientClosed) as error:
            raise ReplayError(f"cannot send: {error}") from None

    async def away(self) -> None:
        await self.client.disconnect()

    async def back(self) -> None:
        self.client.connect()

    async def cut(self) -> None:
        await asyncio.sleep(self._stage.rng.random() * CUT_AFTER_S_MAX)
        self.client.drop_connection()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError, HistoryUnavailable, ClientClosed, RequestRefused):
                await self._watcher


class SentMessage:
    """See `player.Sent`."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def id(self) -> str:
        return self._handle.id

    async def stored(self) -> None:
        try:
            await self._handle.stored
        except RequestRefused as error:
            raise ReplayError(f"the cluster refused it: {error}") from None
        except ClientClosed as error:
            raise ReplayError(str(error)) from None


class ClusterStage:
    """See `player.Stage`.

    Args:
        directory: the directory's HTTP address.
        data: the cluster's data directory, whose keys sign the tokens.
        split: connect people away from home.
        rng: chooses where to, and when exactly connections break.
        sockets: for all clients together; its connector must not limit connections.
        http: for questions to the directory.
    """

    def __init__(
        self, directory: str, data: Path, split: bool, rng: random.Random, sockets: aiohttp.ClientSession, http: aiohttp.ClientSession
    ) -> None:
        self._directory, self._data, self._split = directory.rstrip("/"), data, split
        self.rng, self._sockets, self._http = rng, sockets, http
        self.group = ""
        self._reached = False
        self._entries: dict[tuple[str, int], Entry] = {}

    def device(self, person: Person) -> ClientDevice:
        return ClientDevice(self, person)

    def shared(self, entry: Entry) -> Entry:
        """The first equal entry that anybody was shown: a thousand people who saw a message need not hold it a thousand times."""
        first = self._entries.setdefault((entry.conversation, entry.seq), entry)
        return first if first == entry else entry

    async def history(self, person: Person, group: str) -> list[Entry]:
        client = await self.client(person, CHECKER)
        try:
            await self.wait_live(client, person)
            entries = [self.shared(entry) async for entry in client.conversation(group).history()]
        except (HistoryUnavailable, RequestRefused) as error:
            raise ReplayError(f"the history of {person.name} cannot be fetched: {error}") from None
        finally:
            await client.close()
        entries.reverse()
        return entries

    async def client(self, person: Person, device: str) -> Client:
        """A client that begins to connect."""
        urls = await self._urls(person)

        async def token() -> str:
            try:
                return await asyncio.to_thread(issue, self._data, person.name, device)
            except CommandError as error:
                raise SignInStopped(str(error)) from None

        store = MemoryStore(STORE_ENTRIES_MAX)
        client = Client(urls, token, store, user=person.user, session=self._sockets, limits=LIMITS, program="homing-replay")
        await client.open()
        return client

    async def wait_live(self, client: Client, person: Person) -> None:
        try:
            async with asyncio.timeout(LIVE_WAIT_S):
                await client.wait_for("live")
        except TimeoutError:
            raise ReplayError(f"{person.name} cannot connect: {client.state}, {client.reason or 'no answer'}") from None
        except ClientClosed as error:
            raise ReplayError(f"{person.name} cannot connect: {error}") from None

    async def _urls(self, person: Person) -> list[str]:
        """Where the person connects: to the first, and to the others if that fails."""
        home, nodes = await self._placement(person)
        others = [node for node in nodes if node != home]
        self.rng.shuffle(others)
        if self._split:
            if not others:
                raise ReplayError("--split-nodes needs at least two nodes")
            return [*others, home]
        return [home, *others]

    async def _placement(self, person: Person) -> tuple[str, list[str]]:
        """The user's home node and all nodes, as the directory names them."""
        reason, tries = "", 0
        while tries < (CONNECT_TRIES if self._reached else CONNECT_TRIES_FIRST):
            if tries:
                await asyncio.sleep(CONNECT_PAUSE_S)
            tries += 1
            try:
                reply = await get(self._http, f"{self._directory}/v1/connect?user={person.user}")
                value = reply.json()
            except (OSError, ValueError) as error:
                reason = str(error)
                continue
            if reply.status == 200 and isinstance(value, dict) and value.get("home"):
                self._reached = True
                return str(value["home"]), [str(node) for node in value["nodes"]]
            reason = f"it names no node (HTTP {reply.status})"
        raise CommandError(f"cannot use the directory at {self._directory}: {reason}", UNREACHABLE)


@contextlib.asynccontextmanager
async def _sockets(connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for so many sockets, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted, hard))
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as sockets:
        yield sockets


async def play(
    script: Script, plan: Plan, directory: str, data: Path, speed: float | None, split: bool, rng: random.Random, progress: Progress
) -> Report:
    """Plays ``script`` against the cluster whose directory is at ``directory``; see `Player`."""
    async with _sockets(2 * len(script.people)) as sockets, session() as http:
        stage = ClusterStage(directory, data, split, rng, sockets, http)
        return await Player(script, plan, stage, speed, progress, time.monotonic).run()
