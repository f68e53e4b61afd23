"""The directory at work: the membership core's events from the mesh, its effects onto the mesh, the store and the database.

Owns the order of one turn: all events of a packet go through the core, effects are carried out in their order, and what a newer table
releases on the links is handled before anything else. Must not decide anything: that is the core's.

Law: the links bear the epoch of the newest *published* table, never that of the row: a process that asks this one for its table gets
what some directory has published, so nothing is told before its cell row is stored.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec

from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    CellStored,
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
    RowLoaded,
    SendTo,
    Start,
    TableSeen,
    Tick,
    WriteCell,
)
from directory.frames import GoodBye, Released, Renew
from directory.membership import MembershipCore
from directory.rows import Rows, wall_ms
from directory.table import Member, decode_delta, encode_delta
from router import events as mesh_events
from router import logs
from router.mesh import Mesh
from storage.client import StorageClient
from storage.frames import Answered, StorageBusy, Written
from storage.store import CellLoaded, CellRow, LoadCell, Outcome

log = logs.get("directory")

ALARMS = frozenset({"row_unreachable", "cell_unknown", "taken_out", "stood_still", "move_taken_back", "cluster_full", "table_unusable"})
"""Notes of the core that an operator should see as warnings."""


class DirectoryService:
    """One incarnation of the directory.

    Args:
        me: how others see it.
        mesh: its links.
        config: the section ``directory``.
        wake: asks the pump for a ``tick`` soon.
    """

    def __init__(self, me: Member, mesh: Mesh, config: DirectoryConfig, wake: Callable[[], None]) -> None:
        self.core = MembershipCore(me, config)
        self.storage = StorageClient()
        self.counts: Counter[str] = Counter()
        """How often the core noted what, and ``bad_frames``."""
        self.trouble = "has not read its row yet"
        """Why the row cannot be used; "" while it can."""
        self._config = config
        self._mesh = mesh
        self._wake = wake
        self._rows = Rows(config.database, config.database_timeout_s, self._on_row_event, wall_ms)
        self._todo: deque[mesh_events.Event] = deque()
        self._results: deque[Event] = deque()
        self._cell_n = 0
        self._cell: WriteCell | None = None
        """The cell row that is being written, then read back, under the number ``_cell_n``."""
        self._workers_version = (-1, -1)
        self._deltas: dict[int, bytes] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Renew | GoodBye | Released | Written | Answered | StorageBusy).decode

    def start(self, now: float) -> None:
        for name, endpoint in self._config.endpoints().items():
            self._mesh.connect(name, endpoint, now)
        self._feed(Start(), now)

    async def stop(self) -> None:
        await self._rows.close()

    @property
    def unready(self) -> str | None:
        """Why nobody can be served yet; None while somebody can."""
        if self.core.published.epoch:
            return None
        return self.trouble or "no table is published yet: a storage worker must store the cell row first"

    # ------------------------------------------------------------ the mesh and the clock say

    def handle(self, events: list[mesh_events.Event], now: float) -> None:
        """Takes the mesh's events, and those that follow from them."""
        self._todo.extend(events)
        self._drain(now)

    def tick(self, now: float) -> float | None:
        """Lets time pass; returns when to be called again."""
        self._take_results(now)
        due = self.core.next_deadline()
        if due is not None and now >= due:
            self._feed(Tick(), now)
        self._drain(now)
        self._send_to_storage(now)
        times = [at for at in (self.core.next_deadline(), self.storage.next_deadline()) if at is not None]
        return min(times, default=None)

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
                    self._mesh.send_table(incarnation, self._delta(base), now)
            case mesh_events.TableIn(incarnation, delta):
                self._on_table(incarnation, delta, now)
            case mesh_events.PeerUp(peer):
                self.storage.on_window_open(peer.incarnation)
            case mesh_events.WindowOpen(incarnation):
                self.storage.on_window_open(incarnation)
            case mesh_events.Acked():
                pass

    def _on_frame(self, incarnation: str, frame: bytes, now: float) -> None:
        try:
            said = self._decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
            self._bad(incarnation, str(error))
            return
        if isinstance(said, Renew | GoodBye | Released):
            self._feed(MemberFrame(incarnation, said), now)
            return
        for n, result in self.storage.on_frame(incarnation, said, now):
            if n == self._cell_n and self._cell is not None:
                self._on_cell(self._cell, result, now)

    def _on_table(self, incarnation: str, delta: bytes, now: float) -> None:
        try:
            decoded = decode_delta(delta)
        except ValueError as error:
            self._bad(incarnation, str(error))
            return
        self._feed(TableSeen(decoded), now)
        self._take_epoch(now)

    def _bad(self, incarnation: str, reason: str) -> None:
        self.counts["bad_frames"] += 1
        if self.counts["bad_frames"] % 1_000 == 1:
            log.warning("bad_frame", peer=incarnation, reason=reason, count=self.counts["bad_frames"])

    # ------------------------------------------------------------ the core's effects

    def _feed(self, event: Event, now: float) -> None:
        for effect in self.core.handle(event, now):
            self._carry_out(effect, now)

    def _carry_out(self, effect: Effect, now: float) -> None:
        match effect:
            case SendTo(incarnation, frame):
                self._mesh.send(incarnation, self._encode(frame), now, answer=True)
            case PublishTable():
                self._publish(now)
            case WriteCell(epoch, live):
                self._cell = effect
                self._cell_n = self.storage.write(CellRow(epoch, live), now)
                self._wake()
            case LoadRow() | CommitTable() | Beat():
                self._rows.carry_out(effect, now)
            case Forget(incarnation, reason):
                self._todo.extend(self._mesh.close(incarnation, reason, now))
            case Note(event, fields):
                self._note(event, fields)

    def _publish(self, now: float) -> None:
        """The table leaves before, and the links bear its epoch after: nobody has to ask for it."""
        known = {i: a.epoch for i, a in self.core.roll.alive.items()}
        for peer in self._mesh.peers():
            self._mesh.send_table(peer.incarnation, self._delta(known.get(peer.incarnation, 0)), now)
        self._take_epoch(now)

    def _take_epoch(self, now: float) -> None:
        self._deltas.clear()
        self._todo.extend(self._mesh.set_epoch(self.core.published.epoch, now))

    def _delta(self, base: int) -> bytes:
        """The published table since ``base``; many ask from the same one."""
        published = self.core.published
        if base > published.epoch:
            base = 0
        if base not in self._deltas:
            self._deltas[base] = encode_delta(published.delta(base))
        return self._deltas[base]

    def _note(self, event: str, fields: dict[str, str | int | float]) -> None:
        self.counts[event] += 1
        if event == "row_unreachable":
            self.trouble = f"its database does not answer: {fields['reason']}"
        alarm = event in ALARMS and fields.get("reason") != "good-bye"
        (log.warning if alarm else log.info)(event, **fields)

    # ------------------------------------------------------------ database and store

    def _on_row_event(self, event: Event) -> None:
        """An outcome from the database's thread: the next tick takes it, in the order of everything else."""
        self._results.append(event)
        self._wake()

    def _take_results(self, now: float) -> None:
        """Hands in what the database's thread has told."""
        while self._results:
            event = self._results.popleft()
            if isinstance(event, RowLoaded | Committed):
                self.trouble = ""
            self._feed(event, now)

    def _on_cell(self, cell: WriteCell, result: object, now: float) -> None:
        """Written, then read back: what another leader, or a past that the database lost, has stored is seen before anything is told."""
        match result:
            case Outcome.STORED:
                self._cell_n = self.storage.ask(LoadCell(), now)
                self._wake()
            case CellLoaded(found):
                self._cell = None
                self._feed(CellStored(cell.epoch, found.epoch if found is not None else cell.epoch), now)
            case Outcome.UNKNOWN:
                log.warning("cell_unknown", epoch=cell.epoch)  # the client goes on writing it

    def _send_to_storage(self, now: float) -> None:
        version = (self.core.roll.version, self.core.published.epoch)
        if version != self._workers_version:
            self._workers_version = version
            self.storage.on_members([w.incarnation for w in self.core.workers()], now)
            self._connect(self.core.workers(), now)
        refused = [(worker, frame) for worker, frame in self.storage.outgoing(now) if not self._mesh.send(worker, self._encode(frame), now)]
        self.storage.put_back(refused)

    def _connect(self, workers: Iterable[Member], now: float) -> None:
        """To the workers of the last table: after a restart the cell row must not wait for their renewals."""
        for worker in workers:
            self._mesh.connect(worker.name, worker.endpoint, now)
