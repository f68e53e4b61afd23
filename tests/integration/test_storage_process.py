"""The storage worker as a real process: killed, out of room, asked to stop, started twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

from router import keys
from router.config import MeshConfig
from router.events import Event, FrameIn, Peer, PeerUp, WindowOpen
from router.mesh import Mesh
from router.pump import Pump
from router.zmq_transport import ZmqTransport
from storage.client import Outgoing, StorageClient
from storage.config import ClientConfig
from storage.frames import StorageFrame
from storage.store import (
    Answer,
    CellLoaded,
    CellRow,
    EntriesRead,
    EntryRow,
    IndexLoaded,
    IndexRow,
    LoadCell,
    LoadIndex,
    LoadLog,
    LogLoaded,
    MemberRow,
    Outcome,
    ReadEntries,
    Row,
)

ROOT = Path(__file__).resolve().parent.parent.parent
START = "import sys; from pathlib import Path; from storage.main import main; sys.exit(main(Path(sys.argv[1]), None))"
MESH = MeshConfig()
CONVERSATION, USER = "c" * 32, "a" * 32


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """A worker's configuration, and the process that runs it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys_dir = directory / "keys"
        for name in ("storage-1", "directory-1"):
            keys.create(self.keys_dir, name)
        self.endpoint, self.http_port = f"tcp://127.0.0.1:{free_port()}", free_port()
        self.config = directory / "storage-1.toml"
        self.config.write_text(
            f'[process]\nname = "storage-1"\nendpoint = "{self.endpoint}"\nhttp_port = {self.http_port}\nkeys_dir = "{self.keys_dir}"\n'
            f'[directory]\ndirectories = ["directory-1=tcp://127.0.0.1:{free_port()}"]\n'
            f'[storage]\npath = "{directory}/store/homing.db"\n'
        )
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, before: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(self.config)], stderr=log, stdout=log, env=environment, preexec_fn=before
            )
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


class Node:
    """What a node has of the mesh and of storage: enough to write and to ask. Under a directory's name, for it says who may write."""

    def __init__(self, worker: Worker) -> None:
        loop = asyncio.get_running_loop()
        pair, ring = keys.load(worker.keys_dir, "directory-1"), keys.KeyRing(worker.keys_dir)
        transport = ZmqTransport("tcp://127.0.0.1:0", pair, ring, MESH)
        self.me = Peer("directory-1", "directory-1:aaaaaaaa", transport.bind())
        self.client = StorageClient(ClientConfig(answer_timeout_s=1.0))
        self.mesh = Mesh(self.me, MESH, loop.time())
        self.mesh.connect("storage-1", worker.endpoint, loop.time())
        self.pump = Pump(self.mesh, transport, self.handle, self.tick)
        self.decode = msgspec.msgpack.Decoder(StorageFrame).decode
        self.outcomes: dict[int, list[Outcome]] = {}
        self.answers: dict[int, asyncio.Future[Answer]] = {}
        self.news = asyncio.Event()

    def handle(self, events: list[Event], now: float) -> None:
        for event in events:
            match event:
                case PeerUp(peer):
                    self.client.on_members([peer.incarnation], now)
                case WindowOpen(incarnation):
                    self.client.on_window_open(incarnation)
                case FrameIn(incarnation, frame) if frame[1] < 40:  # a worker renews with it
                    for n, result in self.client.on_frame(incarnation, self.decode(frame), now):
                        if isinstance(result, Outcome):
                            self.outcomes.setdefault(n, []).append(result)
                        else:
                            self.answers[n].set_result(result)
        self.news.set()

    def tick(self, now: float) -> float | None:
        refused: Outgoing = []
        for worker, frame in self.client.outgoing(now):
            if refused or not self.mesh.send(worker, msgspec.msgpack.encode(frame), now):
                refused.append((worker, frame))
        self.client.put_back(refused)
        return self.client.next_deadline()

    def write(self, row: Row) -> int:
        n = self.client.write(row, asyncio.get_running_loop().time())
        self.pump.flush()
        return n

    async def written(self, *rows: Row) -> list[Outcome]:
        """Writes rows and waits for how each ends."""
        ns = [self.write(row) for row in rows]
        await self.until(lambda: all(self.outcomes.get(n, [Outcome.UNKNOWN])[-1] is not Outcome.UNKNOWN for n in ns))
        return [self.outcomes[n][-1] for n in ns]

    async def until(self, holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():
                self.news.clear()
                await self.news.wait()

    async def ask(self, query: ReadEntries | LoadCell | LoadIndex | LoadLog) -> Answer:
        loop = asyncio.get_running_loop()
        n = self.client.ask(query, loop.time())
        self.answers[n] = loop.create_future()
        self.pump.flush()
        async with asyncio.timeout(20.0):
            return await self.answers[n]

    async def seqs(self, conversation: str = CONVERSATION) -> list[int]:
        """All seqs of a conversation, page by page."""
        found: list[int] = []
        while True:
            answer = await self.ask(ReadEntries(conversation, found[-1] + 1 if found else 0, 1 << 40, 5_000, newest=False, bodies=False))
            assert isinstance(answer, EntriesRead)
            found += [row.seq for row in answer.entries]
            if not answer.cut:
                return found


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    worker.start()
    yield worker
    worker.kill()


@pytest.fixture
async def node(worker: Worker) -> AsyncIterator[Node]:
    node = Node(worker)
    await node.pump.start()
    assert await node.written(CellRow(1, (node.me.incarnation,))) == [Outcome.STORED]
    yield node
    await node.pump.stop()


def entry(seq: int, body: str = "hi") -> EntryRow:
    return EntryRow(CONVERSATION, seq, 1, USER, f"m{seq}", "text", body, seq, seq)


async def test_rows_are_written_read_and_fenced_over_the_mesh(node: Node) -> None:
    assert await node.written(entry(1, "grüß dich 🐦"), IndexRow(USER, CONVERSATION, 7)) == [Outcome.STORED] * 2
    answer = await node.ask(ReadEntries(CONVERSATION, 1, 9))
    assert isinstance(answer, EntriesRead) and answer.entries == [entry(1, "grüß dich 🐦")]
    assert await node.written(CellRow(2, ("node-9:zzzzzzzz",))) == [Outcome.STORED]
    assert await node.written(entry(2)) == [Outcome.FENCED]
    assert await node.ask(LoadCell()) == CellLoaded(CellRow(2, ("node-9:zzzzzzzz",)))


async def test_5000_rows_at_once_are_all_stored_and_an_answer_of_a_mebibyte_comes_whole(node: Node) -> None:
    rows: list[Row] = [IndexRow(USER, f"{i:032x}", i + 1) for i in range(5_000)]
    assert set(await node.written(*rows)) == {Outcome.STORED}
    answer = await node.ask(LoadIndex(USER))
    assert isinstance(answer, IndexLoaded) and len(answer.rows) == 5_000
    await node.written(*(entry(seq, "x" * 50_000) for seq in range(1, 40)))
    page = await node.ask(ReadEntries(CONVERSATION, 1, 39))
    assert isinstance(page, EntriesRead) and sum(len(row.body) for row in page.entries) >= 1_000_000 and page.cut


async def test_killed_again_and_again_under_load_nothing_acked_is_lost_and_the_rest_gets_stored(worker: Worker, node: Node) -> None:
    randomness, numbers, acked_at_kill = random.Random(7), dict[int, int](), set[int]()
    enough, cut_off = asyncio.Event(), 0

    def write_some() -> None:
        for _ in range(20):
            seq = len(numbers) + 1
            numbers[node.write(entry(seq))] = seq

    async def load() -> None:
        while not enough.is_set():
            write_some()
            await asyncio.sleep(0.005)  # the pace of a load, not a wait for anything

    def acked() -> set[int]:
        return {seq for n, seq in numbers.items() if Outcome.STORED in node.outcomes.get(n, [])}

    loading = asyncio.create_task(load())
    for _ in range(4):
        goal = len(acked()) + randomness.randrange(20, 500)
        await node.until(partial(lambda goal: len(acked()) > goal, goal))
        write_some()  # the kill finds something on its way, however the load and the worker take turns
        await asyncio.to_thread(worker.kill)
        acked_at_kill.update(acked())
        cut_off += len(acked_at_kill) < len(numbers)
        worker.start()
        assert acked_at_kill <= set(await node.seqs())
    assert cut_off, "all that was written had been answered at each kill: nothing was tried"
    enough.set()
    await loading
    await node.until(lambda: len(acked()) == len(numbers))
    assert await node.seqs() == list(range(1, len(numbers) + 1))


async def test_without_room_for_the_file_writes_are_unknown_and_room_ends_it(tmp_path: Path) -> None:
    """The kernel refuses to make any file of the worker longer than a limit (RLIMIT_FSIZE); then the limit is taken away."""
    worker, limit = Worker(tmp_path), 300_000
    process = worker.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)))
    node = Node(worker)
    try:
        await node.pump.start()
        await node.written(CellRow(1, (node.me.incarnation,)), entry(1))
        numbers = [node.write(entry(seq, "x" * 20_000)) for seq in range(2, 60)]
        await node.until(lambda: any(Outcome.UNKNOWN in node.outcomes.get(n, []) for n in numbers))
        assert 1 in await node.seqs(), "reads go on"
        status, reason = await asyncio.to_thread(worker.get, "/readyz")
        assert status == 503 and "store failed" in reason
        assert "homing_storage_failed 1.0" in (await asyncio.to_thread(worker.get, "/metrics"))[1]
        acked = [n for n in numbers if Outcome.STORED in node.outcomes.get(n, [])]
        assert len(acked) < len(numbers)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await node.until(lambda: all(node.outcomes.get(n, [None])[-1] is Outcome.STORED for n in numbers))
        assert await node.seqs() == list(range(1, 60))
        events = [line["event"] for line in worker.lines()]
        assert "store_failed" in events and "store_recovered" in events
        assert process.poll() is None, "it recovers in its process"
    finally:
        await node.pump.stop()
        worker.kill()


async def test_a_worker_that_is_asked_to_stop_commits_what_it_has_and_ends(worker: Worker, node: Node) -> None:
    assert worker.process is not None
    numbers = [node.write(entry(seq)) for seq in range(1, 500)]
    await node.until(lambda: any(n in node.outcomes for n in numbers))
    worker.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(worker.process.wait, 10) == 0
    worker.start()
    await node.until(lambda: all(node.outcomes.get(n) == [Outcome.STORED] for n in numbers))
    assert await node.seqs() == list(range(1, 500))


async def test_a_second_process_on_the_same_file_is_refused_and_says_why(worker: Worker, node: Node, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    second = Worker(tmp_path / "second")
    assert worker.process is not None
    second.config.write_text(second.config.read_text().replace(str(second.directory / "store"), str(worker.directory / "store")))
    process = second.start()
    assert await asyncio.to_thread(process.wait, 10) == 1
    (line,) = [line for line in second.lines() if line["event"] == "store_unusable"]
    assert f"in use by process {worker.process.pid}" in str(line["reason"])
    assert await node.written(entry(1)) == [Outcome.STORED]


async def test_garbage_from_an_allowed_peer_is_counted_and_harms_nobody(worker: Worker, node: Node) -> None:
    now, (peer,) = asyncio.get_running_loop().time(), node.mesh.peers()
    randomness = random.Random(3)
    for frame in (b"\x93\x14\x01", b"\x93\x14\x01\x01", b"\x92\x28\x01", b"", b"\xc1\x14", *(randomness.randbytes(20) for _ in range(200))):
        assert node.mesh.send(peer.incarnation, frame or b"\x00", now)
    node.pump.flush()
    assert await node.written(entry(1)) == [Outcome.STORED]
    metrics = (await asyncio.to_thread(worker.get, "/metrics"))[1]
    (bad,) = [line for line in metrics.splitlines() if line.startswith("homing_storage_bad_frames_total")]
    assert float(bad.split()[1]) >= 200


async def test_a_file_that_cannot_be_opened_is_tried_again_and_ready_says_why(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    (tmp_path / "store").write_text("a file where the directory should be")
    process = worker.start()
    try:
        for _ in range(100):
            with suppress(urllib.error.URLError):
                status, reason = await asyncio.to_thread(worker.get, "/readyz")
                if "homing.db" in reason:
                    break
            await asyncio.sleep(0.05)
        assert (status, process.poll()) == (503, None) and "homing.db" in reason
        (tmp_path / "store").unlink()
        node = Node(worker)
        await node.pump.start()
        assert await node.written(CellRow(1, (node.me.incarnation,)), entry(1)) == [Outcome.STORED] * 2
        await node.pump.stop()
    finally:
        worker.kill()


async def test_an_answer_larger_than_a_frame_comes_whole(node: Node) -> None:
    """A group that ten thousand people have left: without its rows its home could never be opened again."""
    gone = [MemberRow(CONVERSATION, f"{i:032x}", i + 1, "", 1, i + 2, "a title " * 25) for i in range(10_000)]
    for at in range(0, len(gone), 2_000):
        assert set(await node.written(*gone[at : at + 2_000])) == {Outcome.STORED}
    answer = await node.ask(LoadLog(CONVERSATION))
    assert isinstance(answer, LogLoaded) and sorted(answer.members, key=lambda row: row.seq) == gone
    assert len(msgspec.msgpack.encode(answer)) > MESH.frame_bytes_max
