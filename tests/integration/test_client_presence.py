"""The client library's presence, typing and blocking, as a program uses them, against a small honest server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from homing import Client, PresenceChanged, RequestRefused, Shown, TypingChanged, codes, ids
from homing.protocol import Typing, Watch
from homing.streams import EventStream

from tests.integration.client_rig import FAST, Make, clients, live, until
from tests.integration.client_server import ChatServer

ALICE, BOB, EVE = (ids.user_id(name) for name in ("alice", "bob", "eve"))


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


@pytest.fixture
async def make(server: ChatServer) -> AsyncIterator[Make]:
    async with clients(server) as make:
        yield make


async def heard(events: EventStream, count: int) -> list[tuple[str, str]]:
    """The next changes of presence or typing: (user, state or activity)."""
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(5):
        async for event in events:
            match event:
                case PresenceChanged(user, state, _) | TypingChanged(_, user, state):
                    found.append((user, state))
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


def watches(server: ChatServer, user: str) -> list[list[str]]:
    return [f.users for who, f in server.frames if who == user and isinstance(f, Watch)]


async def test_who_is_watched_comes_and_goes_and_unknown_is_no_news(server: ChatServer, make: Make) -> None:
    alice = await live(make("alice"))
    events = alice.events()
    alice.watch(["bob", "eve"])
    bob = await live(make("bob"))
    assert await heard(events, 1) == [(BOB, "online")]
    assert alice.presence_of("bob") == ("online", None) and alice.presence_of("eve").state == "unknown"
    server.names[BOB] = "Bob"
    await bob.close()
    assert await heard(events, 1) == [(BOB, "offline")]
    assert alice.presence_of("bob").last_seen
    alice.watch([])
    assert alice.presence_of("bob").state == "unknown"


async def test_the_watched_are_said_again_after_a_reconnect_and_before_the_first(server: ChatServer, make: Make) -> None:
    alice: Client = make("alice")
    alice.watch([BOB])
    await live(alice)
    await until(lambda: watches(server, ALICE) == [[BOB]])
    await live(make("bob"))
    await until(lambda: alice.presence_of(BOB).state == "online")
    events = alice.events()
    alice.drop_connection()
    assert await heard(events, 2) == [(BOB, "unknown"), (BOB, "online")]
    assert watches(server, ALICE) == [[BOB], [BOB]]


async def test_others_see_who_writes_until_he_has_said_it(server: ChatServer, make: Make) -> None:
    alice, bob = await live(make("alice")), await live(make("bob"))
    await (await alice.send("bob", "hi")).stored
    chat, seen = alice.conversation("bob"), bob.conversation("alice")
    events = bob.events()
    for _ in range(5):
        chat.typing()
    assert await heard(events, 1) == [(ALICE, "typing")] and seen.typists == {ALICE: "typing"}
    chat.typing("recording")
    assert await heard(events, 1) == [(ALICE, "recording")]
    await (await chat.send("there it is")).stored
    assert await heard(events, 1) == [(ALICE, "stopped")] and seen.typists == {}
    said = [f.kind for who, f in server.frames if who == ALICE and isinstance(f, Typing)]
    assert said == ["typing", "recording", "stopped"], "not at every key"


async def test_who_writes_and_says_no_more_of_it_is_forgotten(server: ChatServer, make: Make) -> None:
    server.typing_ms = 50
    alice, bob = await live(make("alice")), await live(make("bob"))
    await (await alice.send("bob", "hi")).stored
    events = bob.events()
    alice.conversation("bob").typing()
    assert await heard(events, 2) == [(ALICE, "typing"), (ALICE, "stopped")]


async def test_a_block_is_awaited_and_refused_as_a_message_and_both_see_it(server: ChatServer, make: Make) -> None:
    alice, bob = await live(make("alice")), await live(make("bob", limits=FAST))
    shown = bob.events()
    entry = await (await alice.block("bob")).stored
    assert (entry.type, entry.conversation) == ("direct.block", ids.direct_id(ALICE, BOB))
    async with asyncio.timeout(5):
        assert next(e.entry.type for e in [await anext(shown)] if isinstance(e, Shown)) == "direct.block"
    for client, other in ((alice, "bob"), (bob, "alice")):
        with pytest.raises(RequestRefused) as refused:
            await (await client.send(other, "hello?")).stored
        assert refused.value.code == codes.BLOCKED.number
    await (await alice.unblock("bob")).stored
    await (await bob.send("alice", "hello")).stored
    assert alice.conversation("bob").unread == 1, "blocks do not count"
