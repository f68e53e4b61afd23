"""Blocks of a direct conversation: an entry that its home decides on, and what holds from it on."""

from __future__ import annotations

import pytest
from homing import codes
from homing import protocol as p
from homing.ids import direct_id, group_id

from node.core.conversation import Conversation
from node.core.edge import Edge, Identity
from node.core.effects import BlockDecided, ToClient
from node.core.frames import Attached, BlockChange, Deliver, EchoSent, GroupChange, MarkReport, MarkStored, Refusal, ToConversation
from node.core.limits import CoreLimits
from storage.store import ACTIVATION_ENTRIES, EntryRow, LoadLog, LogLoaded, MemberRow, Write
from tests.unit.core_rig import ALICE, BOB, CAROL, DIRECT, ME, OTHER, Rig

EDGE = "node-3:edge"
GROUP = group_id(b"0123456789abcdef")


@pytest.fixture
def rig() -> Rig:
    return Rig()


def send(id_: str, user: str = ALICE, after: int = 0) -> ToConversation:
    return ToConversation(DIRECT, user, 7, id_, "text", "hi", 0, after, BOB if user == ALICE else ALICE)


def block(id_: str, user: str = ALICE) -> BlockChange:
    return BlockChange(DIRECT, user, 7, id_, "direct.block", BOB if user == ALICE else ALICE, 0)


def unblock(id_: str, user: str = ALICE) -> BlockChange:
    return BlockChange(DIRECT, user, 7, id_, "direct.unblock", BOB if user == ALICE else ALICE, 0)


def say(rig: Rig, cv: Conversation, *frames: ToConversation | BlockChange) -> None:
    for frame in frames:
        cv.on_frame(frame, EDGE)
    rig.settle()
    cv.check()


def refusals(rig: Rig) -> list[tuple[str, str]]:
    return [(refusal.id, refusal.code) for refusal in rig.frames(Refusal)]


def test_while_one_has_blocked_nobody_says_anything_and_both_see_the_entry(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"), block("b1"), send("m2"), send("m3", BOB))
    assert [(r.code, r.message) for r in rig.frames(Refusal)] == [
        ("blocked", "you have blocked this user: unblock first"),
        ("blocked", "this user has blocked you"),
    ]
    assert [echo.row.client_message_id for echo in rig.frames(EchoSent)] == ["m1", "b1"]
    delivered = rig.frames(Deliver)[-1]
    assert delivered.users == (BOB,) and (delivered.row.type, delivered.row.sender, delivered.row.body) == ("direct.block", ALICE, "")
    say(rig, cv, unblock("b2"), send("m4", BOB), send("m5"))
    assert refusals(rig) == [] and cv.head == 5


def test_a_block_counts_from_when_it_is_asked_for_not_from_when_it_is_stored(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(block("b1"), EDGE)
    cv.on_frame(send("m1", BOB), EDGE)
    assert refusals(rig) == [("m1", "blocked")]
    cv.on_frame(unblock("b2"), EDGE)
    cv.on_frame(block("b3"), EDGE)
    stored = next(write for write in rig.writes if isinstance(write[0], EntryRow) and write[0].seq == 3)
    rig.writes.remove(stored)
    rig.settle()  # b1 and b2 are said; b3, asked for later, is in force
    cv.on_frame(send("m2", BOB), EDGE)
    assert cv.head == 2 and refusals(rig) == [("m2", "blocked")]


def test_each_lifts_only_what_he_did(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, block("b1"), block("b2", BOB), unblock("b3", BOB), send("m1", BOB))
    assert refusals(rig) == [("m1", "blocked")]
    say(rig, cv, unblock("b4"), send("m2", BOB))
    assert refusals(rig) == [] and cv.head == 5


def test_a_block_may_be_the_first_entry(rig: Rig) -> None:
    cv = Conversation(rig, DIRECT, 1)
    say(rig, cv, block("b1"))
    assert cv.head == 1 and rig.frames(EchoSent)[0].row.type == "direct.block"
    say(rig, cv, send("m1", BOB))
    assert refusals(rig) == [("m1", "blocked")]


def test_each_request_is_an_entry_that_does_not_count(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"), block("b1"), block("b2"), unblock("b3"), unblock("b4"), send("m2"))
    rows = [echo.row for echo in rig.frames(EchoSent)]
    assert [row.ordinal for row in rows] == [1, 1, 1, 1, 1, 2]


def test_a_late_repeat_of_a_block_does_not_undo_what_came_after_it(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, block("b1"), block("b2"), unblock("b3"))
    rig.frames(EchoSent)
    say(rig, cv, block("b2"), block("b1"))
    assert cv.head == 3 and [(e.row.seq, e.requests[0][2]) for e in rig.frames(EchoSent)] == [(2, "b2"), (1, "b1")]
    say(rig, cv, send("m1", BOB))
    assert refusals(rig) == []


def test_what_was_said_before_the_block_is_answered_as_before(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1", BOB), block("b1"))
    first = rig.frames(EchoSent)[0]
    say(rig, cv, send("m1", BOB))
    assert refusals(rig) == [] and rig.frames(EchoSent)[0].row == first.row


def test_marks_still_pass(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"), block("b1", BOB))
    cv.on_frame(MarkReport(DIRECT, ((BOB, 2, 2),), urgent=True), OTHER)
    rig.settle()
    assert cv.marks.of(BOB) == (2, 2, 1) and rig.frames(MarkStored)


def test_a_group_has_no_blocks(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    cv.on_frame(GroupChange(GROUP, ALICE, 7, "g1", "group.create", (BOB,), "T"), EDGE)
    cv.on_frame(BlockChange(GROUP, ALICE, 7, "b1", "direct.block", BOB), EDGE)
    rig.settle()
    assert refusals(rig) == [("b1", "invalid_field")] and cv.head == 1


def test_who_is_not_of_the_two_cannot_block_there(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(BlockChange(DIRECT, CAROL, 7, "b1", "direct.block", BOB), EDGE)
    cv.on_frame(BlockChange(DIRECT, ALICE, 7, "b2", "direct.block", CAROL), EDGE)
    cv.on_frame(ToConversation(DIRECT, ALICE, 7, "m1", "direct.block", "", 0, 0, BOB), EDGE)
    rig.settle()
    assert refusals(rig) == [("b1", "invalid_field"), ("b2", "invalid_field"), ("m1", "invalid_field")] and cv.head == 0


# ---------------------------------------------------------------- over activations


def member_rows(rig: Rig) -> dict[str, MemberRow]:
    loaded = rig.store.read(LoadLog(DIRECT))
    assert isinstance(loaded, LogLoaded)
    return {row.user: row for row in loaded.members}


def test_the_row_of_who_blocked_follows_the_entry_and_never_one_that_is_not_said(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(block("b1"), EDGE)
    cv.on_frame(unblock("b2"), EDGE)
    second = next(write for write in rig.writes if isinstance(write[0], EntryRow) and write[0].seq == 2)
    rig.writes.remove(second)
    rig.settle()
    assert member_rows(rig)[ALICE] == MemberRow(DIRECT, ALICE, 1, "member", 1, 0, "", True)
    assert not member_rows(rig)[BOB].blocks
    successor = rig.open_conversation(term=2)
    say(rig, successor, send("m1", BOB))
    assert refusals(rig) == [("m1", "blocked")]


def test_a_successor_knows_of_a_block_whose_row_was_not_written(rig: Rig) -> None:
    cv = rig.open_conversation()
    cv.on_frame(block("b1"), EDGE)
    rig.store_all(EntryRow)
    rig.writes.clear()  # the home dies before the row
    assert not member_rows(rig)[ALICE].blocks
    successor = Conversation(rig, DIRECT, 2)
    rig.settle()
    assert member_rows(rig)[ALICE].blocks
    say(rig, successor, send("m1", BOB))
    assert refusals(rig) == [("m1", "blocked")]


def test_a_successor_knows_of_a_block_that_lies_below_what_it_reads(rig: Rig) -> None:
    rig.limits = CoreLimits(block_changes_burst=100)
    cv = rig.open_conversation()
    say(rig, cv, block("b0"))
    for n in range(ACTIVATION_ENTRIES):
        say(rig, cv, (block if n % 2 else unblock)(f"c{n}", BOB))
    say(rig, cv, unblock("d1", BOB))
    successor = rig.open_conversation(term=2)
    say(rig, successor, send("m1", BOB))
    assert refusals(rig) == [("m1", "blocked")]


def test_who_blocks_and_unblocks_too_often_is_asked_to_wait_and_the_other_is_not(rig: Rig) -> None:
    cv = rig.open_conversation()
    burst, pace_s = rig.limits.block_changes_burst, rig.limits.block_change_s
    for n in range(burst):
        say(rig, cv, (unblock if n % 2 else block)(f"b{n}"))
    say(rig, cv, block("late"))
    (refusal,) = rig.frames(Refusal)
    assert (refusal.code, refusal.retry_after_ms) == ("rate_limited", int(pace_s * 1_000) + 1) and cv.head == burst
    say(rig, cv, block("b0"), block("c1", BOB))
    assert cv.head == burst + 1 and refusals(rig) == [], "a repeat is answered, and the other has a bucket of his own"
    rig.now += pace_s
    say(rig, cv, block("late"), block("later"))
    assert refusals(rig) == [("later", "rate_limited")] and cv.head == burst + 2


def told(rig: Rig) -> list[BlockDecided]:
    found = [effect for effect in rig.effects if isinstance(effect, BlockDecided)]
    rig.effects.clear()
    return found


def test_the_shell_is_told_of_what_is_durable_and_again_at_each_activation(rig: Rig) -> None:
    cv = rig.open_conversation()
    say(rig, cv, send("m1"))
    assert told(rig) == []
    cv.on_frame(block("b1"), EDGE)
    rig.store_all(EntryRow)
    assert told(rig) == [], "the row is not durable yet"
    rig.settle()
    assert told(rig) == [BlockDecided(ALICE, BOB, 2, True)]
    say(rig, cv, block("b2", BOB), unblock("b3"))
    assert told(rig) == [BlockDecided(BOB, ALICE, 3, True), BlockDecided(ALICE, BOB, 4, False)]
    rig.open_conversation(term=2)
    assert {(t.user, t.seq, t.is_blocked) for t in told(rig)} == {(ALICE, 4, False), (BOB, 3, True)}


def test_what_looks_like_a_block_in_a_group_is_none(rig: Rig) -> None:
    cv = rig.open_conversation(GROUP)
    cv.on_frame(GroupChange(GROUP, ALICE, 7, "g1", "group.create", (BOB,), "T"), EDGE)
    rig.settle()
    rig.store.commit([Write(ME, EntryRow(GROUP, 2, 1, BOB, "x", "direct.block", "", 1, 1))])  # of a time when anybody might say so
    successor = rig.open_conversation(GROUP, 2)
    successor.on_frame(ToConversation(GROUP, ALICE, 7, "m1", "text", "hi", 0, 0), EDGE)
    rig.settle()
    assert successor.head == 3 and refusals(rig) == [] and told(rig) == []


# ---------------------------------------------------------------- at the edge


def test_an_edge_asks_the_home_of_the_direct_conversation(rig: Rig) -> None:
    edge = Edge(rig, "node-1", "ws://node-1")
    edge.open(7, Identity(ALICE, "phone"), 0, {}, 10_000)
    edge.on_attached(Attached(ALICE, 7), OTHER)
    edge.on_client(7, p.Block(id="b1", user=BOB, after=3))
    edge.on_client(7, p.Unblock(id="b2", user=BOB))
    assert rig.frames(BlockChange) == [
        BlockChange(direct_id(ALICE, BOB), ALICE, 7, "b1", "direct.block", BOB, 3),
        BlockChange(direct_id(ALICE, BOB), ALICE, 7, "b2", "direct.unblock", BOB, None),
    ]
    rig.effects.clear()
    edge.on_client(7, p.Block(id="b3", user=ALICE))
    edge.on_client(7, p.Block(id="b4", user=GROUP))
    edge.on_client(7, p.Send(id="m1", to=BOB, body="", type="direct.block"))
    errors = [effect.frame for effect in rig.effects if isinstance(effect, ToClient)]
    assert [(e.id, e.code, e.field) for e in errors if isinstance(e, p.Error)] == [
        ("b3", codes.INVALID.number, "user"), ("b4", codes.INVALID.number, "user"), ("m1", codes.INVALID.number, "type"),
    ]  # fmt: skip
