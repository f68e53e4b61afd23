"""What somebody at a terminal does: conversations, the commands, what is unread. No terminal in here; both modes use it."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from bisect import insort
from collections.abc import Awaitable, Callable, Coroutine
from typing import NamedTuple

from homing import Client, ClientClosed, Conversation, Gap, HistoryUnavailable, OutboxFull, RequestInvalid, RequestRefused, StoreFailed, ids
from homing.effects import ConversationChanged, Refused, Shown
from homing.handles import Handle
from homing.protocol import Entry, MemberInfo, Send
from homing.state import OutboxItem
from homing.streams import Event

from tools.terminal.text import NAMES_SHOWN_MAX, clean, members_of

ENTRIES_MAX = 2_000
"""Entries of one conversation in memory; older ones come back from the store when somebody scrolls up."""
PAGE = 50
FAILED_MAX = 50
SETTLE_WAIT_S = 5.0
NAME_WAIT_S = 1.0
"""How long a printed line waits for the names in it."""
WHO_WAIT_S = 5.0
"""How long /who waits for the names of a large group."""
WHO_LINES_MAX = 20
"""A group with more members is listed in running text."""
WATCHED_MAX = 50
"""People in the list of whom it is shown that they are here: more than a screen has."""
ROLES = {"owner": 0, "admin": 1}
TROUBLE = (ClientClosed, HistoryUnavailable, OutboxFull, RequestInvalid, RequestRefused, StoreFailed)

HELP = """\
/to NAME            open a chat: a person or a group
/group TITLE NAME…  make a group ("two words")
/add NAME…          add people to this group
/remove NAME…       take them out again
/title TEXT         rename this group
/leave              leave this group
/block [NAME]       no more messages between you and the other; /unblock
/who [NAME]         who is in this chat
/list               all chats
/reconnect          try to connect now
/quit               good-bye
//TEXT              a message that begins with /
/to @NAME, #TITLE   where a person and a group are called the same
✓ stored   ✓✓ arrived   ✓✓ read   … waiting   ✗ not sent
✓ 2/5 has arrived at two of the five others"""
KEYS = """\
Alt-↑ Alt-↓ other chat    PgUp PgDn scroll    Ctrl-End newest
Tab completes    Alt-Enter new line    Ctrl-C leaves"""


class Command(NamedTuple):
    usage: str
    run: Callable[[Room, list[str]], Awaitable[None]]
    words_min: int = 0
    only_tells: bool = False
    """What is typed after it need not wait for it."""


class Misuse(Exception):
    """The user cannot do this; says what to do instead."""


class Thread:
    """The entries of one conversation that are in memory: an unbroken run, oldest first, except where the server hides some."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_loaded = False
        self.is_loading = False
        self.is_complete = False
        """There is nothing older."""
        self.unread_from = 0
        """The first entry that was unread when the chat was opened."""
        self.failed: list[tuple[OutboxItem, str]] = []

    def add(self, entry: Entry) -> bool:
        entries = self.entries
        if entries and entry.seq <= entries[-1].seq:
            if any(e.seq == entry.seq for e in entries):
                return False
            insort(entries, entry, key=lambda e: e.seq)
            return True
        entries.append(entry)
        if len(entries) > ENTRIES_MAX:
            del entries[: ENTRIES_MAX // 4]
            self.is_complete = False
        return True


class Room:
    """The client and what is open in it. `say` shows a line of our own, `changed` asks for a new picture."""

    def __init__(self, client: Client, say: Callable[[str], None], changed: Callable[[], None] = lambda: None, keys: str = "") -> None:
        self.client = client
        self.say = say
        self.changed = changed
        self.keys = keys
        """What /help says of the keyboard."""
        self.current: Conversation | None = None
        self.threads: dict[str, Thread] = {}
        self.members: dict[str, list[MemberInfo]] = {}
        self.is_over = False
        self.is_watching = True
        """Whether the newest message of the open chat is in sight."""
        self._queued: dict[str, OutboxItem] = {}
        self._watched: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------ what is typed

    async def line(self, text: str) -> None:
        """Does what a typed line says."""
        if not text.strip():
            return
        try:
            if text.startswith("/") and not text.startswith("//"):
                await self._command(text)
            else:
                await self._message(text.removeprefix("/") if text.startswith("//") else text)
        except (Misuse, *TROUBLE) as error:
            self.say(f"✗ {error}")

    async def _message(self, text: str) -> None:
        if self.current is None:
            raise Misuse("to whom? /to NAME opens a chat")
        handle = await self.current.send(text)
        if item := self.client.core.outbox.get(handle.id):
            self._queued[handle.id] = item
        if self.client.state == "waiting":
            self.client.connect()  # somebody is here and has something to say
        self.changed()

    async def _command(self, text: str) -> None:
        name, _, rest = text[1:].partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            raise Misuse(f"there is no /{name} (see /help)")
        try:
            words = [rest.strip()] if name == "title" else shlex.split(rest)
        except ValueError as error:
            raise Misuse(f"{error}: {rest}") from None
        if len([w for w in words if w]) < command.words_min:
            raise Misuse(f"usage: {command.usage}")
        await command.run(self, words)

    # ------------------------------------------------------------ conversations

    def name_of(self, user: str) -> str:
        """What somebody is called; a stranger has a short id until his home tells his name."""
        return "you" if user == self.client.user else clean(self.client.name_of(user), newlines=False)

    async def learn(self, entry: Entry) -> None:
        """Waits a moment for the names of those in an entry who are not known yet."""
        people = [entry.sender, *members_of(entry)[:NAMES_SHOWN_MAX]]
        await self.client.learn_names([u for u in people if not self.client.known_name(u)], NAME_WAIT_S)

    def title_of(self, conversation: Conversation) -> str:
        if conversation.is_group:
            return clean(conversation.title, newlines=False) or f"group {conversation.id[-6:]}"
        if conversation.peer:
            self.name_of(conversation.peer)
        return clean(conversation.title, newlines=False) or conversation.id[:6]

    def thread(self, id_: str) -> Thread:
        return self.threads.setdefault(id_, Thread())

    def queued(self, id_: str) -> list[OutboxItem]:
        """Messages that are not stored yet."""
        return [item for item in self.client.outbox() if item.conversation == id_ and isinstance(item.frame, Send)]

    def others(self, conversation: Conversation) -> int:
        """How many others are in it, 0 if that is not known."""
        if not conversation.is_group:
            return 1
        return sum(m.user != self.client.user for m in self.members.get(conversation.id, []))

    async def open(self, conversation: Conversation) -> None:
        """Shows a conversation, and notes where its unread messages begin."""
        self.current = conversation
        self._look_out()
        thread = self.thread(conversation.id)
        state = conversation.state
        thread.unread_from = state.read + 1 if conversation.unread else 0
        self.is_watching = True
        if conversation.is_group:
            self.spawn(self._learn_members(conversation))
        if not state.head:
            thread.is_loaded = thread.is_complete = True
        elif not thread.is_loaded and not thread.is_loading:
            await self.load_older(conversation)
        self._mark_read()
        self.changed()

    async def load_older(self, conversation: Conversation, count: int = PAGE) -> None:
        """Brings older entries into memory."""
        thread = self.thread(conversation.id)
        if thread.is_loading or thread.is_complete:
            return
        thread.is_loading = True
        found = 0
        try:
            before = thread.entries[0].seq if thread.entries else None
            async for entry in conversation.history(before, count):
                thread.add(entry)
                found += 1
            thread.is_complete = found < count
            thread.is_loaded = True
        except TROUBLE as error:
            self.say(f"✗ {error}")
        finally:
            thread.is_loading = False
            self.changed()

    async def _learn_members(self, conversation: Conversation) -> None:
        try:
            self.members[conversation.id] = await conversation.members()
        except TROUBLE:
            self.members.pop(conversation.id, None)  # without them ticks say less
        self.changed()

    def find(self, name: str) -> Conversation:
        """The chat with a person, by id or account, or else a chat that is shown under this title.

        An account goes before a title: anybody may make a group that is called like a friend.
        """
        if name.startswith("@") and len(name) > 1:
            return self.client.conversation(name[1:])
        known = self.client.conversations()
        if ids.is_id(name):
            if ids.kind_of(name) != ids.USER and all(c.id != name for c in known):
                raise Misuse("there is no such chat")
            return self.client.conversation(name)
        user = ids.user_id(name)
        if self.client.known_name(user) or any(c.peer == user for c in known if not c.is_group):
            return self.client.conversation(name)
        titled = [c for c in known if self.title_of(c).casefold() == name.casefold()]
        titled = titled or [c for c in known if c.is_group and f"#{self.title_of(c)}".casefold() == name.casefold()]
        if len(titled) > 1:
            raise Misuse(f"several chats are called so; /to ID opens one: {', '.join(c.id for c in titled)}")
        return titled[0] if titled else self.client.conversation(name)

    async def settle(self) -> None:
        """On a device that was never here: waits a little for the list of chats, for a name may be a group's."""
        if self.client.core.cursor is None:
            with contextlib.suppress(TimeoutError, ClientClosed):
                async with asyncio.timeout(SETTLE_WAIT_S):
                    await self.client.wait_for("live")

    def neighbour(self, step: int) -> Conversation | None:
        """The conversation so many places further in the list."""
        listed = self.client.conversations()
        if not listed:
            return None
        here = next((n for n, c in enumerate(listed) if self.current and c.id == self.current.id), None)
        return listed[0 if here is None else (here + step) % len(listed)]

    def watch(self, newest_in_sight: bool) -> None:
        """Whether the end of the open chat is in sight: only then it counts as read."""
        self.is_watching = newest_in_sight
        self._mark_read()

    def _mark_read(self) -> None:
        if self.current is not None and self.is_watching and self.current.state.contig > self.current.state.read:
            self.spawn(self.current.read())

    def _look_out(self) -> None:
        """Watches the people in sight: of the open chat, and of the newest in the list."""
        peers = [self.current.peer] if self.current is not None else []
        peers += [conversation.peer for conversation in self.client.conversations() if conversation.peer]
        wanted = [user for user in dict.fromkeys(peers) if user][:WATCHED_MAX]
        if wanted != self._watched:
            self._watched = wanted
            self.client.watch(wanted)

    def typing(self, text: str) -> None:
        """Something is being typed into the open chat, or nothing any more; commands are nobody's business."""
        if self.current is not None:
            self.current.typing("typing" if text.strip() and not text.startswith("/") else "stopped")

    # ------------------------------------------------------------ what happens

    def on_event(self, event: Event) -> None:
        match event:
            case Shown():
                self._look_out()
                entry = event.entry
                self._queued.pop(entry.id, None)
                thread = self.threads.get(entry.conversation)
                if thread is not None and (thread.is_loaded or thread.is_loading):
                    thread.add(entry)
                if self.current is not None and entry.conversation == self.current.id:
                    self._mark_read()
                    if entry.type.startswith("group."):
                        self.spawn(self._learn_members(self.current))
            case Refused() if item := self._queued.pop(event.id, None):
                failed = self.thread(item.conversation).failed
                failed.append((item, event.error.message or event.error.name))
                del failed[:-FAILED_MAX]
            case ConversationChanged():
                self._look_out()
            case Gap() if event.reason == "slow_consumer":
                self.threads.pop(event.conversation, None)
        self.changed()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.say(f"✗ {error}")

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # ------------------------------------------------------------ commands

    def group(self) -> Conversation:
        if self.current is None or not self.current.is_group:
            raise Misuse("this is not a group (/group TITLE NAME… makes one)")
        return self.current

    async def finish(self, handle: Handle) -> None:
        """Waits in the background for an operation, and says when it was refused."""

        async def wait() -> None:
            try:
                await handle.stored
            except ClientClosed:
                pass
            except RequestRefused as error:
                self.say(f"✗ {error}")

        self.spawn(wait())


async def _to(room: Room, words: list[str]) -> None:
    await room.settle()
    await room.open(room.find(" ".join(words)))


async def _group(room: Room, words: list[str]) -> None:
    handle = await room.client.create_group(words[0], *words[1:])
    await room.finish(handle)
    await room.open(room.client.conversation(handle.conversation))


async def _add(room: Room, words: list[str]) -> None:
    await room.finish(await room.group().add(*words))


async def _remove(room: Room, words: list[str]) -> None:
    await room.finish(await room.group().remove(*words))


async def _leave(room: Room, words: list[str]) -> None:
    await room.finish(await room.group().leave())


async def _title(room: Room, words: list[str]) -> None:
    await room.finish(await room.group().rename(words[0]))


async def _block(room: Room, words: list[str]) -> None:
    await room.finish(await room.client.block(_other(room, words)))


async def _unblock(room: Room, words: list[str]) -> None:
    await room.finish(await room.client.unblock(_other(room, words)))


def _other(room: Room, words: list[str]) -> str:
    """The person who is named, or with whom the open chat is."""
    conversation = room.find(" ".join(words)) if words else room.current
    if conversation is None or conversation.is_group or not conversation.peer:
        raise Misuse("whom? /block NAME, or open the chat with him first")
    return conversation.peer


async def _who(room: Room, words: list[str]) -> None:
    if room.current is None:
        raise Misuse("no chat is open (/to NAME)")
    if not room.current.is_group:
        room.say(f"you and {room.title_of(room.current)} ({room.current.peer})")
        return
    members = room.members[room.current.id] = await room.current.members()
    await room.client.learn_names([m.user for m in members if m.user != room.client.user], WHO_WAIT_S)
    begin = " ".join(words).casefold()
    found = [(name, m) for m in members if (name := room.name_of(m.user)).casefold().startswith(begin)]
    found.sort(key=lambda pair: (pair[0] != "you", ROLES.get(pair[1].role, 2), pair[0].casefold(), pair[1].user))
    if len(found) <= WHO_LINES_MAX:
        for name, m in found:
            room.say(f"{name}{_role(m)} ({m.user})")
    else:
        named = [f"{name}{_role(m)}" for name, m in found if m.user == room.client.user or room.client.known_name(m.user)]
        nameless = f" and {len(found) - len(named):,} whose names are not known" if len(named) < len(found) else ""
        room.say(f"{len(found):,} members: {', '.join(named)}{nameless}")
        room.say("/who NAME shows those whose name begins so, with their ids")
    if not found:
        raise Misuse("there is nobody whose name begins so")


def _role(member: MemberInfo) -> str:
    return "" if member.role == "member" else f" · {member.role}"


async def _list(room: Room, words: list[str]) -> None:
    conversations = room.client.conversations()
    strangers = [c.peer for c in conversations if c.peer and not room.client.known_name(c.peer)]
    await room.client.learn_names(strangers, NAME_WAIT_S)
    for conversation in conversations:
        unread = f" · {conversation.unread} unread" if conversation.unread else ""
        room.say(f"{room.title_of(conversation)}{unread}")
    if not conversations:
        room.say("no chats yet: /to NAME opens one")


async def _help(room: Room, words: list[str]) -> None:
    for line in (HELP + room.keys).splitlines():
        room.say(line)


async def _reconnect(room: Room, words: list[str]) -> None:
    if room.client.state in ("waiting", "closed", "idle"):
        room.client.connect()
    else:
        room.say("the connection is there")


async def _quit(room: Room, words: list[str]) -> None:
    room.is_over = True
    room.changed()


COMMANDS = {
    "to": Command("/to NAME", _to, 1),
    "group": Command("/group TITLE NAME…", _group, 2),
    "add": Command("/add NAME…", _add, 1),
    "remove": Command("/remove NAME…", _remove, 1),
    "leave": Command("/leave", _leave),
    "title": Command("/title TEXT", _title, 1),
    "block": Command("/block [NAME]", _block),
    "unblock": Command("/unblock [NAME]", _unblock),
    "who": Command("/who [NAME]", _who, only_tells=True),
    "reconnect": Command("/reconnect", _reconnect),
    "list": Command("/list", _list, only_tells=True),
    "help": Command("/help", _help, only_tells=True),
    "quit": Command("/quit", _quit),
}


def is_waited_for(text: str) -> bool:
    """Whether a line must be done before the next one is."""
    command = COMMANDS.get(text[1:].partition(" ")[0]) if text.startswith("/") else None
    return command is None or not command.only_tells


def known_names(client: Client) -> list[str]:
    """The names that can be typed after a command, for completion."""
    groups = [c.title for c in client.conversations() if c.is_group and c.title]
    return sorted({*client.names.values(), *groups}, key=str.casefold)
