"""The mailbox by itself: attach first, cursors, marks, moves."""

from __future__ import annotations

import pytest

from node.core.frames import (
    AskCursor,
    AskHead,
    Attach,
    Attached,
    CursorAnswer,
    DropSession,
    EchoSent,
    FanOut,
    HeadAnswer,
    HeadsOut,
    MarkFrom,
    MarksMoved,
    MarksOut,
    SentOut,
    SyncedOut,
)
from node.core.mailbox import Mailbox
from storage.store import EntryRow, IndexRow, UserRow, Write
from tests.unit.core_rig import ALICE, BOB, DIRECT, ME, OTHER, Rig

ROW = EntryRow(DIRECT, 1, 1, ALICE, "m1", "text", "hi", 5, 1)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def index(rig: Rig, conversation: str, at: int, always: bool = False) -> None:
    rig.store.commit([Write(ME, IndexRow(BOB, conversation, at, 0, always))])


def attach(rig: Rig, box: Mailbox, session: int = 1, device: str = "phone", cursor: int = 0, edge: str = ME) -> None:
    box.on_attach(Attach(BOB, session, device, cursor, ()), edge)


def synced(rig: Rig, box: Mailbox, **how: object) -> None:
    attach(rig, box, **how)  # type: ignore[arg-type]
    rig.answer_asks()
    rig.sent.clear()


def test_what_is_said_while_the_index_is_read_comes_after_the_welcome(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    attach(rig, box)
    into: dict[str, list[int]] = {}
    box.fan_out(ROW, into)
    assert not into and not rig.frames(Attached)
    rig.answer_asks()
    kinds = [type(frame) for _, frame in rig.sent]
    assert kinds.index(Attached) < kinds.index(FanOut)


def test_heads_are_asked_of_what_changed_since_the_cursor_and_of_always(rig: Rig) -> None:
    rig.now = 10_000.0
    index(rig, "0" * 31 + "1", 10_000_000 - 16 * 60_000)
    index(rig, "0" * 31 + "2", 10_000_000 - 14 * 60_000)
    index(rig, "0" * 31 + "3", 1, always=True)
    box = Mailbox(rig, BOB)
    attach(rig, box, cursor=10_000_000)
    rig.answer_asks()
    assert {f.conversation[-1] for f in rig.frames(AskHead)} == {"2", "3"}


def test_synced_comes_when_every_home_has_answered_and_only_from_the_present_one(rig: Rig) -> None:
    index(rig, DIRECT, 100_000)
    box = Mailbox(rig, BOB)
    attach(rig, box)
    rig.answer_asks()
    (asked,) = rig.frames(AskHead)
    answer = HeadAnswer(DIRECT, BOB, asked.n, 1, 1, ROW)
    box.on_head(answer, "node-9:stale")
    assert not rig.frames(SyncedOut)
    box.on_head(answer, OTHER)
    assert rig.frames(HeadsOut)[0].heads == (answer,) and rig.frames(SyncedOut)


def test_a_flapping_device_resumes_from_memory(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    box.on_detach((ME, 1))
    attach(rig, box, session=2, cursor=rig.time_ms())
    assert not rig.asks and rig.frames(SyncedOut)
    box.on_detach((ME, 2))
    rig.epoch += 1
    attach(rig, box, session=3, cursor=rig.time_ms())
    assert rig.asks, "under another table the copy is not trusted"


def test_a_device_has_one_session_and_a_revoked_one_none(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    attach(rig, box, session=2)
    assert rig.frames(DropSession)[0].code == "session_replaced"
    rig.store.commit([Write(ME, UserRow(BOB, 1, (("stolen", 5),)))])
    other = Mailbox(rig, BOB)
    attach(rig, other, session=3, device="stolen")
    rig.answer_asks()
    assert rig.frames(DropSession)[0].code == "device_revoked" and not other.sessions


def test_the_asking_session_gets_sent_and_the_others_the_message(rig: Rig) -> None:
    box = Mailbox(rig, ALICE)
    for session, device in ((1, "phone"), (2, "laptop")):
        box.on_attach(Attach(ALICE, session, device, 0, ()), ME)
        rig.answer_asks()
    rig.sent.clear()
    box.on_echo(EchoSent(ROW, 0, ((ME, 1, "m1"),)))
    assert rig.frames(SentOut)[0].session == 1 and rig.frames(FanOut)[0].sessions == (2,)


def test_a_cursor_passes_no_unstored_mark(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    rig.now += 10
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 3, 0), ME)
    reported_at = rig.time_ms()
    rig.now += 30
    box.on_ask_cursor(AskCursor(BOB, 1), ME)
    (answer,) = rig.frames(CursorAnswer)
    assert answer.cursor == reported_at and answer.marks_ms == 30_000
    box.marks.on_stored(DIRECT, 3, 0)
    box.on_ask_cursor(AskCursor(BOB, 1), ME)
    assert rig.frames(CursorAnswer)[0].cursor == rig.time_ms()


def test_a_read_reaches_the_users_other_devices_as_the_conversation_accepted_it(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 1, 1), ME)
    assert not rig.to_tell, "there is no other device"
    synced(rig, box, session=2, device="laptop")
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 9, 0), ME)
    assert not rig.to_tell, "only what is read concerns them"
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 9, 9), ME)
    assert rig.to_tell == [(DIRECT, BOB)] and not rig.frames(MarksOut)
    box.on_marks_moved(MarksMoved(DIRECT, (BOB,), ((BOB, 3, 3),)))
    (told,) = rig.frames(MarksOut)
    assert told.sessions == (1, 2) and told.marks == ((BOB, 3, 3),)


def test_a_mark_is_reported_until_it_is_stored(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 3, 0), ME)
    for _ in range(3):
        rig.reports.clear()
        rig.pass_time(90)
        assert rig.reports == [(DIRECT, BOB, 3, 0)]
    box.marks.on_stored(DIRECT, 3, 0)
    rig.reports.clear()
    rig.pass_time(90)
    assert not rig.reports and not rig.timers


def test_marks_that_are_stored_in_time_are_not_repeated(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    for n in range(1, 12):
        box.on_mark(MarkFrom(BOB, 1, DIRECT, n, 0), ME)
        rig.pass_time(29)
        box.marks.on_stored(DIRECT, n, 0)
    assert rig.reports == [(DIRECT, BOB, n, 0) for n in range(1, 12)]


def test_marks_that_waited_for_a_move_reach_the_next_home_although_it_takes_nothing_at_first(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    box.marks.freeze()
    late = [MarkFrom(BOB, 1, DIRECT, 4, 0), MarkFrom(BOB, 1, DIRECT, 3, 3)]
    for frame in late:
        box.on_mark(frame, ME)
    rig.homes[BOB] = "node-4:new"
    rig.full.add("node-4:new")
    box.close()
    assert not rig.frames(MarkFrom)
    rig.full.clear()
    for again in list(rig.opening.values()):
        again("node-4:new")
    assert rig.frames(MarkFrom, to="node-4:new") == late


def test_a_mailbox_that_moves_has_its_marks_stored_first_and_hands_on_what_came_meanwhile(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box)
    box.on_mark(MarkFrom(BOB, 1, DIRECT, 3, 0), ME)
    rig.reports.clear()
    assert not box.marks.freeze()
    assert rig.reports == [(DIRECT, BOB, 3, 0)]
    late = MarkFrom(BOB, 1, DIRECT, 4, 0)
    box.on_mark(late, ME)
    box.marks.on_stored(DIRECT, 3, 0)
    assert box.marks.freeze()
    box.on_ask_cursor(AskCursor(BOB, 1), ME)
    assert rig.frames(CursorAnswer)[0].cursor <= rig.time_ms()
    rig.homes[BOB] = "node-4:new"
    box.close()
    assert rig.frames(MarkFrom, to="node-4:new") == [late]


def test_a_session_whose_edge_takes_nothing_is_lost_and_closed_later(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    synced(rig, box, edge="node-7:edge")
    rig.full.add("node-7:edge")
    box.on_grown(DIRECT, 5)
    assert not box.sessions
    rig.full.clear()
    next(iter(rig.opening.values()))("node-7:edge")
    assert rig.frames(DropSession)[0].code == "slow_reader"


def test_a_mailbox_knows_what_its_users_token_calls_him(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    box.on_attach(Attach(BOB, 1, "phone", 0, (), "Bob"), ME)
    box.on_attach(Attach(BOB, 2, "laptop", 0, ()), ME)
    rig.answer_asks()
    assert box.name == "Bob"


def named(rig: Rig) -> list[tuple[str, int]]:
    """The names that wait to be written."""
    return [(row.name, row.named_at) for row, _, _ in rig.writes if isinstance(row, UserRow) and row.name]


def test_a_name_is_written_when_it_is_another_than_the_rows_and_not_at_each_attach(rig: Rig) -> None:
    box = Mailbox(rig, BOB)
    for session, name in enumerate(("Bob", "Bob", "", "Bobby", "Bobby")):
        rig.now += 1
        box.on_attach(Attach(BOB, session, f"d{session}", 0, (), name), ME)
        rig.answer_asks()
    assert named(rig) == [("Bob", 101_000), ("Bobby", 104_000)]
    rig.store_all()
    later = Mailbox(rig, BOB)
    later.on_attach(Attach(BOB, 9, "d9", 0, (), "Bobby"), ME)
    rig.answer_asks()
    assert later.name == "Bobby" and not rig.writes


def test_a_mailbox_that_reads_an_older_name_than_its_own_keeps_its_own(rig: Rig) -> None:
    rig.store.commit([Write(ME, UserRow(BOB, 50, (), "Robert", 50))])
    box = Mailbox(rig, BOB)
    box.on_attach(Attach(BOB, 1, "phone", 0, (), "Bob"), ME)
    rig.answer_asks()
    rig.epoch += 1
    box.on_attach(Attach(BOB, 2, "laptop", 0, (), "Bob"), ME)
    rig.answer_asks()
    assert box.name == "Bob" and named(rig) == [("Bob", 100_000)]


def test_a_revoked_device_does_not_name_its_user(rig: Rig) -> None:
    rig.store.commit([Write(ME, UserRow(BOB, 1, (("stolen", 5),), "Bob", 1))])
    box = Mailbox(rig, BOB)
    box.on_attach(Attach(BOB, 1, "stolen", 0, (), "Mallory"), ME)
    rig.answer_asks()
    assert box.name == "Bob" and not named(rig)
