"""IRC logs: the forms of many clients, times and dates, nicks, broken bytes."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from tools.replay.chat import Chat, ChatError
from tools.replay.irc import date_in_name, parse

DAY = date(2008, 4, 27)


def read(*lines: str | bytes, day: date | None = DAY) -> Chat:
    return parse(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n", day)


def rows(chat: Chat) -> list[tuple[str | None, str, str]]:
    return [(line.sender, line.text, line.kind) for line in chat.lines]


def times(chat: Chat) -> list[str]:
    return [line.at.strftime("%d %H:%M") for line in chat.lines]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("[04:46] <ann> hi there", 0),
        ("[04:46:07] <ann> hi there", 7),
        ("04:46 <ann> hi there", 0),
        ("04:46:07 <ann> hi there", 7),
        ("(04:46) <ann> hi there", 0),
        ("04:46 <@ann> hi there", 0),
        ("04:46 < ann> hi there", 0),
        ("[4:46] <+ann> hi there", 0),
        ("[2008-04-27 04:46:07] <ann> hi there", 7),
        ("2008-04-27T04:46:07 <ann> hi there", 7),
    ],
)
def test_a_message_is_read_in_every_form(line: str, seconds: int) -> None:
    chat = read(line)
    assert rows(chat) == [("ann", "hi there", "text")]
    assert chat.lines[0].at == datetime(2008, 4, 27, 4, 46, seconds)


@pytest.mark.parametrize("line", ["[04:46] * ann waves", "[04:46]  * ann waves", "04:46 * ann waves", "* ann waves", "04:46 -!- ann waves"])
def test_an_action_is_read_with_and_without_a_time(line: str) -> None:
    chat = read("[04:45] <ann> x", line)
    expected = (None, "ann waves", "system") if "-!-" in line else ("ann", "waves", "action")
    assert rows(chat)[1] == expected


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    chat = read("=== ann [x@y] has joined #c", "[04:46] <ann> x", "* ann waves", "[04:50] <ann> y", "=== ann is now known as bea")
    assert times(chat) == ["27 04:46", "27 04:46", "27 04:46", "27 04:50", "27 04:50"]


@pytest.mark.parametrize(
    ("text", "sender", "kind"),
    [
        ("=== ann [~a@host.example] has joined #c", "ann", "join"),
        ("=== ann [~a@host.example]  has joined #c", "ann", "join"),
        ("=== ann [~a@host.example]  has left #c []", "ann", "leave"),
        ("=== ann is now known as bea", "ann", "rename"),
        ("-!- ann [a@h] has quit [Ping timeout]", "ann", "leave"),
        ("*** ann (a@h) has joined #c", "ann", "join"),
        ("*** Joins: ann (a@h)", "ann", "join"),
        ("*** Quits: ann (a@h) (bye)", "ann", "leave"),
        ("--> ann (a@h) has joined #c", "ann", "join"),
        ("<-- ann has quit (bye)", "ann", "leave"),
        ("* ann (a@h) has joined #c", "ann", "join"),
        ("* ann is now known as bea", "ann", "rename"),
        ("-!- ann was kicked from #c by ops [spam]", "ann", "leave"),
        ("-!- ann changed the topic of #c to: a: b", "ann", "title"),
        ("-!- mode/#c [+o ann] by ChanServ", None, "system"),
        ("=== ann sets mode: +o bea", None, "system"),
        ("=== Topic for #c: pigeons", None, "system"),
    ],
)
def test_events_are_told_from_messages(text: str, sender: str | None, kind: str) -> None:
    chat = read("[04:46] <ann> x", f"[04:47] {text}")
    assert (chat.lines[1].sender, chat.lines[1].kind) == (sender, kind)
    assert (chat.counts.messages, chat.counts.events, chat.counts.unparsed) == (1, 1, 0)


def test_an_action_behind_the_sign_of_events_needs_a_nick_that_the_file_knows() -> None:
    chat = read("[04:46] <ann> x", "=== ann scrolls up", "=== bea scrolls up")
    assert rows(chat)[1:] == [("ann", "scrolls up", "action"), (None, "bea scrolls up", "system")]


def test_an_action_about_joining_is_an_action() -> None:
    assert rows(read("[04:46] * ann has joined us at last", "[04:46] * ann quit smoking"))[0] == ("ann", "has joined us at last", "action")
    assert rows(read("[04:46] * ann quit smoking"))[0] == ("ann", "quit smoking", "action")


def test_a_rename_makes_another_person() -> None:
    chat = read("[04:46] <ann> x", "=== ann is now known as bea", "[04:47] <bea> y")
    assert chat.senders == ["ann", "bea"]


def test_a_text_is_kept_to_the_letter() -> None:
    assert rows(read("[04:46] <ann>   <b> [04:47] \x02bold\x0f  "))[0] == ("ann", "  <b> [04:47] \x02bold\x0f  ", "text")
    assert rows(read("[04:46] <ann>", "[04:46] <ann> ", "[04:46] * ann")) == [
        ("ann", "", "text"),
        ("ann", "", "text"),
        ("ann", "", "action"),
    ]


@pytest.mark.parametrize("nick", ["|trey|", "[away]", "a`b", "x^y-z", "{m}", "joshua__", "n\\m", "Bob Smith"])
def test_nicks_may_have_every_sign_that_irc_allows(nick: str) -> None:
    assert rows(read(f"[04:46] <{nick}> x"))[0] == (nick, "x", "text")


def test_broken_bytes_become_characters_line_by_line() -> None:
    chat = read("[04:46] <é> ü".encode(), b"[04:46] <\xe9> \xfc \x80 \x81", bytes([*b"[04:46] <all> ", *range(128, 256)]))
    assert rows(chat)[:2] == [("é", "ü", "text"), ("é", "ü € \x81", "text")]
    assert len(chat.lines[2].text) == 128 == len(set(chat.lines[2].text))


def test_time_that_falls_is_the_next_day_and_jitter_is_not() -> None:
    chat = read(*(f"[{at}] <a> x" for at in ("23:58", "23:57", "00:01", "23:59", "00:02", "09:00", "08:00", "03:00", "02:59")))
    assert times(chat) == ["27 23:58", "27 23:57", "28 00:01", "27 23:59", "28 00:02", "28 09:00", "28 08:00", "29 03:00", "29 02:59"]


def test_a_log_that_starts_at_midnight_never_goes_before_its_date() -> None:
    assert times(read("[00:00] <a> x", "[23:59] <a> y", "[00:00] <a> z")) == ["27 00:00", "27 23:59", "28 00:00"]


def test_a_busy_log_without_hours_above_twelve_has_a_clock_of_twelve_hours() -> None:
    clocks = [f"{hour}:{minute:02}" for hour in (11, 12, 1, 2) for minute in range(30)]
    chat = read(*(f"[{clock}] <a> x" for clock in clocks))
    assert (times(chat)[0], times(chat)[-1]) == ("27 11:00", "27 14:29")
    assert "twelve hours" in chat.notes[0]
    assert times(read("[12:59] <a> x", "[01:00] <a> y")) == ["27 12:59", "28 01:00"]


def test_dates_come_from_the_log_where_it_has_them() -> None:
    chat = read("--- Log opened Sat Apr 26 22:00:00 2008", "22:01 <a> x", "--- Day changed Mon Apr 28 2008", "00:05 <a> y", day=None)
    assert times(chat) == ["26 00:00", "26 22:01", "28 00:00", "28 00:05"]
    assert chat.lines[0].at.year == 2008
    assert [line.kind for line in chat.lines] == ["system", "text", "system", "text"]


def test_without_any_date_the_log_starts_in_1970_and_says_so() -> None:
    chat = read("[10:00] <a> x", day=None)
    assert chat.lines[0].at == datetime(1970, 1, 1, 10)
    assert "1970" in chat.notes[0]


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("2008-04-27.train-a.raw.txt", DAY),
        ("#ubuntu-20080427.log", DAY),
        ("ubuntu_2008.04.27", DAY),
        ("2008-13-27.log", None),
        ("chat.log", None),
        ("12008042700.log", None),
    ],
)
def test_a_date_is_found_in_the_name_of_the_file(name: str, day: date | None) -> None:
    assert date_in_name(name) == day


def test_a_line_that_no_rule_knows_is_kept_and_counted() -> None:
    chat = read("[04:46] <a> x", "[04:47] what is this", "", "nor this")
    assert rows(chat)[1:] == [(None, "what is this", "system"), (None, "nor this", "system")]
    assert (chat.counts.unparsed, chat.counts.blank, chat.counts.lines) == (2, 1, 4)


def test_a_file_in_which_nobody_speaks_is_refused() -> None:
    with pytest.raises(ChatError, match=r"<nick> text"):
        read("hello", "world")
