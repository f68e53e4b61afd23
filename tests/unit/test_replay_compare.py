"""The comparison of a history with the file sees every way in which they can differ."""

from __future__ import annotations

import msgspec
import pytest
from homing import ids
from homing.protocol import Entry

from tools.replay.compare import compare
from tools.replay.script import Cue, Said

GROUP = ids.group_id(bytes(range(16)))
USERS = [ids.user_id(name) for name in ("ann", "bea", "cid")]
WORDS = ["hi", "hello", "hi", "how are you", "fine", "fine", "bye"]
PEOPLE = [0, 1, 2, 0, 1, 1, 2]
CUES = [Cue(10 + n, p, Said(USERS[p], "text", word), float(n)) for n, (p, word) in enumerate(zip(PEOPLE, WORDS, strict=True))]
SENT_IDS = [f"id-{n}" for n in range(len(WORDS))]


def history() -> list[Entry]:
    """What a participant has if all is well: the group's creation, then the file's messages."""
    entries = [Entry(conversation=GROUP, seq=1, message_id=f"{GROUP}.1.1", sender=USERS[0], id="c", type="group.create", ts=1, ordinal=0)]
    for n, cue in enumerate(CUES):
        seq = n + 2
        entries.append(
            Entry(
                conversation=GROUP, seq=seq, message_id=f"{GROUP}.{seq}.1", sender=cue.said.sender, id=SENT_IDS[n],
                type=cue.said.type, body=cue.said.body, ts=seq, ordinal=n + 1,
            )
        )  # fmt: skip
    return entries


def renumbered(entries: list[Entry]) -> list[Entry]:
    """As a log would number them: so that only the difference under test is there."""
    return [msgspec.structs.replace(e, seq=n, message_id=f"{GROUP}.{n}.1") for n, e in enumerate(entries, 1)]


def test_a_history_that_is_the_file_has_no_mismatch() -> None:
    assert compare(CUES, SENT_IDS, history()) is None


@pytest.mark.parametrize("place", range(len(CUES)))
def test_a_missing_message_is_seen(place: int) -> None:
    entries = history()
    del entries[place + 1]
    mismatch = compare(CUES, SENT_IDS, renumbered(entries))
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place, mismatch.line, mismatch.expected) == ("missing", place + 1, 10 + place, CUES[place].said)


@pytest.mark.parametrize("place", range(len(CUES)))
@pytest.mark.parametrize("to", [1, 3, 99])
def test_a_doubled_message_is_seen(place: int, to: int) -> None:
    entries = history()
    entries.insert(place + 1 + to, entries[place + 1])
    mismatch = compare(CUES, SENT_IDS, renumbered(entries))
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place) == ("doubled", min(place + to, len(CUES)) + 1)


@pytest.mark.parametrize("place", range(len(CUES) - 1))
def test_swapped_messages_are_seen_also_if_they_say_the_same(place: int) -> None:
    entries = history()
    entries[place + 1], entries[place + 2] = entries[place + 2], entries[place + 1]
    mismatch = compare(CUES, SENT_IDS, renumbered(entries))
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place) == ("out of order", place + 1)


@pytest.mark.parametrize("field", ["body", "sender", "type"])
@pytest.mark.parametrize("place", range(len(CUES)))
def test_a_changed_message_is_seen(place: int, field: str) -> None:
    entries = history()
    other = {"body": "hi ", "sender": ids.user_id("eve"), "type": "action"}[field]
    entries[place + 1] = msgspec.structs.replace(entries[place + 1], **{field: other})
    mismatch = compare(CUES, SENT_IDS, entries)
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place, mismatch.line) == ("changed", place + 1, 10 + place)


@pytest.mark.parametrize("place", [0, 3, len(CUES)])
def test_a_message_that_nobody_of_the_file_sent_is_seen(place: int) -> None:
    entries = history()
    foreign = msgspec.structs.replace(entries[1], id="other", body="spam")
    entries.insert(place + 1, foreign)
    mismatch = compare(CUES, SENT_IDS, renumbered(entries))
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place) == ("foreign", place + 1)


def test_an_empty_history_and_one_that_ends_early_are_seen() -> None:
    for length in range(len(CUES)):
        mismatch = compare(CUES, SENT_IDS, history()[: length + 1])
        assert mismatch is not None
        assert (mismatch.fault, mismatch.place, mismatch.found) == ("missing", length + 1, None)


def test_a_hole_in_the_seqs_is_seen_though_the_messages_are_all_there() -> None:
    entries = history()
    entries[4] = msgspec.structs.replace(entries[4], seq=entries[4].seq + 1)
    mismatch = compare(CUES, SENT_IDS, entries)
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place) == ("gap in seq", 4)


def test_one_message_id_under_two_messages_is_seen() -> None:
    entries = history()
    entries[5] = msgspec.structs.replace(entries[5], message_id=entries[4].message_id)
    mismatch = compare(CUES, SENT_IDS, entries)
    assert mismatch is not None
    assert (mismatch.fault, mismatch.place) == ("doubled", 5)


def test_a_mismatch_is_told_with_place_and_line_and_both_sides() -> None:
    entries = history()
    del entries[3]
    mismatch = compare(CUES, SENT_IDS, renumbered(entries))
    assert mismatch is not None
    assert mismatch.tell({USERS[2]: "cid"}).startswith(
        "message 3 (line 12): missing; the file has text 'hi' of cid, the history text 'how are you' of "
    )
