"""A directory of the simulated cluster: the real membership core, over a simulated database row and the simulated store.

Mirrors ``directory/service.py``, whose database needs a thread.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import msgspec

from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    Beaten,
    CellStored,
    CommitRefused,
    CommitTable,
    Committed,
    Disconnected,
    Effect,
    Event,
    Forget,
    LoadRow,
    MemberFrame,
    Note,
    PublishTable,
    Row,
    RowFailed,
    RowLoaded,
    SendTo,
    Start,
    TableSeen,
    Tick,
    WriteCell,
)
from directory.frames import GoodBye, Released, Renew
from directory.membership import MembershipCore
from directory.table import Member
from router import events as mesh_events
from router.limits import MeshLimits
from storage.client import StorageClient
from storage.config import ClientConfig
from storage.frames import Answered, StorageBusy, Written
from storage.store import CellLoaded, CellRow, LoadCell, Outcome
from tools.simulation import tables
from tools.simulation.member import MeshProcess
from tools.simulation.world import Network, World

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Renew | GoodBye | Released | Written | Answered | StorageBusy).decode


class Database:
    """The relational row: compare-and-set on its epoch. It can be slow, or down; a commit whose answer is lost may have landed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.row: Row | None = None
        self.up = True
        self.slow_s = 0.0
        self.lose_answers = 0.0

    def carry_out(self, effect: LoadRow | CommitTable | Beat, process: SimDirectory, asked_at: float) -> None:
        life = process._life
        delay = 0.0005 + self.world.random.random() * 0.002 + self.world.random.random() * self.slow_s

        def act() -> None:
            event = self._outcome(effect, process, asked_at)
            if event is None:
                return
            back = 0.0005 + self.world.random.random() * self.slow_s
            self.world.after(back, partial(tell, event))

        def tell(event: Event) -> None:
            if process._life == life:
                process.take(lambda: process.on_row(event))

        self.world.after(delay, act)

    def _outcome(self, effect: LoadRow | CommitTable | Beat, process: SimDirectory, asked_at: float) -> Event | None:
        lost = self.lose_answers and self.world.random.random() < self.lose_answers
        match effect:
            case LoadRow():
                return RowLoaded(self.row, process.wall_ms()) if self.up else RowFailed("down", may_land=False)
            case CommitTable(expected, row):
                if not self.up:
                    return RowFailed("down", may_land=False)
                if (self.row.epoch if self.row else 0) != expected:
                    return CommitRefused()
                if lost and self.world.random.random() < 0.5:
                    return RowFailed("time-out")
                self.row = row
                return RowFailed("time-out") if lost else Committed(row.epoch)
            case Beat(leader, beat, cluster_time):
                if not self.up or lost:
                    return None
                old = self.row
                ok = old is not None and old.leader == leader
                if ok and old is not None:
                    self.row = Row(old.epoch, old.table, old.leader, beat, cluster_time, old.joined)
                return Beaten(ok, asked_at)


class SimDirectory(MeshProcess):
    """One name of a directory."""

    def __init__(
        self, world: World, network: Network, name: str, database: Database, limits: MeshLimits, config: DirectoryConfig,
        client: ClientConfig, resend: bool,
    ) -> None:  # fmt: skip
        super().__init__(world, network, name, limits, resend)
        self.database = database
        self.config = config
        self.client_config = client
        self.core: MembershipCore

    def on_start(self) -> None:
        now = self.clock()
        self.make_mesh()
        me = Member(self.incarnation, self.name, "directory", self.endpoint)
        self.core = MembershipCore(me, self.config)
        self.storage = StorageClient(self.client_config)
        self._todo: deque[mesh_events.Event] = deque()
        self._fed = True
        self._due: float | None = None
        self._cell_n = 0
        self._cell: WriteCell | None = None
        self._workers_version = (-1, -1)
        for name, endpoint in self.config.endpoints().items():
            self.mesh.connect(name, endpoint, now)
        self._feed(Start(), now)

    def on_packet(self, data: bytes, sender: str) -> None:
        now = self.clock()
        self._todo.extend(self.mesh.receive(data, sender, now))
        self._drain(now)
        self.settle()

    def on_hint(self, endpoint: str, reached: bool) -> None:
        now = self.clock()
        if reached:
            self.mesh.connected(endpoint, now)
        else:
            self._todo.extend(self.mesh.disconnected(endpoint, now))
            self._drain(now)
        self.settle()

    def on_row(self, event: Event) -> None:
        self._feed(event, self.clock())
        self._drain(self.clock())
        self.settle()

    def settle(self) -> None:
        now = self.clock()
        due = self._next_deadline()
        if due is not None and now >= due:
            self._feed(Tick(), now)
        self._drain(now)
        self._send_to_storage(now)
        self.put_on_wire(now)
        self.wake_at(self._next_deadline(), self.storage.next_deadline(), self.mesh.next_deadline())

    # ------------------------------------------------------------ what comes in

    def _drain(self, now: float) -> None:
        while self._todo:
            self._on(self._todo.popleft(), now)

    def _on(self, event: mesh_events.Event, now: float) -> None:
        match event:
            case mesh_events.FrameIn(incarnation, frame):
                self._on_frame(incarnation, frame, now)
            case mesh_events.Disconnected(incarnation) | mesh_events.PeerDown(incarnation):
                self._feed(Disconnected(incarnation), now)
            case mesh_events.TableWanted(incarnation, base):
                if base < self.core.published.epoch:
                    self.mesh.send_table(incarnation, self._delta(base), now)
            case mesh_events.TableIn(incarnation, delta):
                self._feed(TableSeen(tables.read_delta(delta)), now)
                self._take_epoch(now)
            case mesh_events.PeerUp(peer):
                self.storage.on_window_open(peer.incarnation)
            case mesh_events.WindowOpen(incarnation):
                self.storage.on_window_open(incarnation)
            case _:
                pass

    def _on_frame(self, incarnation: str, frame: bytes, now: float) -> None:
        said = _decode(frame)
        if isinstance(said, Renew | GoodBye | Released):
            return self._feed(MemberFrame(incarnation, said), now)
        for n, result in self.storage.on_frame(incarnation, said, now):
            if n == self._cell_n and self._cell is not None:
                self._on_cell(self._cell, result, now)

    # ------------------------------------------------------------ what the core asks for

    def _next_deadline(self) -> float | None:
        """The core's; it changes only with what the core is fed."""
        if self._fed:
            self._fed, self._due = False, self.core.next_deadline()
        return self._due

    def _feed(self, event: Event, now: float) -> None:
        self._fed = True
        for effect in self.core.handle(event, now):
            self._carry_out(effect, now)

    def _carry_out(self, effect: Effect, now: float) -> None:
        match effect:
            case SendTo(incarnation, frame):
                self.mesh.send(incarnation, _encode(frame), now, answer=True)
            case PublishTable():
                self._publish(now)
            case WriteCell(epoch, live):
                self._cell = effect
                self._cell_n = self.storage.write(CellRow(epoch, live), now)
            case LoadRow() | CommitTable() | Beat():
                self.database.carry_out(effect, self, now)
            case Forget(incarnation, reason):
                self._todo.extend(self.mesh.close(incarnation, reason, now))
            case Note():
                pass

    def _publish(self, now: float) -> None:
        known = {i: a.epoch for i, a in self.core.roll.alive.items()}
        for peer in self.mesh.peers():
            self.mesh.send_table(peer.incarnation, self._delta(known.get(peer.incarnation, 0)), now)
        self._take_epoch(now)

    def _take_epoch(self, now: float) -> None:
        self._todo.extend(self.mesh.set_epoch(self.core.published.epoch, now))

    def _delta(self, base: int) -> bytes:
        published = self.core.published
        return tables.delta_of(published, 0 if base > published.epoch else base)

    def _on_cell(self, cell: WriteCell, result: object, now: float) -> None:
        match result:
            case Outcome.STORED:
                self._cell_n = self.storage.ask(LoadCell(), now)
            case CellLoaded(found):
                self._cell = None
                self._feed(CellStored(cell.epoch, found.epoch if found is not None else cell.epoch), now)
            case _:
                pass

    def _send_to_storage(self, now: float) -> None:
        version = (self.core.roll.version, self.core.published.epoch)
        if version != self._workers_version:
            self._workers_version = version
            workers = self.core.workers()
            self.storage.on_members([w.incarnation for w in workers], now)
            for worker in workers:
                self.mesh.connect(worker.name, worker.endpoint, now)
        out = self.storage.outgoing(now)
        self.storage.put_back([(worker, frame) for worker, frame in out if not self.mesh.send(worker, _encode(frame), now)])
