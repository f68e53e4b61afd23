"""Presence at the homes: who is told what of whom, when, and what that costs."""

from __future__ import annotations

from node.core.frames import NotHere
from node.core.limits import CoreLimits
from node.core.live_frames import AskPresence, PresenceAnswer, PresenceOut, PrivacyChanged, Told, Watches
from node.core.privacy import ALL, CONTACTS, NOBODY, Privacy
from storage.store import UserRow
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE, ME, OTHER
from tests.unit.live_rig import LiveRig, asked, told

NEXT = "node-3:next"


# ---------------------------------------------------------------- coming and going


def test_whom_nobody_watches_costs_no_message() -> None:
    rig = LiveRig()
    rig.come(BOB)
    rig.leave(BOB)
    rig.wait(20)
    assert rig.sent == []


def test_watchers_of_one_home_are_told_in_one_frame_and_nothing_twice() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE, CAROL)
    assert told(rig) == [(BOB, "online", 0, (ALICE, CAROL))]
    rig.come(BOB, 2)
    rig.leave(BOB, 1)
    rig.wait(20)
    assert told(rig) == [], "he has another device"


def test_a_reconnect_does_not_blink_and_who_stays_away_is_told_with_a_time_that_is_stored() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE)
    told(rig)
    rig.leave(BOB)
    rig.wait(4)
    rig.come(BOB, 2)
    rig.wait(10)
    assert told(rig) == []
    rig.leave(BOB, 2)
    left_ms = rig.time_ms()
    rig.wait(5.2)
    assert [row for row, _, _ in rig.writes] == [UserRow(BOB, left_ms)]
    assert told(rig) == [], "not before it is stored"
    rig.store_all()
    rig.wait(0.06)
    assert told(rig) == [(BOB, "offline", left_ms, (ALICE,))]
    rig.come(BOB, 3)
    rig.wait(0.06)
    assert told(rig) == [(BOB, "online", 0, (ALICE,))]


def test_who_comes_for_a_moment_gets_a_linger_of_his_own() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE)
    told(rig)
    for n in (1, 2):
        rig.leave(BOB, n)
        rig.wait(2)
        rig.come(BOB, n + 1)
        rig.wait(1)
    rig.leave(BOB, 3)
    rig.wait(4.8)
    rig.store_all()
    rig.wait(0.1)
    assert told(rig) == []
    rig.wait(0.2)
    rig.store_all()
    rig.wait(0.1)
    assert [state for _, state, _, _ in told(rig)] == ["offline"]


def test_a_row_that_is_due_soon_after_another_waits() -> None:
    rig = LiveRig(CoreLimits(last_seen_first_s=1.0, last_seen_store_s=5.0))
    rig.come(BOB)
    rows = 0
    for _ in range(50):
        rig.wait(1)
        rows += rig.store_all()
    assert rows == 1


def test_a_store_that_is_slow_holds_up_the_time_but_not_that_he_is_gone() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE)
    rig.leave(BOB)
    left_ms = rig.time_ms()
    rig.wait(6.3)
    rig.answer_asks()
    rig.wait(0.06)
    assert told(rig)[1:] == [(BOB, "offline", 0, (ALICE,))], "he has no row yet"
    rig.store_all()
    rig.wait(0.06)
    assert told(rig) == [(BOB, "offline", left_ms, (ALICE,))]


def test_a_row_that_is_written_while_others_wait_whether_he_comes_back_does_not_end_that() -> None:
    rig = LiveRig(CoreLimits(last_seen_first_s=1.0, last_seen_store_s=5.0))
    rig.come(BOB)
    asked(rig, ALICE)
    rig.wait(4.5)
    rig.leave(BOB)
    rig.wait(1.0)
    assert rig.store_all() >= 1
    rig.wait(1.0)
    assert [state for _, state, _, _ in told(rig)] == ["online"]


def test_who_comes_and_goes_all_the_time_writes_a_row_a_minute_at_most() -> None:
    rig = LiveRig()
    rows = 0
    for n in range(60):
        rig.come(BOB, n)
        rig.wait(2)
        rig.leave(BOB, n)
        rig.wait(8)
        rows += rig.store_all()
    assert 5 <= rows <= 11, "in ten minutes"
    rig.wait(70)
    rig.store_all()
    rig.wait(70)
    assert rig.live.attendance.users == {}


def test_the_row_of_somebody_who_is_here_is_never_far_behind() -> None:
    rig = LiveRig()
    rig.come(BOB)
    stored = []
    for _ in range(60):
        rig.wait(20)
        stored += [row.last_seen for row, _, _ in rig.writes if isinstance(row, UserRow)]
        rig.store_all()
    assert 4 <= len(stored) <= 6, "in twenty minutes"
    assert max(b - a for a, b in zip([100_000, *stored], [*stored, rig.time_ms()], strict=True)) <= 366_000


def test_a_device_that_is_let_in_again_soon_after_a_crash_writes_nothing_for_a_while() -> None:
    rig = LiveRig()
    rig.homes[BOB] = ME
    rig.live.came(BOB, rig.time_ms() - 100_000)
    rig.wait(150)
    assert rig.writes == []
    rig.wait(60)
    assert len(rig.writes) == 1


def test_a_process_that_stops_writes_when_its_people_were_here() -> None:
    rig = LiveRig()
    rig.come(BOB)
    rig.come(CAROL)
    rig.live.on_stop()
    assert {row for row, _, _ in rig.writes} == {UserRow(BOB, rig.time_ms()), UserRow(CAROL, rig.time_ms())}


# ---------------------------------------------------------------- a new home


def test_a_new_home_says_of_nobody_that_he_is_offline_but_of_who_is_here() -> None:
    rig = LiveRig()
    rig.homes |= {BOB: ME, CAROL: ME}
    rig.store_all()
    rig.epoch = 5
    rig.terms = {BOB: 5, CAROL: 5}
    rig.live.on_table()
    asked(rig, ALICE)
    asked(rig, ALICE, of=CAROL)
    rig.come(CAROL)
    for _ in range(29):
        rig.wait(1)
        rig.answer_asks()
    assert told(rig) == [(CAROL, "online", 0, (ALICE,))]
    rig.wait(1.5)
    rig.answer_asks()
    rig.wait(0.06)
    assert told(rig) == [(BOB, "offline", 0, (ALICE,))]


def test_what_came_long_ago_is_not_silent_because_of_another_table() -> None:
    rig = LiveRig()
    rig.epoch, rig.terms[BOB], rig.homes[BOB] = 5, 5, ME
    rig.live.on_table()
    rig.wait(31)
    rig.epoch = 6
    rig.live.on_table()
    assert not rig.live.is_silent_of(BOB)
    rig.terms[BOB] = 6
    assert rig.live.is_silent_of(BOB)


def test_a_node_that_is_being_stopped_says_nothing_of_who_is_leaving() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE)
    told(rig)
    rig.moves.letting_go = True
    rig.leave(BOB)
    rig.wait(5.5)
    rig.store_all()
    rig.wait(5)
    assert told(rig) == []


def test_who_is_at_home_elsewhere_is_forgotten_with_his_watchers() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE, CAROL)
    rig.homes[BOB] = NEXT
    rig.live.on_table()
    assert rig.live.presence.people == {} and rig.live.presence.pairs == 0 and rig.live.attendance.users == {}


# ---------------------------------------------------------------- the watcher's home


def test_sessions_of_somebody_ask_once_and_hear_what_is_known() -> None:
    rig = LiveRig()
    rig.come(ALICE, 1)
    rig.come(ALICE, 2)
    rig.watch(ALICE, BOB, CAROL)
    assert rig.frames(Watches) == [Watches(((ALICE, BOB, ALL), (ALICE, CAROL, ALL)))]
    rig.live.watching.on_told(Told(((BOB, "online", 0, (ALICE,)),)), OTHER)
    assert rig.frames(PresenceOut) == [PresenceOut(((BOB, "online", 0),), (1,))]
    rig.watch(ALICE, BOB, number=2)
    assert rig.frames(Watches) == []
    assert rig.frames(PresenceOut) == [PresenceOut(((BOB, "online", 0),), (2,))]
    rig.watch(ALICE, BOB, DAVE)
    assert rig.frames(Watches) == [Watches(((ALICE, CAROL, 0), (ALICE, DAVE, ALL)))]
    rig.leave(ALICE, 1)
    rig.wait(5.2)
    assert rig.frames(Watches) == [Watches(((ALICE, DAVE, 0),))], "the other one watches Bob still"
    rig.leave(ALICE, 2)
    rig.wait(5.2)
    watching = rig.live.watching
    assert (watching.pairs, watching.wanted, watching.watchers, watching.sessions) == (0, {}, {}, {})


def test_a_device_that_is_back_in_a_moment_costs_no_question_and_hears_at_once() -> None:
    rig = LiveRig()
    rig.come(ALICE, 1)
    rig.watch(ALICE, BOB)
    rig.live.watching.on_told(Told(((BOB, "offline", 9_000, (ALICE,)),)), OTHER)
    rig.sent.clear()
    for n in range(1, 5):
        rig.leave(ALICE, n)
        rig.wait(1)
        rig.live.watching.on_told(Told(((BOB, "online", 0, (ALICE,)),)), OTHER)
        assert rig.frames(PresenceOut) == [], "nobody is there to be told"
        rig.come(ALICE, n + 1)
        rig.watch(ALICE, BOB, number=n + 1)
        assert rig.frames(PresenceOut) == [PresenceOut(((BOB, "online", 0),), (n + 1,))]
    rig.wait(10)
    assert rig.frames(Watches) == [] and rig.live.watching.pairs == 1
    assert rig.live.watching.wanted[BOB].watchers[ALICE].sessions == [(OTHER, 5)] and not rig.live.watching.faded


def test_who_hides_asks_nothing_and_sees_nothing() -> None:
    rig = LiveRig(settings=True)
    rig.come(ALICE)
    rig.watch(ALICE, BOB, CAROL)
    assert rig.sent == []
    rig.answer(ALICE, Privacy(CONTACTS, CONTACTS, frozenset({CAROL})))
    assert rig.frames(Watches) == [Watches(((ALICE, CAROL, ALL),))]
    assert rig.frames(PresenceOut) == [PresenceOut(((BOB, "unknown", 0),), (1,))]
    rig.live.privacies.on_changed(PrivacyChanged(ALICE), OTHER)
    rig.answer(ALICE, Privacy(NOBODY, NOBODY))
    assert rig.frames(Watches) == [Watches(((ALICE, CAROL, 0),))]
    assert rig.frames(PresenceOut) == [PresenceOut(((CAROL, "unknown", 0),), (1,))]


def test_a_new_home_of_the_watched_is_asked_and_the_old_one_believed_no_more() -> None:
    rig = LiveRig()
    rig.come(ALICE)
    rig.watch(ALICE, BOB)
    rig.live.watching.on_told(Told(((BOB, "offline", 9_000, (ALICE,)),)), OTHER)
    rig.sent.clear()
    rig.homes[BOB] = NEXT
    rig.live.on_table()
    rig.wait(0.06)
    assert rig.frames(Watches, NEXT) == [Watches(((ALICE, BOB, ALL),))]
    rig.live.watching.on_told(Told(((BOB, "online", 0, (ALICE,)),)), OTHER)
    assert rig.frames(PresenceOut) == []
    rig.live.watching.on_told(Told(((BOB, "offline", 8_000, (ALICE,)),)), NEXT)
    assert rig.frames(PresenceOut) == [PresenceOut(((BOB, "offline", 9_000),), (1,))], "it does not go back"
    rig.terms[BOB] = 9
    rig.live.on_table()
    rig.wait(0.06)
    assert rig.frames(Watches, NEXT) == [Watches(((ALICE, BOB, ALL),))], "it had lost him for a while"


def test_a_home_that_tells_what_nobody_wants_is_told_to_stop() -> None:
    rig = LiveRig()
    rig.live.watching.on_told(Told(((BOB, "online", 0, (ALICE,)),)), OTHER)
    rig.wait(0.06)
    assert rig.frames(Watches, OTHER) == [Watches(((ALICE, BOB, 0),))]


# ---------------------------------------------------------------- bounds


def test_watchers_without_room_are_told_unknown() -> None:
    rig = LiveRig(CoreLimits(watchers_per_user_max=1, watch_pairs_max=2))
    rig.come(BOB)
    rig.come(CAROL)
    asked(rig, ALICE, DAVE)
    assert set(told(rig)) == {(BOB, "online", 0, (ALICE,)), (BOB, "unknown", 0, (DAVE,))}
    asked(rig, DAVE, of=CAROL)
    asked(rig, BOB, of=DAVE)
    rig.homes[DAVE] = ME
    asked(rig, BOB, of=DAVE)
    assert set(told(rig)) == {(CAROL, "online", 0, (DAVE,)), (DAVE, "unknown", 0, (BOB,))}
    assert rig.live.presence.pairs == 2


def test_somebody_watches_no_more_people_than_one_session_may() -> None:
    rig = LiveRig()
    rig.come(ALICE, 1)
    rig.come(ALICE, 2)
    people = [f"{n:032x}" for n in range(300)]
    rig.watch(ALICE, *people[:256])
    rig.watch(ALICE, *people[256:300], number=2)
    assert rig.live.watching.pairs == 256
    (out,) = rig.frames(PresenceOut)
    assert {state for _, state, _ in out.people} == {"unknown"} and len(out.people) == 44


def test_a_home_that_takes_nothing_is_told_when_it_does() -> None:
    rig = LiveRig()
    rig.come(BOB)
    rig.full.add(OTHER)
    asked(rig, ALICE)
    rig.wait(5)
    assert told(rig) == []
    rig.full.clear()
    rig.opening.pop((OTHER, "presence"))(OTHER)
    rig.wait(0.06)
    assert told(rig) == [(BOB, "online", 0, (ALICE,))]


def test_watchers_whose_home_has_changed_are_swept_away() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE, CAROL)
    rig.homes[ALICE] = NEXT
    rig.live.presence.sweep()
    assert list(rig.live.presence.people[BOB].watchers) == [CAROL] and rig.live.presence.pairs == 1


def test_rows_of_many_people_are_read_a_few_at_a_time_and_when_storage_has_room() -> None:
    rig = LiveRig(CoreLimits(last_seen_pace_s=0.0))
    people = [f"{n:032x}" for n in range(200)]
    rig.homes |= dict.fromkeys(people, ME)
    rig.has_room = False
    rig.live.presence.on_watches(Watches(tuple((ALICE, user, ALL) for user in people)), OTHER)
    rig.wait(3)
    assert rig.asks == [] and len(rig.timers) < 5
    rig.has_room = True
    rig.wait(1.1)
    assert len(rig.asks) == 64
    rig.answer_asks()
    rig.wait(0.1)
    assert {user for user, state, _, _ in told(rig) if state == "offline"} == set(people)


# ---------------------------------------------------------------- asked once


def test_whoever_asks_once_is_answered_and_leaves_nothing_behind() -> None:
    rig = LiveRig(settings=True)
    rig.homes[BOB] = ME
    rig.live.presence.on_ask(AskPresence(BOB, ALICE, ALL, 7, "q"), OTHER)
    rig.live.presence.on_ask(AskPresence(CAROL, ALICE, ALL, 8, "q"), OTHER)
    assert [f.session for f in rig.frames(NotHere)] == [8]
    rig.answer(BOB, Privacy(NOBODY))
    assert rig.frames(PresenceAnswer) == []
    rig.store.commit([])
    rig.answer_asks()
    assert rig.frames(PresenceAnswer) == [PresenceAnswer(7, "q", BOB, "unknown", 0)]
    assert rig.live.presence.people == {}
