"""The client core against a scripted server: own marks go out until they are stored, others' come in."""

from __future__ import annotations

import pytest
from homing import codes, ids
from homing.effects import Delivered, ReadBy, Refused
from homing.protocol import (
    Ack,
    ClientFrame,
    Heads,
    Hello,
    Mark,
    Message,
    Ping,
    Pong,
    Read,
    Receipts,
    Synced,
)

from tests.unit.client_fakes import BOB, CHAT, ME, WELCOME, Device, Server, entry, error, live


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


def test_a_mark_that_came_too_soon_is_repeated_when_the_server_says_so() -> None:
    device, server = live()
    for _ in range(2):
        device.now += 1
        device.give(Message(entry=server.append()))
        (mark,) = device.taken()
        device.give(error(codes.RATE_LIMITED, retry_after_ms=700, conversation=CHAT))
        before = device.now
        assert device.taken() == []
        device.tick()
        assert device.now - before == pytest.approx(0.7) and device.taken() == [mark]
    assert not [e for e in device.effects if isinstance(e, Refused)]


def test_a_read_mark_that_came_too_soon_is_repeated_and_survives_a_restart_and_a_pong() -> None:
    device, server = live()
    device.give(Message(entry=server.append()))
    device.do(*device.core.read(CHAT, 1, device.now))
    device.flush()
    assert Read(conversation=CHAT, seq=1) in device.taken()
    device.give(error(codes.RATE_LIMITED, retry_after_ms=60_000, conversation=CHAT))
    device.now += 100
    device.do(*device.core.frame(Pong(time=0, cursor="c"), device.now))  # covers all that went out long ago, but that was not taken
    device = device.restarted()
    device.connect()
    device.give(WELCOME)
    assert Read(conversation=CHAT, seq=1) in device.taken()


def test_many_marks_that_came_too_soon_are_paced() -> None:
    device, server = live()
    chats = [ids.direct_id(ME, ids.user_id(f"u{i}")) for i in range(200)]
    for c in chats:
        device.give(Message(entry=server.append(conversation=c)), flush=False)
    device.flush()
    lost = device.taken()
    for f in lost:
        device.give(error(codes.RATE_LIMITED, retry_after_ms=500, conversation=f.conversation))  # type: ignore[union-attr]  # acks
    began = device.now
    sizes: list[int] = []
    sent: list[ClientFrame] = []
    while len(sent) < 200:
        device.tick()
        sizes.append(len(device.to_server))
        sent += device.taken()
    assert {f.conversation for f in sent if isinstance(f, Ack)} == set(chats) and len(sent) == 200
    assert max(sizes) <= 32 and device.now - began == pytest.approx(0.5 + 6 * 0.25)
    assert device.core.next_deadline() != device.now


def test_a_device_with_thousands_of_chats_does_not_acknowledge_them_all_in_one_go() -> None:
    server = Server()
    device = Device().live(server)
    device.disconnect()
    for i in range(2_000):
        server.append(conversation=ids.direct_id(ME, ids.user_id(f"u{i}")))
    device.connect()
    device.give(*server.answer(device.taken()[0]))
    began, sizes = device.now, []
    while len(server.acked) < 2_000:
        acks = [f for f in device.to_server if isinstance(f, Ack)]
        sizes.append(len(acks))
        device.talk(server)
        if len(server.acked) < 2_000:
            device.tick()
    assert sizes[0] == 512 and max(sizes[1:]) == 32 and device.now - began < 15
    assert device.core.session.state == "live"


def test_a_ping_that_came_too_soon_does_not_end_the_connection() -> None:
    device, _ = live()
    for _ in range(5):
        device.tick()
        assert device.taken() == [Ping()]
        device.give(error(codes.RATE_LIMITED, retry_after_ms=25_000))
    assert device.core.session.state == "live" and device.now > 1120


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
