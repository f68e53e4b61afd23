"""A directory core on a virtual clock, with a database and a store that can be taken down. For unit tests."""

from __future__ import annotations

from collections import deque
from typing import Any

from homing.ids import SLOTS

from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    Beaten,
    CellStored,
    CellUnknown,
    CommitRefused,
    CommitTable,
    Committed,
    Effect,
    Event,
    Forget,
    LoadRow,
    MemberFrame,
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
from directory.frames import GoodBye, MoveOff, Release, Released, Renew
from directory.membership import MembershipCore
from directory.slots import plan
from directory.table import Member, Table

LEASE, RENEW = 2.0, 0.4


def member(name: str, start: str = "1", role: str = "node", weight: int = 100) -> Member:
    return Member(f"{name}:{start}", name, role, f"tcp://{name}", f"ws://{name}" if role == "node" else "", weight)


class Backing:
    """The database's row and the store's cell row, shared by the directories of a test."""

    def __init__(self) -> None:
        self.row: Row | None = None
        self.cell: tuple[int, tuple[str, ...]] = (0, ())
        self.wall_ms = 1_000_000
        self.published: dict[int, Table] = {}


class Rig:
    """One directory; ``do`` hands in an event and carries out all that follows from it."""

    def __init__(self, backing: Backing | None = None, name: str = "directory", start: str = "1", **config: Any) -> None:
        self.backing = backing or Backing()
        self.config = DirectoryConfig(**{"lease_s": LEASE, "renew_s": RENEW, "settle_s": 0.0} | config)
        self.core = MembershipCore(member(name, start, "directory"), self.config)
        self.now = 100.0
        self.beat_at = 100.0
        """When everybody renews next."""
        self.database_up = self.cell_up = True
        self.cell_held = False
        """True: the outcome of a cell write is not told before ``let_cell``."""
        self.lost_commit = ""
        """"landed" or "lost": the next commit fails with an unknown outcome."""
        self.auto_release = True
        self.effects: list[Effect] = []
        self.held: list[Event] = []
        self.renewing: dict[str, Renew] = {}
        self.paused: set[str] = set()
        self._n = 0

    # ------------------------------------------------------------ driving

    def start(self) -> Rig:
        self.do(Start())
        return self

    def do(self, *events: Event) -> list[Effect]:
        seen: list[Effect] = []
        todo = deque(events)
        while todo:
            for effect in self.core.handle(todo.popleft(), self.now):
                seen.append(effect)
                answer = self.carry_out(effect)
                if answer is not None:
                    todo.append(answer)
            self.check()
        self.effects += seen
        return seen

    def carry_out(self, effect: Effect) -> Event | None:
        match effect:
            case LoadRow():
                return RowLoaded(self.backing.row, self.backing.wall_ms) if self.database_up else RowFailed("down", may_land=False)
            case CommitTable():
                return self.commit(effect)
            case Beat():
                ok = self.backing.row is not None and self.backing.row.leader == effect.leader
                if ok and self.backing.row is not None:
                    old = self.backing.row
                    self.backing.row = Row(old.epoch, old.table, old.leader, effect.beat, effect.cluster_time, old.joined)
                return Beaten(ok, self.now)
            case WriteCell():
                return self.write_cell(effect)
            case PublishTable():
                assert self.backing.cell[0] >= effect.table.epoch, "published before its cell row was stored"
                assert effect.table.epoch not in self.backing.published, "an epoch was published twice"
                self.backing.published[effect.table.epoch] = effect.table
            case SendTo(frame=Release()) if self.auto_release and effect.incarnation in self.renewing:
                return MemberFrame(effect.incarnation, Released(effect.frame.move))  # type: ignore[union-attr]  # the case says Release
        return None

    def commit(self, effect: CommitTable) -> Event:
        if not self.database_up:
            return RowFailed("down", may_land=False)
        if (self.backing.row.epoch if self.backing.row else 0) != effect.expected_epoch:
            return CommitRefused()
        assert effect.row.epoch > effect.expected_epoch
        lost, self.lost_commit = self.lost_commit, ""
        if lost != "lost":
            self.backing.row = effect.row
        return RowFailed("time-out") if lost else Committed(effect.row.epoch)

    def write_cell(self, effect: WriteCell) -> Event | None:
        if not self.cell_up:
            return CellUnknown(effect.epoch, "down")
        if effect.epoch > self.backing.cell[0]:
            self.backing.cell = (effect.epoch, effect.live)
        answer = CellStored(effect.epoch, self.backing.cell[0])
        if self.cell_held:
            self.held.append(answer)
            return None
        return answer

    def let_cell(self) -> list[Effect]:
        self.cell_held = False
        held, self.held = self.held, []
        return self.do(*held)

    def run(self, seconds: float) -> list[Effect]:
        """Lets time pass: ticks when the core asks for them, renewals of everybody who renews."""
        first, end = len(self.effects), self.now + seconds
        while True:
            deadline = self.core.next_deadline()
            at = min(self.beat_at, end, deadline if deadline is not None else end)
            assert deadline is None or deadline > self.now or at < deadline, "the core asks to be called again and again"
            self.now = max(self.now, at)
            if self.now >= self.beat_at:
                self.beat_at = self.now + RENEW
                for name in list(self.renewing):
                    if name not in self.paused:
                        self.renew(name)
            self.do(Tick())
            if self.now >= end:
                return self.effects[first:]

    # ------------------------------------------------------------ members

    def join(self, who: Member, **kw: Any) -> list[Effect]:
        self._n += 1
        self.renewing[who.incarnation] = Renew(self._n, who, 0, **kw)
        return self.renew(who.incarnation)

    def renew(self, incarnation: str) -> list[Effect]:
        frame = self.renewing[incarnation]
        known = incarnation in self.core.published.by_incarnation
        self._n += 1
        frame = self.renewing[incarnation] = Renew(
            self._n, frame.member, self.core.published.epoch if known else 0, frame.storage_ok, 0, frame.ready, frame.joined or known
        )
        return self.do(MemberFrame(incarnation, frame))

    def say(self, incarnation: str, storage_ok: bool = True, ready: bool = True) -> list[Effect]:
        old = self.renewing[incarnation]
        self.renewing[incarnation] = Renew(old.n, old.member, old.epoch, storage_ok, 0, ready, old.joined)
        return self.renew(incarnation)

    def leave(self, incarnation: str) -> list[Effect]:
        self.renewing.pop(incarnation, None)
        return self.do(MemberFrame(incarnation, GoodBye(incarnation)))

    def kill(self, incarnation: str) -> None:
        """It says nothing any more."""
        self.renewing.pop(incarnation, None)

    # ------------------------------------------------------------ looking

    @property
    def table(self) -> Table:
        return self.core.published

    def slots(self, incarnation: str) -> int:
        return self.table.slots_of(incarnation)

    def live(self) -> set[str]:
        return {m.incarnation for m in self.table.role("node")}

    def releases(self) -> list[SendTo]:
        return [e for e in self.effects if isinstance(e, SendTo) and isinstance(e.frame, Release)]

    def taken_back(self) -> list[int]:
        return [e.frame.move for e in self.effects if isinstance(e, SendTo) and isinstance(e.frame, MoveOff)]

    def forgotten(self) -> list[str]:
        return [e.incarnation for e in self.effects if isinstance(e, Forget)]

    def sent(self, incarnation: str, kind: type) -> list[object]:
        return [e.frame for e in self.effects if isinstance(e, SendTo) and e.incarnation == incarnation and isinstance(e.frame, kind)]

    def tables_seen(self, other: Rig) -> None:
        """What the mesh does: the other directory learns the table from a peer that has it."""
        if self.table.epoch > other.table.epoch:
            other.do(TableSeen(self.table.delta(other.table.epoch)))

    def check(self) -> None:
        """What must hold after every step."""
        core = self.core
        busy = [g for m in core.moves._by_number.values() for g in m.groups]
        assert len(busy) == len(set(busy)), "a slot is in two batches"
        assert all(i not in core.roll.alive for i in core.roll.gone), "somebody taken out came back"
        names = [a.member.name for a in core.roll.alive.values()]
        assert len(names) == len(set(names)), "two incarnations of one name are alive"


A, B, C, D = (member(n) for n in "abcd")
WORKER = member("worker", role="storage")


def cluster(*nodes: Member, **config: Any) -> Rig:
    """A settled cluster; what led to it is forgotten."""
    rig = Rig(**{"expected_nodes": len(nodes), "settle_s": 5.0} | config).start()
    rig.join(WORKER)
    for n in nodes:
        rig.join(n)
    rig.run(2 * LEASE)
    assert rig.core.settled and planned(rig, *nodes)
    rig.effects.clear()
    return rig


def planned(rig: Rig, *nodes: Member) -> bool:
    """Whether each of ``nodes`` owns exactly what it should."""
    homes = plan(nodes)
    return all(rig.table.owner(slot) == homes[slot // 8] for slot in range(0, SLOTS, 8))
