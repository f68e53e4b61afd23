"""What a home tells others of its users: from memory, from storage, from nowhere."""

from __future__ import annotations

import pytest
from homing import codes
from homing import protocol as p

from node.core.edge import Edge, Identity
from node.core.effects import ToClient
from node.core.frames import AskPerson, Attach, Attached, NotHere, PersonAnswer, Refusal
from node.core.mailbox import Mailbox
from node.core.people import People
from storage.store import UserRow, Write
from tests.unit.core_rig import ALICE, BOB, DIRECT, ME, OTHER, Rig

EDGE = "node-7:edge"
NEXT = "node-3:next"
ASK = AskPerson(BOB, 4, "q1")


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.homes[BOB] = ME
    return rig


def test_a_name_in_memory_is_told_without_a_read(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    box.on_attach(Attach(BOB, 1, "phone", 0, (), "Bob"), ME)
    rig.answer_asks()
    People(rig, {BOB: box}).on_ask(ASK, EDGE)
    assert rig.frames(PersonAnswer, EDGE) == [PersonAnswer(4, "q1", BOB, "Bob")] and not rig.asks


@pytest.mark.parametrize("has_mailbox", [True, False])
def test_a_name_that_memory_lacks_is_read_from_the_users_row(rig: Rig, has_mailbox: bool) -> None:
    rig.store.commit([Write(ME, UserRow(BOB, 9, (), "Bob", 9))])
    boxes = {BOB: Mailbox(rig, BOB)} if has_mailbox else {}
    People(rig, boxes).on_ask(ASK, EDGE)
    assert not rig.frames(PersonAnswer)
    rig.answer_asks()
    assert rig.frames(PersonAnswer, EDGE) == [PersonAnswer(4, "q1", BOB, "Bob")]
    assert len(boxes) == has_mailbox, "asking makes no mailbox"


def test_a_user_whom_nobody_knows_has_an_empty_name(rig: Rig) -> None:
    People(rig, {}).on_ask(ASK, EDGE)
    rig.answer_asks()
    assert rig.frames(PersonAnswer) == [PersonAnswer(4, "q1", BOB, "")]


def test_a_node_that_is_not_the_users_home_says_so(rig: Rig) -> None:
    rig.homes[BOB] = OTHER
    People(rig, {}).on_ask(ASK, EDGE)
    assert [(f.session, f.id) for f in rig.frames(NotHere, EDGE)] == [(4, "q1")] and not rig.asks


def test_when_storage_has_no_room_the_question_is_refused(rig: Rig) -> None:
    rig.has_room = False
    People(rig, {}).on_ask(ASK, EDGE)
    (refusal,) = rig.frames(Refusal, EDGE)
    assert (refusal.code, refusal.id, refusal.retry_after_ms > 0) == (codes.OVERLOADED.name, "q1", True) and not rig.asks


# ---------------------------------------------------------------- the edge


@pytest.fixture
def edge(rig: Rig) -> Edge:
    edge = Edge(rig, "node-1", "ws://node-1")
    rig.homes[BOB] = OTHER
    rig.homes[ALICE] = ME
    edge.open(7, Identity(ALICE, "phone", "Alice"), 0, {}, 10_000)
    assert [f.name for f in rig.frames(Attach, ME)] == ["Alice"]
    edge.on_attached(Attached(ALICE, 7), ME)
    rig.effects.clear()
    return edge


def test_the_home_of_the_person_is_asked_and_only_the_present_one_is_believed(rig: Rig, edge: Edge) -> None:
    edge.on_client(7, p.FetchPerson(id="q1", user=BOB))
    assert rig.frames(AskPerson, OTHER) == [AskPerson(BOB, 7, "q1")] and not rig.frames(AskPerson)
    rig.homes[BOB] = NEXT
    edge.on_table(frozenset({ME, OTHER, NEXT}))
    assert rig.frames(AskPerson, NEXT) == [AskPerson(BOB, 7, "q1")]
    edge.on_person(PersonAnswer(7, "q1", BOB, "Old"), OTHER)
    assert not rig.effects
    edge.on_person(PersonAnswer(7, "q1", BOB, "Bob"), NEXT)
    edge.on_person(PersonAnswer(7, "q1", BOB, "Bob"), NEXT)
    assert rig.effects == [ToClient(7, p.Person(id="q1", user=BOB, name="Bob"))]


def test_only_a_user_is_a_person(rig: Rig, edge: Edge) -> None:
    edge.on_client(7, p.FetchPerson(id="q1", user=DIRECT))
    (effect,) = rig.effects
    assert isinstance(effect, ToClient) and isinstance(effect.frame, p.Error)
    assert (effect.frame.code, effect.frame.field) == (codes.INVALID.number, "user") and not rig.frames(AskPerson)
