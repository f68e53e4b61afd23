"""What somebody shows of his presence, and to whom: settings, how a change of them travels, and what is not known."""

from __future__ import annotations

import pytest

from node.core.live_frames import PrivacyChanged
from node.core.privacy import CONTACTS, LAST_SEEN, NOBODY, ONLINE, OPEN, Privacy
from tests.unit.core_rig import ALICE, BOB, CAROL, OTHER
from tests.unit.live_rig import LiveRig, asked, told

NEXT = "node-3:next"


# ---------------------------------------------------------------- who may see what


@pytest.mark.parametrize(
    ("privacy", "view"),
    [
        (OPEN, ("online", 0)),
        (Privacy(NOBODY, NOBODY), ("unknown", 0)),
        (Privacy(NOBODY), ("unknown", 0)),
        (Privacy(CONTACTS, CONTACTS), ("unknown", 0)),
        (Privacy(CONTACTS, CONTACTS, frozenset({ALICE})), ("online", 0)),
        (Privacy(blocked=frozenset({ALICE})), ("unknown", 0)),
        (None, ("unknown", 0)),
    ],
)
def test_the_home_shows_what_the_settings_allow(privacy: Privacy | None, view: tuple[str, int]) -> None:
    rig = LiveRig(settings=True)
    rig.come(BOB)
    asked(rig, ALICE)
    assert told(rig) == [], "nothing before it is known"
    assert rig.answer(BOB, privacy)
    assert told(rig) == [(BOB, *view, (ALICE,))]


def test_what_a_watcher_does_not_show_himself_he_is_not_shown() -> None:
    rig = LiveRig()
    rig.come(BOB)
    asked(rig, ALICE, shows=LAST_SEEN)
    asked(rig, CAROL, shows=ONLINE)
    assert told(rig) == [(BOB, "unknown", 0, (ALICE,)), (BOB, "online", 0, (CAROL,))]
    rig.leave(BOB)
    left_ms = rig.time_ms()
    rig.wait(5.2)
    rig.store_all()
    rig.wait(0.06)
    assert told(rig) == [(BOB, "unknown", left_ms, (ALICE,)), (BOB, "offline", 0, (CAROL,))]


def test_a_change_is_read_and_what_cannot_be_read_is_hidden_within_a_second() -> None:
    rig = LiveRig(settings=True)
    rig.come(BOB)
    asked(rig, ALICE)
    rig.answer(BOB, OPEN)
    told(rig)
    rig.live.privacies.on_changed(PrivacyChanged(BOB), OTHER)
    rig.wait(0.9)
    assert told(rig) == [], "it may be about something else"
    rig.wait(0.2)
    assert told(rig) == [(BOB, "unknown", 0, (ALICE,))]
    assert rig.answer(BOB, OPEN)
    assert told(rig) == [(BOB, "online", 0, (ALICE,))]


def test_a_change_that_cannot_be_read_hides_what_was_known() -> None:
    rig = LiveRig(settings=True)
    rig.come(BOB)
    asked(rig, ALICE)
    rig.answer(BOB, OPEN)
    told(rig)
    rig.live.privacies.on_changed(PrivacyChanged(BOB), OTHER)
    assert rig.answer(BOB, None)
    assert told(rig) == [(BOB, "unknown", 0, (ALICE,))]
    rig.wait(6)
    assert rig.answer(BOB, OPEN)
    assert told(rig) == [(BOB, "online", 0, (ALICE,))]
    assert rig.live.privacies.outdated == set()


def test_an_answer_that_a_change_has_overtaken_does_not_count() -> None:
    rig = LiveRig(settings=True)
    rig.come(BOB)
    asked(rig, ALICE)
    n = rig.live.privacies.asked[BOB]
    rig.live.privacies.on_changed(PrivacyChanged(BOB), OTHER)
    rig.live.privacies.told(BOB, n, OPEN)
    rig.wait(0.06)
    assert told(rig) == []


def test_what_somebody_shows_is_read_again_now_and_then_and_forgotten_with_the_last_watcher() -> None:
    rig = LiveRig(settings=True)
    rig.come(BOB)
    asked(rig, ALICE)
    rig.answer(BOB, OPEN)
    rig.wait(601)
    assert rig.answer(BOB, None), "the announcement of a change may be lost"
    assert rig.live.privacies.of(BOB) == OPEN, "a database that is down does not blank what is known"
    asked(rig, ALICE, shows=0)
    rig.wait(10)
    assert rig.live.privacies.known == {} and rig.live.presence.people == {}


def test_a_change_is_announced_until_the_present_home_has_it() -> None:
    rig = LiveRig(settings=True)
    rig.live.privacies.announce(BOB)
    rig.homes[BOB] = NEXT
    rig.hand_over(OTHER)
    rig.live.on_table()
    assert rig.frames(PrivacyChanged, NEXT)
    rig.hand_over(NEXT)
    rig.wait(2)
    assert rig.frames(PrivacyChanged, NEXT) == [] and rig.live.privacies.announced == {}
