"""The asyncio client over real sockets against a small honest server."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from homing import (
    Client,
    ClientClosed,
    Delivered,
    Gap,
    HistoryUnavailable,
    ReadBy,
    RequestRefused,
    Resumed,
    Shown,
    SignInStopped,
    StateChanged,
    codes,
    ids,
)
from homing.connection import Format, websocket_url
from homing.protocol import Hello, Mark, MemberInfo, Read, Reconnect, Send

from tests.integration.client_rig import FAST, Make, bodies, clients, live, token, until
from tests.integration.client_server import ChatServer


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


@pytest.fixture
async def make(server: ChatServer) -> AsyncIterator[Make]:
    async with clients(server) as make:
        yield make


# ---------------------------------------------------------------- messages


@pytest.mark.parametrize("format_", ["msgpack", "json"])
async def test_two_people_chat_and_see_stored_delivered_read(make: Make, format_: Format) -> None:
    alice, bob = await live(make("alice", format=format_)), await live(make("bob"))
    events = bob.events()
    sent = await alice.send("bob", "hello ✓")
    assert (await sent.stored).seq == 1
    assert await bodies(events, 1) == ["hello ✓"]
    await sent.delivered
    reading = asyncio.ensure_future(sent.read)
    await asyncio.sleep(0)
    assert not reading.done()
    assert bob.conversation("alice").unread == 1
    await bob.conversation("alice").read()
    await reading
    assert bob.conversation("alice").unread == 0


async def test_a_refused_request_raises_at_its_handle(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    server.refuse = [codes.FORBIDDEN]
    sent = await alice.send("bob", "x")
    with pytest.raises(RequestRefused) as caught:
        await sent.stored
    assert caught.value.code == codes.FORBIDDEN.number


async def test_a_request_that_is_put_off_is_repeated_by_itself(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    server.refuse = [codes.OVERLOADED, codes.UNAVAILABLE]
    await (await alice.send("bob", "x")).stored
    sends = [f for _, f in server.frames if isinstance(f, Send)]
    assert len(sends) == 3 and len({(f.id, f.after) for f in sends}) == 1


async def test_history_comes_page_by_page_and_is_kept(make: Make, server: ChatServer, tmp_path: Path) -> None:
    for n in range(150):
        await server.say("bob", "alice", str(n))
    alice = await live(make("alice", tmp_path / "a.db"))
    chat = alice.conversation("bob")
    assert [e.body async for e in chat.history(before=100, limit=5)] == ["98", "97", "96", "95", "94"]
    assert [e.body async for e in chat.history()] == [str(n) for n in range(149, -1, -1)]
    await alice.disconnect()
    assert len([e async for e in chat.history()]) == 150


async def test_history_that_cannot_be_fetched_says_so(make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await server.say("bob", "alice", "x")
    await server.say("bob", "alice", "y")
    alice = await live(make("alice"))
    await alice.disconnect()
    monkeypatch.setattr("homing.client.ANSWER_WAIT_S", 0.01)
    with pytest.raises(HistoryUnavailable):
        [e async for e in alice.conversation("bob").history()]


# ---------------------------------------------------------------- groups


async def test_a_group_lives_from_its_creation_to_the_last_leave(make: Make, server: ChatServer) -> None:
    alice, bob, carol = await live(make("alice")), await live(make("bob")), await live(make("carol"))
    created = await alice.create_group("Trip", "bob")
    await created.stored
    group = alice.conversation(created.conversation)
    await (await group.add("carol")).stored
    await (await group.rename("Trip 2")).stored
    sent = await group.send("hi all")
    await sent.delivered
    await until(lambda: any(c.state.last and c.state.last.body == "hi all" for c in carol.conversations()))
    assert carol.conversations()[0].title == "Trip 2"
    assert {m.user for m in await group.members()} == {alice.user, bob.user, carol.user}
    for c in (bob, carol):
        await c.conversation(group.id).read()
    await sent.read
    await (await bob.conversation(group.id).leave()).stored
    await (await group.remove("carol")).stored
    assert server.chats[group.id].members == [alice.user]
    refused = await carol.conversation(group.id).send("still here?")
    with pytest.raises(RequestRefused):
        await refused.stored


# ---------------------------------------------------------------- connections


async def test_it_reconnects_resends_and_resumes(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    events = alice.events()
    await server.cut()
    server.silent = True
    sent = await alice.send("bob", "x")
    await asyncio.sleep(0.05)
    server.silent = False
    await server.cut()
    await sent.stored
    seen = []
    async for event in events:
        seen.append(type(event))
        if isinstance(event, Resumed):
            break
    assert StateChanged in seen and len(server.chats[sent.conversation].log) == 1


async def test_a_cut_without_a_word_is_survived(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    alice.drop_connection()
    await alice.wait_for("waiting", "connecting", "syncing")
    await alice.wait_for("live")
    assert server.hellos == 2


async def test_several_urls_are_taken_in_turn(server: ChatServer) -> None:
    async with Client(["ws://127.0.0.1:9", server.url], token("alice"), limits=FAST) as alice:
        await alice.wait_for("live")


async def test_who_is_asked_to_come_back_without_an_address_goes_to_another_one(server: ChatServer) -> None:
    async with ChatServer() as other, Client([server.url, other.url], token("alice"), limits=FAST) as alice:
        await alice.wait_for("live")
        await server.tell([alice.user], Reconnect(after_ms=1, reason="this node is being stopped"))
        await until(lambda: other.hellos == 1)
        await alice.wait_for("live")
    assert server.hellos == 1


async def test_the_reconnect_frame_names_the_next_address(make: Make, server: ChatServer) -> None:
    async with ChatServer() as other:
        alice = await live(make("alice"))
        await server.tell([alice.user], Reconnect(after_ms=1, url=other.url, reason="drain"))
        await until(lambda: other.hellos == 1)
        await alice.wait_for("live")
        assert not server.sessions


async def test_a_lost_pong_ends_the_connection(make: Make, server: ChatServer) -> None:
    server.heartbeat_ms = 1
    alice = await live(make("alice"))
    server.silent = True
    alice._engine.core.session._heartbeat_s = 0.02
    alice._engine.core.session._ping_at = alice._engine.now()
    alice._engine.apply([])
    await alice.wait_for("waiting")
    assert alice.code == codes.HEARTBEAT_LOST.number


async def test_no_token_is_the_end_but_a_failed_token_is_not(server: ChatServer) -> None:
    answers: list[Exception | str] = [OSError("sign-in is down"), "!token_expired", "alice"]

    async def get_token() -> str:
        answer = answers.pop(0) if answers else SignInStopped("signed out")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with Client(server.url, get_token, limits=FAST) as alice:
        await alice.wait_for("live")
        await server.cut()
        await alice.wait_for("closed")
        assert alice.reason == "signed out"
        with pytest.raises(ClientClosed):
            await alice.wait_for("live")


async def test_what_was_sent_before_closing_is_on_the_wire(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    await server.say("bob", "alice", "x")
    await until(lambda: alice.conversation("bob").state.contig == 1)
    connection = alice._engine._connection
    assert connection is not None
    put = connection._put

    async def slow(data: bytes) -> None:
        await asyncio.sleep(0.005)
        await put(data)

    connection._put = slow  # as through a thin line
    server.silent = True
    for n in range(32):
        await alice.send(f"u{n}", "x")
    await alice.conversation("bob").read()
    await alice.close()
    await until(lambda: any(isinstance(f, Read) for _, f in server.frames))
    assert sum(isinstance(f, Send) for _, f in server.frames) == 32


async def test_a_client_that_is_not_open_says_so(make: Make) -> None:
    alice = make("alice", user="alice")
    for use in (alice.send("bob", "x"), alice.create_group("g", "bob"), alice.conversation(ids.group_id(bytes(16))).members()):
        with pytest.raises(ClientClosed):
            await use
    with pytest.raises(ClientClosed):
        alice.connect()
    unknown = make("alice")
    with pytest.raises(ClientClosed):
        await unknown.send("bob", "x")
    await alice.close()


async def test_a_message_to_oneself_is_delivered_to_all_others(make: Make) -> None:
    alice = await live(make("alice"))
    sent = await alice.send("alice", "a note")
    async with asyncio.timeout(5):
        await sent.delivered


async def test_marks_that_come_while_the_members_are_asked_for_count(make: Make, server: ChatServer) -> None:
    alice, bob = await live(make("alice")), await live(make("bob"))
    created = await alice.create_group("g", "bob")
    await created.stored
    sent = await alice.conversation(created.conversation).send("x")
    await sent.stored
    alice.core.marks.others.pop(created.conversation, None)
    members = alice._members

    async def slow(conversation: str) -> list[MemberInfo]:
        alice.core.marks.take(conversation, [Mark(bob.user, 2, 2)])
        return await members(conversation)

    alice._members = slow  # type: ignore[method-assign]  # the answer comes after the mark
    async with asyncio.timeout(5):
        await sent.read


async def test_waiting_for_ticks_goes_on_when_members_cannot_be_asked_for(
    make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homing.client.ANSWER_WAIT_S", 0.02)
    alice, _bob = await live(make("alice")), await live(make("bob"))
    created = await alice.create_group("g", "bob")
    await created.stored
    alice._known_members.clear()
    await alice.disconnect()
    waiting = asyncio.ensure_future(created.delivered)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    alice.connect()
    async with asyncio.timeout(5):
        await waiting


async def test_a_token_that_does_not_come_is_asked_for_again(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homing.engine.TOKEN_WAIT_S", 0.02)
    asked: list[int] = []

    async def get_token() -> str:
        asked.append(1)
        if len(asked) < 3:
            await asyncio.sleep(60)
        return "alice"

    async with Client(server.url, get_token, limits=FAST) as alice:
        await alice.wait_for("waiting")
        assert "no token: TimeoutError" in alice.reason
        await alice.wait_for("live")
    assert len(asked) == 3


async def test_a_bug_of_ours_closes_the_client_and_is_told(make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = await live(make("alice"))
    monkeypatch.setattr(alice.core, "frame", lambda *_: 1 / 0)
    await server.say("bob", "alice", "x")
    async with asyncio.timeout(5):
        await alice.wait_for("closed")
    assert alice.reason == "the client failed: ZeroDivisionError('division by zero')"


async def test_closing_ends_what_waits(make: Make, server: ChatServer) -> None:
    server.silent = True
    alice = make("alice", user="alice")
    await alice.open()
    sent = await alice.send("bob", "x")
    waiting = asyncio.ensure_future(sent.stored)
    stream = alice.events()
    await asyncio.sleep(0)
    await alice.close()
    with pytest.raises(ClientClosed):
        await waiting
    assert [type(e) async for e in stream][-1:] == [StateChanged]
    assert not [t for t in asyncio.all_tasks() if "homing" in repr(t.get_coro()) and not t.done()]


async def test_sending_before_the_first_welcome_waits_until_the_own_user_is_known(make: Make, server: ChatServer) -> None:
    alice = make("alice")
    await alice.open()
    sent = await alice.send("bob", "x")
    assert (await sent.stored).sender == ids.user_id("alice")


async def test_many_clients_share_one_http_session(server: ChatServer) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = [Client(server.url, token(f"u{n}"), session=session, limits=FAST) for n in range(120)]
        for client in clients:
            await client.open()
        await asyncio.gather(*(client.wait_for("live") for client in clients))
        sent = [await client.send(f"u{(n + 1) % 120}", "hi") for n, client in enumerate(clients)]
        await asyncio.gather(*(s.delivered for s in sent))
        await asyncio.gather(*(client.close() for client in clients))
        assert not session.closed


# ---------------------------------------------------------------- events, store


async def test_a_slow_reader_of_events_loses_the_oldest_and_is_told(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    chat = alice.conversation("bob")
    slow = alice._stream(chat.id, 10)
    for n in range(30):
        await server.say("bob", "alice", str(n))
    await until(lambda: chat.state.contig == 30)
    assert await anext(slow) == Gap(chat.id, 1, 20, "slow_consumer")
    assert await bodies(slow, 10) == [str(n) for n in range(20, 30)]


async def test_a_stream_lives_as_long_as_somebody_waits_at_it_and_no_longer(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    found: list[str] = []

    async def read() -> None:
        async for event in alice.events():
            if isinstance(event, Shown):
                found.append(event.entry.body)

    reference = weakref.ref(asyncio.ensure_future(read()))
    unread = weakref.ref(alice.events())
    await asyncio.sleep(0)
    gc.collect()
    assert unread() is None
    assert reference() is not None
    await server.say("bob", "alice", "x")
    await until(lambda: found == ["x"])


async def test_events_of_one_conversation_are_only_its_own(make: Make, server: ChatServer) -> None:
    alice = await live(make("alice"))
    events = alice.conversation("bob").events()
    await server.say("eve", "alice", "no")
    await server.say("bob", "alice", "yes")
    assert await bodies(events, 1) == ["yes"]


async def test_reading_is_heard_by_the_other_and_by_the_own_second_device(make: Make, server: ChatServer) -> None:
    alice, second, bob = await live(make("alice")), await live(make("alice")), await live(make("bob"))
    bob_events, second_events = bob.events(), second.events()
    sent = await bob.send("alice", "x")
    await sent.delivered
    await alice.conversation("bob").read()
    async for event in bob_events:
        if isinstance(event, ReadBy):
            break
        assert isinstance(event, Delivered | Shown) or not isinstance(event, Gap)
    async for event in second_events:
        if isinstance(event, ReadBy):
            assert event.user == second.user
            break
    assert second.conversation("bob").unread == 0
    assert any(isinstance(f, Read) for _, f in server.frames)


async def test_hello_names_the_program(make: Make, server: ChatServer) -> None:
    await live(make("alice", program="my bot/1"))
    assert [f.client for _, f in server.frames if isinstance(f, Hello)] == ["my bot/1"]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1:7401", "ws://127.0.0.1:7401/v1/ws"),
        ("http://host:1", "ws://host:1/v1/ws"),
        ("https://host/", "wss://host/v1/ws"),
        ("wss://host/chat?slot=3", "wss://host/chat?slot=3"),
    ],
)
def test_addresses_are_completed(given: str, url: str) -> None:
    assert websocket_url(given) == url
