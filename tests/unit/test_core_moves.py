"""A node that is told to stop: what it does with its conversations before it says good-bye."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from directory.frames import GoodBye
from node.core.conversation import Conversation
from node.core.frames import MarkReport, MarksMoved, ToConversation
from node.core.mailbox import Mailbox
from node.core.moves import Moves
from storage.store import LoadLog, ReceiptsRow
from tests.unit.core_rig import ALICE, BOB, DIRECT, ME, OTHER, Rig

DIRECTORY = "directory-1:d"


class Node(Rig):
    """A node of conversations only; its directory hears ``good_bye``."""

    def __init__(self) -> None:
        super().__init__()
        self.conversations: dict[str, Conversation] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.joined = True
        node: Any = self  # these are the parts of a node core that are used
        self.directory: Any = self
        self.live: Any = SimpleNamespace(on_stop=lambda: None)
        self.moves = Moves(node)

    def good_bye(self) -> list[tuple[str, GoodBye]]:
        return [(DIRECTORY, GoodBye(ME))]

    @property
    def told(self) -> list[GoodBye]:
        """What the directory was sent."""
        return [frame for incarnation, frame in self.sent if incarnation == DIRECTORY]

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
    assert node.told == [GoodBye(ME)] and node.frames(MarksMoved)
    assert node.store.read(LoadLog(DIRECT)).receipts is not None  # type: ignore[union-attr]  # of this query


def test_a_mark_that_comes_after_the_good_bye_is_left_to_the_next_home(node: Node) -> None:
    """It would be stored, but the process ends before it tells anybody: the next home finds it stored, and has nothing to tell."""
    node.moves.drain()
    assert node.told == [GoodBye(ME)]
    report(node)
    assert not node.frames(MarksMoved) and not any(isinstance(row, ReceiptsRow) for row, _, _ in node.writes)


@pytest.mark.parametrize("joined", [True, False])
def test_one_that_no_table_has_named_yet_ends_when_the_directory_has_heard_the_good_bye(joined: bool) -> None:
    """It may have asked to join in the same moment, and would be given slots (planned 910107). Of one that a table has named, the next
    table tells."""
    node = Node()
    node.joined = joined
    assert not node.moves.is_over
    node.moves.drain()
    assert node.told == [GoodBye(ME)] and node.moves.is_over == joined
    ((_, _, done, what),) = node.tracked
    done(DIRECTORY, what)
    assert node.moves.is_over


def test_one_that_no_directory_hears_ends_in_its_time() -> None:
    node = Node()
    node.joined = False
    node.moves.drain()
    node.pass_time(node.limits.drain_s)
    assert not node.moves.is_over
    node.pass_time(0.1)
    assert node.moves.is_over
