"""The checkers of the survival tests see each fault that is planted into an honest record, and nothing in the honest one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import pytest
from homing import ids
from homing.protocol import Entry

from tests.survival import checks
from tests.survival.records import Histories, Members, Said, Screen

ANN, BEN, CID = (ids.user_id(name) for name in ("ann", "ben", "cid"))
PAIR = ids.direct_id(ANN, BEN)
GROUP = ids.group_id(bytes(range(16)))
MEMBERS: Members = {PAIR: [ANN, BEN], GROUP: [ANN, BEN, CID]}


@dataclass
class Record:
    """All that one run notes."""

    said: list[Said] = field(default_factory=list)
    histories: Histories = field(default_factory=dict)
    screens: list[Screen] = field(default_factory=list)
    truth: dict[str, list[Entry]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        found = {
            "answered": checks.all_answered(self.said),
            "acked": checks.acked_is_everywhere(self.said, self.histories, MEMBERS, {}),
            "order": checks.once_and_in_order(self.histories, {}),
            "same": checks.same_for_all(self.histories, MEMBERS),
            "invented": checks.nothing_invented(self.said, self.histories),
            "own": checks.own_order(self.said),
            "screens": checks.screens_are_true(self.screens, self.truth, MEMBERS, {}),
            "marks": checks.marks_have_arrived(self.screens, self.said, MEMBERS),
        }
        return [name for name, problems in found.items() if checks.some(problems)]

    def log(self, user: str) -> list[Entry]:
        return self.histories[user][GROUP]


def honest() -> Record:
    """Each says three things in turn, in both conversations where he is a member; all is shown, all is marked."""
    record = Record()
    for conversation, users in MEMBERS.items():
        entries = []
        for n in range(3 * len(users)):
            user = users[n % len(users)]
            said = Said(f"{conversation[:4]}{n}", conversation, user, f"{user[:4]}/d", f"word {n}", float(n))
            said.entry = Entry(
                conversation=conversation, seq=n + 1, message_id=ids.message_id(conversation, n + 1, 2), sender=user, id=said.id,
                body=said.body, ts=1_000 + n, ordinal=n + 1,
            )  # fmt: skip
            entries.append(said.entry)
            record.said.append(said)
        record.truth[conversation] = list(entries)
        for user in users:
            record.histories.setdefault(user, {})[conversation] = list(entries)
    for user, conversations in record.histories.items():
        reached = {c: len(entries) for c, entries in conversations.items()}
        marks = {c: {other: (reached[c], reached[c] - 2) for other in MEMBERS[c] if other != user} for c in conversations}
        read = {c: seq - 2 for c, seq in reached.items()}
        record.screens.append(Screen(f"{user[:4]}/d", user, copy.deepcopy(conversations), [], marks, reached, read))
    return record


def lost_for_one(r: Record) -> None:
    del r.log(BEN)[4]


def lost_for_all(r: Record) -> None:
    for user in MEMBERS[GROUP]:
        del r.log(user)[-1]


def doubled(r: Record) -> None:
    for user in MEMBERS[GROUP]:
        last = r.log(user)[-1]
        seq = last.seq + 1
        r.log(user).append(
            msgspec.structs.replace(last, seq=seq, message_id=ids.message_id(GROUP, seq, 2), id=r.log(user)[2].id, ordinal=last.ordinal + 1)
        )


def swapped_for_one(r: Record) -> None:
    log = r.log(CID)
    log[2], log[3] = log[3], log[2]


def two_bodies_swapped(r: Record) -> None:
    for user in MEMBERS[GROUP]:
        log = r.log(user)
        log[2], log[3] = (msgspec.structs.replace(a, body=b.body) for a, b in ((log[2], log[3]), (log[3], log[2])))


def another_seq_than_told(r: Record) -> None:
    entry = r.said[-1].entry
    assert entry is not None
    r.said[-1].entry = msgspec.structs.replace(entry, seq=entry.seq - 1)


def another_term_than_told(r: Record) -> None:
    entry = r.said[-1].entry
    assert entry is not None
    r.said[-1].entry = msgspec.structs.replace(entry, message_id=ids.message_id(GROUP, entry.seq, 3))


def invented(r: Record) -> None:
    r.said.pop()


def time_falls(r: Record) -> None:
    for user in MEMBERS[GROUP]:
        r.log(user)[4] = msgspec.structs.replace(r.log(user)[4], ts=1)


def unanswered(r: Record) -> None:
    r.said[-1].entry = None


def refused(r: Record) -> None:
    r.said[-1].refused = "not_a_member"


def own_words_changed_places(r: Record) -> None:
    r.said[-1].entry, r.said[-4].entry = r.said[-4].entry, r.said[-1].entry


def shown_twice(r: Record) -> None:
    shown = r.screens[0].shown[GROUP]
    shown.insert(3, shown[2])


def never_shown(r: Record) -> None:
    del r.screens[0].shown[GROUP][2]


def last_never_shown(r: Record) -> None:
    r.screens[1].shown[PAIR].pop()


def shown_out_of_order(r: Record) -> None:
    shown = r.screens[2].shown[GROUP]
    shown[0], shown[1] = shown[1], shown[0]


def shown_to_a_stranger(r: Record) -> None:
    r.screens[2].shown[PAIR] = list(r.truth[PAIR])


def skipped(r: Record) -> None:
    r.screens[0].gaps.append("too_many")


def delivered_forgotten(r: Record) -> None:
    r.screens[0].marks[GROUP][BEN] = (6, 6)


def read_forgotten(r: Record) -> None:
    r.screens[0].marks[GROUP][BEN] = (9, 3)


PLANTED: list[tuple[Callable[[Record], None], set[str]]] = [
    (lost_for_one, {"acked", "order", "same"}),
    (lost_for_all, {"acked"}),
    (doubled, {"order", "invented"}),
    (swapped_for_one, {"order", "same"}),
    (two_bodies_swapped, {"acked", "invented"}),
    (another_seq_than_told, {"acked"}),
    (another_term_than_told, {"acked"}),
    (invented, {"invented"}),
    (time_falls, {"order"}),
    (unanswered, {"answered"}),
    (refused, {"answered"}),
    (own_words_changed_places, {"acked", "own"}),
    (shown_twice, {"screens"}),
    (never_shown, {"screens"}),
    (last_never_shown, {"screens"}),
    (shown_out_of_order, {"screens"}),
    (shown_to_a_stranger, {"screens"}),
    (skipped, {"screens"}),
    (delivered_forgotten, {"marks"}),
    (read_forgotten, {"marks"}),
]


def test_an_honest_record_has_no_problem() -> None:
    assert honest().problems() == []


@pytest.mark.parametrize(("plant", "seen"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_seen(plant: Callable[[Record], None], seen: set[str]) -> None:
    record = honest()
    plant(record)
    assert seen <= set(record.problems())


# ---------------------------------------------------------------- who comes and goes


def stays() -> tuple[list[Entry], Screen]:
    """Ben is in the group from 2 to 4 and from 7 on."""
    kinds = {2: "group.add", 4: "group.remove", 7: "group.add"}
    log = [
        Entry(
            conversation=GROUP, seq=seq, message_id=ids.message_id(GROUP, seq, 1), sender=ANN, id=f"i{seq}", type=kinds.get(seq, "text"),
            body=f'{{"members":["{BEN}"]}}' if seq in kinds else f"word {seq}", ts=seq, ordinal=seq,
        )
        for seq in range(1, 10)
    ]  # fmt: skip
    return log, Screen("ben/d", BEN, {GROUP: [e for e in log if e.seq in (2, 3, 4, 7, 8, 9)]})


def test_a_guest_who_saw_his_time_has_no_problem() -> None:
    log, screen = stays()
    assert list(checks.guests_see_their_time(screen, log, GROUP)) == []
    del screen.shown[GROUP][:2]  # he was offline in his first stay
    assert list(checks.guests_see_their_time(screen, log, GROUP)) == []


@pytest.mark.parametrize("plant", ["before", "between", "missing", "twice", "other"])
def test_a_guest_who_saw_something_else_is_noticed(plant: str) -> None:
    log, screen = stays()
    shown = screen.shown[GROUP]
    match plant:
        case "before":
            shown.insert(0, log[0])
        case "between":
            shown.insert(3, log[4])
        case "missing":
            del shown[4]
        case "twice":
            shown.append(shown[-1])
        case "other":
            shown[1] = msgspec.structs.replace(shown[1], body="another")
    assert len(list(checks.guests_see_their_time(screen, log, GROUP))) == 1


# ---------------------------------------------------------------- a device that is killed


def test_a_device_that_died_between_keeping_and_showing_has_no_problem() -> None:
    log, _ = stays()
    shown = {GROUP: [log[3], log[5], log[8]]}
    assert list(checks.shown_once_over_lives("ben/d", shown)) == []
    assert list(checks.kept_is_true("ben/d", {GROUP: log[2:]}, {GROUP: log}, shown)) == []


def test_a_device_that_shows_again_what_it_showed_in_an_earlier_life_is_noticed() -> None:
    log, _ = stays()
    assert len(list(checks.shown_once_over_lives("ben/d", {GROUP: [log[3], log[5], log[5]]}))) == 1
    assert len(list(checks.shown_once_over_lives("ben/d", {GROUP: [log[5], log[3]]}))) == 1


def test_a_store_with_a_hole_or_another_word_is_noticed() -> None:
    log, _ = stays()
    truth, shown = {GROUP: log}, {GROUP: [log[3]]}
    assert len(list(checks.kept_is_true("ben/d", {GROUP: log[4:]}, truth, shown))) == 1
    assert len(list(checks.kept_is_true("ben/d", {GROUP: [*log[2:5], *log[6:]]}, truth, shown))) == 1
    changed = [*log[2:5], msgspec.structs.replace(log[5], body="another"), *log[6:]]
    assert len(list(checks.kept_is_true("ben/d", {GROUP: changed}, truth, shown))) == 1
