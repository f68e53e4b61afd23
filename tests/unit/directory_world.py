"""Random histories of two directories, one row, one store and some nodes, on a virtual clock; each follows from its seed.

Everything takes time and may fail: the database (also with unknown outcome), the store, messages (in order per link, delayed), processes
that die, start again, or stand still and wake up. Checked all the while: an epoch is published once, and never before its cell row; no slot
is served by two nodes that the cell row both lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from directory.client import ClientEvent, DirectoryClient, MoveTakenBack, ReleaseAsked, ToDirectory
from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    Beaten,
    CellStored,
    CellUnknown,
    CommitRefused,
    CommitTable,
    Committed,
    Disconnected,
    Event,
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
from directory.frames import GoodBye, Released, Renew
from directory.membership import MembershipCore
from directory.slots import GROUP_SLOTS, owners
from directory.table import Table
from tests.unit.directory_rig import member

CONFIG = DirectoryConfig(
    directories=["d1=tcp://1", "d2=tcp://2"], expected_nodes=2, settle_s=2.0, beat_s=1.0, move_s=2.0, move_retry_s=1.0, move_pause_s=0.01
)
STEP_S = 0.05


class Node:
    """A node: renews, follows the table, brings batches to rest after a while."""

    def __init__(self, world: World, name: str, start: int) -> None:
        self.world = world
        self.me = member(name, str(start))
        self.client = DirectoryClient(self.me, CONFIG, 0, world.now)
        self.client.set_health(True, True, 0, world.now)
        self.asleep_until = 0.0
        self.frozen: dict[int, frozenset[int]] = {}
        self.releasing: list[tuple[float, int]] = []
        self.owned: frozenset[int] = frozenset()

    @property
    def serves(self) -> frozenset[int]:
        """The groups that it would answer for if it were asked now."""
        if self.client.lost:
            return frozenset()
        return self.owned.difference(*self.frozen.values()) if self.frozen else self.owned

    def on_table(self, table: Table) -> None:
        if table.epoch > self.client.table.epoch:
            self.note(self.client.on_delta(table.delta(self.client.table.epoch)))
            self.owned = frozenset(g for g, o in enumerate(owners(self.client.table)) if o == self.me.incarnation)

    def note(self, events: list[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, ReleaseAsked):
                self.frozen[event.move] = frozenset(g for first, count in event.runs for g in range(first // 8, (first + count) // 8))
                if self.world.healed:
                    self.releasing.append((self.world.now, event.move))
                elif self.world.random.random() < 0.85:
                    self.releasing.append((self.world.now + self.world.random.uniform(0, 1.0), event.move))
            elif isinstance(event, MoveTakenBack):
                self.frozen.pop(event.move, None)
                self.world.check_single_owner()

    def tick(self) -> None:
        now = self.world.now
        if now < self.asleep_until:
            return
        self.note(self.client.check_lease(now))
        frames = self.client.tick(now)
        for at, move in [r for r in self.releasing if r[0] <= now]:
            self.releasing.remove((at, move))
            frames += self.client.released(move)
        self.tell(frames)

    def tell(self, frames: list[ToDirectory]) -> None:
        for directory, frame in frames:
            self.world.post(self.me.incarnation, directory, (frame, self.client.table))


class Directory:
    """A directory: its core, and its database calls, one after the other."""

    def __init__(self, world: World, name: str, start: int) -> None:
        self.world = world
        self.me = member(name, str(start), "directory")
        self.core = MembershipCore(self.me, CONFIG)
        self.asleep_until = 0.0
        self.calls: deque[LoadRow | CommitTable | Beat] = deque()
        self.calls_at = 0.0
        self.feed(Start())

    def feed(self, event: Event) -> None:
        world = self.world
        for effect in self.core.handle(event, world.now):
            match effect:
                case LoadRow() | CommitTable() | Beat():
                    if not self.calls:
                        self.calls_at = world.now + world.random.expovariate(1 / 0.03)
                    self.calls.append(effect)
                case WriteCell():
                    world.later(lambda cell=effect: self.write_cell(cell))  # type: ignore[misc]  # mypy cannot infer a default's type
                case SendTo(incarnation, frame):
                    world.post(self.me.incarnation, incarnation, (frame, self.core.published))
                case PublishTable(table):
                    world.on_published(table)
                    for node in world.nodes.values():
                        world.post(self.me.incarnation, node.me.incarnation, (None, table))
                    world.post_tables(self.me.incarnation, table)

    def tick(self) -> None:
        now = self.world.now
        if now < self.asleep_until:
            return
        if self.calls and now >= self.calls_at and not self.world.database_hangs:
            self.call(self.calls.popleft())
            self.calls_at = now + self.world.random.expovariate(1 / 0.03)
        deadline = self.core.next_deadline()
        if deadline is not None and now >= deadline:
            self.feed(Tick())

    def call(self, effect: LoadRow | CommitTable | Beat) -> None:
        world = self.world
        down = world.database_down
        match effect:
            case LoadRow():
                self.feed(RowFailed("down", may_land=False) if down else RowLoaded(world.row, int(world.now * 1000)))
            case Beat(leader, beat, cluster_time):
                row = world.row
                if row is not None and row.leader == leader and not down:
                    world.row = Row(row.epoch, row.table, row.leader, beat, cluster_time, row.joined)
                if not down:
                    self.feed(Beaten(row is not None and row.leader == leader, world.now))
            case CommitTable() if down:
                if world.random.random() < 0.3:
                    # It lands later, perhaps after others have gone on.
                    world.later(lambda: world.commit(effect))
                    self.feed(RowFailed("time-out"))
                else:
                    self.feed(RowFailed("down", may_land=False))
            case CommitTable():
                done = world.commit(effect)
                if world.random.random() < 0.03:
                    self.feed(RowFailed("time-out"))
                else:
                    self.feed(Committed(effect.row.epoch) if done else CommitRefused())

    def write_cell(self, cell: WriteCell) -> None:
        world = self.world
        if world.directories.get(self.me.name) is not self:
            return
        if world.store_down:
            world.later(lambda: self.feed(CellUnknown(cell.epoch, "down")) if world.directories.get(self.me.name) is self else None)
            return
        if cell.epoch > world.cell[0]:
            world.cell = (cell.epoch, frozenset(cell.live))
        newest = world.cell[0]
        world.later(lambda: self.feed(CellStored(cell.epoch, newest)) if world.directories.get(self.me.name) is self else None)


class World:
    """The whole of it; all randomness follows from ``seed``."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 1_000.0
        self.row: Row | None = None
        self.cell: tuple[int, frozenset[str]] = (0, frozenset())
        self.published: dict[int, Table] = {0: Table.empty()}
        self.database_down = self.database_hangs = self.store_down = self.healed = False
        self.starts = 0
        self.todo: list[tuple[float, int, Callable[[], object]]] = []
        self.links: dict[tuple[str, str], deque[tuple[float, object, Table]]] = {}
        self.nodes: dict[str, Node] = {}
        self.directories: dict[str, Directory] = {}
        self.worker = member("worker", "1", "storage")
        self.worker_renews_at = 0.0
        for name in ("d1", "d2"):
            self.start_directory(name)
        for name in ("a", "b", "c"):
            self.start_node(name)

    # ------------------------------------------------------------ what happens

    def start_directory(self, name: str) -> None:
        self.starts += 1
        self.directories[name] = one = Directory(self, name, self.starts)
        for node in self.nodes.values():
            node.client.on_peer_up(name, one.me.incarnation, self.now)

    def stop_directory(self, name: str) -> None:
        one = self.directories.pop(name, None)
        if one is not None:
            for node in self.nodes.values():
                node.client.on_peer_down(one.me.incarnation)

    def start_node(self, name: str) -> None:
        self.starts += 1
        self.nodes[name] = node = Node(self, name, self.starts)
        for directory in self.directories.values():
            node.client.on_peer_up(directory.me.name, directory.me.incarnation, self.now)

    def stop_node(self, name: str, polite: bool) -> None:
        node = self.nodes.pop(name, None)
        if node is None:
            return
        for directory in self.directories.values():
            if polite:
                self.deliver_to_directory(directory, node.me.incarnation, GoodBye(node.me.incarnation), node.client.table)
            elif self.random.random() < 0.7:
                directory.feed(Disconnected(node.me.incarnation))

    def event(self) -> None:
        """Something goes wrong, or right again."""
        r = self.random
        match r.randrange(14):
            case 0:
                self.stop_node(r.choice("abcd"), polite=False)
            case 1:
                self.stop_node(r.choice("abcd"), polite=True)
            case 2 | 3 | 4:
                if (name := r.choice("abcd")) not in self.nodes or self.nodes[name].client.lost:
                    self.start_node(name)
            case 5:
                if self.nodes:
                    self.nodes[r.choice(sorted(self.nodes))].asleep_until = self.now + r.uniform(0, 6)
            case 6:
                self.stop_directory(name := r.choice(["d1", "d2"]))
                if r.random() < 0.5:
                    self.start_directory(name)  # Its supervisor is quick.
            case 7 | 8:
                if (name := r.choice(["d1", "d2"])) not in self.directories:
                    self.start_directory(name)
            case 9:
                if self.directories:
                    self.directories[r.choice(sorted(self.directories))].asleep_until = self.now + r.uniform(0, 8)
            case 10:
                self.database_down = r.random() < 0.4
            case 11:
                self.store_down = r.random() < 0.4
            case 12:
                self.database_hangs = r.random() < 0.3
            case 13:
                if self.nodes:
                    node = self.nodes[r.choice(sorted(self.nodes))]
                    node.client.set_health(True, r.random() < 0.7, 0, self.now)

    def heal(self) -> None:
        """All is well from now on: what is missing is started, nobody sleeps."""
        self.database_down = self.database_hangs = self.store_down = False
        self.healed = True
        for name in ("d1", "d2"):
            if name not in self.directories:
                self.start_directory(name)
        for name in "abcd":
            if name not in self.nodes or self.nodes[name].client.lost:
                self.start_node(name)
        for directory in self.directories.values():
            directory.asleep_until = 0.0
        for node in self.nodes.values():
            node.asleep_until = 0.0
            node.client.set_health(True, True, 0, self.now)

    # ------------------------------------------------------------ time and messages

    def step(self) -> None:
        self.now += STEP_S
        due = sorted(t for t in self.todo if t[0] <= self.now)
        self.todo = [t for t in self.todo if t[0] > self.now]
        for _, _, what in due:
            what()
        self.deliver()
        if self.now >= self.worker_renews_at:
            self.worker_renews_at = self.now + 0.4
            for directory in self.awake():
                directory.feed(MemberFrame(self.worker.incarnation, Renew(1, self.worker, 0)))
        for node in list(self.nodes.values()):
            node.tick()
        for directory in self.awake():
            directory.tick()

    def awake(self) -> list[Directory]:
        return [d for d in self.directories.values() if self.now >= d.asleep_until]

    def later(self, what: Callable[[], object]) -> None:
        self.starts += 1
        self.todo.append((self.now + self.random.expovariate(1 / 0.1), self.starts, what))

    def post(self, source: str, target: str, what: tuple[object, Table]) -> None:
        """Frames arrive in order and bear the sender's newest table."""
        link = self.links.setdefault((source, target), deque())
        at = self.now + self.random.expovariate(1 / 0.03)
        link.append((max(at, link[-1][0] if link else 0.0), *what))

    def post_tables(self, source: str, table: Table) -> None:
        for directory in self.directories.values():
            if directory.me.incarnation != source:
                self.post(source, directory.me.incarnation, (None, table))

    def deliver(self) -> None:
        nodes = {n.me.incarnation: n for n in self.nodes.values()}
        directories = {d.me.incarnation: d for d in self.directories.values()}
        for (source, target), link in list(self.links.items()):
            node, directory = nodes.get(target), directories.get(target)
            if node is None and directory is None:
                del self.links[source, target]
                continue
            while link and link[0][0] <= self.now:
                asleep = node is not None and self.now < node.asleep_until
                if asleep or (directory is not None and self.now < directory.asleep_until):
                    break
                _, frame, table = link.popleft()
                if directory is not None:
                    self.deliver_to_directory(directory, source, frame, table)
                elif node is not None:
                    node.note(node.client.check_lease(self.now))
                    node.on_table(table)
                    if frame is not None:
                        node.note(node.client.on_frame(source, frame, self.now))  # type: ignore[arg-type]  # the directory sent it

    def deliver_to_directory(self, directory: Directory, source: str, frame: object, table: Table) -> None:
        if table.epoch > directory.core.published.epoch:
            directory.feed(TableSeen(table.delta(directory.core.published.epoch)))
        if isinstance(frame, Renew | GoodBye | Released):
            directory.feed(MemberFrame(source, frame))

    def commit(self, effect: CommitTable) -> bool:
        if (self.row.epoch if self.row else 0) != effect.expected_epoch:
            return False
        self.row = effect.row
        return True

    # ------------------------------------------------------------ what must hold

    def on_published(self, table: Table) -> None:
        assert table.epoch not in self.published, f"epoch {table.epoch} was published twice"
        assert self.cell[0] >= table.epoch, "published before its cell row was stored"
        self.published[table.epoch] = table
        self.check_single_owner()

    def check_single_owner(self) -> None:
        """Of the nodes that may write (the cell row lists them), no two answer for one slot; and nobody answers for what is another's by
        the newest table."""
        newest = self.published[max(self.published)]
        by_table = owners(newest)
        seen: dict[int, str] = {}
        for node in self.nodes.values():
            incarnation = node.me.incarnation
            if incarnation not in self.cell[1]:
                continue
            for group in node.serves:
                assert group not in seen, f"slot {group * GROUP_SLOTS} is served by {seen[group]} and {incarnation}"
                seen[group] = incarnation
                owner = by_table[group]
                assert owner in ("", incarnation), f"slot {group * GROUP_SLOTS} is served by {incarnation}, it is {owner}'s"
