"""Pages of a direct conversation in which nothing was said yet."""

from __future__ import annotations

import pytest
from homing import protocol as p
from homing.ids import direct_id

from node.core.conversation import Conversation
from node.core.edge import Edge, Identity
from node.core.frames import AskEntries, EntriesAnswer, Refusal, ToConversation
from storage.store import LoadLog
from tests.unit.core_rig import ALICE, BOB, CAROL, DIRECT, ME, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


def ask(user: str, peer: str) -> AskEntries:
    return AskEntries(DIRECT, user, 7, "f1", 1, None, 10, peer)


def test_a_direct_conversation_that_was_never_used_is_an_empty_page_for_its_two(rig: Rig) -> None:
    cv = Conversation(rig, DIRECT, 1)
    rig.settle()
    for user, peer in ((ALICE, BOB), (BOB, ALICE)):
        cv.on_frame(ask(user, peer), ME)
        assert rig.frames(EntriesAnswer) == [EntriesAnswer(7, "f1", DIRECT, (), 0)]
    assert rig.store.read(LoadLog(DIRECT)).log is None  # type: ignore[union-attr]  # of this query


@pytest.mark.parametrize("used", [False, True])
def test_nobody_else_hears_whether_two_have_ever_talked(rig: Rig, used: bool) -> None:
    cv = Conversation(rig, DIRECT, 1)
    if used:
        cv.on_frame(ToConversation(DIRECT, ALICE, 7, "m1", "text", "hi", 0, None, BOB), ME)
    rig.settle()
    assert cv.head == used
    for frame in (ask(CAROL, BOB), ask(CAROL, ALICE), ask(CAROL, ""), ask(CAROL, "?")):
        cv.on_frame(frame, ME)
        assert [refused.code for refused in rig.frames(Refusal)] == ["not_a_member"] and not rig.frames(EntriesAnswer)


def test_a_fetch_of_a_user_is_of_the_direct_conversation_with_him(rig: Rig) -> None:
    edge = Edge(rig, "node-1", "")
    edge.open(7, Identity(ALICE, "phone"), 0, {}, 10_000)
    edge.on_client(7, p.Fetch(id="f1", conversation=BOB, from_seq=2, to_seq=9, limit=5))
    edge.on_client(7, p.Fetch(id="f2", conversation=DIRECT))
    assert rig.frames(AskEntries) == [AskEntries(DIRECT, ALICE, 7, "f1", 2, 9, 5, BOB), AskEntries(DIRECT, ALICE, 7, "f2", 1, None, 50)]
    assert direct_id(ALICE, BOB) == DIRECT
