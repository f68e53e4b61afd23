"""The membership core over a restart, and several of them on one row."""

from __future__ import annotations

from typing import Any

from homing.ids import SLOTS

from directory.events import (
    Beat,
    CellStored,
    CommitTable,
    Disconnected,
    MemberFrame,
    PublishTable,
    SendTo,
    TableSeen,
    WriteCell,
)
from directory.frames import Expelled, MoveOff, Release, Released, Renew, Renewed
from directory.slots import assign, owners
from tests.unit.directory_rig import LEASE, RENEW, WORKER, A, B, C, Rig, cluster, member, planned

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


def test_a_batch_that_the_dead_directory_had_committed_is_not_given_back_before_its_table_is_out() -> None:
    rig = cluster(A)
    rig.auto_release = False
    rig.join(B)
    rig.run(LEASE)
    release = rig.releases()[0].frame
    assert isinstance(release, Release)
    rig.cell_up = False
    rig.do(MemberFrame("a:1", Released(release.move)))  # Committed; the cell row is not written, nothing is published.
    again = restarted(rig)
    again.cell_up = again.auto_release = False
    again.start()
    rig.tables_seen(again)
    again.do(MemberFrame("a:1", Released(release.move)))
    again.run(LEASE)
    assert again.taken_back() == []
    answer = again.sent("a:1", Renewed)[-1]
    assert isinstance(answer, Renewed) and answer.since > answer.epoch
    again.cell_up = True
    again.run(1.0)
    assert again.taken_back() == [release.move]
    assert all(again.table.owner(first) == "b:1" for first, _ in release.runs)
    kinds = [type(e) for e in again.effects if isinstance(e, PublishTable) or (isinstance(e, SendTo) and isinstance(e.frame, MoveOff))]
    assert kinds == [PublishTable, SendTo]


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
    two_of_them = ["d1=tcp://1", "d2=tcp://2"]
    settings: dict[str, Any] = {"directories": two_of_them, "leader_lease_s": 3.0, "beat_s": 1.0, "expected_nodes": 2, "settle_s": 5.0}
    settings |= config
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


def test_a_leader_whose_store_is_away_goes_on_leading() -> None:
    one, two = pair()
    one.cell_held = True
    one.leave("b:1")
    run_both(one, two, 20.0)
    assert one.core.leading and two.table.epoch == one.table.epoch
    one.let_cell()
    run_both(one, two, 1.0)
    assert one.slots("a:1") == SLOTS


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


def test_a_leader_that_woke_up_says_nothing_about_the_batches_of_its_successor() -> None:
    one, two = pair()
    two.renewing = dict(one.renewing)
    two.auto_release = False
    two.run(6.0)
    two.say("b:1", ready=False)
    two.run(LEASE)
    release = two.releases()[0].frame
    assert isinstance(release, Release)
    one.now = two.now
    one.do(MemberFrame("b:1", Released(release.move)))
    assert one.taken_back() == []
    two.tables_seen(one)
    one.do(MemberFrame("b:1", Released(release.move)), MemberFrame("b:1", Renew(9, B, two.table.epoch, joined=True)))
    assert one.taken_back() == [] and not one.sent("b:1", Expelled)


def test_a_leader_that_hears_of_a_table_it_did_not_write_tells_nobody_anything_before_it_has_looked() -> None:
    one, two = pair()
    two.now = one.now
    newer = assign(one.table, [A, B, member("c")], one.table.epoch + 1)
    one.database_up = False
    one.do(TableSeen(newer.delta(one.table.epoch)))
    one.effects.clear()
    one.do(MemberFrame("c:1", Renew(9, member("c"), newer.epoch, joined=True)))
    one.renew("a:1")
    assert not one.sent("c:1", Expelled) and not one.sent("a:1", Renewed)


def test_a_batch_of_a_later_leader_is_not_taken_back_by_an_earlier_one() -> None:
    rig = cluster(A)
    rig.do(MemberFrame("a:1", Released(rig.core.moves.term + 1 << 20 | 7)))
    assert rig.taken_back() == []
    rig.do(MemberFrame("a:1", Released(rig.core.moves.term << 20 | 7)))
    assert rig.taken_back() == [rig.core.moves.term << 20 | 7]
