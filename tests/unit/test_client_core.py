"""The client core against a scripted server: sync, order, resend, receipts."""

from __future__ import annotations

import msgspec
import pytest
from homing import codes, ids
from homing.core import ClientCore, RequestInvalid, action_of
from homing.effects import Answered, Close, CursorChanged, Delivered, Gap, ReadBy, Refused, Resumed, Shown, StateChanged, Stored
from homing.limits import Limits
from homing.outbox import OutboxFull
from homing.protocol import (
    Ack,
    Entries,
    Fetch,
    FetchHeads,
    GroupCreate,
    GroupRename,
    Head,
    HeadChanged,
    Heads,
    Hello,
    Mark,
    Message,
    Ping,
    Pong,
    Read,
    Receipts,
    Reconnect,
    Send,
    Sent,
    Synced,
    Welcome,
)
from homing.state import CoreState

from tests.unit.client_fakes import BOB, CHAT, EVE, GROUP, ME, Device, Server, entry, error

WELCOME = Welcome(session="s", user=ME, device="d", node="n", time=0, heartbeat_ms=30_000)


def live(server: Server | None = None, **limits: float) -> tuple[Device, Server]:
    server = server or Server()
    device = Device(limits=Limits(**limits)).live(server)  # type: ignore[arg-type]  # fields by name
    device.effects.clear()
    return device, server


# ---------------------------------------------------------------- hello and sync


def test_hello_is_first_and_names_cursor_and_what_is_held() -> None:
    server = Server()
    server.append()
    device = Device().live(server)
    device.disconnect()
    device.connect()
    assert device.taken() == [Hello(token="token", cursor="1", have={CHAT: 1})]


def test_hello_names_the_hundred_latest_conversations_only() -> None:
    server = Server()
    users = [ids.user_id(f"u{i}") for i in range(130)]
    for u in users:
        server.append(u, conversation=ids.direct_id(ME, u))
    device = Device().live(server)
    device.disconnect()
    device.connect()
    (hello,) = device.taken()
    assert isinstance(hello, Hello)
    assert set(hello.have) == {ids.direct_id(ME, u) for u in users[30:]}


def test_it_is_syncing_until_everything_missing_was_fetched() -> None:
    server = Server()
    server.append()
    device = Device().live(server)
    device.disconnect()
    for _ in range(250):
        server.append()
    device.connect()
    (hello,) = device.taken()
    device.give(*server.answer(hello))
    states = []
    while device.core.session.state != "live":
        states.append((device.core.session.state, len(device.shown())))
        (fetch,) = [f for f in device.taken() if isinstance(f, Fetch)]
        device.give(*server.answer(fetch))
    assert states == [("syncing", 1), ("syncing", 101), ("syncing", 201)]
    assert device.shown() == list(range(1, 252))
    assert [e for e in device.effects if isinstance(e, Resumed)] == [Resumed(0.75)]


def test_a_new_device_shows_the_last_entry_only_and_gets_the_rest_as_history() -> None:
    server = Server()
    for _ in range(20):
        server.append()
    device = Device().live(server)
    assert device.shown() == [20]
    device.do(*device.core.fetch_history("h", CHAT, 20, 5, device.now))
    device.flush()
    device.talk(server)
    (answer,) = [e for e in device.effects if isinstance(e, Answered)]
    assert [e.seq for e in answer.frame.entries] == [15, 16, 17, 18, 19]  # type: ignore[union-attr]  # Entries
    assert device.shown() == [20]


def test_a_head_without_its_entry_is_fetched_on_a_new_device() -> None:
    device = Device()
    device.connect()
    device.give(WELCOME, Heads(heads=[Head(conversation=CHAT, seq=9, ordinal=9)]), Synced(cursor="c"))
    assert device.taken()[1:] == [Fetch(id="~1", conversation=CHAT, from_seq=9, to_seq=9, limit=100)]


def test_a_chat_that_began_while_the_device_was_away_is_shown_from_its_start() -> None:
    device, server = live()
    device.disconnect()
    for _ in range(7):
        server.append()
    device.live(server)
    assert device.shown() == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_streamed_for_have_is_not_fetched_as_well() -> None:
    device, server = live()
    server.append()
    device.give(Message(entry=server.logs[CHAT][0]))
    device.disconnect()
    device.connect()
    for _ in range(3):
        server.append()
    device.give(WELCOME, Heads(heads=[server.head(CHAT)]), *[Message(entry=e) for e in server.logs[CHAT][1:]], Synced(cursor="2"))
    assert not [f for f in device.taken() if isinstance(f, Fetch)]
    assert device.shown() == [1, 2, 3, 4]
    assert device.core.session.state == "live"


def test_a_cursor_is_adopted_from_synced_and_pong_but_not_from_a_pong_before_synced() -> None:
    device = Device()
    device.connect()
    device.give(WELCOME, Pong(time=0, cursor="early"))
    assert device.core.cursor is None
    assert CursorChanged("a") in device.give(Synced(cursor="a"))
    device.give(Pong(time=0, cursor="b"))
    assert device.core.cursor == "b"


def test_a_missing_range_is_known_as_missing_after_a_restart_even_with_a_newer_cursor() -> None:
    server = Server()
    server.append()
    device = Device().live(server)
    for _ in range(5):
        server.append()
    device.give(HeadChanged(conversation=CHAT, seq=6), Pong(time=0, cursor="newer"))
    device = device.restarted()
    device.connect()
    device.give(WELCOME, Synced(cursor="newest"))  # the server lists nothing: the cursor covers it
    device.talk(server)
    assert device.shown() == [1, 2, 3, 4, 5, 6]


def test_stored_state_of_another_user_is_never_mixed_in() -> None:
    device, _ = live()
    device.disconnect()
    device.connect()
    device.give(msgspec.structs.replace(WELCOME, user=EVE))
    assert device.core.session.state == "closed"


# ---------------------------------------------------------------- order, gaps, duplicates


def test_entries_in_order_are_shown_at_once_and_duplicates_never() -> None:
    device, _ = live()
    device.give(*[Message(entry=entry(i)) for i in (1, 2, 2, 1, 3, 3)])
    assert device.shown() == [1, 2, 3]


def test_an_entry_that_overtook_another_waits_for_it_without_a_fetch() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)))
    device.give(Message(entry=entry(3)))
    assert device.shown() == [1]
    device.now += 0.2
    device.give(Message(entry=entry(2)))
    assert device.shown() == [1, 2, 3]
    device.tick(0.5)
    assert not [f for f in device.taken() if isinstance(f, Fetch)]


def test_a_gap_is_fetched_after_its_wait_and_only_the_gap() -> None:
    device, server = live()
    for _ in range(6):
        server.append()
    device.give(Message(entry=entry(1)), Message(entry=entry(5)), Message(entry=entry(6)))
    device.taken()
    device.tick()
    assert device.now == pytest.approx(1000.3)
    assert device.to_server == [Fetch(id="~1", conversation=CHAT, from_seq=2, to_seq=4, limit=100)]
    device.talk(server)
    assert device.shown() == [1, 2, 3, 4, 5, 6]


def test_a_head_without_bodies_is_fetched_at_once() -> None:
    device, server = live()
    for _ in range(3):
        server.append()
    device.give(HeadChanged(conversation=CHAT, seq=3))
    device.talk(server)
    assert device.shown() == [1, 2, 3]


def test_what_the_server_shows_to_be_invisible_is_passed_over_and_said() -> None:
    device, server = live()
    for _ in range(5):
        server.append()
    server.hidden = {(CHAT, 2), (CHAT, 3)}
    device.give(Message(entry=entry(1)), HeadChanged(conversation=CHAT, seq=5))
    device.talk(server)
    assert device.shown() == [1, 4, 5]
    assert [e for e in device.effects if isinstance(e, Gap)] == [Gap(CHAT, 2, 3, "not_visible")]


def test_a_page_that_is_cut_below_is_not_taken_for_invisible() -> None:
    device, server = live()
    for _ in range(5):
        server.append()
    device.give(HeadChanged(conversation=CHAT, seq=5))
    (fetch,) = device.taken()
    device.give(Entries(id=fetch.id, conversation=CHAT, entries=[entry(4), entry(5)], head=5))  # type: ignore[union-attr]  # Fetch
    assert device.shown() == []
    assert device.to_server == [Fetch(id="~2", conversation=CHAT, from_seq=1, to_seq=3, limit=100)]
    device.talk(server)
    assert device.shown() == [1, 2, 3, 4, 5]


def test_a_home_that_knows_less_than_was_said_is_asked_again_later() -> None:
    device, server = live()
    device.give(HeadChanged(conversation=CHAT, seq=2))
    device.talk(server)  # its log is empty: it answers head 0
    assert device.shown() == []
    server.append()
    server.append()
    device.tick()
    assert device.now == pytest.approx(1001.0)
    device.talk(server)
    assert device.shown() == [1, 2]


def test_a_range_that_may_not_be_read_is_given_up() -> None:
    device, _ = live()
    device.give(HeadChanged(conversation=CHAT, seq=2))
    device.give(error(codes.NOT_A_MEMBER, "~1"))
    assert Gap(CHAT, 1, 2, "not_visible") in device.effects
    device.taken()
    device.tick(60)
    assert not [f for f in device.taken() if isinstance(f, Fetch)]


def test_a_fetch_that_is_put_off_or_not_answered_is_repeated() -> None:
    device, server = live()
    server.append()
    device.give(HeadChanged(conversation=CHAT, seq=1))
    device.taken()
    device.give(error(codes.UNAVAILABLE, "~1", retry_after_ms=700))
    device.tick()
    assert device.now == pytest.approx(1000.7)
    assert [f.id for f in device.taken() if isinstance(f, Fetch)] == ["~2"]
    device.tick()
    assert device.now == pytest.approx(1010.7)
    device.talk(server)
    assert device.shown() == [1]


def test_few_fetches_are_under_way_at_once() -> None:
    device, server = live()
    chats = [ids.direct_id(ME, ids.user_id(f"u{i}")) for i in range(20)]
    for c in chats:
        server.append(conversation=c)
        device.give(HeadChanged(conversation=c, seq=1))
    assert len(device.to_server) == 4
    device.talk(server)
    assert all(device.shown(c) == [1] for c in chats)


def test_what_is_held_above_gaps_is_bounded_and_still_complete_in_the_end() -> None:
    device, server = live(held_entries_max=10, held_total_max=15)
    other = ids.direct_id(ME, EVE)
    for _ in range(60):
        server.append()
        server.append(conversation=other)
    device.give(Message(entry=entry(1)), Message(entry=entry(1, conversation=other)))
    device.give(*[Message(entry=e) for e in server.logs[CHAT][2:]], *[Message(entry=e) for e in server.logs[other][2:]])
    assert [len(t.held) for t in device.core.tails.values()] == [10, 5]
    device.tick()
    device.talk(server)
    assert device.shown() == device.shown(other) == list(range(1, 61))


def test_a_device_too_far_behind_skips_and_says_so() -> None:
    device, server = live(catchup_entries_max=50)
    device.give(Message(entry=server.append()))
    for _ in range(199):
        server.append()
    device.give(HeadChanged(conversation=CHAT, seq=200))
    device.talk(server)
    assert Gap(CHAT, 2, 150, "too_many") in device.effects
    assert device.shown() == [1, *range(151, 201)]


# ---------------------------------------------------------------- sending


def test_after_is_the_head_known_when_the_message_was_queued_and_stays_so() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)))
    device.taken()
    device.send("m")
    first = device.taken()
    assert first == [Send(id="m", to=BOB, body="hi", after=1)]
    device.give(Message(entry=entry(2)))
    device.disconnect()
    device.connect()
    device.give(WELCOME)
    assert first[0] in device.taken()


def test_a_message_queued_offline_goes_out_after_welcome_and_is_answered_once() -> None:
    device, server = Device(), Server()
    device.do(*device.core.send("m", BOB, "hi", "text", 0.0))
    assert device.flush() == []
    device.live(server)
    device.give(Sent(id="m", entry=server.logs[CHAT][0]))
    assert [e for e in device.effects if isinstance(e, Stored)] == [Stored("m", server.logs[CHAT][0])]
    assert device.shown() == [1]


def test_seeing_the_own_entry_is_not_yet_sent() -> None:
    device, _ = live()
    device.send("m")
    device.give(Message(entry=entry(1, ME, "m")))
    assert device.shown() == [1]
    assert "m" in device.core.outbox
    device.give(Sent(id="m", entry=entry(1, ME, "m")))
    assert "m" not in device.core.outbox
    assert device.shown() == [1]


def test_messages_of_one_conversation_keep_their_order_when_the_first_is_put_off() -> None:
    device, server = live()
    for id_ in ("a", "b", "c"):
        device.send(id_)
    assert [f.id for f in device.taken()] == ["a"]  # type: ignore[union-attr]  # sends
    device.give(error(codes.OVERLOADED, "a", retry_after_ms=400))
    assert device.taken() == []
    device.tick()
    assert device.now == pytest.approx(1000.4)
    device.talk(server)
    assert [e.id for e in server.logs[CHAT]] == ["a", "b", "c"]


def test_conversations_do_not_wait_for_each_other() -> None:
    device, _ = live()
    device.send("a", BOB)
    device.send("b", EVE)
    assert [f.id for f in device.taken()] == ["a", "b"]  # type: ignore[union-attr]  # sends


def test_few_requests_are_under_way_at_once() -> None:
    device, server = live()
    for i in range(50):
        device.send(f"m{i}", ids.user_id(f"u{i}"))
    assert len(device.to_server) == 32
    device.talk(server)
    assert len(device.core.outbox) == 0


def test_refusals_that_ask_for_another_request_are_final_and_the_next_goes_on() -> None:
    device, _ = live()
    device.send("a")
    device.send("b")
    device.taken()
    device.give(error(codes.FORBIDDEN, "a"))
    assert [e.id for e in device.effects if isinstance(e, Refused)] == ["a"]
    assert [f.id for f in device.taken()] == ["b"]  # type: ignore[union-attr]  # sends


def test_a_retry_without_a_time_backs_off() -> None:
    device, _ = live()
    device.send("a")
    times = []
    for _ in range(7):
        device.taken()
        before = device.now
        device.give(error(codes.UNAVAILABLE, "a"))
        while not any(isinstance(f, Send) for f in device.to_server):
            device.tick()
            device.give(Pong(time=0))
        times.append(round(device.now - before))
    assert times == [2, 4, 8, 16, 30, 30, 30]


def test_an_unanswered_request_is_repeated_under_the_same_id() -> None:
    device, server = live()
    device.send("a")
    first = device.taken()
    device.tick()
    assert device.now == pytest.approx(1010.0)
    assert device.to_server == first
    device.talk(server)
    assert len(server.logs[CHAT]) == 1


def test_a_full_outbox_refuses_and_queues_nothing() -> None:
    device = Device(limits=Limits(outbox_requests_max=2))
    device.send("a")
    device.send("b")
    with pytest.raises(OutboxFull):
        device.send("c")
    assert len(device.core.outbox) == 2


@pytest.mark.parametrize(
    "frame",
    [
        Send(id="m", to="nobody", body=""),
        Send(id="m", to=BOB, body="x" * 16_385),
        Send(id="m", to=BOB, body="\0" * 16_000),  # six bytes each in JSON: a frame over 64 KiB
        Send(id="m", to=BOB, body="\ud800"),
        Send(id="m", to=BOB, body="", type="Text"),
        Send(id="", to=BOB, body=""),
        GroupRename(id="m", conversation=GROUP, title=""),
    ],
)
def test_what_could_never_be_accepted_is_refused_before_it_is_queued(frame: Send) -> None:
    device = Device()
    with pytest.raises(RequestInvalid):
        device.core.request(frame, 0.0)
    assert len(device.core.outbox) == 0


def test_the_same_id_is_not_queued_twice() -> None:
    device = Device()
    device.send("a")
    with pytest.raises(ValueError, match="already queued"):
        device.send("a")


def test_sending_to_a_user_needs_the_own_id() -> None:
    with pytest.raises(RequestInvalid, match="own user"):
        ClientCore("", "d", lambda: 0.0).send("m", BOB, "", "text", 0.0)


def test_a_group_is_created_before_it_is_written_to() -> None:
    device, server = live()
    device.do(*device.core.request(GroupCreate(id="g", conversation=GROUP, title="Us", members=[BOB]), device.now))
    device.send("m", GROUP)
    assert [f.id for f in device.to_server] == ["g"]  # type: ignore[union-attr]  # requests
    device.talk(server)
    assert [e.id for e in server.logs[GROUP]] == ["g", "m"]


def test_a_restart_sends_what_was_queued_in_the_same_order() -> None:
    device = Device()
    for id_ in ("a", "b", "c"):
        device.send(id_)
    server = Server()
    device.restarted().live(server)
    assert [e.id for e in server.logs[CHAT]] == ["a", "b", "c"]


# ---------------------------------------------------------------- resync


def _lost_answer(device: Device, server: Server, others: int) -> None:
    """The message is stored, its answer is lost, and the log grows by others."""
    device.send("m")
    (send,) = device.taken()
    server.answer(send)
    for _ in range(others):
        server.append()
    server.scan_max = 10
    device.disconnect()
    server.cursor = 0


def test_resync_finds_the_own_entry_however_far_back_and_stores_nothing_twice() -> None:
    device, server = live(unknown_entries_max=5)
    _lost_answer(device, server, 450)
    device.live(server)
    while device.core.outbox:
        device.tick()
        device.talk(server)
    assert [e.seq for e in server.logs[CHAT] if e.id == "m"] == [1]
    (stored,) = [e for e in device.effects if isinstance(e, Stored)]
    assert stored.entry.seq == 1
    sends = [f for f in server.seen if isinstance(f, Send)]
    assert [f.after for f in sends] == [0, 0]  # at first, and after the reconnect
    assert len([f for f in server.seen if isinstance(f, Fetch) and f.id.startswith("?")]) == 5


def test_resync_of_what_was_never_stored_goes_out_with_the_head() -> None:
    device, server = live(unknown_entries_max=5)
    device.send("m")
    device.taken()
    for _ in range(120):
        server.append()
    server.scan_max = 10
    device.disconnect()
    device.live(server)
    device.talk(server)
    assert [(e.id, e.seq) for e in server.logs[CHAT][120:]] == [("m", 121)]
    assert [f.after for f in server.seen if isinstance(f, Send)] == [0, 120]


def test_resync_of_a_first_attempt_needs_only_the_head() -> None:
    device, server = live()
    for _ in range(500):
        server.append()
    server.scan_max = 10
    device.send("m")
    device.talk(server)
    assert [f.limit for f in server.seen if isinstance(f, Fetch) and f.id.startswith("?")] == [1]
    assert server.logs[CHAT][-1].id == "m"


def test_resync_gives_up_when_it_would_have_to_look_too_far() -> None:
    device, server = live(search_entries_max=200, unknown_entries_max=5)
    _lost_answer(device, server, 450)
    device.live(server)
    device.talk(server)
    assert [e.error.code for e in device.effects if isinstance(e, Refused)] == [codes.RESYNC.number]
    assert not device.core.outbox


def test_a_search_goes_on_after_a_reconnect() -> None:
    device, server = live(unknown_entries_max=5)
    _lost_answer(device, server, 450)
    device.live(server)
    for _ in range(3):
        for f in device.taken():
            device.give(*server.answer(f))
    device.disconnect()
    device.live(server)
    device.talk(server)
    assert [e.seq for e in server.logs[CHAT] if e.id == "m"] == [1]
    assert not device.core.outbox


# ---------------------------------------------------------------- receipts


def test_acks_are_coalesced_and_cumulative() -> None:
    device, _ = live()
    device.give(*[Message(entry=entry(i)) for i in range(1, 20)])
    assert device.taken() == [Ack(conversation=CHAT, seq=19)]


def test_only_what_is_shown_is_acknowledged_and_nothing_before_flush() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)), Message(entry=entry(3)), flush=False)
    assert device.to_server == []
    assert device.core.next_deadline() == 0.0
    device.flush()
    assert device.taken() == [Ack(conversation=CHAT, seq=1)]


def test_own_entries_need_no_ack() -> None:
    device, server = live()
    device.send("m")
    device.talk(server)
    assert not [f for f in server.seen if isinstance(f, Ack)]


def test_reading_goes_out_once_and_says_delivered_too() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)), flush=False)
    device.do(*device.core.read(CHAT, 1, device.now))
    device.flush()
    assert device.taken() == [Read(conversation=CHAT, seq=1)]
    assert device.core.read(CHAT, 1, device.now) == []
    assert device.core.conversations[CHAT].unread == 0


def test_marks_are_repeated_at_hello_until_the_server_calls_them_durable() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)))
    device.do(*device.core.read(CHAT, 1, device.now))
    device.flush()
    for _ in range(2):  # 0 and 100 s later: the pong of 0 s covers nothing yet
        device.disconnect()
        device.connect()
        device.give(WELCOME)
        repeated = [f for f in device.taken() if not isinstance(f, Hello)]
        assert repeated == [Read(conversation=CHAT, seq=1)]
        device.give(Synced(cursor="b", marks_ms=0))
    device.now += 100
    device.give(Pong(time=0, cursor="c", marks_ms=0))
    device.disconnect()
    device.connect()
    device.give(WELCOME)
    assert [f for f in device.taken() if not isinstance(f, Hello)] == []


def test_marks_that_did_not_go_out_before_a_restart_go_out_after_it() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)), flush=False)
    device = device.restarted()
    device.connect()
    device.give(WELCOME)
    assert Ack(conversation=CHAT, seq=1) in device.taken()


def test_a_head_that_knows_less_of_the_own_marks_is_told_again() -> None:
    device, server = live()
    server.append()
    device.give(Message(entry=server.logs[CHAT][0]))
    device.do(*device.core.read(CHAT, 1, device.now))
    device.flush()
    device.now += 1000
    device.give(Pong(time=0, cursor="c"))
    device.taken()
    device.disconnect()
    device.connect()
    device.give(WELCOME, Heads(heads=[server.head(CHAT)]))
    assert Read(conversation=CHAT, seq=1) in device.taken()


def test_others_marks_only_move_forward() -> None:
    device, _ = live()
    device.give(Receipts(conversation=CHAT, marks=[Mark(BOB, 5, 3)]), Receipts(conversation=CHAT, marks=[Mark(BOB, 4, 4)]))
    device.give(Receipts(conversation=CHAT, marks=[Mark(BOB, 2, 1)]))
    moved = [e for e in device.effects if isinstance(e, Delivered | ReadBy)]
    assert moved == [Delivered(CHAT, BOB, 5), ReadBy(CHAT, BOB, 3), ReadBy(CHAT, BOB, 4)]


def test_reading_on_another_device_clears_unread_here() -> None:
    device, _ = live()
    device.give(*[Message(entry=entry(i)) for i in range(1, 6)])
    device.give(Receipts(conversation=CHAT, marks=[Mark(ME, 4, 4)]))
    assert device.core.conversations[CHAT].unread == 1
    assert not [f for f in device.taken() if isinstance(f, Read)]


# ---------------------------------------------------------------- the session


def test_backoff_has_full_jitter_doubles_and_is_bounded() -> None:
    def delays(random: float) -> list[float]:
        device = Device(random=lambda: random)
        device.connect()
        result = []
        for _ in range(9):
            before = device.now
            device.disconnect()
            device.connect()
            result.append(round(device.now - before, 3))
        return result

    assert delays(0.0) == [0.5] * 9
    assert delays(1.0) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_backoff_is_reset_only_after_five_seconds_live() -> None:
    server = Server()
    device = Device(random=lambda: 1.0).live(server)
    result = []
    for live_s in (1, 1, 6, 1):
        device.now += live_s
        before = device.now
        device.disconnect()
        device.live(server)
        result.append(round(device.now - before, 3))
    assert result == [1, 2, 1, 2]


def test_a_drain_notice_is_obeyed_with_its_delay_and_url() -> None:
    device, _ = live()
    effects = device.give(Reconnect(after_ms=2500, url="ws://other", reason="drain"))
    assert Close(codes.CLOSE_NORMAL, "drain") in effects
    assert StateChanged("waiting", codes.GOING_AWAY.number, "drain") in effects
    device.disconnect()  # the socket's own end changes nothing
    effects = device.tick()
    assert device.now == pytest.approx(1002.5)
    assert [e.url for e in effects if hasattr(e, "url")] == ["ws://other"]


def test_a_ping_leaves_every_heartbeat_and_silence_ends_the_connection() -> None:
    device, _ = live()
    device.tick()
    assert device.now == pytest.approx(1030) and device.taken() == [Ping()]
    device.give(Pong(time=0))
    device.tick()
    assert device.now == pytest.approx(1060) and device.taken() == [Ping()]
    device.tick()
    device.taken()
    effects = device.tick()
    assert device.now == pytest.approx(1120)
    assert Close(1000, "no pong") in effects
    assert StateChanged("waiting", codes.HEARTBEAT_LOST.number, "no pong") in effects


def test_a_hello_that_is_not_answered_is_given_up() -> None:
    device = Device()
    device.connect()
    effects = device.tick()
    assert device.now == pytest.approx(1010)
    assert Close(1000, "no welcome") in effects


def test_a_refused_token_is_replaced_and_the_third_refusal_is_the_end() -> None:
    device = Device()
    device.connect()
    for _ in range(2):
        device.give(error(codes.TOKEN_EXPIRED))
        assert device.core.session.state == "waiting"
        device.connect()
        assert any(getattr(e, "fresh_token", False) for e in device.effects)
        device.effects.clear()
    device.give(error(codes.TOKEN_EXPIRED))
    assert device.core.session.state == "closed"


def test_a_revoked_device_does_not_come_back() -> None:
    device, _ = live()
    device.give(error(codes.DEVICE_REVOKED))
    assert device.core.session.state == "closed"
    assert device.core.next_deadline() is None


def test_a_server_that_is_full_names_when_to_come_back() -> None:
    device = Device(random=lambda: 0.0)
    device.connect()
    device.give(error(codes.OVERLOADED, retry_after_ms=7000))
    before = device.now
    device.connect()
    assert device.now - before == pytest.approx(7.5)


def test_another_connection_of_the_device_is_not_fought() -> None:
    device = Device(random=lambda: 1.0).live(Server())
    device.now += 60
    before = device.now
    device.give(error(codes.SESSION_REPLACED))
    device.connect()
    assert device.now - before == pytest.approx(32)


def test_frames_of_a_socket_that_was_given_up_are_ignored() -> None:
    device, _ = live()
    device.disconnect()
    assert device.core.frame(Message(entry=entry(1)), device.now) == []


def test_closing_keeps_what_is_queued() -> None:
    device, _ = live()
    device.disconnect()
    device.send("m")
    device.do(*device.core.close(device.now))
    assert device.core.session.state == "closed"
    assert [i.id for i in device.core.export().outbox] == ["m"]


def test_a_question_is_asked_again_after_a_reconnect_until_it_is_answered_or_cancelled() -> None:
    device, server = live()
    device.do(*device.core.ask(FetchHeads(id="q"), device.now), *device.core.ask(FetchHeads(id="r"), device.now))
    device.flush()
    device.core.cancel("r")
    device.disconnect()
    device.live(server)
    device.talk(server)
    assert [e.id for e in device.effects if isinstance(e, Answered)] == ["q"]


def test_an_older_page_of_the_list_shows_nothing() -> None:
    device, server = live()
    server.append()
    device.do(*device.core.ask(FetchHeads(id="q"), device.now))
    device.flush()
    device.talk(server)
    assert device.shown() == []
    assert device.core.conversations[CHAT].last == server.logs[CHAT][0]


def test_a_title_is_learnt_from_heads_and_entries() -> None:
    device, _ = live()
    created = msgspec.structs.replace(entry(1, conversation=GROUP, body='{"title":"One"}'), type="group.create")
    device.give(Message(entry=created))
    assert device.core.conversations[GROUP].title == "One"
    device.give(Message(entry=msgspec.structs.replace(created, seq=2, type="group.rename", body="not json")))
    assert device.core.conversations[GROUP].title == "One"


def test_changes_are_what_a_store_must_write_and_nothing_else() -> None:
    core = ClientCore(ME, "d", lambda: 0.5, track_changes=True)
    assert core.take_changes() is None
    core.send("m", BOB, "hi", "text", 0.0)
    changes = core.take_changes()
    assert changes is not None and [i.id for i in changes.outbox] == ["m"] and [c.id for c in changes.conversations] == [CHAT]
    core.start(0.0)
    core.connected(0.0, "t")
    core.frame(WELCOME, 0.0)
    core.frame(Sent(id="m", entry=entry(1, ME, "m")), 0.0)
    changes = core.take_changes()
    assert changes is not None and changes.answered == ["m"] and changes.outbox == []
    assert core.take_changes() is None


def test_the_state_survives_encoding() -> None:
    device, server = live()
    server.append()
    device.give(Message(entry=server.logs[CHAT][0]), Receipts(conversation=CHAT, marks=[Mark(BOB, 1, 1)]))
    device.disconnect()
    device.send("m")
    state = device.core.export()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=CoreState) == state


def test_every_code_range_has_an_action() -> None:
    assert [action_of(c) for c in (999, 1001, 2001, 3001, 4001, 5001, 6001)] == [
        "fix",
        "fix",
        "retry",
        "reconnect",
        "sign_in",
        "sync",
        "fix",
    ]


def test_shown_entries_are_the_tail_of_the_log_as_values() -> None:
    device, _ = live()
    device.give(Message(entry=entry(1)))
    assert [e for e in device.effects if isinstance(e, Shown)] == [Shown(entry(1))]
