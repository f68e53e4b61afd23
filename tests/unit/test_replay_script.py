"""What is played: people, cues, limits, pace; and who goes away meanwhile."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from homing import ids
from homing.protocol import BODY_CHARS_MAX
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.replay.chat import Chat, ChatError, Counts, Kind, Line
from tools.replay.churn import Turn, make_plan
from tools.replay.script import Said, make_script

START = datetime(2024, 1, 1, 10)


def chat(*lines: tuple[float, str | None, str, Kind]) -> Chat:
    made = [Line(START + timedelta(seconds=s), sender, text, kind, n) for n, (s, sender, text, kind) in enumerate(lines, 1)]
    return Chat("irc", made, Counts(lines=len(made)))


def test_messages_are_played_and_events_are_not() -> None:
    script = make_script(
        chat((0, "a", "a has joined #c", "join"), (1, "a", "x", "text"), (2, None, "s", "system"), (3, "b", "w", "action")), "t"
    )
    assert [(cue.line, cue.said) for cue in script.cues] == [
        (2, Said(ids.user_id("a"), "text", "x")),
        (4, Said(ids.user_id("b"), "action", "w")),
    ]
    assert [person.name for person in script.people] == ["a", "b"]


def test_names_of_one_account_are_one_person() -> None:
    script = make_script(chat((0, "Ann", "x", "text"), (1, "ann", "y", "text"), (2, "bea", "z", "text")), "t")
    assert [person.name for person in script.people] == ["Ann", "bea"]
    assert [cue.person for cue in script.cues] == [0, 0, 1]


def test_a_message_that_is_too_long_is_refused_and_its_line_named() -> None:
    make_script(chat((0, "a", "x" * BODY_CHARS_MAX, "text")), "t")
    with pytest.raises(ChatError, match=r"line 2 has 16385 characters"):
        make_script(chat((0, "a", "x", "text"), (0, "a", "x" * (BODY_CHARS_MAX + 1), "text")), "t")
    with pytest.raises(ChatError, match=r"line 1 takes 65538 bytes"):
        make_script(chat((0, "a", "🌱" * BODY_CHARS_MAX, "text")), "t")


def test_more_people_than_a_group_holds_are_refused() -> None:
    make_script(chat(*((0.0, f"p{n}", "x", "text") for n in range(1024))), "t")
    with pytest.raises(ChatError, match="1025 people"):
        make_script(chat(*((0.0, f"p{n}", "x", "text") for n in range(1025))), "t")


def test_a_chat_in_which_nothing_is_said_is_refused() -> None:
    with pytest.raises(ChatError, match="nobody says anything"):
        make_script(chat((0, None, "x", "system")), "t")


def test_the_pace_is_the_files_and_never_goes_back() -> None:
    script = make_script(chat((0, "a", "x", "text"), (7, "a", "x", "text"), (5, "a", "x", "text"), (60, "a", "x", "text")), "t")
    assert [cue.due_s for cue in script.cues] == [0, 7, 7, 60]


def test_messages_of_one_minute_are_spread_over_it_where_there_are_no_seconds() -> None:
    script = make_script(chat(*((s, "a", "x", "text") for s in (0, 0, 0, 60, 60, 180))), "t")
    assert [cue.due_s for cue in script.cues] == [0, 20, 40, 60, 90, 180]


@given(st.integers(1, 12), st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_nobody_speaks_while_away_and_everybody_comes_back(people: int, cues: int, fraction: float, seed: int) -> None:
    draw = random.Random(seed)
    speakers = [draw.randrange(people) for _ in range(cues)]
    plan = make_plan(people, speakers, fraction, random.Random(seed))
    assert len(plan.movers) == (min(people, max(1, round(people * fraction))) if fraction else 0)
    away: set[int] = set()
    for cue in range(cues + 1):
        for turn in plan.turns.get(cue, []):
            assert turn.person in plan.movers
            if turn.move == "break":
                assert speakers[cue] == turn.person
            else:
                assert (turn.person in away) == (turn.move == "back")
                away ^= {turn.person}
        assert cue == cues or speakers[cue] not in away
    assert not away


def test_a_seed_gives_the_same_plan_again_and_another_seed_another() -> None:
    speakers = [n % 10 for n in range(100)]
    plans = [make_plan(10, speakers, 0.3, random.Random(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    assert {turn.move for turns in plans[0].turns.values() for turn in turns} == {"away", "back", "break"}
    assert all(isinstance(turn, Turn) for turns in plans[0].turns.values() for turn in turns)
