"""The asyncio client and its store: what is written before what, and what a disk that fails may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import msgspec
import pytest
from homing import (
    ClientClosed,
    Event,
    Shown,
    StoreFailed,
)
from homing.connection import Connection
from homing.protocol import Ack, ClientFrame, Send
from homing.store import Batch, MemoryStore

from tests.integration.client_rig import FAST, Make, bodies, clients, live, until
from tests.integration.client_server import ChatServer


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


@pytest.fixture
async def make(server: ChatServer) -> AsyncIterator[Make]:
    async with clients(server) as make:
        yield make


async def test_what_is_queued_offline_survives_a_restart_and_arrives_once(make: Make, server: ChatServer, tmp_path: Path) -> None:
    store = tmp_path / "alice.db"
    alice = make("alice", store, user="alice")
    await alice.open(connect=False)
    for body in ("one", "two", "three"):
        await alice.send("bob", body)
    await alice.close()
    alice = make("alice", store)
    await alice.open(connect=False)
    assert [item.frame.body for item in alice.outbox() if isinstance(item.frame, Send)] == ["one", "two", "three"]
    handle = alice.handle(alice.outbox()[2].id)
    assert handle is not None
    alice.connect()
    await handle.stored
    (chat,) = server.chats.values()
    assert [e.body for e in chat.log] == ["one", "two", "three"]
    assert alice.outbox() == []


async def test_messages_survive_a_kill_of_the_process_once_send_returned(make: Make, tmp_path: Path) -> None:
    store = tmp_path / "alice.db"
    alice = make("alice", store, user="alice")
    await alice.open(connect=False)
    await alice.send("bob", "safe")
    copy = tmp_path / "copy.db"  # what another process would find now
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{store}{suffix}").read_bytes())
    again = make("alice", copy)
    await again.open(connect=False)
    assert [item.frame.body for item in again.outbox() if isinstance(item.frame, Send)] == ["safe"]


async def test_a_restart_shows_nothing_twice_and_what_came_meanwhile_once(make: Make, server: ChatServer, tmp_path: Path) -> None:
    store = tmp_path / "alice.db"
    alice = await live(make("alice", store))
    events = alice.events()
    for n in range(3):
        await server.say("bob", "alice", str(n))
    assert await bodies(events, 3) == ["0", "1", "2"]
    await alice.close()
    for n in range(3, 250):
        await server.say("bob", "alice", str(n))
    alice = make("alice", store)
    events = alice.events()
    await live(alice)
    assert await bodies(events, 247) == [str(n) for n in range(3, 250)]
    history = [e.body async for e in alice.conversation("bob").history()]
    assert history == [str(n) for n in range(249, -1, -1)]
    assert not [f for _, f in server.frames if getattr(f, "op", "") == "fetch"]


class SlowStore(MemoryStore):
    """Writes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.free = asyncio.Event()
        self.writing = 0

    def write(self, batch: Batch) -> Awaitable[None]:  # type: ignore[override]  # as the interface allows
        self.writing += 1
        return self._write(batch)

    async def _write(self, batch: Batch) -> None:
        await self.free.wait()
        super().write(batch)


async def test_nothing_is_acknowledged_or_shown_before_it_is_stored(make: Make, server: ChatServer) -> None:
    store = SlowStore()
    store.free.set()
    alice = await live(make("alice", store))
    await until(lambda: not alice._engine._storing)
    store.free.clear()
    writing, events = store.writing, alice.events()
    await server.say("bob", "alice", "x")
    await until(lambda: store.writing > writing)
    alice._engine.flush()
    await asyncio.sleep(0.05)
    assert not events._events and not any(isinstance(f, Ack) for _, f in server.frames)
    store.free.set()
    assert await bodies(events, 1) == ["x"]
    await until(lambda: any(isinstance(f, Ack) for _, f in server.frames))


async def test_a_store_belongs_to_one_user_and_one_process(make: Make, tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    alice = await live(make("alice", store))
    with pytest.raises(StoreFailed, match="locked"):
        await make("alice", store).open()
    await alice.close()
    with pytest.raises(StoreFailed, match="another user"):
        await make("bob", store, user="bob").open()


async def test_a_store_that_cannot_be_written_closes_the_client_and_refuses_sends(make: Make, server: ChatServer, tmp_path: Path) -> None:
    alice = await live(make("alice", tmp_path / "a.db"))
    await alice._store._do(lambda db: db.execute("PRAGMA query_only = 1"))  # type: ignore[attr-defined]  # as a full disk would
    with pytest.raises(StoreFailed):
        await alice.send("bob", "x")
    assert alice.outbox() == []
    await server.say("bob", "alice", "y")
    await alice.wait_for("closed")
    assert "store" in alice.reason
    assert not any(isinstance(f, Ack) for _, f in server.frames)


class FullStore(MemoryStore):
    """A disk that is full for a while, and what lies on it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        self.written: list[Batch] = []

    async def _write(self, batch: Batch) -> None:
        await asyncio.sleep(0.001)
        if self.is_full:
            raise StoreFailed("disk full")
        self.written.append(msgspec.msgpack.decode(msgspec.msgpack.encode(batch), type=Batch))
        super().write(batch)

    def write(self, batch: Batch) -> Awaitable[None]:  # type: ignore[override]  # as the interface allows
        return self._write(batch)


async def test_a_disk_that_was_full_for_a_while_makes_no_hole(make: Make, server: ChatServer) -> None:
    """What came while it was full is told and stored later, in order, and nothing that is newer is stored before it."""
    store = FullStore()
    alice = await live(make("alice", store))
    events = alice.events()
    await server.say("bob", "alice", "0")
    assert await bodies(events, 1) == ["0"]
    store.is_full = True
    await server.say("bob", "alice", "1")
    await alice.wait_for("closed")
    assert alice.reason == "the local store cannot be written: disk full"
    alice.connect()
    await asyncio.sleep(0.05)
    assert alice.state == "closed", "it is still full: that is said again at once"
    store.is_full = False
    await server.say("bob", "alice", "2")
    alice.connect()
    await alice.wait_for("live")
    await server.say("bob", "alice", "3")
    assert await bodies(events, 3) == ["1", "2", "3"]
    entries = [e.body for batch in store.written for e in batch.entries]
    assert entries == ["0", "1", "2", "3"]
    for batch in store.written:
        for state in batch.changes.conversations if batch.changes else ():
            held = [e.seq for b in store.written[: store.written.index(batch) + 1] for e in b.entries]
            assert held == list(range(1, state.contig + 1)), "a conversation was written without the entries that it counts"


async def test_a_send_that_fails_because_of_the_disk_takes_nothing_with_it(make: Make, server: ChatServer) -> None:
    store = FullStore()
    alice = await live(make("alice", store))
    await server.say("bob", "alice", "x")
    await until(lambda: alice.conversation("bob").state.contig == 1)
    store.is_full = True
    await alice.conversation("bob").read()  # is written with what comes next
    results = await asyncio.gather(*(alice.send("bob", str(n)) for n in range(20)), return_exceptions=True)
    assert all(isinstance(r, StoreFailed) for r in results) and alice.outbox() == []
    store.is_full = False
    await (await alice.send("eve", "last")).stored
    assert [e.body for c in server.chats.values() for e in c.log] == ["x", "last"]
    assert (alice.conversation("bob").id, 1) in {(c.id, c.read) for b in store.written if b.changes for c in b.changes.conversations}


async def test_concurrent_sends_share_their_writes(make: Make, server: ChatServer) -> None:
    store = FullStore()
    alice = make("alice", store, user="alice")
    await alice.open(connect=False)
    await asyncio.gather(*(alice.send("bob", str(n)) for n in range(500)))
    assert len(store.written) <= 3
    assert [i.id for b in store.written if b.changes for i in b.changes.outbox] == [i.id for i in alice.outbox()]


async def test_a_send_that_is_cancelled_before_it_is_safe_is_not_sent(make: Make, server: ChatServer) -> None:
    store = SlowStore()
    alice = make("alice", store, user="alice")
    await alice.open(connect=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(alice.send("bob", "x"), 0.01)
    assert alice.outbox() == []
    store.free.set()
    alice.connect()
    await (await alice.send("bob", "y")).stored
    assert [e.body for c in server.chats.values() for e in c.log] == ["y"]


async def test_closing_while_many_are_sending_loses_nothing_that_was_promised(make: Make, server: ChatServer, tmp_path: Path) -> None:
    """Each send either returns, and then the message is in the store or in the cluster, or raises, and then it is in neither."""
    alice = await live(make("alice", tmp_path / "a.db"))

    async def send(n: int) -> str:
        await asyncio.sleep(0.0005 * n)
        await alice.send(f"u{n % 7}", str(n))
        return str(n)

    async def close() -> None:
        await asyncio.sleep(0.03)
        await alice.close()

    *results, _ = await asyncio.gather(*(send(n) for n in range(200)), close(), return_exceptions=True)
    promised = {r for r in results if isinstance(r, str)}
    assert promised and all(isinstance(r, str | ClientClosed) for r in results)
    said = {e.body for c in server.chats.values() for e in c.log}
    again = make("alice", tmp_path / "a.db")
    await again.open(connect=False)
    queued = {item.frame.body for item in again.outbox() if isinstance(item.frame, Send)}
    assert promised <= said | queued
    again.connect()
    await until(lambda: not again.outbox())
    bodies = sorted(e.body for c in server.chats.values() for e in c.log)
    assert bodies == sorted(promised)


async def test_opening_that_is_given_up_leaves_the_file_free(make: Make, tmp_path: Path) -> None:
    opening = asyncio.ensure_future(make("alice", tmp_path / "a.db").open(connect=False))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await make("alice", tmp_path / "a.db").open(connect=False)


async def test_what_is_shown_after_a_skip_is_stored_before_it_is_told_or_acknowledged(
    make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device too far behind skips to near the end; what it held from there is shown by `flush`, not by a frame."""
    happened: list[tuple[str, int]] = []

    class NotingStore(FullStore):
        async def _write(self, batch: Batch) -> None:
            await super()._write(batch)
            happened.extend(("stored", e.seq) for e in batch.entries)

    def send(connection: Connection, frame: ClientFrame) -> None:
        if isinstance(frame, Ack):
            happened.append(("acknowledged", frame.seq))
        put(connection, frame)

    put = Connection.send
    monkeypatch.setattr(Connection, "send", send)
    alice = await live(make("alice", NotingStore(), limits=msgspec.structs.replace(FAST, catchup_entries_max=1)))
    await server.say("bob", "alice", "1")
    await until(lambda: ("acknowledged", 1) in happened)
    await alice.disconnect()
    for n in range(2, 9):
        await server.say("bob", "alice", str(n))
    publish = alice._publish

    def tell(event: Event) -> None:
        if isinstance(event, Shown):
            happened.append(("told", event.entry.seq))
        publish(event)

    monkeypatch.setattr(alice, "_publish", tell)
    alice.connect()
    await until(lambda: ("acknowledged", 8) in happened)
    assert happened.index(("stored", 8)) < happened.index(("told", 8)) < happened.index(("acknowledged", 8))
