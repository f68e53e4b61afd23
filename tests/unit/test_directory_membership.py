"""The membership core: joins, deaths, planned moves."""

from __future__ import annotations

from typing import Any

import pytest
from homing.ids import SLOTS

from directory.config import DirectoryConfig
from directory.events import (
    CellStored,
    Committed,
    Disconnected,
    MemberFrame,
    SendTo,
    TableSeen,
)
from directory.frames import Expelled, MoveOff, Release, Released, Renew, Renewed
from directory.membership import MembershipCore
from directory.table import NOBODY, Member, Table
from tests.unit.directory_rig import LEASE, RENEW, WORKER, A, B, C, D, Rig, cluster, member, planned

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
    assert answer == Renewed(rig.renewing["a:1"].n, rig.core.clock.time_ms(rig.now), rig.table.epoch, 1)


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
    rig.do(MemberFrame("b:1", Renew(2, Member("b:1", "a", "node", ""), 0)))
    rig.do(MemberFrame("c:1", Renew(3, Member("c:1", "a", "node", ""), 0)))
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
        ({"renew_s": 0.7}, "lease_s"),
        ({"beat_s": 31.0}, "beat_s"),
        ({"directories": []}, "directories"),
        ({"leader_lease_s": 1.0}, "leader_lease_s"),
    ],
)
def test_a_configuration_whose_relations_do_not_hold_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    config = DirectoryConfig(**change)
    assert [p.split()[0] for p in config.problems()] == [f"directory.{key}"]
    with pytest.raises(ValueError, match=f"directory.{key}"):
        MembershipCore(A, config)


def test_a_connection_that_broke_once_is_forgiven_by_the_next_renewal() -> None:
    rig = cluster(A, B)
    rig.do(Disconnected("b:1"))
    rig.renew("b:1")
    rig.paused.add("b:1")
    rig.run(LEASE - 0.1)
    assert rig.live() == {"a:1", "b:1"}


def test_a_silent_storage_worker_keeps_its_link_until_it_has_heard_that_it_is_out() -> None:
    rig = cluster(A, B)
    rig.kill(WORKER.incarnation)
    rig.kill(B.incarnation)
    rig.run(LEASE + 2 * rig.config.forget_s)
    assert rig.forgotten() == [B.incarnation]  # a node ends by its own lease, a worker does not
    assert WORKER.incarnation in rig.core.roll.gone
