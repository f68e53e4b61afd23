"""What the terminal client shows: nothing that people write steers the terminal, nothing is told by colour alone."""

from __future__ import annotations

import json

import msgspec
import pytest
from homing.presence import Known
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from tests.unit.client_fakes import BOB, EVE, GROUP, ME, entry
from tools.terminal.text import clean, clock, day, here, pad, plain_line, shorten, ticks, told, wrap, writing

NAMES = {ME: "you", BOB: "bob", EVE: "eve"}


def name_of(user: str) -> str:
    return NAMES[user]


@given(st.text())
def test_nothing_that_people_write_steers_the_terminal(text: str) -> None:
    shown = clean(text)
    assert not [c for c in shown if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160]
    assert "\n" not in clean(text, newlines=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ✓ 日本", "plain ✓ 日本"), ("a\x1b[2Jb", "a�[2Jb"), ("a\tb", "a   b"), ("one\r\ntwo", "one\ntwo"), ("\u202eabc", "�abc")],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.lists(st.tuples(st.sampled_from(["", "class:a"]), st.text("ab日 \n", max_size=30)), max_size=5), st.integers(8, 30))
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(pieces: list[tuple[str, str]], width: int) -> None:
    lines = wrap(pieces, width, 4)
    texts = ["".join(text for _, text in line) for line in lines]
    assert all(get_cwidth(text.rstrip(" ")) <= width for text in texts)
    assert "".join(texts).replace(" ", "") == "".join(t for _, t in pieces).replace(" ", "").replace("\n", "")


def test_lines_break_at_spaces_and_long_words_where_they_must() -> None:
    lines = wrap([("", "10:00 bob: hello there "), ("class:x", "✓✓ read")], 14, 6)
    assert ["".join(t for _, t in line).rstrip() for line in lines] == ["10:00 bob:", "      hello", "      there ✓✓", "      read"]
    assert ["".join(t for _, t in line) for line in wrap([("", "abcdefgh")], 5, 2)] == ["abcde", "  fgh"]


def test_text_is_cut_to_columns_not_characters() -> None:
    assert shorten("日本語", 5) == "日本…" and shorten("abc", 3) == "abc" and shorten("abcd", 3) == "ab…"
    assert pad("日本", 6) == "日本  "


def test_ticks_tell_by_their_text_how_far_a_message_came() -> None:
    e = entry(5, ME)
    assert ticks(e, [], 1) == "✓"
    assert ticks(e, [(5, 0)], 1) == "✓✓"
    assert ticks(e, [(5, 5)], 1) == "✓✓ read"
    assert ticks(e, [(4, 4)], 1) == "✓"
    assert ticks(e, [(5, 5), (4, 0)], 3) == "✓ 1/3"
    assert ticks(e, [(5, 5), (5, 0)], 2) == "✓✓ read by 1/2"


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("group.create", {"title": "Trip", "members": [BOB, EVE]}, "you made the group “Trip” with bob, eve"),
        ("group.add", {"members": [EVE]}, "you added eve"),
        ("group.remove", {"members": [EVE]}, "you removed eve"),
        ("group.leave", {}, "you left"),
        ("group.rename", {"title": "X\ny"}, "you named the group “X y”"),
        ("group.role", {"members": [BOB], "role": "admin"}, "you made bob admin"),
        ("group.party", {}, "you: group.party"),
        ("direct.block", {}, "you blocked messages here"),
        ("direct.unblock", {}, "you allowed messages here again"),
    ],
)
def test_group_entries_are_told_in_words(kind: str, body: dict[str, object], said: str) -> None:
    e = msgspec.structs.replace(entry(1, ME, conversation=GROUP, body=json.dumps(body)), type=kind)
    assert told(e, name_of) == said


def test_a_group_entry_that_cannot_be_read_is_told_without_details() -> None:
    assert told(msgspec.structs.replace(entry(1, ME, body="not json"), type="group.leave"), name_of) == "you left"


def test_plain_lines_are_name_and_text() -> None:
    assert plain_line(entry(1, BOB, body="hi\nthere"), name_of) == "bob: hi\n  there"
    assert plain_line(entry(1, BOB, body="\x1b]0;x\x07"), name_of) == "bob: �]0;x�"
    assert plain_line(entry(1, BOB, body="hi"), name_of, "Trip") == "[Trip] bob: hi"


def test_whether_somebody_is_here_is_told_in_words_and_not_where_it_is_not_known() -> None:
    now_ms = 1_700_000_000_000
    assert here(Known("online"), now_ms / 1000) == "● here" and here(Known(), now_ms / 1000) == ""
    assert here(Known("offline"), now_ms / 1000) == "not here"
    assert here(Known("offline", now_ms), now_ms / 1000) == f"last here {clock(now_ms)}"
    before = now_ms - 40 * 86_400_000
    assert here(Known("offline", before), now_ms / 1000) == f"last here {day(before)} {clock(before)}"


def test_who_writes_is_told_by_name_where_several_may() -> None:
    assert writing([], False) == "" and writing([("bob", "typing")], False) == "writing…"
    assert writing([("bob", "recording")], True) == "bob is recording…"
    assert writing([("bob", "typing"), ("eve", "recording")], True) == "bob and 1 more are writing…"
