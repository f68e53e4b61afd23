"""Marks on their way from the mailboxes of a node to the homes of conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from homing.ids import group_id

from node.core.frames import MarkFrom, MarkReport, MarkStored
from node.core.mailbox import Mailbox
from node.core.reports import Reports
from tests.unit.core_rig import ALICE, BOB, CAROL, DIRECT, ME, OTHER, Rig

GROUP = group_id(bytes(range(16)))


class Node(Rig):
    """A node of mailboxes only; conversations are at home at OTHER."""

    def __init__(self) -> None:
        super().__init__()
        self.mailboxes: dict[str, Mailbox] = {}
        self.homes = dict.fromkeys((ALICE, BOB), ME)
        node: Any = self  # these are the parts of a node core that are used
        self.marks = Reports(node)
        self.report_mark = self.marks.add  # type: ignore[method-assign]  # as a node core does

    def on_mailbox(self, user: str, call: Callable[[Mailbox], None]) -> None:
        call(self.mailboxes.setdefault(user, Mailbox(self, user)))

    def ack(self, user: str, conversation: str, seq: int) -> None:
        self.marks.on_mark_from(MarkFrom(user, 1, conversation, seq, 0), ME)


@pytest.fixture
def node() -> Node:
    return Node()


def test_marks_of_a_group_go_together_those_of_a_direct_conversation_at_once(node: Node) -> None:
    node.ack(BOB, DIRECT, 3)
    node.ack(ALICE, GROUP, 1)
    node.ack(BOB, GROUP, 2)
    assert [report.marks for report in node.frames(MarkReport, to=OTHER)] == [((BOB, 3, 0),)]
    node.pass_time(1)
    assert [report.marks for report in node.frames(MarkReport, to=OTHER)] == [((ALICE, 1, 0), (BOB, 2, 0))]


def test_every_report_that_a_home_did_not_take_is_said_again_when_it_takes_something(node: Node) -> None:
    node.full.add(OTHER)
    for user in (ALICE, BOB):
        node.ack(user, GROUP, 2)
        node.pass_time(1)
    node.full.clear()
    for again in list(node.opening.values()):
        again(OTHER)
    node.pass_time(1)
    (report,) = node.frames(MarkReport, to=OTHER)
    assert sorted(report.marks) == sorted(((ALICE, 2, 0), (BOB, 2, 0)))


def test_a_mark_that_is_stored_is_not_said_again(node: Node) -> None:
    node.full.add(OTHER)
    node.ack(BOB, DIRECT, 3)
    node.full.clear()
    node.marks.on_stored(MarkStored(DIRECT, ((BOB, 3, 0), (CAROL, 1, 0))), OTHER)
    for again in list(node.opening.values()):
        again(OTHER)
    assert not node.frames(MarkReport)


def test_a_mark_whose_user_has_moved_is_handed_on(node: Node) -> None:
    """The edge has not heard of the move; the session stays open, so that nothing would repeat the mark."""
    node.homes[BOB] = "node-4:new"
    node.full.add("node-4:new")
    node.ack(BOB, DIRECT, 3)
    assert not node.mailboxes and not node.sent
    node.full.clear()
    for again in list(node.opening.values()):
        again("node-4:new")
    assert node.frames(MarkFrom, to="node-4:new") == [MarkFrom(BOB, 1, DIRECT, 3, 0)]
