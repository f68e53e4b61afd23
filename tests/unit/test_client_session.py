"""The client core against a scripted server: receipts, connection, questions, what a store must keep."""

from __future__ import annotations

import msgspec
import pytest
from homing import codes
from homing.core import ClientCore, action_of
from homing.effects import Answered, Close, Delivered, ReadBy, Shown, StateChanged
from homing.protocol import (
    Ack,
    FetchHeads,
    Heads,
    Hello,
    Mark,
    Message,
    Ping,
    Pong,
    Read,
    Receipts,
    Reconnect,
    Sent,
    Synced,
)
from homing.state import CoreState

from tests.unit.client_fakes import BOB, CHAT, GROUP, ME, WELCOME, Device, Server, entry, error, live

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
    assert Close(1000, "no pong", elsewhere=True) in effects
    assert StateChanged("waiting", codes.HEARTBEAT_LOST.number, "no pong") in effects


def test_a_hello_that_is_not_answered_is_given_up() -> None:
    device = Device()
    device.connect()
    effects = device.tick()
    assert device.now == pytest.approx(1010)
    assert Close(1000, "no welcome", elsewhere=True) in effects


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
