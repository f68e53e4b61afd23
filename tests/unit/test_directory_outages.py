"""The membership core while storage, the database or a node's way to storage is away."""

from __future__ import annotations

from collections import Counter

import pytest
from homing.ids import SLOTS

from directory.events import (
    MemberFrame,
    PublishTable,
    SendTo,
)
from directory.frames import Expelled, MoveOff, Release, Released, Renew, Renewed
from tests.unit.directory_rig import LEASE, RENEW, A, B, Backing, C, D, Rig, cluster, member, planned

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
    assert rig.table.epoch == epoch and "a:1" in rig.core.roll.alive
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


def test_a_lost_commit_is_made_void_even_when_nothing_is_to_be_changed_any_more() -> None:
    rig = cluster(A)
    epoch = rig.table.epoch
    rig.lost_commit = "lost"
    rig.join(B, ready=False)
    rig.leave("b:1")  # What should be is what is; but the commit that has B may still land.
    rig.run(1.0)
    assert rig.backing.row is not None and rig.backing.row.epoch == epoch + 1 and rig.live() == {"a:1"}
