"""Requests of users without a session: asked, asked again, answered once, refused in bounds."""

from __future__ import annotations

from typing import Any

import pytest
from homing import codes
from homing import protocol as p
from homing.ids import direct_id

from node.core import asking
from node.core.asking import FIRST, Asking
from node.core.frames import (
    AskedSent,
    AskEntries,
    AskHeads,
    AskMembers,
    EntriesAnswer,
    HeadsOut,
    MarkFrom,
    MarkReport,
    MarkStored,
    NotHere,
    Refusal,
    ToConversation,
)
from storage.store import EntryRow
from tests.unit.core_rig import ALICE, BOB, DIRECT, ME, OTHER, Rig

ROW = EntryRow(DIRECT, 1, 1, ALICE, "m1", "text", "hi", 5, 1, 0)


class Asker:
    """An ``Asking`` and what it answered."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.asking = Asking(self.rig)
        self.answers: list[Any] = []

    def send(self, to: str = BOB, kind: str = "text") -> None:
        self.asking.request(ALICE, p.Send(id="m1", to=to, body="hi", type=kind), self.answers.append)

    def asked(self, to: str = OTHER) -> Any:
        """The one question that was sent since the last look."""
        ((incarnation, frame),) = self.rig.sent
        assert incarnation == to
        self.rig.sent.clear()
        return frame

    def refusal(self) -> Refusal:
        (answer,) = self.answers
        assert isinstance(answer, Refusal)
        return answer


@pytest.fixture
def asker() -> Asker:
    return Asker()


def test_a_message_to_a_user_is_asked_of_the_conversations_home_and_answered_once(asker: Asker) -> None:
    asker.send()
    frame = asker.asked()
    assert frame == ToConversation(direct_id(ALICE, BOB), ALICE, frame.session, "m1", "text", "hi", 0, None, BOB)
    assert frame.session >= FIRST
    for _ in range(2):
        asker.asking.on_sent(AskedSent(ROW, frame.session, "m1"), "anybody")
    assert asker.answers == [AskedSent(ROW, frame.session, "m1")]
    assert asker.asking.waiting == {}
    asker.rig.pass_time(60)
    assert asker.rig.sent == []


@pytest.mark.parametrize(("to", "kind", "field"), [("0003" + "0" * 28, "text", "to"), (BOB, "group.add", "type")])
def test_what_cannot_be_sent_is_refused_and_nobody_is_asked(asker: Asker, to: str, kind: str, field: str) -> None:
    asker.send(to, kind)
    assert (asker.refusal().code, asker.refusal().field) == (codes.INVALID.name, field)
    assert asker.rig.sent == []


def test_a_new_owner_is_asked_and_only_the_present_one_is_heard(asker: Asker) -> None:
    asker.asking.request(ALICE, p.Fetch(id="", conversation=DIRECT, from_seq=0, limit=7), asker.answers.append)
    frame = asker.asked()
    assert frame == AskEntries(DIRECT, ALICE, frame.session, "", 1, None, 7)
    asker.rig.homes[DIRECT] = ME
    asker.asking.on_answer(EntriesAnswer(frame.session, "", DIRECT, (), 3), OTHER)
    assert asker.answers == []
    asker.rig.pass_time(asking.ASK_AGAIN_S)
    assert asker.asked(ME) == frame
    asker.asking.on_answer(EntriesAnswer(frame.session, "", DIRECT, (ROW,), 3), ME)
    assert [answer.rows for answer in asker.answers] == [(ROW,)]


def test_who_met_a_frozen_slot_asks_again_soon_and_a_silent_home_is_asked_now_and_then(asker: Asker) -> None:
    asker.asking.request(ALICE, p.FetchMembers(id="", conversation=DIRECT), asker.answers.append)
    frame = asker.asked()
    assert isinstance(frame, AskMembers)
    asker.rig.pass_time(asking.ASK_AGAIN_S)
    assert asker.rig.sent == []
    asker.asking.on_not_here(NotHere(frame.session, "", 0), OTHER)
    asker.rig.pass_time(asking.ASK_AGAIN_S)
    assert asker.asked() == frame
    for _ in range(round(asker.asking.repeat_s / asking.ASK_AGAIN_S)):
        assert asker.rig.sent == []
        asker.rig.pass_time(asking.ASK_AGAIN_S)
    assert asker.asked() == frame


def test_without_an_owner_it_waits_for_one(asker: Asker) -> None:
    asker.rig.homes[ALICE] = ""
    asker.asking.request(ALICE, p.FetchHeads(id="heads", limit=5), asker.answers.append)
    assert asker.rig.sent == []
    del asker.rig.homes[ALICE]
    asker.rig.pass_time(asking.ASK_AGAIN_S)
    frame = asker.asked()
    assert frame == AskHeads(ALICE, frame.session, "heads", "", 5)
    asker.asking.on_answer(HeadsOut(frame.session, (), "heads"), OTHER)
    assert len(asker.answers) == 1


def test_it_is_given_up_after_its_time_and_an_answer_after_that_changes_nothing(asker: Asker) -> None:
    asker.send()
    frame = asker.asked()
    for _ in range(round(asker.rig.limits.request_timeout_s / asking.ASK_AGAIN_S) + 1):
        asker.rig.pass_time(asking.ASK_AGAIN_S)
    assert asker.refusal().code == codes.UNAVAILABLE.name
    assert asker.asking.waiting == {}
    asker.asking.on_sent(AskedSent(ROW, frame.session, "m1"), OTHER)
    assert len(asker.answers) == 1


def test_a_home_that_takes_nothing_and_one_request_too_many_are_refused_before_anything_is_done(
    asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.rig.full.add(OTHER)
    asker.send()
    assert asker.refusal().code == codes.OVERLOADED.name
    asker.rig.full.clear()
    asker.answers.clear()
    monkeypatch.setattr(asking, "ASKED_MAX", 2)
    for _ in range(3):
        asker.send()
    assert asker.refusal().code == codes.OVERLOADED.name
    assert len(asker.rig.sent) == len(asker.asking.waiting) == 2


def test_a_refusal_of_the_home_is_the_answer(asker: Asker) -> None:
    asker.send()
    frame = asker.asked()
    refusal = Refusal(frame.session, "m1", codes.NOT_A_MEMBER.name, "no", DIRECT)
    asker.asking.on_answer(refusal, OTHER)
    assert asker.answers == [refusal]


def test_a_mark_goes_to_the_users_home_and_is_reported_until_it_is_stored(asker: Asker) -> None:
    asker.rig.homes[ALICE] = ME
    for _ in range(2):
        asker.asking.mark(ALICE, DIRECT, 7, 5, asker.answers.append)
        report = MarkReport(DIRECT, ((ALICE, 7, 5),), True)
        assert asker.rig.sent == [(ME, MarkFrom(ALICE, FIRST, DIRECT, 7, 5)), (OTHER, report)]
        asker.rig.sent.clear()
    asker.rig.pass_time(asking.MARK_AGAIN_S)
    assert asker.rig.sent == [(OTHER, report)] * 2
    for marks in (((BOB, 9, 9),), ((ALICE, 6, 5),), ((ALICE, 7, 4),), ()):
        asker.asking.on_stored(MarkStored(DIRECT, marks), "anybody")
    asker.asking.on_stored(MarkStored(BOB, ((ALICE, 7, 5),)), "anybody")
    assert asker.answers == []
    stored = MarkStored(DIRECT, ((BOB, 1, 1), (ALICE, 8, 5)))
    for _ in range(2):
        asker.asking.on_stored(stored, "anybody")
    assert asker.answers == [stored] * 2
    assert (asker.asking.marks, asker.asking.waiting) == ({}, {})


def test_a_mark_that_is_not_stored_in_time_is_refused(asker: Asker) -> None:
    asker.asking.mark(ALICE, DIRECT, 7, 0, asker.answers.append)
    asker.rig.pass_time(asker.rig.limits.request_timeout_s)
    assert asker.refusal().code == codes.UNAVAILABLE.name
    assert (asker.asking.marks, asker.asking.waiting) == ({}, {})
    asker.rig.full.add(OTHER)
    asker.answers.clear()
    asker.asking.mark(ALICE, DIRECT, 7, 0, asker.answers.append)
    assert asker.refusal().code == codes.OVERLOADED.name
