"""What a message costs in the cores alone: two nodes and a worker in one process, real links and codecs, no sockets.

``python -m tests.bench_core [--messages N] [--profile]``: CPU µs per message of both nodes, of which actors, links and codecs; not a test.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from array import array

import msgspec
from homing import ids
from homing import protocol as p

from directory.client import DirectoryClient
from directory.config import DirectoryConfig
from directory.table import Member, Table
from node.core.edge import Identity
from node.core.effects import EntryToClients, SentToClient, ToClient
from node.core.limits import CoreLimits
from node.core.node import NodeCore
from node.core.views import entry_of
from node.edge.codec import EncodedEntry, decode, encode, message_frame, sent_frame
from router.events import Event, FrameIn, Peer
from router.limits import MeshLimits
from router.mesh import Mesh
from storage.client import StorageClient
from storage.frames import Answered, Ask, StorageFrame, WriteRow, Written
from storage.memory import MemoryStore
from storage.store import CellRow, EntryRow, Write

_decode_storage = msgspec.msgpack.Decoder(StorageFrame).decode
_encode = msgspec.msgpack.Encoder().encode


class Worker:
    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.store = MemoryStore()

    def on_events(self, events: list[Event], now: float) -> None:
        writes: dict[str, list[tuple[int, Write]]] = {}
        for event in events:
            if isinstance(event, FrameIn):
                frame = _decode_storage(event.frame)
                if isinstance(frame, WriteRow):
                    writes.setdefault(event.incarnation, []).append((frame.n, Write(event.incarnation, frame.row)))
                elif isinstance(frame, Ask):
                    self.mesh.send(event.incarnation, _encode(Answered(frame.n, self.store.read(frame.query))), now)
        for writer, rows in writes.items():
            outcomes = self.store.commit([w for _, w in rows])
            self.mesh.send(writer, _encode(Written([(n, o) for (n, _), o in zip(rows, outcomes, strict=True)])), now)


class Bench:
    def __init__(self, pairs: int) -> None:
        self.now = 1.0
        names = ("node-1", "node-2", "storage-1")
        self.peers = {name: Peer(name, f"{name}:x", f"tcp://{name}") for name in names}
        self.meshes = {name: Mesh(peer, MeshLimits(), self.now) for name, peer in self.peers.items()}
        members = tuple(Member(p.incarnation, p.name, p.name.split("-")[0], p.endpoint) for p in self.peers.values())
        half = ids.SLOTS // 2
        self.table = Table(1, members, array("H", [0] * half + [1] * half), array("L", [1] * ids.SLOTS))
        self.worker = Worker(self.meshes["storage-1"])
        self.worker.store.commit([Write("directory", CellRow(1, tuple(m.incarnation for m in members)))])
        self.cores: dict[str, NodeCore] = {}
        for name in names[:2]:
            member = next(m for m in members if m.name == name)
            directory = DirectoryClient(member, DirectoryConfig(), 1_000_000, self.now)
            self.cores[name] = NodeCore(self.meshes[name], StorageClient(), directory, CoreLimits(), 1e9, self.now)
            directory.joined, directory.lease_until = True, 1e12
        for name, mesh in self.meshes.items():
            for peer in self.peers.values():
                if peer.name != name:
                    mesh.connect(peer.name, peer.endpoint, self.now, peer.incarnation)
        for core in self.cores.values():
            for event in core.directory.on_delta(self.table.delta(0)):
                core.on_directory_events([event])
        self.meshes["storage-1"].set_epoch(1, self.now)
        self.cpu = 0.0
        self.inbox: list[tuple[str, int, EntryRow]] = []
        self.pump(50)
        self.people: list[tuple[str, int, str]] = []
        for n in range(2 * pairs):
            user = ids.user_id(f"b{n}")
            home = "node-1" if ids.slot_of(user) < half else "node-2"
            self.people.append((home, n, user))
            self.cores[home].open(n, Identity(user, "d"), 0, {}, 10_000, self.now)
        self.pump(200)
        self.homes = {n: home for home, n, _ in self.people}
        self.sent = self.copies = 0

    def pump(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += 0.002
            packets: list[tuple[str, str, bytes]] = []
            for name, mesh in self.meshes.items():
                begin = time.perf_counter()
                if name in self.cores:
                    self.cores[name].tick(self.now)
                packets += [(name, endpoint, data) for endpoint, data in mesh.poll(self.now)]
                if name in self.cores:
                    self.cpu += time.perf_counter() - begin
            for source, endpoint, data in packets:
                target = endpoint.removeprefix("tcp://")
                begin = time.perf_counter()
                events = self.meshes[target].receive(data, source, self.now)
                if target in self.cores:
                    self.cores[target].on_events(events, self.now)
                    self.take(target)
                    self.cpu += time.perf_counter() - begin
                else:
                    self.worker.on_events(events, self.now)

    def take(self, name: str) -> None:
        for effect in self.cores[name].take_effects():
            if isinstance(effect, EntryToClients):
                encoded = EncodedEntry(entry_of(effect.row))
                for session in effect.sessions:
                    message_frame(encoded, False)
                    self.copies += 1
                    self.inbox.append((name, session, effect.row))
            elif isinstance(effect, SentToClient):
                sent_frame(effect.id, EncodedEntry(entry_of(effect.row)), False)
                self.sent += 1
            elif isinstance(effect, ToClient):
                encode(effect.frame, False)

    def client(self, name: str, session: int, data: bytes) -> None:
        begin = time.perf_counter()
        frame = decode(data, False)
        self.cores[name].on_client(session, frame, self.now)  # type: ignore[arg-type]
        self.take(name)
        self.cpu += time.perf_counter() - begin

    def message(self, n: int, count: int) -> None:
        home, session, _ = self.people[n]
        peer = self.people[n ^ 1][2]
        send = p.Send(id=f"{n}-{count}", to=peer, body="The quick brown fox jumps over the lazy dog. " * 2, ts=1, after=0)
        self.client(home, session, msgspec.json.encode(send))

    def acks(self) -> None:
        inbox, self.inbox = self.inbox, []
        for name, session, row in inbox:
            self.client(name, session, msgspec.json.encode(p.Ack(conversation=row.conversation, seq=row.seq)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8, help="messages that arrive within one pace of 2 ms")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    bench = Bench(args.pairs)
    n = 0
    for warm in (True, False):
        if not warm:
            bench.cpu, bench.sent = 0.0, 0
            profile = cProfile.Profile()
            if args.profile:
                profile.enable()
        for _ in range((args.messages if not warm else 2_000) // args.at_once):
            for _ in range(args.at_once):
                bench.message(n % len(bench.people), n)
                n += 1
            bench.acks()
            bench.pump(1)
    if args.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    bench.pump(20)
    print(f"{bench.cpu / max(1, bench.sent) * 1e6:.1f} µs a message in both nodes, {bench.sent} sent, {bench.copies} copies")


if __name__ == "__main__":
    main()
