"""What a group says while somebody leaves it: to whom, how far, and what he is told of others afterwards."""

from __future__ import annotations

import pytest
from homing.ids import group_id

from node.core.conversation import Conversation
from node.core.frames import Deliver, DeliverHead, DeliverRefused, GroupChange, MarkReport, MarksMoved, ToConversation
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE, OTHER, Rig

GROUP = group_id(b"0123456789abcdef")
EDGE, THIRD = "node-3:edge", "node-4:third"


def change(kind: str, id_: str, *members: str, title: str = "") -> GroupChange:
    return GroupChange(GROUP, ALICE, 7, id_, kind, members, title)


def says(id_: str, user: str = ALICE) -> ToConversation:
    return ToConversation(GROUP, user, 7, id_, "text", "hi", 0, 0)


@pytest.fixture
def rig() -> Rig:
    """Carol is at home apart from the others."""
    rig = Rig()
    rig.homes[CAROL] = THIRD
    return rig


@pytest.fixture
def group(rig: Rig) -> Conversation:
    """Of Alice, Bob and Carol; all has come to rest."""
    cv = rig.open_conversation(GROUP)
    cv.on_frame(change("group.create", "g", BOB, CAROL, title="t"), EDGE)
    rig.settle()
    rig.sent.clear()
    return cv


def test_who_was_taken_out_is_told_again_although_others_go_on(rig: Rig, group: Conversation) -> None:
    """His removal is the last that he may see: no gap would show him that he lacks it (P2, windows 930151)."""
    group.on_frame(change("group.remove", "out", CAROL), EDGE)
    rig.store_all()
    group.on_frame(says("m1"), EDGE)
    group.on_frame(change("group.rename", "new", title="other"), EDGE)
    group.on_frame(change("group.add", "in", DAVE), EDGE)  # the roster is another one: who is told what is found anew
    rig.store_all()
    (removal,) = rig.frames(Deliver, THIRD)
    assert (removal.row.type, removal.users) == ("group.remove", (CAROL,))
    group.on_frame(DeliverRefused(GROUP, removal.row.seq, removal.said_at), THIRD)
    rig.store_all()
    (again,) = rig.frames(Deliver, THIRD)
    assert (again.row, again.users) == (removal.row, (CAROL,))
    assert removal.row.seq in group.speech.unsettled
    rig.settle()
    assert group.speech.is_at_rest()


def test_who_was_taken_out_is_told_when_his_home_moves(rig: Rig, group: Conversation) -> None:
    group.on_frame(change("group.remove", "out", CAROL), EDGE)
    rig.store_all()
    group.on_frame(change("group.add", "in", DAVE), EDGE)
    rig.store_all()
    rig.frames(Deliver)
    rig.homes[CAROL], rig.epoch = "node-5:next", 2
    group.on_table()
    rig.store_all()
    (again,) = rig.frames(Deliver, "node-5:next")
    assert (again.row.type, again.users) == ("group.remove", (CAROL,))


def test_a_peer_that_was_full_gets_for_who_was_taken_out_no_more_than_he_may_see(rig: Rig, group: Conversation) -> None:
    """He is told of his removal, and not how far others have gone since (P2, P7, P8)."""
    rig.homes[BOB] = THIRD
    rig.epoch = 2
    group.on_table()
    rig.full.add(THIRD)
    group.on_frame(change("group.remove", "out", CAROL), EDGE)
    rig.store_all()
    for n in range(3):
        group.on_frame(says(f"m{n}"), EDGE)
    rig.store_all()
    rig.full.clear()
    rig.opening.pop((THIRD, GROUP))(THIRD)
    heads = rig.frames(DeliverHead, THIRD)
    assert [(head.seq, head.users) for head in heads] == [(2, (CAROL,)), (5, (BOB,))]
    rig.settle()
    assert group.speech.is_at_rest()


def test_who_has_left_hears_no_more_of_the_marks_of_others(rig: Rig, group: Conversation) -> None:
    group.on_frame(says("m1", CAROL), EDGE)
    rig.settle()
    group.on_frame(change("group.remove", "out", CAROL), EDGE)
    rig.settle()
    rig.sent.clear()
    group.on_frame(MarkReport(GROUP, ((BOB, 3, 3),)), OTHER)
    rig.pass_time(0.1)
    rig.settle()
    told = {user for frame in rig.frames(MarksMoved) for user in frame.users}
    assert told == {ALICE}
