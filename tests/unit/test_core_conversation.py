"""The conversation actor by itself: order, dedup, fence, index law, in hand."""

from __future__ import annotations

import json

import pytest
from homing.ids import group_id

from node.core.conversation import Conversation
from node.core.frames import (
    AskEntries,
    AskHead,
    Deliver,
    DeliverHead,
    DeliverRefused,
    EchoSent,
    EntriesAnswer,
    GroupChange,
    HeadAnswer,
    MarkReport,
    MarksMoved,
    MarkStored,
    NotHere,
    Refusal,
    ToConversation,
)
from node.core.limits import CoreLimits
from storage.store import CellRow, EntryRow, IndexRow, LoadLog, LogLoaded, LogRow, MemberRow, Outcome, ReceiptsRow, Write
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE, DIRECT, ME, OTHER, Rig

GROUP = group_id(b"0123456789abcdef")
EDGE = "node-3:edge"


def send(id_: str = "m1", user: str = ALICE, after: int | None = 0, body: str = "hi") -> ToConversation:
    peer = BOB if user == ALICE else ALICE
    return ToConversation(DIRECT, user, 7, id_, "text", body, 0, after, peer)


def change(kind: str, id_: str, user: str = ALICE, **what: object) -> GroupChange:
    return GroupChange(GROUP, user, 7, id_, kind, **what)  # type: ignore[arg-type]


def say(rig: Rig, cv: Conversation, *frames: ToConversation | GroupChange) -> None:
    for frame in frames:
        cv.on_frame(frame, EDGE)
    rig.settle()
    cv.check()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_an_activation_writes_the_log_row_before_it_answers(rig: Rig) -> None:
    cv = Conversation(rig, DIRECT, 5)
    cv.on_frame(send(), EDGE)
    rig.answer_asks()
    assert [type(row) for row, _, _ in rig.writes] == [LogRow] and cv.state == "barrier"
    rig.store_all(LogRow)
    assert cv.state == "open" and [type(row) for row, _, _ in rig.writes] == [MemberRow, MemberRow]


def test_the_first_entry_of_a_direct_conversation_waits_for_the_rows_of_both_members(rig: Rig) -> None:
    cv = Conversation(rig, DIRECT, 5)
    cv.on_frame(send("m1"), EDGE)
    cv.on_frame(send("m2", BOB), EDGE)
    rig.answer_asks()
    rig.store_all(LogRow)
    first, second = rig.writes
    first[1](Outcome.STORED, first[2])
    assert rig.writes == [first, second] and not cv.pending  # one row alone would leave the other member out of what a successor says
    second[1](Outcome.STORED, second[2])
    assert [row.client_message_id for row, _, _ in rig.writes if isinstance(row, EntryRow)] == ["m1", "m2"]


def test_a_direct_conversation_of_which_one_row_is_known_is_begun_again(rig: Rig) -> None:
    rig.store.commit([Write(ME, MemberRow(DIRECT, ALICE, 0, "member", 1, 0))])
    cv = Conversation(rig, DIRECT, 5)
    rig.settle()
    say(rig, cv, send("m1"))
    assert sorted(cv.roster.current()) == sorted((ALICE, BOB)) and [d.users for d in rig.frames(Deliver)] == [(BOB,)]


def test_a_fenced_log_row_ends_the_incarnation(rig: Rig) -> None:
    rig.store.commit([Write(ME, MemberRow(DIRECT, ALICE, 0, "member", 1, 0))])
    Conversation(rig, DIRECT, 5)
    rig.answer_asks()
    rig.store_all(LogRow, Outcome.FENCED)
    assert rig.ended


def test_who_asks_for_what_is_not_there_leaves_no_row(rig: Rig) -> None:
    for id_ in (GROUP, DIRECT):
        cv = Conversation(rig, id_, 5)
        cv.on_frame(AskEntries(id_, ALICE, 7, "f1", 1, None, 10), EDGE)
        cv.on_frame(AskHead(id_, ALICE, 1, 0), OTHER)
        cv.on_frame(MarkReport(id_, ((ALICE, 3, 3),)), OTHER)
        cv.on_frame(ToConversation(id_, ALICE, 7, "m1", "text", "hi", 0, None), EDGE)
        rig.settle()
        assert {r.code for r in rig.frames(Refusal)} == {"not_a_member", "not_found"} and rig.frames(HeadAnswer)[0].seq == 0
    assert rig.store.read(LoadLog(GROUP)) == rig.store.read(LoadLog(DIRECT)) == LogLoaded(None, [], [], None)


def test_nothing_is_appended_to_an_empty_log_before_its_row_is_written(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    create, rename = change("group.create", "g1", members=(BOB,), title="T"), change("group.rename", "g2", title="U")
    cv.on_frame(create, EDGE)
    cv.on_frame(rename, EDGE)
    assert [type(row) for row, _, _ in rig.writes] == [LogRow] and not cv.pending
    rig.settle()
    assert cv.head == 2 and cv.terms == ((1, 1),) and [echo.row.client_message_id for echo in rig.frames(EchoSent)] == ["g1", "g2"]


def test_a_home_that_was_superseded_does_not_say_that_nothing_is_there(rig: Rig) -> None:
    cv = Conversation(rig, GROUP, 5)
    cv.on_frame(AskEntries(GROUP, ALICE, 7, "f1", 1, None, 10), EDGE)
    rig.store.commit([Write(OTHER, CellRow(2, (OTHER,)))])
    rig.answer_asks()
    assert rig.ended and not rig.frames(Refusal) and cv.state != "open"


def test_sent_comes_after_storage_and_after_the_other_home_has_it(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    assert not rig.frames(Deliver)
    rig.store_all()
    (deliver,) = rig.frames(Deliver)
    assert deliver.users == (BOB,) and deliver.row.seq == 1 and not rig.frames(EchoSent)
    rig.hand_over()
    (echo,) = rig.frames(EchoSent)
    assert echo.requests == ((EDGE, 7, "m1"),) and echo.row == deliver.row


def test_nothing_is_said_before_all_before_it_are_stored(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m0"))
    rig.frames(Deliver)
    cv.on_frame(send("m1"), EDGE)
    cv.on_frame(send("m2"), EDGE)
    first, second = rig.writes
    second[1](Outcome.STORED, second[2])
    assert not rig.frames(Deliver) and cv.head == 1
    first[1](Outcome.STORED, first[2])
    assert [d.row.seq for d in rig.frames(Deliver)] == [2, 3]
    cv.check()


def test_nothing_is_said_before_the_members_index_rows_are_durable(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    rig.store_all(MemberRow)
    rig.store_all(EntryRow)
    assert not rig.frames(Deliver)
    assert rig.store_all(IndexRow) == 2
    assert len(rig.frames(Deliver)) == 1


def test_index_rows_are_written_again_after_ten_minutes_only(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"))
    rig.now += 300
    cv.on_frame(send("m2"), EDGE)
    assert not any(isinstance(row, IndexRow) for row, _, _ in rig.writes)
    rig.settle()
    rig.now += 600
    cv.on_frame(send("m3"), EDGE)
    assert any(isinstance(row, IndexRow) for row, _, _ in rig.writes)


def test_the_same_id_is_one_entry_before_and_after_it_is_said(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    cv.on_frame(send(), "node-9:x")
    rig.settle()
    (echo,) = rig.frames(EchoSent)
    assert echo.requests == ((EDGE, 7, "m1"), ("node-9:x", 7, "m1"))
    say(rig, cv, send())
    (again,) = rig.frames(EchoSent)
    assert again.row == echo.row and cv.head == 1


def test_a_new_owner_finds_the_id_in_the_log_and_says_it_again(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send())
    row = rig.frames(EchoSent)[0].row
    rig.frames(Deliver)
    successor = rig.open_conversation(term=2)
    assert successor.head == 1
    successor.on_frame(send(), EDGE)
    rig.answer_asks()
    assert not rig.frames(Deliver), "the index law comes first, for nothing is known after an activation"
    rig.store_all(IndexRow)
    assert [d.row for d in rig.frames(Deliver)] == [row]
    rig.settle()
    assert rig.frames(EchoSent)[0].row == row and successor.head == 1


def test_an_id_far_back_is_looked_for_in_the_log_and_further_than_that_is_resync() -> None:
    rig = Rig(CoreLimits(dedup_scan_entries_max=100, ids_max=10, recent_entries=10))
    cv = rig.open_conversation()
    for n in range(90):
        say(rig, cv, send(f"m{n}", after=n))
    rig.sent.clear()
    say(rig, cv, send("m3", after=2))
    assert rig.frames(EchoSent)[0].row.seq == 4 and cv.head == 90
    for n in range(90, 130):
        say(rig, cv, send(f"m{n}", after=n))
    say(rig, cv, send("m3", after=2))
    assert rig.frames(Refusal)[0].code == "resync"


def test_after_above_the_head_is_refused(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send(after=5))
    (no,) = rig.frames(Refusal)
    assert (no.code, no.field) == ("invalid_field", "after") and cv.next == 1


def test_a_33rd_unsaid_entry_is_refused_before_it_has_a_seq(rig: Rig) -> None:
    cv = rig.open_conversation()
    for n in range(33):
        cv.on_frame(send(f"m{n}"), EDGE)
    (no,) = rig.frames(Refusal)
    assert no.code == "overloaded" and no.retry_after_ms > 0 and cv.next == 33
    rig.settle()
    assert cv.head == 32


def test_unknown_is_told_and_the_retry_joins_the_pending_entry(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    row, done, what = next(w for w in rig.writes if isinstance(w[0], EntryRow))
    done(Outcome.UNKNOWN, what)
    assert rig.frames(Refusal)[0].code == "unavailable"
    cv.on_frame(send(), EDGE)
    rig.settle()
    assert rig.frames(EchoSent)[0].row == row


def test_a_death_readdresses_what_is_not_in_hand(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    rig.store_all()
    rig.frames(Deliver)
    rig.homes[BOB] = "node-4:new"
    rig.epoch += 1
    cv.speech.on_table()
    (deliver,) = rig.frames(Deliver, to="node-4:new")
    assert deliver.users == (BOB,)
    rig.hand_over(OTHER)
    assert not rig.frames(EchoSent), "the old home's acknowledgement says nothing of the new one"
    rig.hand_over("node-4:new")
    assert rig.frames(EchoSent)


def test_a_refused_delivery_is_not_in_hand_and_is_said_again(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    rig.store_all()
    rig.frames(Deliver)
    cv.on_frame(DeliverRefused(DIRECT, 1), OTHER)
    old, rig.tracked = rig.tracked[:1], rig.tracked[1:]
    old[0][2](OTHER, old[0][3])
    assert not rig.frames(EchoSent)
    assert len(rig.frames(Deliver)) == 1
    rig.hand_over()
    assert rig.frames(EchoSent)


def test_a_full_peer_gets_the_head_when_it_has_room(rig: Rig) -> None:
    cv = rig.open_conversation()
    rig.homes[ALICE] = ME
    say(rig, cv, send("m0"))
    rig.full.add(OTHER)
    for n in (1, 2, 3):
        cv.on_frame(send(f"m{n}"), EDGE)
    rig.store_all()
    assert cv.head == 4
    rig.full.clear()
    rig.sent.clear()
    rig.opening.pop((OTHER, DIRECT))(OTHER)
    (head,) = rig.frames(DeliverHead)
    assert head.seq == 4
    rig.hand_over(OTHER)
    assert [e.row.seq for e in rig.frames(EchoSent)] == [2, 3, 4]


def test_who_is_no_member_neither_writes_nor_reads(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send())
    cv.on_frame(ToConversation(DIRECT, CAROL, 7, "c1", "text", "x", 0, 0), EDGE)
    cv.on_frame(AskEntries(DIRECT, CAROL, 7, "c2", 1, None, 50), EDGE)
    assert [r.code for r in rig.frames(Refusal)] == ["not_a_member", "not_a_member"]
    cv.on_frame(AskHead(DIRECT, CAROL, 1, 0), EDGE)
    assert rig.frames(HeadAnswer)[0].seq == 0


def test_a_direct_conversation_needs_the_right_peer(rig: Rig) -> None:
    cv = Conversation(rig, DIRECT, 1)
    rig.settle()
    cv.on_frame(ToConversation(DIRECT, ALICE, 7, "x", "text", "", 0, 0, CAROL), EDGE)
    assert rig.frames(Refusal)[0].code == "not_found"


def test_a_group_reads_within_its_members_bounds_only(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    say(rig, cv, change("group.create", "g1", members=(BOB, CAROL), title="T"))
    say(rig, cv, ToConversation(GROUP, BOB, 7, "b1", "text", "one", 0, None))
    say(rig, cv, change("group.remove", "g2", members=(CAROL,)))
    say(rig, cv, change("group.add", "g3", members=(DAVE,)))
    say(rig, cv, ToConversation(GROUP, BOB, 7, "b2", "text", "two", 0, None))
    rig.sent.clear()
    for user in (CAROL, DAVE):
        cv.on_frame(AskEntries(GROUP, user, 7, "f", 1, None, 50), EDGE)
    rig.settle()
    carol, dave = rig.frames(EntriesAnswer)
    assert [r.seq for r in carol.rows] == [1, 2, 3] and carol.head == 3
    assert [r.seq for r in dave.rows] == [4, 5] and dave.head == 5


def test_a_removed_member_gets_his_removal_and_nothing_after(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    rig.homes[CAROL] = "node-5:carol"
    say(rig, cv, change("group.create", "g1", members=(BOB, CAROL), title="T"))
    rig.sent.clear()
    say(rig, cv, change("group.remove", "g2", members=(CAROL,)), ToConversation(GROUP, ALICE, 7, "a1", "text", "x", 0, None))
    assert [d.row.type for d in rig.frames(Deliver, to="node-5:carol")] == ["group.remove"]


def test_creating_a_group_again_is_the_same_group_and_by_another_a_conflict(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    create = change("group.create", "g1", members=(BOB,), title="T")
    say(rig, cv, create)
    say(rig, cv, create)
    first, second = rig.frames(EchoSent)
    assert first.row == second.row and json.loads(first.row.body) == {"title": "T", "members": [BOB]}
    say(rig, cv, change("group.create", "g9", user=DAVE, members=(BOB,), title="U"))
    assert rig.frames(Refusal)[0].code == "conflict"


def test_members_survive_a_crash_between_an_entry_and_its_rows(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    cv.on_frame(change("group.create", "g1", members=(BOB, CAROL), title="T"), EDGE)
    rig.store_all(LogRow)
    rig.store_all(EntryRow)
    rig.writes.clear()
    rig.tracked.clear()
    successor = rig.open_conversation(GROUP, term=2)
    assert set(successor.roster.current()) == {ALICE, BOB, CAROL} and successor.roster.title == "T"


def test_marks_move_forward_reach_the_sender_and_are_stored_once_it_is_quiet(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"), send("m2"))
    cv.on_frame(MarkReport(DIRECT, ((BOB, 2, 1),)), OTHER)
    (moved,) = rig.frames(MarksMoved)
    assert moved.users == (ALICE,) and moved.marks == ((BOB, 2, 1),)
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 0),)), OTHER)
    assert not rig.frames(MarksMoved) and cv.marks.of(BOB)[:2] == (2, 1)
    for _ in range(4):
        rig.pass_time(16)
    assert rig.store_all(ReceiptsRow) == 1
    assert rig.frames(MarkStored)[0].marks == ((BOB, 2, 1),)


def test_a_busy_chat_stores_its_marks_at_most_once_a_minute(rig: Rig) -> None:
    cv = rig.open_conversation()
    for n in range(130):
        say(rig, cv, send(f"m{n}"))
        cv.on_frame(MarkReport(DIRECT, ((BOB, n + 1, 0),)), OTHER)
        rig.pass_time(1)
    assert cv.marks.count == 2


def test_a_mark_above_the_head_is_cut_and_not_kept_repeated(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send())
    cv.on_frame(MarkReport(DIRECT, ((BOB, 99, 99),), tell=(BOB,)), OTHER)
    assert cv.marks.of(BOB)[:2] == (1, 1)
    own = [moved for moved in rig.frames(MarksMoved) if moved.users == (BOB,)]
    assert [moved.marks for moved in own] == [((BOB, 1, 1),)], "his other devices hear what was accepted"
    assert not rig.frames(MarkStored), "what counts of it is not stored yet"
    for _ in range(4):
        rig.pass_time(16)
    assert rig.store_all(ReceiptsRow) == 1
    assert rig.frames(MarkStored)[0].marks == ((BOB, 99, 99),)
    cv.on_frame(MarkReport(DIRECT, ((BOB, 99, 99),)), OTHER)
    assert rig.frames(MarkStored)[0].marks == ((BOB, 99, 99),)


def test_marks_of_a_home_that_was_superseded_are_not_called_stored(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send())
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 0),), urgent=True), OTHER)
    rig.store_all(ReceiptsRow, Outcome.FENCED)
    assert rig.ended and not rig.frames(MarkStored)


def test_a_frozen_conversation_takes_marks_and_nothing_else_and_a_sealed_one_nothing(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"))
    cv.freeze()
    cv.on_frame(send("m2"), EDGE)
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 0),)), OTHER)
    assert len(rig.frames(NotHere)) == 1 and cv.next == 2 and not cv.is_at_rest()
    assert rig.store_all(ReceiptsRow) == 1 and rig.frames(MarkStored)
    assert cv.is_at_rest()
    cv.seal()
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 1),)), OTHER)
    assert cv.marks.of(BOB)[1] == 0
    cv.unfreeze()
    assert cv.marks.of(BOB)[1] == 1
    say(rig, cv, send("m2"))
    assert cv.head == 2


def test_an_urgent_mark_is_stored_at_once(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"))
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 0),), urgent=True), OTHER)
    cv.on_frame(MarkReport(DIRECT, ((BOB, 1, 1),), urgent=True), OTHER)
    assert rig.store_all(ReceiptsRow) == 1
    assert not rig.frames(MarkStored), "it has moved since"
    assert rig.store_all(ReceiptsRow) == 1
    assert rig.frames(MarkStored)[0].marks == ((BOB, 1, 1),)


def test_a_fenced_entry_is_never_said(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(send(), EDGE)
    rig.store_all(EntryRow, Outcome.FENCED)
    assert rig.ended and not rig.frames(Deliver)


def test_late_entries_of_an_old_term_are_not_shown(rig: Rig) -> None:
    cv = rig.open_conversation(term=1)
    say(rig, cv, send("m1"))
    rig.open_conversation(term=3)
    late = EntryRow(DIRECT, 2, 1, ALICE, "late", "text", "ghost", 0, 2)
    rig.store.commit([Write(ME, CellRow(1, (ME, OTHER))), Write(ME, late)])
    third = rig.open_conversation(term=4)
    assert third.head == 1
    third.on_frame(AskEntries(DIRECT, BOB, 7, "f", 1, None, 50), EDGE)
    rig.settle()
    assert [r.client_message_id for r in rig.frames(EntriesAnswer)[0].rows] == ["m1"]


def test_many_refusals_say_each_entry_again_once(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m0"))
    rig.frames(Deliver)
    for i in range(1, 11):
        cv.on_frame(send(f"m{i}"), EDGE)
    rig.store_all()
    old = rig.frames(Deliver)
    rig.pass_time(200)
    for frame in old:
        cv.on_frame(DeliverRefused(DIRECT, frame.row.seq, frame.said_at), OTHER)
        rig.store_all()
    assert sorted(d.row.seq for d in rig.frames(Deliver)) == list(range(2, 12))


def test_a_refusal_of_one_home_counts_although_another_was_told_again(rig: Rig) -> None:
    rig.homes[CAROL] = "node-4:third"
    cv = rig.open_conversation(GROUP)
    say(rig, cv, change("group.create", "g", members=(BOB, CAROL), title="t"))
    rig.frames(Deliver)
    cv.on_frame(ToConversation(GROUP, ALICE, 7, "m1", "text", "hi", 0, 0), EDGE)
    rig.store_all()
    first = rig.frames(Deliver)
    rig.pass_time(1)
    for frame, home in zip(first, (OTHER, "node-4:third"), strict=True):
        cv.on_frame(DeliverRefused(GROUP, 2, frame.said_at), home)
        rig.pass_time(1)
    assert len(rig.frames(Deliver)) == 2
    refused, rig.tracked = rig.tracked[:2], rig.tracked[2:]
    for home, _, done, what in refused:
        done(home, what)
    assert cv.speech.unsettled  # those acknowledgements were of what was refused
    rig.hand_over()
    assert not cv.speech.unsettled


def test_a_frozen_conversation_tells_the_ticks_that_it_gathered_before_it_is_at_rest(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    say(rig, cv, change("group.create", "g", members=(BOB, CAROL), title="t"))
    say(rig, cv, ToConversation(GROUP, ALICE, 7, "m1", "text", "hi", 0, 0))
    cv.on_frame(MarkReport(GROUP, ((BOB, 2, 2),)), OTHER)
    assert not rig.frames(MarksMoved) and not cv.is_at_rest()
    cv.freeze()
    (moved,) = rig.frames(MarksMoved)
    assert ALICE in moved.users and moved.marks == ((BOB, 2, 2),)
    assert not cv.is_at_rest()
    rig.settle()
    assert cv.is_at_rest()
