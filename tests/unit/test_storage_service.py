"""The worker between mesh and store: refusals, a store that fails and recovers, the table, a peer whose link is full."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from homing.ids import SLOTS
from msgspec import Struct

from directory.config import DirectoryConfig
from directory.frames import DirectoryFrame, Expelled, GoodBye, Publish, Renew, Renewed
from directory.table import NOBODY, Member, Table
from router.events import Event, FrameIn, Peer
from router.limits import MeshLimits
from router.mesh import Mesh
from storage.config import WorkerConfig
from storage.frames import Answered, Ask, StorageBusy, StorageFrame, WriteRow, Written
from storage.member import Membership
from storage.memory import MemoryStore
from storage.service import Held, StorageService
from storage.store import CellLoaded, CellRow, EntryRow, LoadCell, Outcome, UserRow, Write

STORED, UNKNOWN = Outcome.STORED, Outcome.UNKNOWN
DIRECTORY = DirectoryConfig(directories=["directory-1=tcp://directory"])
CONVERSATION, USER = "c" * 32, "a" * 32
encode = msgspec.msgpack.encode


class FlakyStore(MemoryStore):
    """A store whose disk can be taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.failure = ""
        self.broken = False
        self.reopened = 0

    def commit(self, writes: list[Write]) -> list[Outcome]:
        if self.broken and not self.failure:
            self.failure = "SQLITE_IOERR_FSYNC"
        return [UNKNOWN] * len(writes) if self.failure else super().commit(writes)

    def reopen(self) -> None:
        self.reopened += 1
        if self.broken:
            raise OSError("still broken")
        self.failure = ""


class Rig:
    """A worker, a node and a directory whose packets go from one to the other by hand, on a virtual clock."""

    def __init__(self, config: WorkerConfig, limits: MeshLimits) -> None:
        self.now = 0.0
        peers = {name: Peer(name, f"{name}:a", f"tcp://{name.partition('-')[0]}") for name in ("storage-1", "node-1", "directory-1")}
        self.meshes = {peer.endpoint: Mesh(peer, limits, 0.0) for peer in peers.values()}
        self.worker, self.node, self.directory = self.meshes.values()
        self.store = FlakyStore()
        self.membership = Membership(self.worker, DIRECTORY, 0.0)
        self.service = StorageService(self.store, self.worker, self.membership, config, lambda: None, limits.frame_bytes_max)
        self.heard: dict[str, list[Struct]] = {"tcp://node": [], "tcp://directory": []}
        self.service.start(0.0)
        self.node.connect("storage-1", "tcp://storage", 0.0)
        self.run(0.5)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Lets time pass."""
        for _ in range(max(1, round(seconds / step))):
            self.now += step
            self.service.tick(self.now)
            for mesh in self.meshes.values():
                for endpoint, packet in mesh.poll(self.now):
                    self._arrive(endpoint, self.meshes[endpoint].receive(packet, mesh.me.name, self.now))

    def _arrive(self, endpoint: str, events: list[Event]) -> None:
        if endpoint == "tcp://storage":
            self.service.handle(events, self.now)
            return
        frames: Callable[[bytes], Struct] = msgspec.msgpack.Decoder(StorageFrame | DirectoryFrame).decode
        self.heard[endpoint] += [frames(event.frame) for event in events if isinstance(event, FrameIn)]

    def say(self, mesh: Mesh, *frames: Struct) -> None:
        for frame in frames:
            assert mesh.send("storage-1:a", encode(frame), self.now)

    def outcomes(self) -> list[tuple[int, Outcome]]:
        return [pair for frame in self.heard["tcp://node"] if isinstance(frame, Written) for pair in frame.outcomes]

    def publish(self, epoch: int, *incarnations: str) -> Table:
        members = tuple(Member(i, i.partition(":")[0], i.partition("-")[0], f"tcp://{i.partition('-')[0]}") for i in incarnations)
        table = Table(epoch, members, array("H", [NOBODY]) * SLOTS, array("L", [0]) * SLOTS)
        self.say(self.directory, Publish(table.delta(0)))
        self.run(0.1)
        return table


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig(WorkerConfig(queue_rows_max=2, round_rows_max=2), MeshLimits())
    yield rig
    rig.service.stop()


def row(seq: int) -> EntryRow:
    return EntryRow(CONVERSATION, seq, 1, USER, f"m{seq}", "text", "hi", seq, seq)


CELL = CellRow(1, ("node-1:a",))
ROW = UserRow(USER, 1)


async def test_rows_of_a_peer_are_written_as_its_own_and_answered(rig: Rig) -> None:
    rig.say(rig.directory, WriteRow(9, CELL))
    rig.say(rig.node, WriteRow(1, ROW))
    rig.run(0.1)
    rig.say(rig.node, WriteRow(2, row(1)))
    rig.say(rig.directory, WriteRow(1, row(2)))
    rig.run(0.1)
    assert rig.outcomes() == [(1, STORED), (2, STORED)]
    assert Written([(1, Outcome.FENCED)]) in rig.heard["tcp://directory"]


async def test_only_a_directory_says_who_may_write(rig: Rig) -> None:
    rig.say(rig.node, WriteRow(1, CELL), WriteRow(2, ROW))
    rig.run(0.1)
    assert rig.outcomes() == [(2, STORED)] and rig.service.bad_frames == 1
    rig.say(rig.directory, WriteRow(1, CELL))
    rig.run(0.1)
    assert Written([(1, STORED)]) in rig.heard["tcp://directory"]


async def test_past_the_bound_a_write_is_refused_at_once(rig: Rig) -> None:
    rig.say(rig.node, *(WriteRow(n, ROW) for n in range(1, 5)))
    rig.run(0.1)
    refused = [frame.n for frame in rig.heard["tcp://node"] if isinstance(frame, StorageBusy)]
    assert (sorted(refused), [n for n, _ in rig.outcomes()]) == ([3, 4], [1, 2])


async def test_a_failing_store_answers_unknown_is_opened_anew_with_growing_waits_and_serves_again(rig: Rig) -> None:
    rig.store.broken = True
    rig.say(rig.node, WriteRow(1, ROW))
    rig.run(0.1)
    assert rig.outcomes() == [(1, UNKNOWN)]
    assert rig.service.failed and "IOERR" in str(rig.service.unready)
    rig.run(3.0)
    assert 4 <= rig.store.reopened <= 6, "after 0.1, 0.2, 0.4, 0.8, 1.6 s"
    rig.store.broken = False
    rig.run(2.1)
    rig.say(rig.node, WriteRow(2, ROW))
    rig.run(0.1)
    assert rig.outcomes()[-1] == (2, STORED)


async def test_the_directory_hears_that_the_store_has_failed_and_that_it_is_well(rig: Rig) -> None:
    def last() -> Renew:
        return [frame for frame in rig.heard["tcp://directory"] if isinstance(frame, Renew)][-1]

    assert (last().member.role, last().storage_ok) == ("storage", True)
    rig.store.broken = True
    rig.say(rig.node, WriteRow(1, ROW))
    rig.run(0.15)
    assert not last().storage_ok
    rig.store.broken = False
    rig.run(0.3)
    assert last().storage_ok


async def test_a_worker_is_ready_once_it_is_in_the_table_and_follows_it(rig: Rig) -> None:
    assert rig.service.unready == "not in the slot table yet"
    table = rig.publish(3, "storage-1:a", "node-1:a")
    assert [rig.service.unready] == [None]
    assert (rig.worker.epoch, rig.membership.table.epoch) == (3, table.epoch)
    rig.publish(4, "storage-1:a")
    assert [peer.name for peer in rig.worker.peers()] == ["directory-1"], "the link to who is gone is closed"


async def test_a_worker_that_was_taken_out_says_so_and_renews_no_more(rig: Rig) -> None:
    expelled: list[bool] = []
    rig.service.on_expelled = lambda: expelled.append(True)
    rig.publish(3, "storage-1:a")
    assert not expelled
    rig.publish(4, "node-1:a")
    assert expelled and rig.membership.expelled
    before = len(rig.heard["tcp://directory"])
    rig.run(2.0)
    assert rig.heard["tcp://directory"][before:] == []


async def test_only_a_directory_can_expel(rig: Rig) -> None:
    rig.say(rig.node, Expelled("storage-1:a"), Renewed(1, 5, 9))
    rig.run(0.1)
    assert not rig.membership.expelled
    rig.say(rig.directory, Expelled("storage-1:a"))
    rig.run(0.1)
    assert rig.membership.expelled


async def test_leaving_commits_what_waits_and_says_good_bye(rig: Rig) -> None:
    rig.service.handle([FrameIn("node-1:a", encode(WriteRow(7, ROW)))], rig.now)
    rig.service.drain(rig.now)
    rig.membership.leave(rig.now)
    rig.run(0.1)
    assert rig.outcomes() == [(7, STORED)]
    assert rig.heard["tcp://directory"][-1] == GoodBye("storage-1:a")


async def test_an_ask_is_answered_by_the_reading_thread(rig: Rig) -> None:
    rig.say(rig.node, Ask(9, LoadCell()))
    for _ in range(100):
        rig.run(0.01)
        await asyncio.sleep(0)
        if any(isinstance(frame, Answered) for frame in rig.heard["tcp://node"]):
            break
        await asyncio.to_thread(lambda: None)
    assert Answered(9, CellLoaded(None)) in rig.heard["tcp://node"]


def test_held_answers_keep_their_order_and_their_bound() -> None:
    held, sent, room = Held(10), list[bytes](), 2

    def send(peer: str, frame: bytes) -> bool:
        nonlocal room
        room -= 1
        if room >= 0:
            sent.append(frame)
        return room >= 0

    for frame in (b"aaa", b"bbb", b"ccc", b"dd"):
        held.add("node-1:a", frame)
    assert (held.bytes, held.dropped, "node-1:a" in held) == (9, 1, True)
    held.send("node-1:a", send)
    assert (sent, held.bytes) == ([b"aaa", b"bbb"], 3)
    room = 9
    held.send("node-1:a", send)
    assert (sent, held.bytes, "node-1:a" in held) == ([b"aaa", b"bbb", b"ccc"], 0, False)
    held.add("node-1:a", b"x")
    held.forget("node-1:a")
    assert held.bytes == 0
