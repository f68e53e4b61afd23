"""The client core against a scripted server: what is queued, sent, put off, refused, looked for."""

from __future__ import annotations

import pytest
from homing import codes, ids
from homing.core import ClientCore
from homing.effects import Refused, Stored
from homing.limits import Limits
from homing.outbox import OutboxFull
from homing.protocol import (
    Fetch,
    GroupAdd,
    GroupCreate,
    GroupRename,
    Message,
    Pong,
    Send,
    Sent,
)
from homing.requests import RequestInvalid

from tests.unit.client_fakes import BOB, CHAT, EVE, GROUP, ME, WELCOME, Device, Server, entry, error, live

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
        Send(id="m", to=BOB, body="", type="group.leave"),
        Send(id="m", to=BOB[:-1] + "\n", body=""),
        Send(id="", to=BOB, body=""),
        GroupAdd(id="m", conversation=GROUP, members=["x" * 32]),
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
