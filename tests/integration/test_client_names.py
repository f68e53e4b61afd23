"""Names of people: the client asks for them by itself, seldom, and remembers them; the terminal finds chats by account before title."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from homing import Client, Named, ids
from homing.limits import Limits
from homing.protocol import FetchPerson, GroupCreate

from tests.integration.client_server import ChatServer
from tools.terminal.room import Misuse, Room

BOB, EVE = ids.user_id("bob"), ids.user_id("eve")
Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


@pytest.fixture
async def start(server: ChatServer) -> AsyncIterator[Start]:
    made: list[Client] = []

    async def get_token() -> str:
        return "alice"

    async def start(store: Path | None = None) -> Client:
        made.append(Client(server.url, get_token, store, limits=Limits(backoff_min_s=0.01, backoff_max_s=0.05)))
        await made[-1].open()
        await made[-1].wait_for("live")
        return made[-1]

    yield start
    for client in made:
        await client.close()


def asked(server: ChatServer) -> list[str]:
    return [f.user for _, f in server.frames if isinstance(f, FetchPerson)]


async def named(client: Client, user: str) -> str:
    """Looks until the name is there."""
    events = client.events()
    client.name_of(user)
    async with asyncio.timeout(5):
        async for event in events:
            if isinstance(event, Named) and event.user == user:
                return client.name_of(user)
    raise AssertionError("the stream ended")


async def test_a_stranger_gets_his_name_and_keeps_it_over_a_restart_without_another_question(
    start: Start, server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.names = {BOB: "Bob"}
    alice = await start(tmp_path / "a.db")
    assert alice.name_of(BOB) == BOB[:6]
    assert await named(alice, BOB) == "Bob"
    for _ in range(3):
        alice.name_of(BOB)
    await alice.close()
    server.names = {BOB: "Robert"}
    alice = await start(tmp_path / "a.db")
    assert alice.name_of(BOB) == "Bob"
    assert await alice.learn_names([BOB]) and asked(server) == [BOB]
    tomorrow = time.time() + 86_401
    monkeypatch.setattr("homing.names.time.time", lambda: tomorrow)
    assert await named(alice, BOB) == "Robert"
    assert asked(server) == [BOB, BOB]


async def test_what_was_typed_stays_whatever_a_home_tells(start: Start, server: ChatServer, tmp_path: Path) -> None:
    server.names = {BOB: "The Boss", EVE: "Eve"}
    alice = await start(tmp_path / "a.db")
    assert alice.conversation("bob").title == "bob"
    assert await alice.learn_names([BOB, EVE])
    assert (alice.name_of(BOB), alice.name_of(EVE)) == ("bob", "Eve")
    alice.conversation("EVE")  # only another spelling of what is known
    assert alice.name_of(EVE) == "Eve"
    alice.remember_name(EVE, "my sister")
    await alice.close()
    alice = await start(tmp_path / "a.db")
    assert (alice.name_of(BOB), alice.name_of(EVE)) == ("bob", "my sister")


async def test_a_home_that_does_not_know_is_asked_again_when_the_stranger_has_spoken(
    start: Start, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await start()
    assert await alice.learn_names([BOB]) and await alice.learn_names([BOB])
    assert asked(server) == [BOB]
    now = time.time() + 61
    monkeypatch.setattr("homing.names.time.time", lambda: now)
    server.names = {BOB: "Bob"}
    events = alice.conversation("bob2").events(), alice.events()
    await server.say("bob", "alice", "hi")
    await anext(events[1])
    assert await alice.learn_names([BOB]) and alice.name_of(BOB) == "Bob"


async def test_names_are_asked_for_over_a_broken_connection_and_waiting_ends_with_the_client(start: Start, server: ChatServer) -> None:
    server.names = {BOB: "Bob"}
    alice = await start()
    server.silent = True
    alice.name_of(BOB)
    await asyncio.sleep(0.05)
    assert await alice.learn_names([BOB], 0.01) is False
    server.silent = False
    await server.cut()
    async with asyncio.timeout(5):
        assert await alice.learn_names([BOB])
    assert alice.name_of(BOB) == "Bob"
    server.silent = True
    waiting = asyncio.ensure_future(alice.learn_names([EVE]))
    await asyncio.sleep(0.01)
    await alice.close()
    async with asyncio.timeout(5):
        await waiting


async def test_who_in_a_full_group(start: Start, server: ChatServer) -> None:
    alice = await start()
    said: list[str] = []
    room = Room(alice, said.append)
    members = [ids.user_id(f"u{n}") for n in range(1_023)]
    server.names = {u: f"User {n}" for n, u in enumerate(members)}
    server.names[members[7]] = "User 6"  # two may be called the same
    created = await alice._request(GroupCreate(id="g", conversation=ids.group_id(bytes(range(16))), title="All", members=members))
    await created.stored
    await room.line("/to all")
    said.clear()
    async with asyncio.timeout(20):
        await room.line("/who")
    assert said[0].startswith("1,024 members: you · owner, User 0, User 1, User 10, User 100, ") and said[0].count(", ") == 1_023
    assert sorted(asked(server)) == sorted(members)
    said.clear()
    await room.line("/who user 102")
    assert said == [f"User {n} ({members[n]})" for n in (102, 1020, 1021, 1022)]
    said.clear()
    alice._engine.people._known.clear()
    server.names = {members[3]: "User 3"}
    await room.line("/who")
    assert said[0] == "1,024 members: you · owner, User 3 and 1,022 whose names are not known"
    await room.line("/who")
    assert len(asked(server)) == 2 * 1_023
    await room.stop()


async def test_a_chat_is_found_by_account_before_a_title(start: Start, server: ChatServer) -> None:
    alice = await start()
    room = Room(alice, lambda text: None)
    await server.say("bob", "alice", "hi")
    mallory = await alice.create_group("bob", "mallory")  # as if another had made it and called it so
    await mallory.stored
    bob = ids.direct_id(alice.user, BOB)
    assert room.find("bob").id == room.find("Bob").id == room.find(BOB).id == room.find(bob).id == bob
    assert room.find("#bob").id == room.find(mallory.conversation).id == mallory.conversation
    assert room.find("@mallory").peer == ids.user_id("mallory")
    assert room.find("nobody yet").peer == ids.user_id("nobody yet")
    with pytest.raises(Misuse, match="no such chat"):
        room.find(ids.group_id(bytes(16)))


async def test_a_stranger_who_calls_himself_like_a_friend_is_not_taken_for_him(start: Start, server: ChatServer) -> None:
    server.names = {EVE: "bob", ids.user_id("eva"): "Bob"}
    alice = await start()
    room = Room(alice, lambda text: None)
    for name in ("eve", "eva", "bob"):
        await server.say(name, "alice", "hi")
    async with asyncio.timeout(5):
        while len(alice.conversations()) < 3:
            await asyncio.sleep(0.01)
    assert await alice.learn_names([EVE, ids.user_id("eva"), BOB])
    assert [room.title_of(c).casefold() for c in alice.conversations()].count("bob") == 2
    assert room.find("bob").peer == BOB
    server.names = {}
    assert room.find("eve").peer == EVE


async def test_chats_with_the_same_title_are_told_apart_by_their_ids(start: Start, server: ChatServer) -> None:
    alice = await start()
    room = Room(alice, lambda text: None)
    groups = [await alice.create_group("Trip", "bob") for _ in range(2)]
    for group in groups:
        await group.stored
    with pytest.raises(Misuse, match=groups[0].conversation):
        room.find("trip")
