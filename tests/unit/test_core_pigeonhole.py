"""What waits for a device that polls: given again until acknowledged, in order, within bounds; and how far it may say that it is."""

from __future__ import annotations

import random

import pytest

from node.core.pigeonhole import Cursor, Pigeonhole, parse_cursor

NAME = "0123456789abcdef"


def hole(sync: int = 5, frames_max: int = 100, bytes_max: int = 10_000) -> Pigeonhole:
    return Pigeonhole(NAME, sync, frames_max, bytes_max)


def frame(number: int) -> bytes:
    return b'{"op":"message","entry":%d}' % number


def pong(cursor: int | None) -> bytes:
    return b'{"op":"pong","time":1}' if cursor is None else b'{"op":"pong","time":1,"cursor":"%d"}' % cursor


def synced(cursor: int) -> bytes:
    return b'{"op":"synced","cursor":"%d"}' % cursor


def test_a_batch_is_the_same_until_it_is_acknowledged_and_what_came_meanwhile_follows() -> None:
    h = hole()
    for number in (1, 2):
        assert h.put(frame(number))
    first = h.take(1_000)
    assert first == ([frame(1), frame(2)], Cursor(NAME, 1, 5))
    h.put(frame(3))
    assert h.knows(Cursor(NAME, 0, 5))
    h.accept(Cursor(NAME, 0, 5))
    assert h.take(1_000) == first
    assert h.knows(first.cursor)
    h.accept(first.cursor)
    assert h.take(1_000) == ([frame(3)], Cursor(NAME, 2, 5))


def test_an_empty_answer_is_no_batch() -> None:
    h = hole()
    assert h.take(1_000) == ([], Cursor(NAME, 0, 5))
    assert h.take(1_000) == ([], Cursor(NAME, 0, 5))
    assert not h.has_something()


def test_a_cursor_that_goes_back_or_is_another_holes_is_not_known() -> None:
    h = hole()
    h.put(frame(1))
    got = h.take(1_000).cursor
    assert not h.knows(Cursor(NAME, 2, 5))
    assert not h.knows(Cursor("f" * 16, 1, 5))
    h.accept(got)
    assert not h.knows(Cursor(NAME, 0, 5)), "its batch was acknowledged: it is not kept"
    assert h.knows(got)


def test_the_sync_cursor_never_passes_a_frame_that_was_not_given() -> None:
    h = hole()
    h.put(frame(1))
    h.put(synced(100))
    h.put(frame(2))
    h.put(pong(200))
    h.put(pong(None))
    h.put(frame(3))
    batch = h.take(len(frame(1)))
    assert batch == ([frame(1)], Cursor(NAME, 1, 5))
    h.accept(batch.cursor)
    batch = h.take(len(synced(100)) + len(frame(2)))
    assert batch == ([synced(100), frame(2)], Cursor(NAME, 2, 100))
    h.put(pong(300))
    assert h.take(1_000) == batch, "the one that was given stays as it is, its cursor too"
    h.accept(batch.cursor)
    assert h.take(1_000) == ([frame(3)], Cursor(NAME, 3, 300))


def test_a_pong_is_nothing_to_tell() -> None:
    h = hole()
    h.put(pong(7))
    assert not h.has_something()
    assert h.take(1_000) == ([], Cursor(NAME, 0, 7))
    h.put(frame(1))
    got = h.take(1_000).cursor
    h.put(pong(9))
    h.accept(got)
    assert not h.has_something()
    assert h.take(1_000) == ([], Cursor(NAME, 1, 9))
    assert h.bytes == 0


def test_frames_and_bytes_are_bounded_with_what_was_given() -> None:
    h = hole(frames_max=3)
    for number in (1, 2, 3):
        assert h.put(frame(number))
    assert not h.put(frame(4))
    got = h.take(1_000).cursor
    assert not h.put(frame(4)), "given is not acknowledged"
    h.accept(got)
    assert h.put(frame(4))
    h = hole(bytes_max=2 * len(frame(1)))
    assert h.put(frame(1)) and h.put(frame(2))
    assert not h.put(frame(3))
    got = h.take(1).cursor
    assert h.bytes == 2 * len(frame(1))
    h.accept(got)
    assert h.bytes == len(frame(1))


@pytest.mark.parametrize(
    "text", ["", "1", f"{NAME}.1", f"{NAME}.1.1.1", f"{NAME}.-1.1", f"{NAME}.1.1\n", f"{NAME.upper()}.1.1", f"{NAME}.1.٣"]
)
def test_what_was_never_a_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        parse_cursor(text)


def test_a_cursor_is_read_as_it_was_written() -> None:
    assert parse_cursor(Cursor(NAME, 7, 9).text()) == Cursor(NAME, 7, 9)


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_lost_all_frames_arrive_in_order(seed: int) -> None:
    chance = random.Random(seed)
    h, told, cursor, sent = hole(), 0, Cursor(NAME, 0, 5), 0
    got: list[bytes] = []
    while len(got) < 200 or h.has_something():
        for _ in range(chance.randrange(4)):
            if sent < 200 and h.put(frame(sent)):
                sent += 1
            h.put(pong(1_000 + sent))
        assert h.knows(cursor)
        h.accept(cursor)
        batch = h.take(chance.choice((1, 60, 500)))
        if chance.random() < 0.4:
            continue  # the answer is lost
        if batch.cursor.n != cursor.n:
            got += batch.frames
        cursor, told = batch.cursor, max(told, batch.cursor.sync)
        assert cursor.sync == 5 or cursor.sync - 1_000 <= len(got), "it says no more than was given"
    assert got == [frame(number) for number in range(200)]
