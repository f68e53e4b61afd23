"""What people are called: typed before told, asked for seldom, remembered in bounds."""

from __future__ import annotations

from homing import ids
from homing.limits import Limits
from homing.people import People
from homing.state import PersonState

from tests.unit.client_fakes import BOB, EVE, GROUP

NOW = 1_800_000_000_000
DAY = 86_400_000


def people(**limits: int) -> People:
    return People(Limits(**limits))


def test_what_the_user_typed_is_never_overwritten_by_what_a_home_tells() -> None:
    p = people()
    p.type(BOB, "bob")
    assert p.tell(BOB, "Robert", NOW) is False
    assert p.name(BOB) == "bob"
    p.type(BOB, "Bobby")
    assert p.names() == {BOB: "Bobby"}


def test_a_home_tells_a_name_and_later_another() -> None:
    p = people()
    assert p.name(BOB) == ""
    assert p.tell(BOB, "Bob", NOW) is True
    assert p.tell(BOB, "Bob", NOW) is False
    assert p.tell(BOB, "Robert", NOW) is True
    assert p.tell(BOB, "", NOW) is False, "a home that does not know (any more) takes nothing away"
    assert p.name(BOB) == "Robert"


def test_a_home_is_asked_once_and_then_once_a_day() -> None:
    p = people()
    assert p.is_due(BOB, NOW)
    p.ask("q", BOB)
    assert not p.is_due(BOB, NOW) and p.is_asked(BOB)
    assert p.end("q") == BOB and p.end("q") is None
    p.tell(BOB, "Bob", NOW)
    assert not p.is_due(BOB, NOW + DAY - 1)
    assert p.is_due(BOB, NOW + DAY)
    assert p.is_due(BOB, NOW - 1), "the clock went back: who knows how long ago that was"


def test_a_question_that_nobody_answered_may_be_asked_again() -> None:
    p = people()
    p.ask("q", BOB)
    p.end("q")
    assert p.is_due(BOB, NOW)


def test_whoever_his_home_did_not_know_is_asked_for_again_when_he_speaks_at_most_once_a_minute() -> None:
    p = people()
    p.tell(BOB, "", NOW)
    assert not p.is_due(BOB, NOW + 100_000)
    p.spoke(BOB, NOW + 59_000)
    assert not p.is_due(BOB, NOW + 59_000)
    p.spoke(BOB, NOW + 60_000)
    assert p.is_due(BOB, NOW + 60_000)
    p.tell(BOB, "Bob", NOW)
    p.spoke(BOB, NOW + 100_000)
    assert not p.is_due(BOB, NOW + 100_000)


def test_nobody_asks_for_what_is_no_user() -> None:
    assert not any(people().is_due(id_, NOW) for id_ in ("", "bob", GROUP, BOB[:-1], "x" * 32))


def test_what_changed_is_written_once_and_again_if_it_could_not_be() -> None:
    p = people()
    p.type(BOB, "bob")
    p.tell(EVE, "Eve", NOW)
    assert p.take_changes() == ([PersonState(BOB, "bob"), PersonState(EVE, "", "Eve", NOW)], [])
    assert p.take_changes() == ([], [])
    p.restore([EVE])
    p.type(BOB, "bob")
    assert p.take_changes() == ([PersonState(EVE, "", "Eve", NOW)], [])


def test_those_met_longest_ago_are_forgotten_here_and_in_the_store() -> None:
    p = people(people_max=3)
    users = [ids.user_id(f"u{n}") for n in range(5)]
    for n, user in enumerate(users):
        p.tell(user, f"u{n}", NOW)
        if n == 2:
            p.tell(users[0], "u0", NOW)
        p.check()
    assert p.names().keys() == {users[0], users[3], users[4]}
    assert p.take_changes()[1] == [users[1], users[2]]


def test_what_was_typed_before_the_store_was_opened_goes_before_what_was_stored() -> None:
    p = people()
    p.type(BOB, "bob")
    p.load([PersonState(BOB, "robert", "Rob", NOW), PersonState(EVE, "", "Eve", NOW)])
    assert p.names() == {BOB: "bob", EVE: "Eve"}
    assert p.take_changes() == ([PersonState(BOB, "bob", "Rob", NOW)], [])


def test_a_name_that_no_store_could_hold_is_made_one_that_can() -> None:
    p = people()
    p.type(BOB, "b\udcff")
    p.tell(EVE, "e" * 10_000, NOW)
    assert p.names() == {BOB: "b?", EVE: "e" * 128}
