"""The asyncio client: connects, keeps a local store, and offers messages and events.

    async with Client("ws://127.0.0.1:7401", get_token, store="me.db") as client:
        sent = await client.send("bob", "hello")     # returns once it is safe in the outbox
        await sent.stored                            # the cluster has it for good
        async for event in client.events():
            ...

All rules are the core's (`homing.core`), all work is the engine's (`homing.engine`); this is what a program sees of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from weakref import WeakSet, WeakValueDictionary

import aiohttp

from homing import ids
from homing.connection import Format
from homing.conversations import Conversation
from homing.core import ClientCore
from homing.effects import Answered, Delivered, Effect, ReadBy, Refused, Shown, State, StateChanged, Stored
from homing.engine import Engine, GetToken
from homing.handles import ClientClosed, Handle, RequestRefused
from homing.limits import DEFAULTS, Limits
from homing.names import Names
from homing.presence import Known
from homing.protocol import (
    Block,
    Entries,
    Entry,
    Fetch,
    FetchHeads,
    FetchMembers,
    GroupCreate,
    Heads,
    MemberInfo,
    MembersPage,
    Person,
    Send,
    TypingKind,
    Unblock,
)
from homing.questions import Question
from homing.requests import RequestInvalid
from homing.sqlite import open_store
from homing.state import OutboxItem, Request
from homing.store import Batch, Store, StoreFailed
from homing.streams import EVENT_TYPES, EVENTS_MAX, Event, EventStream

VERSION = "homing-python/0.1"
ANSWER_WAIT_S = 30.0
"""How long history and members are waited for; they are asked again by themselves meanwhile."""
MEMBERS_CACHED_MAX = 256
"""Groups whose members are remembered, to know when all have read."""


class HistoryUnavailable(Exception):
    """What was asked for cannot be fetched now: not connected for too long."""


class Client:
    """One device of one user.

    Args:
        url: a node's or load balancer's address, or several: another one is taken when a connection fails.
        get_token: gives a valid token; called before every connection.
        store: the path of the local SQLite file, a store, or None to forget everything with the process.
        user: the own account's name or id. Only needed to send before the first connection ever.
        session: an aiohttp session to share among clients.
        format: "msgpack", or "json".
    """

    def __init__(
        self,
        url: str | Sequence[str],
        get_token: GetToken,
        store: Store | Path | str | None = None,
        *,
        user: str = "",
        session: aiohttp.ClientSession | None = None,
        format: Format = "msgpack",
        limits: Limits = DEFAULTS,
        program: str = VERSION,
    ) -> None:
        urls = [url] if isinstance(url, str) else list(url)
        self._store = open_store(store)
        self._engine = Engine(urls, get_token, self._store, session, format, limits, program, self._tell)
        self._limits = limits
        self._user = self.user_of(user) if user else ""
        self._changed = asyncio.Event()
        self._handles: WeakValueDictionary[str, Handle] = WeakValueDictionary()
        self._streams: WeakSet[EventStream] = WeakSet()
        self._awaited_streams: set[EventStream] = set()
        self._answers: dict[str, asyncio.Future[Answered]] = {}
        self._marks_moved: dict[str, asyncio.Future[None]] = {}
        self._known_members: dict[str, list[MemberInfo]] = {}
        self._names = Names(self._engine, self._publish)

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Client:
        await self.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def open(self, connect: bool = True) -> None:
        """Opens the store and (unless told not to) begins to connect.

        Raises:
            StoreFailed: the store cannot be opened.
        """
        await self._engine.open(self._user)
        if connect:
            self.connect()

    def connect(self) -> None:
        """Begins to connect, after `open(connect=False)` or `disconnect`. While it waits to try again: tries at once, because the user or
        the network came back; a time that the server named is kept all the same."""
        if not self._engine.is_open:
            raise ClientClosed("the client is not open")
        self._engine.connect()

    async def disconnect(self) -> None:
        """Goes offline in an orderly way; the store stays open, what is sent is queued."""
        await self._engine.disconnect()

    def drop_connection(self) -> None:
        """Cuts the connection without a word, as a broken network would; the client comes back by itself. For tests."""
        self._engine.drop_connection()

    async def close(self) -> None:
        """Ends the connection and closes the store. What is queued stays there."""
        if self._engine.is_open:
            await self._engine.close()
            self._end_waiting(ClientClosed("the client was closed"))

    def _end_waiting(self, error: Exception) -> None:
        for handle in list(self._handles.values()):
            handle._settle(None, error)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(error)
        for moved in self._marks_moved.values():
            if not moved.done():
                moved.set_exception(error)
                moved.exception()
        self._names.wake()
        for stream in list(self._streams):
            stream.end()

    # ------------------------------------------------------------ what a program sees

    @property
    def core(self) -> ClientCore:
        """All that this device knows; for reading only."""
        return self._engine.core

    @property
    def state(self) -> State:
        """idle, connecting, syncing, live (all that was said is shown), waiting (tries again by itself), or closed."""
        return self.core.session.state

    @property
    def code(self) -> int:
        """Why it is in this state: a number of `homing.codes` or a close code, 0 if nothing is wrong."""
        return self.core.session.code

    @property
    def reason(self) -> str:
        """The same in words, for people; its wording may change."""
        return self.core.session.reason

    @property
    def retry_in_s(self) -> float | None:
        """Seconds until it tries to connect again, None: it is not waiting for that."""
        at = self.core.session.connect_at
        return max(0.0, at - self._engine.now()) if at is not None and self.state == "waiting" else None

    @property
    def user(self) -> str:
        """The own user's id, "" before the first welcome ever (unless it was given)."""
        return self.core.user

    async def wait_for(self, *states: State) -> State:
        """Waits until it is in one of the states (default: live).

        Raises:
            ClientClosed: it is closed, and that was not waited for.
        """
        wanted = states or ("live",)
        while self.state not in wanted:
            if self.state == "closed":
                raise ClientClosed(f"closed: {self.reason}")
            await self._changed.wait()
        return self.state

    def events(self) -> EventStream:
        """Everything that happens from now on."""
        return self._stream(None)

    def conversation(self, id_or_user: str) -> Conversation:
        """A conversation by its id, or the direct one with a user (id or name).

        Raises:
            RequestInvalid: the own user is not known yet, and the direct conversation's id follows from it.
        """
        user = self.user_of(id_or_user)
        if ids.kind_of(user) != ids.USER:
            return Conversation(self, user)
        if not self.user:
            raise RequestInvalid("the own user is not known before the first welcome")
        return Conversation(self, ids.direct_id(self.user, user), user)

    def conversations(self) -> list[Conversation]:
        """Those known here, the most recently active first."""
        known = [s for s in self.core.conversations.values() if s.last is not None or s.head or s.title]
        known.sort(key=lambda s: (s.last.ts if s.last else 0, s.touched), reverse=True)
        return [Conversation(self, s.id) for s in known]

    async def more_conversations(self, limit: int = 50) -> bool:
        """Fetches older conversations into the list, on a device with many. False: there are no more."""
        if self.core.more is None:
            return False
        page = await self._ask(FetchHeads(id=self._new_id(), before=self.core.more, limit=limit))
        assert isinstance(page, Heads)
        self.core.more = page.more
        return True

    def outbox(self) -> list[OutboxItem]:
        """What is queued and not answered yet."""
        return list(self.core.outbox)

    def user_of(self, id_or_name: str) -> str:
        """An id as it is; a name's user id, and remembers the name for it, unless it is only known in another spelling."""
        if ids.is_id(id_or_name):
            return id_or_name
        user = ids.user_id(id_or_name)
        if ids.user_id(self.known_name(user)) != user:
            self.remember_name(user, id_or_name)
        return user

    def remember_name(self, user: str, name: str) -> None:
        """The user of this device calls somebody so. It goes before what the other's home tells."""
        self._engine.people.type(user, name)

    @property
    def names(self) -> dict[str, str]:
        """user -> name, of everybody whose name is known here."""
        return self._engine.people.names()

    def name_of(self, user: str) -> str:
        """The name under which the user is known here, or a short form of the id. Where it is not known, or was told a day ago, it is asked
        for in the background: a `Named` event brings it."""
        self._names.want(user)
        return self._engine.people.name(user) or user[:6]

    # ------------------------------------------------------------ requests

    async def send(self, to: str, body: str, type: str = "text", id: str = "") -> Handle:
        """Queues a message to a user (id or name) or into a conversation; returns once it is safe in the outbox.

        Raises:
            OutboxFull: too much is queued already.
            RequestInvalid: it could never be accepted.
            StoreFailed: it could not be stored; it will not be sent.
        """
        to = self.user_of(to)
        if ids.kind_of(to) == ids.USER:
            await self._know_user()
        ts = int(time.time() * 1000)
        return await self._request(Send(id=id or self._new_id(), to=to, body=body, type=type, ts=ts))

    async def create_group(self, title: str, *members: str) -> Handle:
        """Makes a group of the own user and `members` (ids or names); the handle's `conversation` is its id."""
        conversation = ids.group_id(os.urandom(16))
        users = [self.user_of(m) for m in members]
        return await self._request(GroupCreate(id=self._new_id(), conversation=conversation, title=title, members=users))

    async def block(self, user: str) -> Handle:
        """Blocks a user (id or name): once it is stored neither can send the other anything, until `unblock`. Both see it (`Shown`, types
        `direct.block` and `direct.unblock`); groups are not touched. Queued, awaited and refused as a message."""
        await self._know_user()
        return await self._request(Block(id=self._new_id(), user=self.user_of(user)))

    async def unblock(self, user: str) -> Handle:
        """Takes one's own block back."""
        await self._know_user()
        return await self._request(Unblock(id=self._new_id(), user=self.user_of(user)))

    def handle(self, id_: str) -> Handle | None:
        """The handle of a queued request, for instance one from before a restart."""
        item = self.core.outbox.get(id_)
        if item is None:
            return self._handles.get(id_)
        handle = self._handles.get(id_) or Handle(self, id_, item.conversation)
        self._handles[id_] = handle
        return handle

    async def _request(self, frame: Request) -> Handle:
        if not self._engine.is_open:
            raise ClientClosed("the client is not open")
        self.core.request(frame, self._engine.now())
        handle = Handle(self, frame.id, self.core.conversation_of(frame))
        self._handles[frame.id] = handle
        try:
            await self._engine.persist()
        except BaseException as error:  # what the caller must take as not sent must not be sent later
            if self.core.withdraw(frame.id) or not isinstance(error, StoreFailed):
                self._handles.pop(frame.id, None)
                self._engine.wake()  # what was withdrawn must not stay in the store
                raise
        self._engine.flush()
        return handle

    async def _know_user(self) -> None:
        while not self.user:
            if self.state == "closed" or not self._engine.is_open:
                raise ClientClosed(f"closed before the own user was known: {self.reason or 'it is not open'}")
            await self._changed.wait()

    def _read(self, conversation: str, seq: int, ordinal: int | None) -> None:
        self._engine.apply(self.core.read(conversation, seq, self._engine.now(), ordinal))
        self._engine.flush()

    # ------------------------------------------------------------ who is here, who types

    def watch(self, users: Iterable[str]) -> None:
        """From now on it is told (`PresenceChanged`) whether these are here (ids or names, at most 256), and of nobody else; over
        reconnects too. Nobody is watched at first, and of who is not watched nothing is known."""
        self.core.watch([self.user_of(user) for user in users])
        self._engine.flush_soon()

    def presence_of(self, user: str) -> Known:
        """What is known of somebody who is watched: (state, last_seen)."""
        return self.core.presence.of(self.user_of(user))

    def _type(self, to: str, activity: TypingKind) -> None:
        self.core.type(to, activity, self._engine.now())
        self._engine.flush_soon()

    # ------------------------------------------------------------ questions

    def known_name(self, user: str) -> str:
        """The same, but "" where no name is known, and nobody is asked."""
        return self._engine.people.name(user)

    async def learn_names(self, users: Iterable[str], wait_s: float = ANSWER_WAIT_S) -> bool:
        """Waits until it is known what all of them (ids) are called, as far as their homes know it. False: that took longer than `wait_s`,
        or the client was closed."""
        return await self._names.learn(users, wait_s)

    async def _ask(self, question: Question) -> Entries | Heads | MembersPage | Person:
        if not self._engine.is_open:
            raise ClientClosed("the client is not open")
        self.core.ask(question, self._engine.now())
        answer = self._answers[question.id] = asyncio.get_running_loop().create_future()
        self._engine.flush()
        try:
            async with asyncio.timeout(ANSWER_WAIT_S):
                answered: Answered = await answer
                return answered.frame
        except TimeoutError:
            raise HistoryUnavailable(f"no answer within {ANSWER_WAIT_S:g} s ({self.state})") from None
        finally:
            del self._answers[question.id]
            self.core.cancel(question.id)
            self._engine.wake()  # another question may take its place

    async def _members(self, conversation: str) -> list[MemberInfo]:
        page = await self._ask(FetchMembers(id=self._new_id(), conversation=conversation))
        assert isinstance(page, MembersPage)
        if len(self._known_members) >= MEMBERS_CACHED_MAX:
            self._known_members.clear()
        self._known_members[conversation] = page.members
        if page.title:
            self._engine.apply(self.core.name(conversation, page.title))
        return page.members

    async def _history(self, conversation: str, before: int | None, limit: int | None) -> AsyncIterator[Entry]:
        left = limit if limit is not None else 2**53
        if before is None:
            state = self.core.conversations.get(conversation)
            before = state.contig + 1 if state and state.contig else 0
        while left > 0 and before != 1:
            count = min(left, self._limits.fetch_entries)
            entries = await self._store.entries(conversation, before, count) if before else []
            if not entries:
                to = before - 1 if before else None
                page = await self._ask(Fetch(id=self._new_id(), conversation=conversation, to_seq=to, limit=count))
                assert isinstance(page, Entries)
                entries = sorted((e for e in page.entries if not before or e.seq < before), key=lambda e: -e.seq)
                with contextlib.suppress(StoreFailed):  # it is only a copy, and can be fetched again
                    await self._engine.write(Batch(entries=entries))
            if not entries:
                return
            for entry in entries:
                yield entry
            left -= len(entries)
            before = entries[-1].seq

    # ------------------------------------------------------------ marks

    async def _all_marked(self, conversation: str, seq: int, which: int) -> bool:
        """Whether every other member's delivered (0) or read (1) mark has reached `seq`."""
        if ids.kind_of(conversation) == ids.DIRECT:
            state = self.core.conversations.get(conversation)
            others = [state.peer if state is not None else ""]
        else:
            members = self._known_members.get(conversation)
            while members is None:
                with contextlib.suppress(HistoryUnavailable):  # offline: that is no reason to say that nobody has it
                    members = await self._members(conversation)
            others = [m.user for m in members]
        marks = self.core.marks.others.get(conversation, {})  # as they are now, after the members have come
        return all(marks.get(user, (0, 0))[which] >= seq for user in others if user != self.user)

    async def _marks_move(self, conversation: str) -> None:
        moved = self._marks_moved.get(conversation)
        if moved is None:
            moved = self._marks_moved[conversation] = asyncio.get_running_loop().create_future()
        await asyncio.shield(moved)

    # ------------------------------------------------------------ effects

    def _tell(self, effect: Effect) -> None:
        match effect:
            case Stored() if handle := self._handles.pop(effect.id, None):
                handle._settle(effect.entry)
            case Refused() if handle := self._handles.pop(effect.id, None):
                handle._settle(None, RequestRefused(effect.error))
            case Refused() if self._names.answered(effect.id, None):
                return
            case Refused() if answer := self._answers.get(effect.id):
                if not answer.done():
                    answer.set_exception(RequestRefused(effect.error))
                return
            case Answered(frame=Person() as person) if self._names.answered(effect.id, person):
                return
            case Answered():
                if (answer := self._answers.get(effect.id)) and not answer.done():
                    answer.set_result(effect)
                return
            case Shown():
                self._names.spoke(effect.entry.sender)
                if effect.entry.type.startswith("group."):
                    self._known_members.pop(effect.entry.conversation, None)
                    self._move_marks(effect.entry.conversation)
            case Delivered() | ReadBy():
                self._move_marks(effect.conversation)
            case StateChanged():
                if effect.state == "syncing":
                    self._names.told(self.user, self.core.own_name)
                self._changed.set()
                self._changed.clear()
        if isinstance(effect, EVENT_TYPES):
            self._publish(effect)

    def _publish(self, event: Event) -> None:
        for stream in list(self._streams):
            stream.put(event)

    def _move_marks(self, conversation: str) -> None:
        if (moved := self._marks_moved.pop(conversation, None)) and not moved.done():
            moved.set_result(None)

    def _stream(self, conversation: str | None, events_max: int = EVENTS_MAX) -> EventStream:
        stream = EventStream(conversation, events_max, self._awaited_streams)
        self._streams.add(stream)
        return stream

    @staticmethod
    def _new_id() -> str:
        return uuid.uuid4().hex
