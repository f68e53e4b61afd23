"""A process's side of the directory: lease, table, time, moves. And the two cores together over an unreliable pair of links."""

from __future__ import annotations

from itertools import pairwise

from homing.ids import SLOTS

from directory.client import ClientEvent, DirectoryClient, Lost, MoveTakenBack, ReleaseAsked, TableChanged, ToDirectory
from directory.config import DirectoryConfig
from directory.events import MemberFrame, PublishTable, SendTo
from directory.frames import Expelled, GoodBye, MoveOff, Publish, Release, Released, Renew, Renewed
from directory.slots import assign, build, owners
from directory.table import Member, Table
from tests.unit.directory_rig import LEASE, RENEW, Rig, member

DIR = "directory-1:x"
CONFIG = DirectoryConfig(lease_s=LEASE, renew_s=RENEW)
ME = member("a")


def client(now: float = 100.0) -> DirectoryClient:
    one = DirectoryClient(ME, CONFIG, 0, now)
    assert one.on_peer_up("directory-1", DIR, now)
    return one


def renewed(one: DirectoryClient, now: float, answered_after: float = 0.01, since: int = 0, directory: str = DIR) -> list[ClientEvent]:
    """One renewal sent at ``now`` and answered."""
    one._renew_at = now
    frame = next(f for d, f in one.tick(now) if d == directory)
    assert isinstance(frame, Renew)
    return one.on_frame(directory, Renewed(frame.n, int(now * 1000), one.table.epoch, since), now + answered_after)


def table(epoch: int, *members: Member) -> Table:
    return assign(Table.empty(), members, epoch)


def joined(now: float = 100.0) -> DirectoryClient:
    one = client(now)
    one.on_delta(table(1, ME).delta(0))
    renewed(one, now)
    return one


def test_a_renewal_goes_at_once_and_then_every_interval() -> None:
    one = client()
    sent = []
    for step in range(41):
        sent += [(100.0 + step / 20, f) for _, f in one.tick(100.0 + step / 20)]
    times = [at for at, _ in sent]
    assert times[0] == 100.0 and len(times) in (5, 6)
    assert all(RENEW - 1e-9 <= b - a <= RENEW + 0.051 for a, b in pairwise(times))
    assert [f.n for _, f in sent if isinstance(f, Renew)] == list(range(1, len(times) + 1))
    assert one.next_deadline() is not None


def test_other_processes_are_no_directories() -> None:
    one = client()
    assert not one.on_peer_up("node-2", "node-2:y", 100.0)
    frame = one.tick(100.0)[0][1]
    assert isinstance(frame, Renew)
    assert one.on_frame("node-2:y", Expelled("a:1"), 100.0) == [] and not one.lost
    assert one.on_frame("node-2:y", Renewed(frame.n, 5, 0), 100.0) == [] and one.lease_until == 0.0


def test_the_lease_counts_from_when_the_answered_renewal_was_sent() -> None:
    one = client()
    renewed(one, 101.0, answered_after=0.9)
    assert one.lease_until == 101.0 + LEASE


def test_an_old_answer_does_not_shorten_the_lease_and_an_invented_one_does_nothing() -> None:
    one = client()
    (first,) = one.tick(100.0)
    (second,) = one.tick(100.4)
    assert isinstance(first[1], Renew) and isinstance(second[1], Renew)
    one.on_frame(DIR, Renewed(second[1].n, 1, 0), 100.5)
    one.on_frame(DIR, Renewed(first[1].n, 1, 0), 100.6)
    one.on_frame(DIR, Renewed(77, 1, 0), 100.7)
    assert one.lease_until == 100.4 + LEASE


def test_a_lease_that_runs_out_is_the_end_of_this_incarnation() -> None:
    one = joined()
    assert one.check_lease(101.99) == []
    assert one.check_lease(102.0) == [Lost("lease over")]
    assert one.check_lease(103.0) == [] and one.lost == "lease over"
    assert one.tick(103.0) == [] and one.next_deadline() is None
    assert one.on_cell_seen(True, 103.0) == [] and one.on_frame(DIR, Renewed(1, 1, 1), 103.0) == []


def test_before_it_has_joined_there_is_no_lease_to_lose() -> None:
    one = client()
    assert one.check_lease(1e6) == []


def test_without_a_directory_the_cell_row_is_looked_at_and_renews() -> None:
    one = joined()
    assert not one.wants_cell_look(100.5)
    assert one.wants_cell_look(101.0) and not one.wants_cell_look(101.5)
    assert one.on_cell_seen(True, 101.0) == []
    assert one.lease_until == 101.0 + LEASE
    assert one.wants_cell_look(102.0)
    assert one.on_cell_seen(False, 102.0) == [Lost("not in the cell row")]


def test_a_process_that_has_not_joined_is_not_expected_in_the_cell_row() -> None:
    one = client()
    assert not one.wants_cell_look(200.0)
    assert one.on_cell_seen(False, 200.0) == [] and not one.lost


def test_expelled_is_the_end() -> None:
    one = joined()
    assert one.on_frame(DIR, Expelled("a:0"), 100.1) == []
    assert one.on_frame(DIR, Expelled("a:1"), 100.1) == [Lost("expelled")]


def test_a_table_without_it_is_the_end_once_it_was_in_one() -> None:
    one = client()
    other = member("b")
    assert [type(e) for e in one.on_delta(table(3, other).delta(0))] == [TableChanged]
    assert [type(e) for e in one.on_delta(table(4, ME, other).delta(0))] == [TableChanged]
    assert one.joined
    assert [type(e) for e in one.on_delta(table(5, other).delta(0))] == [TableChanged, Lost]


def test_renewals_tell_that_it_has_joined_and_its_epoch() -> None:
    one = joined()
    ((_, frame),) = one.tick(100.5)
    assert isinstance(frame, Renew) and frame.joined and frame.epoch == 1


def test_an_older_table_changes_nothing() -> None:
    one = joined()
    assert one.on_frame(DIR, Publish(table(1, member("b")).delta(0)), 100.1) == []
    assert one.table.owner(0) == "a:1"


def test_a_change_of_health_is_told_at_once() -> None:
    one = joined()
    one.set_health(True, False, 7, 100.05)
    assert one.tick(100.05) == []
    one.set_health(False, True, 7, 100.1)
    ((_, frame),) = one.tick(100.1)
    assert isinstance(frame, Renew) and (frame.storage_ok, frame.ready, frame.sessions) == (False, True, 7)


def test_good_bye_goes_to_every_directory_and_ends_the_renewals() -> None:
    one = joined()
    assert one.good_bye() == [(DIR, GoodBye("a:1"))]
    assert one.tick(101.0) == [] and one.next_deadline() is None


def test_a_batch_is_asked_released_and_moves() -> None:
    one = joined()
    assert one.on_frame(DIR, Release(9, [(0, 8)], "b:1"), 100.1) == [ReleaseAsked(9, [(0, 8)], "b:1")]
    assert one.released(9) == [(DIR, Released(9))]
    assert [f for _, f in one.tick(100.5)][1:] == [Released(9)]
    one.on_delta(build(one.table, [ME, member("b")], ["b:1", *owners(one.table)[1:]], 2).delta(1))
    assert one.table.owner(0) == "b:1" and one.table.owner(8) == "a:1"
    assert one.released(9) == [] and len(one.tick(101.0)) == 1


def test_a_batch_that_is_taken_back() -> None:
    one = joined()
    one.on_frame(DIR, Release(9, [(0, 8)], "b:1"), 100.1)
    assert one.on_frame(DIR, MoveOff(9), 100.2) == [MoveTakenBack(9, [(0, 8)])]
    assert one.on_frame(DIR, MoveOff(9), 100.3) == [] and one.released(9) == []


def test_a_batch_of_a_directory_that_died_is_taken_back_once_the_table_of_its_successor_is_here() -> None:
    one = joined()
    move = (1 << 20) + 1
    one.on_frame(DIR, Release(move, [(0, 8)], "b:1"), 100.1)
    one.on_peer_down(DIR)
    one.on_peer_up("directory-1", "directory-1:y", 100.2)
    assert renewed(one, 100.3, since=3, directory="directory-1:y") == []
    one.on_delta(assign(one.table, [ME], 3).delta(1))
    assert renewed(one, 100.7, since=3, directory="directory-1:y") == [MoveTakenBack(move, [(0, 8)])]


def test_cluster_time_is_learnt_from_renewals() -> None:
    one = client()
    renewed(one, 100.0, answered_after=0.0)
    assert one.clock.known and one.time_ms(101.0) == 101_000


# ------------------------------------------------------------------ both cores together


class Pair:
    """A directory and some clients; frames arrive at once, unless the link of a client is cut."""

    def __init__(self, *names: str) -> None:
        self.rig = Rig(expected_nodes=len(names), settle_s=5.0).start()
        self.rig.auto_release = False
        self.now = self.rig.now
        config = DirectoryConfig(lease_s=LEASE, renew_s=RENEW, directories=["directory=tcp://d"])
        self.clients = {f"{n}:1": DirectoryClient(member(n), config, 0, self.now) for n in names}
        self.cut: set[str] = set()
        self.told: list[tuple[str, ClientEvent]] = []
        for one in self.clients.values():
            one.on_peer_up("directory", "directory:1", self.now)
            one.set_health(True, True, 0, self.now)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.now += 0.05
            for name, one in self.clients.items():
                self.up(name, one.tick(self.now))
                self.note(name, one.check_lease(self.now))
            first = len(self.rig.effects)
            self.rig.run(self.now - self.rig.now)
            self.down(first)

    def up(self, name: str, frames: list[ToDirectory]) -> None:
        if name not in self.cut:
            first = len(self.rig.effects)
            self.rig.do(*(MemberFrame(name, frame) for _, frame in frames))
            self.down(first)

    def down(self, first: int) -> None:
        for effect in self.rig.effects[first:]:
            if isinstance(effect, SendTo) and effect.incarnation in self.clients and effect.incarnation not in self.cut:
                self.note(effect.incarnation, self.clients[effect.incarnation].on_frame("directory:1", effect.frame, self.now))
            elif isinstance(effect, PublishTable):
                for name, one in self.clients.items():
                    if name not in self.cut:
                        self.note(name, one.on_delta(effect.table.delta(one.table.epoch)))

    def note(self, name: str, events: list[ClientEvent]) -> None:
        for event in events:
            self.told.append((name, event))
            if isinstance(event, ReleaseAsked):
                self.up(name, self.clients[name].released(event.move))


def test_nodes_join_share_the_slots_and_keep_their_leases() -> None:
    pair = Pair("a", "b", "c")
    pair.run(10.0)
    tables = [one.table for one in pair.clients.values()]
    assert len({t.epoch for t in tables}) == 1 and sum(tables[0].slots_of(i) for i in pair.clients) == SLOTS
    assert all(one.joined and not one.lost and one.lease_until > pair.now for one in pair.clients.values())
    assert all(abs(one.time_ms(pair.now) - pair.rig.core.clock.time_ms(pair.now)) <= 51 for one in pair.clients.values())


def test_a_node_that_is_cut_off_gives_up_before_its_slots_are_elsewhere() -> None:
    pair = Pair("a", "b")
    pair.run(2.0)
    pair.cut.add("b:1")
    lost_at = moved_at = 0.0
    for _ in range(200):
        pair.run(0.05)
        lost_at = lost_at or (pair.now if pair.clients["b:1"].lost else 0.0)
        moved_at = moved_at or (pair.now if pair.rig.slots("a:1") == SLOTS else 0.0)
    assert lost_at and moved_at and lost_at <= moved_at + 0.051


def test_a_later_node_gets_its_share_from_live_owners_who_are_asked() -> None:
    pair = Pair("a", "b")
    pair.run(2.0)
    config = pair.clients["a:1"].config
    late = pair.clients["c:1"] = DirectoryClient(member("c"), config, 0, pair.now)
    late.on_peer_up("directory", "directory:1", pair.now)
    late.set_health(True, True, 0, pair.now)
    pair.run(8.0)
    assert late.table.slots_of("c:1") > SLOTS / 6
    asked = [e for _, e in pair.told if isinstance(e, ReleaseAsked)]
    assert sum(count for e in asked for _, count in e.runs) >= late.table.slots_of("c:1")
    assert not [e for _, e in pair.told if isinstance(e, Lost)]
