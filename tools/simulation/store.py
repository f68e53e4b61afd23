"""A store of three replicas with last write wins, where each write lands on each replica in its own time (``design.md`` §5, §7).

Owns the replicas, what is under way to them and what a quorum of two answers. What two versions of a row mean is ``storage/rows.py``'s.

Laws:
    * The rows of one commit that share a partition land together on a replica; other rows land on their own.
    * A write is confirmed when two replicas have it; after a time-out it is UNKNOWN, and may land later, even much later.
    * A read asks two replicas that are up, answers what is newest in either, and brings both up to it before it answers.
    * After a round is confirmed one quorum read of the cell row says which of its writers are fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct

from storage.rows import for_activation, index_page, is_fenced, last_seqs, merge, page, row_key, without_body
from storage.store import (
    Answer,
    CellLoaded,
    CellRow,
    EntryRow,
    IndexLoaded,
    IndexRow,
    LoadCell,
    LoadIndex,
    LoadLog,
    LoadUser,
    LogLoaded,
    LogRow,
    MemberRow,
    Outcome,
    Query,
    ReadEntries,
    ReadFailed,
    ReceiptsRow,
    Row,
    UserLoaded,
    UserRow,
    Write,
)
from tools.simulation.world import World

Partition = tuple[str, str]
Rows = dict[tuple[str | int, ...], Row]
REPLICAS = 3
QUORUM = 2


class Disk(Struct, frozen=True):
    """How the replicas behave; chances from 0 to 1."""

    delay_min_s: float = 0.0003
    delay_max_s: float = 0.002
    slow: float = 0.0
    """Chance that a write takes up to ``slow_s`` to land on a replica."""
    slow_s: float = 0.2
    late: float = 0.0
    """Chance that a write takes up to ``late_s``: beyond take-overs."""
    late_s: float = 20.0
    stuck: float = 0.0
    """Chance that a whole batch is late on all replicas but (perhaps) one: its outcome stays unknown for long."""
    timeout_s: float = 0.4
    """After this a write is UNKNOWN."""


def partition(row: Row) -> Partition:
    match row:
        case EntryRow():
            return ("log_entries", row.conversation)
        case IndexRow() | UserRow():
            return ("sync_index", row.user)
        case CellRow():
            return ("cell", "")
        case LogRow():
            return ("logs", row.conversation)
        case MemberRow():
            return ("members", row.conversation)
        case ReceiptsRow():
            return ("receipts", row.conversation)


class Batch:
    """Rows of one partition on their way to the replicas."""

    __slots__ = ("confirmed", "landed", "partition", "rows")

    def __init__(self, where: Partition, rows: list[Row]) -> None:
        self.partition = where
        self.rows = rows
        self.landed = 0
        self.confirmed: Callable[[], None] | None = None


class Round:
    """A worker's commit under way."""

    __slots__ = ("batches", "done", "over", "waiting", "writes")

    def __init__(self, writes: list[Write], done: Callable[[list[Outcome]], None]) -> None:
        self.writes = writes
        self.done = done
        self.batches: list[Batch] = []
        self.waiting = 0
        self.over = False


class SimStore:
    """The store behind all workers. ``fenced`` and ``durable`` are rules that can be taken out."""

    def __init__(self, world: World, fence: bool = True, durable: bool = True) -> None:
        self.world = world
        self.disk = Disk()
        self.fence, self.durable = fence, durable
        self.replicas: list[dict[Partition, Rows]] = [{} for _ in range(REPLICAS)]
        self.up = [True] * REPLICAS
        self.hints: list[list[Batch]] = [[] for _ in range(REPLICAS)]
        self.under_way = 0
        """Batches that have not landed everywhere."""
        self.on_row: Callable[[int, Row], None] = lambda replica, row: None

    # ------------------------------------------------------------ writing

    def commit(self, writes: list[Write], done: Callable[[list[Outcome]], None]) -> None:
        """Begins a commit; ``done`` hears one outcome for each write."""
        round_ = Round(writes, done)
        by_partition: dict[Partition, list[Row]] = {}
        for write in writes:
            by_partition.setdefault(partition(write.row), []).append(write.row)
        round_.waiting = len(by_partition)
        for where, rows in by_partition.items():
            batch = Batch(where, rows)
            batch.confirmed = lambda: self._confirmed(round_)
            round_.batches.append(batch)
            self._write(batch)
        self.world.after(self.disk.timeout_s, lambda: self._finish(round_))
        if not self.durable:
            self._finish(round_)

    def _write(self, batch: Batch) -> None:
        disk, random = self.disk, self.world.random.random
        self.under_way += 1
        spared = -1
        stuck = disk.stuck and random() < disk.stuck
        if stuck:
            spared = self.world.random.randrange(REPLICAS + 1)
        for replica in range(REPLICAS):
            delay = disk.delay_min_s + random() * (disk.delay_max_s - disk.delay_min_s)
            if (stuck and replica != spared) or (disk.late and random() < disk.late):
                delay = random() * disk.late_s
            elif disk.slow and random() < disk.slow:
                delay = random() * disk.slow_s
            self._land_later(batch, replica, delay)

    def _land_later(self, batch: Batch, replica: int, delay: float) -> None:
        self.world.after(delay, lambda: self._land(batch, replica))

    def _land(self, batch: Batch, replica: int) -> None:
        if not self.up[replica]:
            self.hints[replica].append(batch)
            return
        self._put(replica, batch.partition, batch.rows)
        batch.landed += 1
        if batch.landed == QUORUM and batch.confirmed is not None:
            batch.confirmed()
        if batch.landed == REPLICAS:
            self.under_way -= 1

    def _put(self, replica: int, where: Partition, rows: list[Row]) -> None:
        kept = self.replicas[replica].setdefault(where, {})
        for row in rows:
            key = row_key(row)
            kept[key] = merge(kept.get(key), row)
            self.on_row(replica, row)

    def _confirmed(self, round_: Round) -> None:
        round_.waiting -= 1
        if round_.waiting == 0 and not round_.over:
            self._finish(round_)

    def _finish(self, round_: Round) -> None:
        """All is confirmed, or the time is over: looks at the cell row, then answers."""
        if round_.over:
            return
        round_.over = True
        if not any(is_fenced(write.row) for write in round_.writes) or not self.fence:
            self._answer(round_, None, all_listed=True)
            return
        confirmed = self._stored(round_)
        delay = self.disk.delay_max_s * self.world.random.random()

        def look() -> None:
            pair = self._pair()
            if pair is None:
                self._answer(round_, None, all_listed=False, stored=confirmed)
            else:
                cell = self._read(("cell", ""), pair).get(("cell",))
                self._answer(round_, cell if isinstance(cell, CellRow) else None, all_listed=False, stored=confirmed)

        self.world.after(delay, look)

    def _stored(self, round_: Round) -> set[Partition]:
        return {b.partition for b in round_.batches if b.landed >= QUORUM or not self.durable}

    def _answer(self, round_: Round, cell: CellRow | None, *, all_listed: bool, stored: set[Partition] | None = None) -> None:
        stored = self._stored(round_) if stored is None else stored
        live = frozenset(cell.live) if cell is not None else None
        outcomes = []
        for write in round_.writes:
            if partition(write.row) not in stored:
                outcomes.append(Outcome.UNKNOWN)
            elif all_listed or not is_fenced(write.row):
                outcomes.append(Outcome.STORED)
            elif live is None:
                outcomes.append(Outcome.UNKNOWN)
            else:
                outcomes.append(Outcome.STORED if write.writer in live else Outcome.FENCED)
        round_.done(outcomes)

    # ------------------------------------------------------------ reading

    def _pair(self) -> tuple[int, int] | None:
        """Two replicas that answer."""
        there = [i for i in range(REPLICAS) if self.up[i]]
        if len(there) < QUORUM:
            return None
        a, b = self.world.random.sample(there, QUORUM)
        return a, b

    def _read(self, where: Partition, pair: tuple[int, int]) -> Rows:
        """What the two replicas have of a partition, newest versions; both have them afterwards."""
        a, b = (self.replicas[i].setdefault(where, {}) for i in pair)
        if a != b:
            for mine, theirs, replica in ((a, b, pair[0]), (b, a, pair[1])):
                for key, row in theirs.items():
                    if mine.get(key) != row:
                        mine[key] = merge(mine.get(key), row)
                        self.on_row(replica, row)
        return a

    def read(self, query: Query, done: Callable[[Answer], None]) -> None:
        """Answers after a while, from a quorum. The parts of one query are read one by one, as different tables are."""
        delay = self.disk.delay_min_s + self.world.random.random() * self.disk.delay_max_s
        match query:
            case LoadLog(conversation):
                parts = [("logs", conversation), ("log_entries", conversation), ("members", conversation), ("receipts", conversation)]
            case ReadEntries(conversation):
                parts = [("log_entries", conversation)]
            case LoadIndex(user) | LoadUser(user):
                parts = [("sync_index", user)]
            case LoadCell():
                parts = [("cell", "")]
        apart = len(parts) > 1 and self.world.random.random() < 0.2
        found: dict[str, list[Row]] = {}
        failed: list[bool] = []

        def read_part(where: Partition) -> None:
            if failed:
                return
            pair = self._pair()
            if pair is None:
                failed.append(True)
                return done(ReadFailed("fewer than two replicas answer"))
            rows = self._read(where, pair)
            found[where[0]] = [rows[key] for key in sorted(rows)]
            if len(found) == len(parts):
                done(answer_of(query, found))

        def read_all() -> None:
            for where in parts:
                read_part(where)

        if not apart:
            self.world.after(delay, read_all)
            return
        for part in parts:
            self.world.after(delay + self.world.random.random() * self.disk.delay_max_s * 3, partial(read_part, part))

    # ------------------------------------------------------------ replicas come and go

    def replica_down(self, replica: int) -> None:
        self.up[replica] = False

    def replica_up(self, replica: int) -> None:
        """It is back; what it missed reaches it in its own time, in any order."""
        if self.up[replica]:
            return
        self.up[replica] = True
        hints, self.hints[replica] = self.hints[replica], []
        for batch in hints:
            self._land_later(batch, replica, self.world.random.random() * 0.5)

    # ------------------------------------------------------------ looking (checkers only)

    def count(self, where: Partition, key: tuple[str | int, ...]) -> int:
        """On how many replicas that row is, in whatever version."""
        return sum(key in replica.get(where, ()) for replica in self.replicas)

    def rows(self, where: Partition) -> Iterator[Rows]:
        """The partition as each replica has it."""
        return (replica.get(where, {}) for replica in self.replicas)

    def merged(self, where: Partition) -> Rows:
        """The partition as it will be when everything has met."""
        all_: Rows = {}
        for rows in self.rows(where):
            for key, row in rows.items():
                all_[key] = merge(all_.get(key), row)
        return all_

    def conversations(self) -> list[str]:
        """All that have a row in their log."""
        return sorted({where[1] for replica in self.replicas for where in replica if where[0] in ("log_entries", "logs")})


def answer_of(query: Query, found: dict[str, list[Row]]) -> Answer:
    """The answer to a query from the rows of its partitions, each list ascending by key."""
    entries = [row for row in found.get("log_entries", ()) if isinstance(row, EntryRow)]
    match query:
        case LoadLog():
            log, receipts = found["logs"], found["receipts"]
            return LogLoaded(
                log[0] if log and isinstance(log[0], LogRow) else None,
                last_seqs(for_activation(row) for row in reversed(entries)),
                [row for row in found["members"] if isinstance(row, MemberRow)],
                receipts[0] if receipts and isinstance(receipts[0], ReceiptsRow) else None,
            )
        case ReadEntries():
            wanted = [row for row in entries if query.from_seq <= row.seq <= query.to_seq]
            if query.newest:
                wanted.reverse()
            return page(wanted if query.bodies else [without_body(row) for row in wanted], query)
        case LoadIndex():
            rows = [row for row in found["sync_index"] if isinstance(row, IndexRow)]
            return IndexLoaded(index_page(rows), _user_row(found))
        case LoadUser():
            return UserLoaded(_user_row(found))
        case LoadCell():
            cell = found["cell"]
            return CellLoaded(cell[0] if cell and isinstance(cell[0], CellRow) else None)


def _user_row(found: dict[str, list[Row]]) -> UserRow | None:
    return next((row for row in found["sync_index"] if isinstance(row, UserRow)), None)
