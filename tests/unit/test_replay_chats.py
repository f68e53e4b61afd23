"""The chats shipped in tests/data/chats parse to the lines written down beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.replay.chat import Counts
from tools.replay.detect import read_chat

CHATS = Path(__file__).parent.parent / "data" / "chats"
FILES = sorted(path for path in CHATS.iterdir() if path.suffix in (".txt", ".log"))
FORMATS = {
    "android-day-first.txt": ("whatsapp-android", Counts(lines=25, messages=15, events=5, continuations=5)),
    "android-us.txt": ("whatsapp-android", Counts(lines=13, messages=10, events=1, continuations=2)),
    "ios-arabic.txt": ("whatsapp-ios", Counts(lines=9, messages=7, events=1, continuations=1)),
    "ios-german.txt": ("whatsapp-ios", Counts(lines=19, messages=10, events=3, continuations=6)),
    "irc-2023-11-04.log": ("irc", Counts(lines=23, messages=16, events=6, blank=1)),
}


def test_there_is_a_chat_of_every_format() -> None:
    assert {path.name for path in FILES} == set(FORMATS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_chat_parses_to_the_lines_beside_it(path: Path) -> None:
    chat = read_chat(path.read_bytes(), path.name)
    expected = [json.loads(line) for line in path.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    assert [json.loads(line.to_json()) for line in chat.lines] == expected
    assert all(list(row) == ["at", "sender", "text", "kind"] for row in expected)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_of_a_shipped_chat_is_accounted_for(path: Path) -> None:
    chat = read_chat(path.read_bytes(), path.name)
    assert (chat.format, chat.counts) == FORMATS[path.name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_line_knows_where_it_stands_in_the_file(path: Path) -> None:
    chat = read_chat(path.read_bytes(), path.name)
    raw = path.read_bytes().split(b"\n")
    for line in chat.lines:
        first = line.text.split("\n")[0]
        if first.isascii():
            assert first.encode() in raw[line.number - 1]
