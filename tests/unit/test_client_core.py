"""The client core against a scripted server: hello, catch-up, order, gaps."""

from __future__ import annotations

import msgspec
import pytest
from homing import codes, ids
from homing.effects import Answered, CursorChanged, Gap, Resumed
from homing.protocol import (
    Entries,
    Fetch,
    Head,
    HeadChanged,
    Heads,
    Hello,
    Message,
    Pong,
    Synced,
)
from homing.state import ConversationState
from msgspec import structs

from tests.unit.client_fakes import BOB, CHAT, EVE, GROUP, ME, WELCOME, Device, Server, entry, error, live

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


# ---------------------------------------------------------------- groups


def test_who_is_taken_out_of_a_group_or_made_an_admin_while_connected_knows_it_at_once() -> None:
    device, _ = live()

    def happens(type_: str, sender: str = BOB, **what: object) -> ConversationState:
        seq = len(seen) + 1
        body = msgspec.json.encode(what).decode()
        seen.append(seq)
        device.give(Message(entry=structs.replace(entry(seq, sender, conversation=GROUP, body=body), type=type_)))
        return device.core.conversations[GROUP]

    seen: list[int] = []
    state = happens("group.create", title="Loft", members=[ME, EVE])
    assert (state.title, state.role, state.until_seq) == ("Loft", "member", None)
    assert happens("group.role", members=[ME], role="admin").role == "admin"
    assert happens("group.role", members=[EVE], role="member").role == "admin"
    assert happens("group.remove", members=[EVE]).until_seq is None
    assert happens("group.remove", members=[ME]).until_seq == 5
    state = happens("group.add", members=[ME])
    assert (state.role, state.until_seq) == ("member", None)
    assert happens("group.leave", sender=EVE).until_seq is None
    assert happens("group.leave", sender=ME).until_seq == 8
