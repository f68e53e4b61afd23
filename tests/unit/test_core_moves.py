"""A node that is told to stop: what it does with its conversations before it says good-bye."""

from __future__ import annotations

from typing import Any

import pytest

from node.core.conversation import Conversation
from node.core.frames import MarkReport, MarksMoved, ToConversation
from node.core.mailbox import Mailbox
from node.core.moves import Moves
from storage.store import LoadLog, ReceiptsRow
from tests.unit.core_rig import ALICE, BOB, DIRECT, OTHER, Rig


class Node(Rig):
    """A node of conversations only; its directory hears ``good_bye``."""

    def __init__(self) -> None:
        super().__init__()
        self.conversations: dict[str, Conversation] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.told: list[str] = []
        node: Any = self  # these are the parts of a node core that are used
        self.directory: Any = self
        self.moves = Moves(node)

    def good_bye(self) -> list[str]:
        return ["good-bye"]

    def to_directory(self, frames: list[str]) -> None:
        self.told += frames

    def tick(self) -> None:
        self.pass_time(0.05)
        self.moves.tick()


@pytest.fixture
def node() -> Node:
    node = Node()
    node.conversations[DIRECT] = node.open_conversation()
    node.conversations[DIRECT].on_frame(ToConversation(DIRECT, ALICE, 7, "m1", "text", "hi", 0, 0, BOB), OTHER)
    node.settle()
    return node


def report(node: Node) -> None:
    node.conversations[DIRECT].on_frame(MarkReport(DIRECT, ((BOB, 1, 0),)), OTHER)


def test_marks_that_come_before_the_good_bye_are_stored_and_told(node: Node) -> None:
    report(node)
    node.moves.drain()
    assert not node.told
    node.settle()
    node.tick()
    assert node.told == ["good-bye"] and node.frames(MarksMoved)
    assert node.store.read(LoadLog(DIRECT)).receipts is not None  # type: ignore[union-attr]  # of this query


def test_a_mark_that_comes_after_the_good_bye_is_left_to_the_next_home(node: Node) -> None:
    """It would be stored, but the process ends before it tells anybody: the next home finds it stored, and has nothing to tell."""
    node.moves.drain()
    assert node.told == ["good-bye"]
    report(node)
    assert not node.frames(MarksMoved) and not any(isinstance(row, ReceiptsRow) for row, _, _ in node.writes)
