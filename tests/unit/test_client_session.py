"""The client core against a scripted server: connection, questions, what a store must keep."""

from __future__ import annotations

import msgspec
import pytest
from homing import codes
from homing.core import ClientCore, action_of
from homing.effects import Answered, Close, Shown, StateChanged
from homing.outbox import OutboxFull
from homing.protocol import (
    FetchHeads,
    FetchPerson,
    Hello,
    Mark,
    Message,
    Person,
    Ping,
    Pong,
    Receipts,
    Reconnect,
    Sent,
)
from homing.state import CoreState

from tests.unit.client_fakes import BOB, CHAT, GROUP, ME, WELCOME, Device, Server, entry, error, live

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


def test_with_several_addresses_the_backoff_grows_when_all_have_failed() -> None:
    device = Device(random=lambda: 1.0, addresses=3)
    device.connect()
    result = []
    for _ in range(10):
        before = device.now
        device.disconnect()
        device.connect()
        result.append(round(device.now - before, 3))
    assert result == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8]


@pytest.mark.parametrize("addresses", [1, 3])
def test_the_wait_is_about_as_long_as_the_outage_was_at_most(addresses: int) -> None:
    """Servers that are all restarted are back in some seconds: nobody sits out a minute for that."""
    device = Device(random=lambda: 1.0, addresses=addresses).live(Server())
    device.now += 60
    began = device.now
    while device.now - began < 40:
        before = device.now
        device.disconnect()
        device.connect()
        assert device.now - before <= max(1.0, before - began + 1.0)


def test_moves_that_servers_ask_for_do_not_make_the_backoff_grow() -> None:
    """A rolling restart of ten nodes, each a minute: the next real failure waits as after the first."""
    device, server = Device(random=lambda: 1.0), Server()
    device.live(server)
    for _ in range(10):
        device.now += 60
        before = device.now
        device.give(Reconnect(after_ms=100))
        device.live(server)
        assert device.now - before == pytest.approx(0.1)
    device.now += 60
    before = device.now
    device.disconnect(1012)
    device.live(server)
    assert device.now - before == pytest.approx(1)


def test_a_server_that_sends_everybody_away_at_once_is_not_asked_again_and_again() -> None:
    device, server = Device(random=lambda: 1.0), Server()
    waits = []
    for _ in range(5):
        device.connect()
        before = device.now
        device.give(Reconnect(after_ms=100))
        while not device.connecting:
            device.tick()
        waits.append(round(device.now - before, 3))
    assert waits == [1, 2, 4, 8, 16] and not server.seen


def test_whoever_is_in_a_hurry_need_not_wait_but_for_what_the_server_named() -> None:
    device = Device(random=lambda: 1.0)
    device.connect()
    for _ in range(7):
        device.disconnect()
        device.connect()
    device.disconnect()
    device.now += 2
    device.do(*device.core.start(device.now))
    assert device.connecting
    device.connecting, device.open = False, True
    device.do(*device.core.connected(device.now, "token"))
    device.give(error(codes.OVERLOADED, retry_after_ms=7000))
    before = device.now
    device.do(*device.core.start(device.now))
    assert device.core.session.state == "waiting"
    device.tick()
    assert device.connecting and device.now - before == pytest.approx(7.0)


def test_a_server_cannot_send_a_client_away_for_ever() -> None:
    device, _ = live()
    device.give(Reconnect(after_ms=2**50))
    before = device.now
    device.tick()
    assert device.connecting and device.now - before == pytest.approx(600)


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


def test_a_cursor_that_the_server_does_not_know_is_given_up_and_all_is_listed_anew() -> None:
    server = Server()
    server.append()
    device = Device().live(server)
    device.disconnect()
    server.append()
    device.connect()
    device.taken()
    device.give(msgspec.structs.replace(error(codes.INVALID), field="cursor"))
    device.live(server)
    assert [f.cursor for f in server.seen if isinstance(f, Hello)] == [None, None]
    assert device.shown() == [1, 2]


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


def test_few_questions_are_under_way_at_once_the_rest_waits_and_names_give_way() -> None:
    device, _ = live()
    for n in range(1_000):
        device.do(*device.core.ask(FetchPerson(id=f"n{n}", user=BOB), device.now))
    device.flush()
    assert [f.id for f in device.taken()] == [f"n{n}" for n in range(56)]  # type: ignore[union-attr]  # questions
    for n in range(20):
        device.do(*device.core.ask(FetchHeads(id=f"h{n}"), device.now))
    device.flush()
    assert [f.id for f in device.taken()] == [f"h{n}" for n in range(8)]  # type: ignore[union-attr]  # questions
    device.give(Person(id="n0", user=BOB))
    assert [f.id for f in device.taken()] == ["h8"]  # type: ignore[union-attr]  # questions
    device.core.cancel("n1")
    assert device.core.next_deadline() == 0.0
    device.tick()
    assert [f.id for f in device.taken()] == ["h9"]  # type: ignore[union-attr]  # questions
    server = Server()
    device.disconnect()
    device.live(server)
    while len([e for e in device.effects if isinstance(e, Answered)]) < 1_019:
        device.tick()
        device.talk(server)


def test_too_many_questions_are_refused() -> None:
    device, _ = live(asks_max=2, asks_waiting_max=3)
    for n in range(5):
        device.core.ask(FetchHeads(id=f"q{n}"), device.now)
    with pytest.raises(OutboxFull):
        device.core.ask(FetchHeads(id="q5"), device.now)


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


def test_changes_that_could_not_be_written_are_given_again_with_what_came_since() -> None:
    core = ClientCore(ME, "d", lambda: 0.5, track_changes=True)
    for id_ in ("a", "b"):
        core.send(id_, BOB, "hi", "text", 0.0)
    lost = core.take_changes()
    assert lost is not None
    core.send("c", BOB, "hi", "text", 0.0)
    core.withdraw("a")
    core.not_written(lost)
    changes = core.take_changes()
    assert changes is not None
    assert [i.id for i in changes.outbox] == ["b", "c"] and changes.answered == ["a"] and [c.id for c in changes.conversations] == [CHAT]


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
