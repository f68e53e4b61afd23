"""The membership core: joins, deaths, moves, storage and database that are away, several directories on one row."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from homing.ids import SLOTS

from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    CellStored,
    CommitTable,
    Committed,
    Disconnected,
    MemberFrame,
    PublishTable,
    SendTo,
    TableSeen,
    WriteCell,
)
from directory.frames import Expelled, MoveOff, Release, Released, Renew, Renewed
from directory.slots import owners, plan
from directory.table import NOBODY, Member, Table
from tests.unit.directory_rig import LEASE, RENEW, Backing, Rig, member

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


# ------------------------------------------------------------------ joining


def test_the_first_node_gets_every_slot_once_the_cell_row_lists_it() -> None:
    rig = Rig().start()
    rig.cell_held = True
    rig.join(A)
    assert rig.slots("a:1") == 0
    rig.let_cell()
    rig.run(RENEW)
    assert rig.slots("a:1") == SLOTS
    assert rig.backing.cell == (rig.table.epoch, ("a:1",))


def test_storage_workers_and_directories_are_members_without_slots_and_without_the_right_to_write() -> None:
    rig = cluster(A)
    assert {m.role for m in rig.table.members} == {"directory", "storage", "node"}
    assert rig.backing.cell[1] == ("a:1",)
    assert set(rig.table.owners) == {rig.table.members.index(A)}


def test_a_renewal_is_answered_with_its_number_cluster_time_and_epoch() -> None:
    rig = cluster(A)
    rig.renew("a:1")
    answer = rig.sent("a:1", Renewed)[-1]
    assert answer == Renewed(rig.renewing["a:1"].n, rig.core.clock.time_ms(rig.now), rig.table.epoch)


def test_a_new_cluster_waits_for_the_nodes_it_expects() -> None:
    rig = Rig(expected_nodes=3, settle_s=5.0).start()
    rig.join(A)
    rig.join(B)
    rig.run(1.0)
    assert set(rig.table.owners) == {NOBODY}
    rig.join(C)
    assert planned(rig, A, B, C)
    assert not rig.releases()


def test_a_new_cluster_does_not_wait_longer_than_its_settle_time() -> None:
    rig = Rig(expected_nodes=3, settle_s=5.0).start()
    rig.join(A)
    rig.run(4.9)
    assert set(rig.table.owners) == {NOBODY}
    rig.run(0.2)
    assert planned(rig, A)


def test_a_node_that_is_not_ready_gets_no_slots_until_it_is() -> None:
    rig = cluster(A)
    rig.join(B, ready=False)
    rig.run(3 * LEASE)
    assert rig.slots("b:1") == 0 and "b:1" in rig.live()
    rig.say("b:1", ready=True)
    rig.run(5.0)
    assert planned(rig, A, B)


def test_a_join_moves_only_the_share_of_the_new_node_in_released_batches() -> None:
    rig = cluster(A, B)
    before = rig.table
    rig.join(C)
    rig.run(5.0)
    assert planned(rig, A, B, C)
    runs = [r.frame.runs for r in rig.releases() if isinstance(r.frame, Release)]
    assert all(sum(count for _, count in run) <= 256 for run in runs)
    asked = sum(count for run in runs for _, count in run)
    moved = sum(before.owner(s) != rig.table.owner(s) for s in range(SLOTS))
    assert moved == asked < SLOTS / 2


def test_slots_of_a_live_node_stay_until_it_has_released_them() -> None:
    rig = cluster(A)
    rig.auto_release = False
    rig.join(B)
    rig.run(3.0)
    assert len(rig.releases()) == 1 and rig.slots("a:1") == SLOTS
    release = rig.releases()[0].frame
    assert isinstance(release, Release) and release.to == "b:1"
    rig.do(MemberFrame("a:1", Released(release.move)))
    assert rig.slots("b:1") == sum(count for _, count in release.runs)
    assert all(rig.table.owner(first) == "b:1" for first, _ in release.runs)


def test_only_the_owner_itself_can_release() -> None:
    rig = cluster(A)
    rig.auto_release = False
    rig.join(B)
    rig.run(3.0)
    release = rig.releases()[0].frame
    assert isinstance(release, Release)
    rig.do(MemberFrame("b:1", Released(release.move)))
    assert rig.slots("a:1") == SLOTS
    assert rig.sent("b:1", MoveOff) == [MoveOff(release.move)]


def test_a_batch_that_does_not_come_to_rest_in_time_is_taken_back_and_asked_again_later() -> None:
    rig = cluster(A, move_s=3.0, move_retry_s=5.0)
    rig.auto_release = False
    rig.join(B)
    rig.run(2.0)
    assert len(rig.releases()) == 1 and rig.taken_back() == []
    rig.run(2.0)
    first = rig.releases()[0].frame
    assert isinstance(first, Release) and rig.taken_back() == [first.move]
    # Too late: it hears again that the batch is off, and keeps its slots.
    rig.do(MemberFrame("a:1", Released(first.move)))
    assert rig.taken_back() == [first.move, first.move] and rig.slots("a:1") == SLOTS
    rig.run(3.0)
    assert len(rig.releases()) == 1
    rig.run(2.0)
    assert len(rig.releases()) == 2
    assert len({r.frame.move for r in rig.releases() if isinstance(r.frame, Release)}) == 2


def test_at_most_some_batches_are_in_flight_and_one_per_node() -> None:
    rig = cluster(A, B, C, moves_in_flight_max=2)
    rig.auto_release = False
    rig.join(D)
    rig.run(3.0)
    assert len(rig.releases()) == 2
    assert len({r.incarnation for r in rig.releases()}) == 2


def test_batches_of_one_node_are_paced() -> None:
    rig = cluster(A, move_pause_s=0.3)
    rig.join(B)
    rig.run(2.0)
    assert 4 <= len(rig.releases()) <= 8


def test_a_batch_at_rest_whose_new_owner_died_goes_to_whom_the_plan_says_now() -> None:
    rig = cluster(A, B)
    rig.auto_release = False
    rig.join(C)
    rig.run(1.0)
    release = rig.releases()[0]
    rig.leave("c:1")
    assert isinstance(release.frame, Release)
    rig.do(MemberFrame(release.incarnation, Released(release.frame.move)))
    rig.run(RENEW)
    assert planned(rig, A, B)
    assert release.frame.move in rig.taken_back()


def test_the_cluster_is_bounded() -> None:
    rig = cluster(A, members_max=2)
    rig.join(B)
    rig.run(LEASE)
    assert rig.live() == {"a:1"} and not rig.sent("b:1", Renewed)


# ------------------------------------------------------------------ leaving


def test_silence_for_a_lease_takes_a_node_out_and_its_slots_elsewhere_at_once() -> None:
    rig = cluster(A, B)
    rig.kill("b:1")
    silent_since = rig.now
    rig.run(LEASE - RENEW - 0.01)
    assert rig.slots("b:1") > 0
    rig.run(RENEW + 0.02)
    assert planned(rig, A) and rig.live() == {"a:1"} and not rig.releases()
    assert rig.now - silent_since <= LEASE + 0.1
    assert rig.backing.cell == (rig.table.epoch, ("a:1",))


def test_a_broken_connection_and_a_missed_beat_are_enough() -> None:
    rig = cluster(A, B)
    rig.kill("b:1")
    rig.do(Disconnected("b:1"))
    assert rig.slots("b:1") > 0
    rig.run(1.5 * RENEW + 0.01)
    assert planned(rig, A)


def test_a_broken_connection_alone_is_not() -> None:
    rig = cluster(A, B)
    for _ in range(10):
        rig.do(Disconnected("b:1"))
        rig.run(RENEW)
    assert planned(rig, A, B)


def test_a_good_bye_takes_a_node_out_at_once() -> None:
    rig = cluster(A, B)
    rig.leave("b:1")
    assert planned(rig, A) and rig.live() == {"a:1"}


def test_a_new_incarnation_replaces_the_old_one_at_once_and_gets_its_slots_back() -> None:
    rig = cluster(A, B)
    before = {s for s in range(SLOTS) if rig.table.owner(s) == "b:1"}
    kept = rig.table
    rig.kill("b:1")
    rig.join(member("b", "2"))
    assert {s for s in range(SLOTS) if rig.table.owner(s) == "b:2"} == before
    assert all(rig.table.terms[s] == (rig.table.epoch if s in before else kept.terms[s]) for s in range(SLOTS))
    assert rig.live() == {"a:1", "b:2"} and not rig.releases()


def test_an_incarnation_that_was_taken_out_never_comes_back() -> None:
    rig = cluster(A, B)
    rig.kill("b:1")
    rig.run(LEASE + RENEW)
    again = Renew(999, B, 1)
    effects = rig.do(MemberFrame("b:1", again))
    assert [e.frame for e in effects if isinstance(e, SendTo)] == [Expelled("b:1")]
    rig.run(LEASE)
    assert rig.live() == {"a:1"}


def test_somebody_else_s_name_in_a_renewal_is_not_believed() -> None:
    rig = cluster(A, B)
    rig.do(MemberFrame("b:1", Renew(1, member("a", "2"), 0)))
    rig.run(RENEW)
    assert rig.live() == {"a:1", "b:1"}


def test_who_was_taken_out_is_told_and_its_link_is_closed_later() -> None:
    rig = cluster(A, B, forget_s=10.0)
    rig.kill("b:1")
    rig.run(LEASE + RENEW)
    assert rig.sent("b:1", Expelled) == [Expelled("b:1")] and rig.forgotten() == []
    rig.run(10.0)
    assert rig.forgotten() == ["b:1"]


def test_when_the_last_node_dies_nobody_owns_anything_and_the_next_gets_all() -> None:
    rig = cluster(A)
    rig.leave("a:1")
    assert set(rig.table.owners) == {NOBODY}
    rig.join(B)
    rig.run(RENEW)
    assert planned(rig, B)


def test_a_node_that_says_it_is_not_ready_any_more_is_drained_by_planned_moves() -> None:
    rig = cluster(A, B, C)
    rig.say("c:1", ready=False)
    rig.run(10.0)
    assert planned(rig, A, B) and rig.slots("c:1") == 0 and "c:1" in rig.live()
    assert {r.incarnation for r in rig.releases()} == {"c:1"}


def test_the_last_node_is_not_drained_for_there_is_nowhere_to_go() -> None:
    rig = cluster(A)
    rig.say("a:1", ready=False)
    rig.run(5.0)
    assert rig.slots("a:1") == SLOTS and not rig.releases()


def test_many_deaths_at_once_are_few_changes() -> None:
    nodes = [member(f"n{i}") for i in range(12)]
    rig = cluster(*nodes)
    epoch = rig.table.epoch
    for n in nodes[:6]:
        rig.kill(n.incarnation)
    rig.run(LEASE + RENEW)
    assert {m.name for m in rig.backing.published[epoch + 1].role("node")} == {n.name for n in nodes[6:]}


def test_changes_that_come_while_one_is_in_flight_are_the_next_one_together() -> None:
    rig = cluster(A, B, C, D)
    epoch = rig.table.epoch
    rig.cell_held = True
    rig.leave("b:1")
    rig.leave("c:1")
    rig.leave("d:1")
    assert rig.table.epoch == epoch
    rig.let_cell()
    rig.run(RENEW)
    assert planned(rig, A) and rig.table.epoch == epoch + 2


# ------------------------------------------------------------------ a directory that stood still


def test_a_directory_that_stood_still_gives_everybody_the_time_it_lost() -> None:
    rig = cluster(A, B)
    rig.now += 60.0  # No event: the process was stopped.
    rig.do(Disconnected("a:1"))
    rig.run(0.1)
    assert rig.live() == {"a:1", "b:1"}
    rig.kill("b:1")
    rig.run(LEASE + RENEW)
    assert rig.live() == {"a:1"}


# ------------------------------------------------------------------ a node cut off from storage


def test_a_node_cut_off_from_storage_alone_loses_its_slots_by_planned_moves() -> None:
    rig = cluster(A, B)
    rig.say("b:1", storage_ok=False)
    rig.run(LEASE - RENEW)
    assert planned(rig, A, B)
    rig.run(7.0)
    assert planned(rig, A) and "b:1" in rig.live() and rig.releases()
    rig.say("b:1", storage_ok=True)
    rig.run(7.0)
    assert planned(rig, A, B)


def test_a_node_cut_off_from_storage_that_cannot_release_is_taken_out() -> None:
    rig = cluster(A, B, move_s=3.0)
    rig.auto_release = False
    rig.say("b:1", storage_ok=False)
    rig.run(LEASE + 2.0)
    assert rig.slots("b:1") > 0
    rig.run(2.0)
    assert planned(rig, A) and rig.live() == {"a:1"}
    assert rig.sent("b:1", Expelled)


def test_when_nobody_reaches_storage_everybody_keeps_his_slots() -> None:
    rig = cluster(A, B, move_s=3.0)
    epoch = rig.table.epoch
    rig.say("a:1", storage_ok=False)
    rig.say("b:1", storage_ok=False)
    rig.run(20.0)
    assert rig.table.epoch == epoch and not rig.releases()


# ------------------------------------------------------------------ storage away


def test_while_storage_is_away_nothing_is_published_and_renewals_go_on() -> None:
    rig = cluster(A, B)
    epoch = rig.table.epoch
    rig.cell_up = False
    rig.leave("b:1")
    rig.run(30.0)
    assert rig.table.epoch == epoch and "a:1" in rig.core.alive
    assert len(rig.sent("a:1", Renewed)) > 50
    rig.cell_up = True
    rig.run(1.0)
    assert planned(rig, A)


def test_a_returning_storage_worker_ends_the_wait_at_once() -> None:
    rig = cluster(A, B, retry_s=20.0)
    rig.cell_up = False
    rig.leave("b:1")
    rig.kill("worker:1")
    rig.cell_up = True
    rig.join(member("worker", "2", "storage"))
    assert rig.slots("a:1") == SLOTS
    assert [w.incarnation for w in rig.core.workers()] == ["worker:2"]


def test_a_cell_row_that_is_ahead_is_passed_before_anything_is_published() -> None:
    """The database was lost, or restored from a backup; the store remembers."""
    backing = Backing()
    backing.cell = (57, ("old:1",))
    rig = Rig(backing).start()
    rig.join(A)
    rig.run(RENEW)
    assert rig.table.epoch > 57 and backing.cell == (rig.table.epoch, ("a:1",))
    assert min(backing.published) > 57


def test_a_node_with_a_newer_table_than_the_row_makes_the_next_epoch_pass_it() -> None:
    rig = cluster(A)
    rig.do(MemberFrame("b:1", Renew(1, B, 500)))
    rig.run(RENEW)
    assert rig.table.epoch > 500 and "b:1" in rig.live()


# ------------------------------------------------------------------ database away


def test_while_the_database_is_away_the_old_table_stays_and_renewals_are_answered() -> None:
    rig = cluster(A, B)
    epoch = rig.table.epoch
    rig.database_up = False
    rig.leave("b:1")
    rig.run(30.0)
    assert rig.table.epoch == epoch and rig.core.leading
    assert len(rig.sent("a:1", Renewed)) > 50
    rig.database_up = True
    rig.run(1.0)
    assert planned(rig, A)


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_commit_of_unknown_outcome_is_looked_up(fate: str) -> None:
    rig = cluster(A, B)
    rig.lost_commit = fate
    rig.leave("b:1")
    rig.run(2.0)
    assert planned(rig, A) and rig.core.settled


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_batch_in_a_commit_of_unknown_outcome_is_not_taken_back_before_that_commit_is_void(fate: str) -> None:
    rig = cluster(A, move_s=3.0)
    rig.auto_release = False
    rig.join(B)
    rig.run(LEASE)
    release = rig.releases()[0].frame
    assert isinstance(release, Release)
    rig.lost_commit = fate
    rig.do(MemberFrame("a:1", Released(release.move)))
    rig.database_up = False
    rig.run(10.0)
    assert rig.taken_back() == []
    rig.database_up = True
    rig.run(1.0)
    assert rig.taken_back() == [] and rig.slots("b:1") == sum(count for _, count in release.runs)


def test_a_batch_at_rest_is_taken_back_when_the_database_stays_away() -> None:
    rig = cluster(A, move_s=3.0)
    rig.auto_release = False
    rig.join(B)
    rig.run(LEASE)
    release = rig.releases()[0].frame
    assert isinstance(release, Release)
    rig.database_up = False
    rig.do(MemberFrame("a:1", Released(release.move)))
    rig.run(10.0)
    # Its time is over, but a directory without its row cannot decide; it does as soon as it can.
    rig.database_up = True
    rig.run(0.6)
    assert (release.move in rig.taken_back()) == (rig.slots("b:1") == 0)


def test_the_part_of_a_batch_that_stays_is_given_back_after_the_table_not_before() -> None:
    rig = cluster(A, B, C)
    rig.auto_release = False
    rig.say("c:1", ready=False)
    rig.run(LEASE)
    release = rig.releases()[0]
    assert isinstance(release.frame, Release) and release.incarnation == "c:1"
    rig.cell_held = True
    rig.join(D)  # The plan changes while the batch comes to rest; the commit below decides with the new one.
    rig.say("c:1", ready=True)
    effects = rig.do(MemberFrame("c:1", Released(release.frame.move)))
    effects += rig.let_cell()
    effects += rig.run(1.0)
    order = [
        "table" if isinstance(e, PublishTable) else "off"
        for e in effects
        if isinstance(e, PublishTable) or (isinstance(e, SendTo) and e.frame == MoveOff(release.frame.move))
    ]
    shares = Counter(rig.table.owner(first) for first, _ in release.frame.runs)
    assert shares["c:1"] and shares["d:1"], "the batch is split between its old owner and the new node"
    assert order.count("off") == 1 and order.index("off") > 0
    moved_at = next(
        i
        for i, e in enumerate(e for e in effects if isinstance(e, PublishTable))
        if any(e.table.owner(first) == "d:1" for first, _ in release.frame.runs)
    )
    assert order.index("off") > moved_at


# ------------------------------------------------------------------ restart and several directories


def restarted(rig: Rig, start: str = "2", **config: Any) -> Rig:
    again = Rig(rig.backing, start=start, **config)
    again.now = rig.now + 1.0
    again.renewing = dict(rig.renewing)
    return again


def test_a_restarted_directory_goes_on_with_the_table_it_had() -> None:
    rig = cluster(A, B, C)
    again = restarted(rig).start()
    assert again.table.epoch == rig.table.epoch + 1 and owners(again.table) == owners(rig.table)
    assert [again.table.terms[s] for s in range(SLOTS)] == [rig.table.terms[s] for s in range(SLOTS)]
    again.run(3 * LEASE)
    assert planned(again, A, B, C) and again.live() == {"a:1", "b:1", "c:1"}
    assert not again.releases()


def test_a_restarted_directory_gives_everybody_a_lease_before_it_judges() -> None:
    rig = cluster(A, B)
    rig.kill("b:1")
    again = restarted(rig).start()
    again.run(LEASE - 0.1)
    assert again.slots("b:1") > 0
    again.run(0.2)
    assert planned(again, A)


def test_a_restarted_directory_writes_the_cell_row_again_before_it_publishes() -> None:
    rig = cluster(A, B)
    again = restarted(rig)
    again.cell_up = False
    again.start()
    again.run(5.0)
    assert again.table.epoch == 0 and len(again.sent("a:1", Renewed)) > 5
    again.cell_up = True
    again.run(1.0)
    assert again.table.epoch > rig.table.epoch


def test_a_table_that_was_committed_but_not_celled_when_the_directory_died_is_not_told_before_it_is() -> None:
    rig = cluster(A, B)
    rig.cell_up = False
    rig.leave("b:1")
    assert rig.backing.row is not None and rig.backing.row.epoch == rig.table.epoch + 1
    again = restarted(rig)
    again.cell_up = False
    again.start()
    rig.tables_seen(again)  # From a node: the last published one.
    again.run(5.0)
    assert again.table.epoch == rig.table.epoch and again.slots("b:1") > 0
    again.cell_up = True
    again.run(1.0)
    assert planned(again, A)


def test_who_died_unnoticed_with_the_directory_is_replaced_by_its_next_incarnation() -> None:
    rig = cluster(A, B)
    again = restarted(rig)
    again.renewing = {}
    again.start()
    again.join(member("a", "2"))
    again.join(member("b", "2"))
    again.run(RENEW)
    assert planned(again, member("a", "2"), member("b", "2")) and again.live() == {"a:2", "b:2"}


def test_a_node_that_was_taken_out_before_the_restart_is_told_so() -> None:
    rig = cluster(A, B)
    joined = rig.renewing["b:1"]
    rig.leave("b:1")
    again = restarted(rig).start()
    again.do(MemberFrame("b:1", joined))
    assert joined.joined and again.sent("b:1", Expelled) == [Expelled("b:1")]
    again.run(RENEW)
    assert again.live() == {"a:1"}


def test_a_move_asked_by_a_directory_that_died_is_taken_back() -> None:
    rig = cluster(A)
    rig.auto_release = False
    rig.join(B)
    rig.run(LEASE)
    release = rig.releases()[0].frame
    assert isinstance(release, Release)
    again = restarted(rig).start()
    again.auto_release = False
    again.do(MemberFrame("a:1", Released(release.move)))
    assert again.taken_back() == [release.move] and again.slots("a:1") == SLOTS
    again.run(2 * LEASE)
    assert again.releases() and all(r.frame.move > release.move for r in again.releases() if isinstance(r.frame, Release))


def test_nobody_is_asked_for_slots_before_everybody_had_time_to_renew_after_a_restart() -> None:
    rig = cluster(A, B)
    rig.say("b:1", ready=False)
    again = restarted(rig)
    again.start()
    again.run(LEASE - 0.1)
    assert not again.releases()
    again.run(5.0)
    assert planned(again, A)


def test_cluster_time_does_not_go_back_over_a_restart_with_an_earlier_wall_clock() -> None:
    rig = cluster(A)
    rig.run(100.0)
    told = rig.core.clock.time_ms(rig.now)
    rig.backing.wall_ms -= 10_000_000
    again = restarted(rig).start()
    assert again.core.clock.time_ms(again.now) >= told - 10_000
    assert rig.backing.row is not None and rig.backing.row.cluster_time >= told - 10_000


def test_cluster_time_is_stored_every_beat() -> None:
    rig = cluster(A, beat_s=10.0)
    rig.effects.clear()
    rig.run(60.0)
    beats = [e for e in rig.effects if isinstance(e, Beat)]
    assert 5 <= len(beats) <= 7
    assert rig.core.clock.time_ms(rig.now) - beats[-1].cluster_time <= 10_500


def pair(**config: Any) -> tuple[Rig, Rig]:
    """A leader with two nodes, and a second replica that follows."""
    settings = {"replicas": 2, "leader_lease_s": 3.0, "beat_s": 1.0, "expected_nodes": 2, "settle_s": 5.0} | config
    one = Rig(name="d1", **settings).start()
    one.join(WORKER)
    one.join(A)
    one.join(B)
    one.run(1.0)
    two = Rig(one.backing, name="d2", **settings)
    two.now = one.now
    two.start()
    return one, two


def run_both(one: Rig, two: Rig, seconds: float) -> None:
    for _ in range(round(seconds / 0.2)):
        one.run(0.2)
        two.run(0.2)
        one.tables_seen(two)
        two.tables_seen(one)


def test_of_two_replicas_one_leads_while_it_beats() -> None:
    one, two = pair()
    run_both(one, two, 20.0)
    assert one.core.leading and not two.core.leading
    assert two.table.epoch == one.table.epoch


def test_a_follower_answers_and_judges_nobody() -> None:
    _, two = pair()
    two.do(MemberFrame("a:1", Renew(1, A, 1, joined=True)), Disconnected("a:1"))
    assert not [e for e in two.effects if isinstance(e, SendTo | CommitTable | WriteCell | PublishTable)]


def test_a_follower_takes_over_from_a_leader_that_does_not_beat() -> None:
    one, two = pair()
    two.renewing = dict(one.renewing)
    two.run(2.5)
    assert two.table.epoch == 0
    two.run(2.0)
    assert two.core.leading and two.table.epoch > one.table.epoch and planned(two, A, B)


def test_a_leader_that_slept_through_its_successor_grants_nothing_and_steps_down() -> None:
    one, two = pair()
    two.renewing = dict(one.renewing)
    two.run(6.0)
    answered = len(one.sent("a:1", Renewed))
    one.now = two.now
    epoch = one.table.epoch
    one.renew("a:1")
    one.leave("b:1")
    assert not one.core.leading and len(one.sent("a:1", Renewed)) == answered and one.table.epoch == epoch
    run_both(one, two, 10.0)
    assert two.core.leading and not one.core.leading and planned(two, A, B)


def test_a_leader_that_committed_and_slept_publishes_nothing_once_the_cell_row_is_ahead() -> None:
    one, two = pair()
    one.cell_held = True
    one.leave("b:1")
    assert one.held and one.table.epoch + 1 == one.backing.row.epoch  # type: ignore[union-attr]  # a row is there
    two.renewing = {k: v for k, v in one.renewing.items() if k != "b:1"}
    two.run(6.0)
    assert two.core.leading
    one.now = two.now
    published = set(one.backing.published)
    one.held = [CellStored(one.backing.row.epoch - 1, one.backing.cell[0])]  # type: ignore[union-attr]  # a row is there
    one.let_cell()
    one.run(2.0)
    assert set(one.backing.published) == published and not one.core.leading


def test_two_replicas_that_both_believe_in_themselves_never_publish_the_same_epoch() -> None:
    """Both are made single replicas by mistake: they take the row from each other, yet Rig asserts that no epoch is published twice."""
    one = cluster(A, B)
    two = Rig(one.backing, name="d2")
    two.now = one.now
    two.renewing = dict(one.renewing)
    two.start()
    for step in range(12):
        rig = (one, two)[step % 2]
        rig.join(member("c", str(step)))
        run_both(one, two, 0.4)
    assert len(one.backing.published) > 10
    assert one.backing.row is not None
    assert max(one.backing.published) >= one.backing.row.epoch - 1


def test_garbage_tables_are_noted_and_change_nothing() -> None:
    rig = cluster(A)
    before = rig.table
    rig.do(TableSeen(Table.empty().delta(0)))
    foreign = cluster(A, B).table.delta(0)
    bad = type(foreign)(10**6, 10**6 + 1, foreign.members, foreign.runs)
    rig.do(TableSeen(bad))
    assert rig.table is before


def test_outcomes_nobody_waits_for_change_nothing() -> None:
    rig = cluster(A)
    epoch = rig.table.epoch
    rig.do(Committed(1), Committed(epoch + 9), CellStored(1, 1))
    assert rig.table.epoch == epoch and rig.core.settled


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"lease_s": 1.0}, "lease_s"),
        ({"beat_s": 31.0}, "beat_s"),
        ({"replicas": 4}, "replicas"),
        ({"leader_lease_s": 1.0}, "leader_lease_s"),
    ],
)
def test_a_configuration_whose_relations_do_not_hold_is_refused_by_its_key(change: dict[str, float], key: str) -> None:
    with pytest.raises(ValueError, match=f"directory.{key}"):
        DirectoryConfig(**change).check()  # type: ignore[arg-type]  # ints and floats
