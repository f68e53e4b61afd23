"""The index law of a group whose size crosses the bound above which its members' rows are marked instead of timed."""

from __future__ import annotations

from homing.ids import group_id

from node.core.conversation import Conversation
from node.core.frames import GroupChange, ToConversation
from node.core.limits import CoreLimits
from storage.store import IndexRow, LoadIndex
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE, Rig

EDGE = "node-3:edge"
GROUP = group_id(bytes(range(16)))
LAW_S = 600


class Group:
    """Alice's group, at its home; a group of more than two is large."""

    def __init__(self) -> None:
        self.rig = Rig(CoreLimits(index_rows_members_max=2))
        self.cv = Conversation(self.rig, GROUP, 1)
        self.rig.settle()
        self.n = 0

    def change(self, kind: str, *members: str, user: str = ALICE) -> list[IndexRow]:
        """Has it said; returns the index rows that were written for it, of the members in their order."""
        self.n += 1
        self.cv.on_frame(GroupChange(GROUP, user, 7, f"c{self.n}", kind, members), EDGE)
        return self.settle()

    def say(self) -> list[IndexRow]:
        self.n += 1
        self.cv.on_frame(ToConversation(GROUP, ALICE, 7, f"c{self.n}", "text", "hi", 0, None), EDGE)
        return self.settle()

    def settle(self) -> list[IndexRow]:
        written = []
        while self.rig.writes:
            written += [row for row, _, _ in self.rig.writes if isinstance(row, IndexRow)]
            self.rig.store_all()
        self.rig.settle()
        assert self.cv.head == self.cv.next - 1, "all is said"
        return written

    def leads(self, user: str) -> bool:
        """Whether the user's row leads to what is said now."""
        rows = {row.conversation: row for row in self.rig.store.read(LoadIndex(user)).rows}  # type: ignore[union-attr]  # of this query
        return GROUP in rows and (rows[GROUP].always or rows[GROUP].active_at >= self.rig.time_ms() - LAW_S * 1_000)


def test_a_member_who_leaves_while_another_comes_does_not_make_a_small_group_large() -> None:
    group = Group()
    group.change("group.create", BOB)
    group.change("group.leave", BOB, user=BOB)
    group.rig.now += LAW_S + 1
    group.change("group.add", CAROL)
    assert group.leads(ALICE) and group.leads(CAROL)
    group.rig.now += LAW_S - 1
    group.say()
    assert group.leads(ALICE) and group.leads(CAROL)


def test_a_group_that_grows_large_marks_all_rows_once_and_later_only_those_of_who_comes() -> None:
    group = Group()
    group.change("group.create", BOB)
    assert {row.user for row in group.change("group.add", CAROL)} == {ALICE, BOB, CAROL}
    assert {row.user for row in group.change("group.add", DAVE)} == {DAVE}
    group.rig.now += 10 * LAW_S
    assert group.say() == []
    assert all(group.leads(user) for user in (ALICE, BOB, CAROL, DAVE))


def test_a_group_that_has_become_small_again_has_rows_that_lead_to_it() -> None:
    group = Group()
    group.change("group.create", BOB, CAROL)
    group.change("group.remove", CAROL)
    group.rig.now += LAW_S + 1
    group.say()
    assert group.leads(ALICE) and group.leads(BOB)
    group.rig.now += LAW_S + 1
    assert {row.user for row in group.change("group.add", DAVE)} == {ALICE, BOB, DAVE}
