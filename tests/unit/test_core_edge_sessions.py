"""A session at the edge when the home of its user goes: let in by it already, or not yet."""

from __future__ import annotations

from homing import codes

from node.core.edge import Edge, Identity
from node.core.effects import CloseClient
from node.core.frames import Attach, Attached, SyncedOut
from tests.unit.core_rig import ALICE, ME, OTHER, Rig

NEXT = "node-3:next"


def opened(rig: Rig) -> Edge:
    edge = Edge(rig, "node-1", "ws://node-1")
    edge.open(7, Identity(ALICE, "phone"), 500, {"c": 3}, 10_000)
    assert [f.have for f in rig.frames(Attach, OTHER)] == [(("c", 3),)]
    return edge


def test_a_session_that_its_home_had_let_in_is_closed_when_the_home_is_gone() -> None:
    rig = Rig()
    edge = opened(rig)
    edge.on_attached(Attached(ALICE, 7), OTHER)
    rig.homes[ALICE] = NEXT
    edge.on_table(frozenset({ME, NEXT}))
    assert CloseClient(7, codes.HOME_LOST.name) in rig.effects
    assert rig.frames(Attach) == []


def test_a_session_that_was_not_let_in_yet_is_attached_to_the_next_home_and_nobody_hears_of_it() -> None:
    rig = Rig()
    edge = opened(rig)
    rig.homes[ALICE] = NEXT
    edge.on_table(frozenset({ME, NEXT}))
    assert rig.effects == []
    assert [(f.cursor, f.have) for f in rig.frames(Attach, NEXT)] == [(500, (("c", 3),))]
    edge.on_attached(Attached(ALICE, 7), NEXT)
    assert 7 in edge.sessions and edge.sessions[7].welcomed


def test_a_session_that_moves_by_plan_is_closed_when_its_new_home_does_not_tell_it_what_it_lacks() -> None:
    """It is live in the eyes of its device: it must be complete, or end within a lease (P2)."""
    for told, attached in ((False, False), (False, True), (True, True)):
        rig = Rig()
        edge = opened(rig)
        edge.on_attached(Attached(ALICE, 7), OTHER)
        edge.on_synced(SyncedOut(7, 600, 0), OTHER)
        rig.homes[ALICE] = NEXT
        edge.on_table(frozenset({ME, OTHER, NEXT}))
        moved_at = rig.now
        if attached:
            edge.on_attached(Attached(ALICE, 7), NEXT)
        if told:
            edge.on_synced(SyncedOut(7, 700, 0), NEXT)
        rig.now += 3
        edge.close_unattached(moved_at - 1)
        assert 7 in edge.sessions
        edge.close_unattached(rig.now - 2)
        assert (7 in edge.sessions) is told


def test_a_device_that_waits_for_its_first_list_is_not_closed() -> None:
    rig = Rig()
    edge = opened(rig)
    edge.on_attached(Attached(ALICE, 7), OTHER)
    rig.now += 60
    edge.close_unattached(rig.now - 2)
    assert 7 in edge.sessions
