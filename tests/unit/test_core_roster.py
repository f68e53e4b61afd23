"""Memberships: who may do what, who sees what."""

from __future__ import annotations

import json

import pytest
from homing import codes

from node.core.roster import Denied, Roster
from storage.store import EntryRow
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE


def entry(seq: int, kind: str, sender: str = ALICE, **what: object) -> EntryRow:
    return EntryRow("c", seq, 1, sender, f"i{seq}", kind, json.dumps(what), 0, 0)


def group() -> Roster:
    roster = Roster()
    roster.apply(entry(1, "group.create", members=[BOB, CAROL], title="Three"))
    return roster


def denied(roster: Roster, *args: object) -> codes.Code:
    with pytest.raises(Denied) as caught:
        roster.check(*args)  # type: ignore[arg-type]
    return caught.value.code


def test_who_was_removed_sees_his_removal_and_nothing_after_it() -> None:
    roster = group()
    roster.apply(entry(5, "group.remove", members=[BOB]))
    assert roster.sees(BOB, 5) and not roster.sees(BOB, 6)
    assert roster.window(BOB, 9) == (1, 5)
    assert not roster.may_write(BOB) and BOB not in roster.current()


def test_who_was_added_sees_nothing_before_it_and_is_no_member_before_it_is_said() -> None:
    roster = group()
    roster.apply(entry(4, "group.add", members=[DAVE]))
    assert not roster.sees(DAVE, 3) and roster.sees(DAVE, 4)
    assert roster.window(DAVE, 3) is None and roster.window(DAVE, 7) == (4, 7)


def test_who_comes_back_sees_from_there_on() -> None:
    roster = group()
    roster.apply(entry(4, "group.remove", members=[BOB]))
    roster.apply(entry(8, "group.add", members=[BOB]))
    assert roster.window(BOB, 9) == (8, 9)


def test_applying_the_last_entries_again_changes_nothing() -> None:
    entries = [
        entry(1, "group.create", members=[BOB, CAROL], title="Three"),
        entry(3, "group.role", members=[BOB], role="admin"),
        entry(4, "group.remove", members=[CAROL]),
        entry(6, "group.add", members=[CAROL, DAVE]),
        entry(7, "group.leave", sender=DAVE, members=[DAVE]),
        entry(9, "group.rename", title="Other"),
    ]
    once, rows = Roster(), {}
    for e in entries:
        for row in once.apply(e):
            rows[row.user] = row
    again = Roster()
    again.load(rows.values())
    for e in entries:
        again.apply(e)
    assert again.by_user == once.by_user and again.title == once.title == "Other" and again.version == 9


def test_only_owner_and_admins_change_members_and_only_the_owner_makes_admins() -> None:
    roster = group()
    assert denied(roster, "group.add", BOB, (DAVE,), "") == codes.FORBIDDEN
    assert denied(roster, "group.role", BOB, (CAROL,), "admin") == codes.FORBIDDEN
    assert roster.check("group.role", ALICE, (BOB,), "admin") == (BOB,)
    roster.apply(entry(2, "group.role", members=[BOB], role="admin"))
    assert roster.check("group.add", BOB, (DAVE, DAVE, CAROL), "") == (DAVE,)
    assert denied(roster, "group.remove", BOB, (ALICE,), "") == codes.FORBIDDEN


def test_a_stranger_changes_nothing_and_a_change_of_nobody_is_a_conflict() -> None:
    roster = group()
    assert denied(roster, "group.leave", DAVE, (), "") == codes.NOT_A_MEMBER
    assert denied(roster, "group.add", ALICE, (BOB,), "") == codes.CONFLICT
    assert denied(roster, "group.remove", ALICE, (DAVE,), "") == codes.CONFLICT


def test_a_group_has_at_most_1024_members() -> None:
    roster = group()
    many = tuple(f"{n:032x}" for n in range(1_021))
    assert len(roster.check("group.add", ALICE, many, "")) == 1_021
    assert denied(roster, "group.add", ALICE, (*many, "f" * 32), "") == codes.GROUP_FULL


def test_a_group_whose_owner_leaves_has_another() -> None:
    roster = group()
    roster.apply(entry(2, "group.role", members=[CAROL], role="admin"))
    rows = roster.apply(entry(3, "group.leave", members=[ALICE]))
    assert roster.by_user[CAROL].role == "owner"
    assert {row.user: row.role for row in rows} == {ALICE: "", CAROL: "owner"}
