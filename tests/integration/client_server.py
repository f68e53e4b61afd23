"""A small honest server of the client protocol on 127.0.0.1: one process, no storage, whole conversations in memory.

It is what a client can be tried against without a cluster. A token is an account's name. `python -m tests.integration.client_server
--port N` keeps one running.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import WSMsgType, web
from homing import codes, ids
from homing.protocol import (
    HOME_TYPES,
    JSON_SUBPROTOCOL,
    MSGPACK_SUBPROTOCOL,
    Ack,
    Block,
    ClientFrame,
    Entries,
    Entry,
    Error,
    Fetch,
    FetchHeads,
    FetchMembers,
    FetchPerson,
    GroupCreate,
    GroupRename,
    Head,
    Heads,
    Hello,
    Mark,
    MemberInfo,
    MembersPage,
    Message,
    Person,
    Ping,
    Pong,
    Presence,
    PresenceChanged,
    Read,
    Receipts,
    Send,
    Sent,
    ServerFrame,
    Synced,
    Typing,
    TypingShown,
    Unblock,
    Watch,
    Welcome,
)
from homing.state import Request


@dataclass
class Chat:
    id: str
    members: list[str]
    title: str = ""
    log: list[Entry] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    blocked_by: set[str] = field(default_factory=set)

    def mark(self, user: str) -> Mark:
        return self.marks.setdefault(user, Mark(user, 0, 0))


class Session:
    def __init__(self, ws: web.WebSocketResponse) -> None:
        self.ws = ws
        self.user = ""
        self.watching: set[str] = set()
        self.binary = ws.ws_protocol == MSGPACK_SUBPROTOCOL
        decoder = msgspec.msgpack.Decoder(ClientFrame) if self.binary else msgspec.json.Decoder(ClientFrame)
        self.decode: Callable[[bytes], ClientFrame] = decoder.decode

    async def send(self, frame: ServerFrame) -> None:
        if self.ws.closed:
            return
        try:
            if self.binary:
                await self.ws.send_bytes(msgspec.msgpack.encode(frame))
            else:
                await self.ws.send_str(msgspec.json.encode(frame).decode())
        except ConnectionError:
            pass


class ChatServer:
    """Knobs: `refuse` (answers the next requests with these errors), `silent` (hears, says nothing), `heartbeat_ms`, `typing_ms`,
    `names` (of users: of these, and who is connected, it says whether they are here)."""

    def __init__(self) -> None:
        self.chats: dict[str, Chat] = {}
        self.sessions: set[Session] = set()
        self.frames: list[tuple[str, ClientFrame]] = []
        self.refuse: list[codes.Code] = []
        self.silent = False
        self.names: dict[str, str] = {}
        self.heartbeat_ms = 30_000
        self.typing_ms = 6_000
        self.hellos = 0
        self._clock = itertools.count(1_700_000_000_000, 1000)
        self._runner: web.AppRunner | None = None
        self.url = ""

    # ------------------------------------------------------------ life

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_get("/v1/ws", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def cut(self, code: int = 1012) -> None:
        """Closes all connections."""
        for session in list(self.sessions):
            await session.ws.close(code=code)

    async def __aenter__(self) -> ChatServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=(MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL), compress=False)
        await ws.prepare(request)
        session = Session(ws)
        self.sessions.add(session)
        try:
            async for message in ws:
                if message.type in (WSMsgType.BINARY, WSMsgType.TEXT):
                    await self._on_frame(session, session.decode(message.data))
        finally:
            self.sessions.discard(session)
            if session.user:
                await self.tell_presence(session.user)
        return ws

    # ------------------------------------------------------------ frames

    async def _on_frame(self, session: Session, f: ClientFrame) -> None:
        self.frames.append((session.user, f))
        if self.silent:
            return
        match f:
            case Hello():
                await self._on_hello(session, f)
            case Ping():
                await session.send(Pong(time=0, cursor=str(next(self._clock))))
            case Ack():
                await self._on_mark(session, f.conversation, f.seq, 0)
            case Read():
                await self._on_mark(session, f.conversation, f.seq, f.seq)
            case Fetch():
                await session.send(self._page(session.user, f))
            case FetchHeads():
                await session.send(Heads(heads=self._heads(session.user), id=f.id))
            case FetchPerson():
                await session.send(Person(id=f.id, user=f.user, name=self.names.get(f.user, "")))
            case FetchMembers():
                chat = self.chats[f.conversation]
                members = [MemberInfo(user=u, role="owner" if u == chat.members[0] else "member") for u in chat.members]
                await session.send(MembersPage(id=f.id, conversation=f.conversation, members=members, title=chat.title))
            case Watch():
                session.watching = set(f.users)
                await session.send(PresenceChanged(people=[self.presence(user) for user in f.users]))
            case Typing():
                await self._on_typing(session, f)
            case _:
                await self._on_request(session, f)

    async def _on_hello(self, session: Session, f: Hello) -> None:
        self.hellos += 1
        if f.token.startswith("!"):
            await session.send(_error(codes.CODES[f.token[1:]]))
            return
        session.user = ids.user_id(f.token)
        await self.tell_presence(session.user)
        await session.send(
            Welcome(session="s", user=session.user, device="d", name=f.token, node="n", time=0, heartbeat_ms=self.heartbeat_ms)
        )
        await session.send(Heads(heads=self._heads(session.user)))
        await session.send(Synced(cursor=str(next(self._clock)), marks_ms=60_000))

    def presence(self, user: str) -> Presence:
        if any(session.user == user for session in self.sessions):
            return Presence(user=user, state="online")
        return (
            Presence(user=user, state="offline", last_seen=next(self._clock))
            if user in self.names
            else Presence(user=user, state="unknown")
        )

    async def tell_presence(self, user: str) -> None:
        for session in list(self.sessions):
            if user in session.watching:
                await session.send(PresenceChanged(people=[self.presence(user)]))

    async def _on_typing(self, session: Session, f: Typing) -> None:
        id_ = ids.direct_id(session.user, f.conversation) if ids.kind_of(f.conversation) == ids.USER else f.conversation
        chat = self.chats.get(id_)
        others = [user for user in (chat.members if chat else ()) if user != session.user]
        await self.tell(others, TypingShown(conversation=id_, user=session.user, kind=f.kind, ms=self.typing_ms))

    def _heads(self, user: str) -> list[Head]:
        result = []
        for chat in self.chats.values():
            if user in chat.members and chat.log:
                own, last = chat.mark(user), chat.log[-1]
                others = [m for u, m in chat.marks.items() if u != user]
                ordinal = chat.log[own.read - 1].ordinal if own.read else 0
                head = Head(
                    conversation=chat.id, seq=last.seq, ordinal=last.ordinal, last=last, delivered=own.delivered, read=own.read,
                    read_ordinal=ordinal, marks=others, title=chat.title,
                )  # fmt: skip
                result.append(head)
        return result

    def _page(self, user: str, f: Fetch) -> ServerFrame:
        chat = self.chats.get(f.conversation)
        if chat is None or user not in chat.members:
            return _error(codes.NOT_A_MEMBER, f.id)
        to = len(chat.log) if f.to_seq is None else f.to_seq
        found = [e for e in chat.log if f.from_seq <= e.seq <= to]
        return Entries(id=f.id, conversation=f.conversation, entries=found[-f.limit :], head=len(chat.log))

    async def _on_mark(self, session: Session, conversation: str, delivered: int, read: int) -> None:
        chat = self.chats[conversation]
        mark = chat.mark(session.user)
        mark.delivered, mark.read = max(mark.delivered, delivered, read), max(mark.read, read)
        await self.tell(chat.members, Receipts(conversation=conversation, marks=[mark]), without=session)

    async def _on_request(self, session: Session, f: Request) -> None:
        if self.refuse:
            await session.send(_error(self.refuse.pop(0), f.id))
            return
        chat = self._chat(session.user, f)
        if chat is None or session.user not in chat.members:
            await session.send(_error(codes.NOT_A_MEMBER, f.id))
            return
        for e in chat.log:
            if e.id == f.id and e.sender == session.user:
                await session.send(Sent(id=f.id, entry=e))
                return
        if isinstance(f, Send) and chat.blocked_by:
            await session.send(_error(codes.BLOCKED, f.id))
            return
        before = list(chat.members)
        entry = self.append(chat, session.user, f.id, *_said(chat, f, session.user))
        await session.send(Sent(id=f.id, entry=entry))
        await self.tell({*before, *chat.members}, Message(entry=entry), without=session)

    def _chat(self, user: str, f: Request) -> Chat | None:
        if isinstance(f, GroupCreate):
            return self.chats.setdefault(f.conversation, Chat(f.conversation, [user, *f.members], f.title))
        target = f.to if isinstance(f, Send) else f.user if isinstance(f, Block | Unblock) else f.conversation
        if ids.kind_of(target) == ids.USER:
            id_ = ids.direct_id(user, target)
            return self.chats.setdefault(id_, Chat(id_, [user, target]))
        return self.chats.get(target)

    def append(self, chat: Chat, sender: str, id_: str, type_: str, body: str) -> Entry:
        seq = len(chat.log) + 1
        ordinal = (chat.log[-1].ordinal if chat.log else 0) + (not type_.startswith(HOME_TYPES))
        entry = Entry(
            conversation=chat.id, seq=seq, message_id=ids.message_id(chat.id, seq, 1), sender=sender, id=id_, type=type_, body=body,
            ts=next(self._clock), ordinal=ordinal,
        )  # fmt: skip
        chat.log.append(entry)
        return entry

    async def tell(self, users: set[str] | list[str], frame: ServerFrame, without: Session | None = None) -> None:
        for session in list(self.sessions):
            if session.user in users and session is not without:
                await session.send(frame)

    async def say(self, name: str, to: str, body: str) -> Entry:
        """Lets an account without a client say something to another account."""
        sender, peer = ids.user_id(name), ids.user_id(to)
        id_ = ids.direct_id(sender, peer)
        chat = self.chats.setdefault(id_, Chat(id_, [sender, peer]))
        entry = self.append(chat, sender, f"s{len(chat.log)}", "text", body)
        await self.tell(chat.members, Message(entry=entry))
        return entry


def _said(chat: Chat, f: Request, user: str) -> tuple[str, str]:
    """The type and the body of a request's entry; members change here."""
    if isinstance(f, Send):
        return f.type, f.body
    if isinstance(f, Block | Unblock):
        (chat.blocked_by.add if isinstance(f, Block) else chat.blocked_by.discard)(user)
        return f"direct.{f.__struct_config__.tag}", ""
    kind = f.__struct_config__.tag
    assert isinstance(kind, str)
    type_ = kind.replace("_", ".")
    members = getattr(f, "members", [])
    match type_:
        case "group.add":
            chat.members += [m for m in members if m not in chat.members]
        case "group.remove":
            chat.members = [m for m in chat.members if m not in members]
        case "group.leave":
            chat.members = [m for m in chat.members if m != user]
    if isinstance(f, GroupRename):
        chat.title = f.title
    fields = {"title": getattr(f, "title", ""), "members": members}
    return type_, json.dumps({k: v for k, v in fields.items() if v})


def _error(code: codes.Code, id_: str | None = None) -> Error:
    return Error(code=code.number, name=code.name, message=code.name, id=id_, retry_after_ms=10 if code.action == "retry" else None)


async def _main(port: int) -> None:
    server = ChatServer()
    await server.start(port)
    print(server.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_main(parser.parse_args().port))
