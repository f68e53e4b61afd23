"""A session at the edge when the home of its user goes: let in by it already, or not yet."""

from __future__ import annotations

from homing import codes

from node.core.edge import Edge, Identity
from node.core.effects import CloseClient
from node.core.frames import Attach, Attached
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
