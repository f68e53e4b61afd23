"""A whole node core that hears of new tables."""

from __future__ import annotations

from array import array

import pytest
from homing import ids
from homing.ids import SLOTS

from directory.client import DirectoryClient
from directory.config import DirectoryConfig
from directory.table import Member, Table
from node.core.edge import Identity
from node.core.effects import CloseClient
from node.core.limits import CoreLimits
from node.core.node import NodeCore
from router.events import Peer
from router.limits import MeshLimits
from router.mesh import Mesh
from storage.client import StorageClient

USER = ids.user_id("alice")
MEMBERS = tuple(Member(f"node-{n}:a", f"node-{n}", "node", f"tcp://127.0.0.1:{n}", "") for n in (1, 2))


def table(epoch: int, owner: int, term: int) -> Table:
    """All slots with one owner since one term."""
    return Table(epoch, MEMBERS, array("H", [owner]) * SLOTS, array("L", [term]) * SLOTS)


@pytest.fixture
def core() -> NodeCore:
    """node-1, with a session of ``USER``, at home here since epoch 1."""
    me = MEMBERS[0]
    mesh = Mesh(Peer(me.name, me.incarnation, me.endpoint), MeshLimits(), 0.0)
    directory = DirectoryClient(me, DirectoryConfig(), 1_000_000, 0.0)
    core = NodeCore(mesh, StorageClient(), directory, CoreLimits(), 1e9, 0.0)
    directory.joined, directory.lease_until = True, 1e9
    learn(core, table(1, 0, 1))
    core.open(1, Identity(USER, "phone"), 0, {}, 10_000, 0.1)
    assert core.mailboxes[USER].sessions and not closed(core)
    return core


def learn(core: NodeCore, newer: Table) -> None:
    for event in core.directory.on_delta(newer.delta(0)):
        core.on_directory_events([event])


def closed(core: NodeCore) -> list[CloseClient]:
    return [effect for effect in core.take_effects() if isinstance(effect, CloseClient)]


def test_a_newer_table_in_which_nothing_moved_closes_no_session(core: NodeCore) -> None:
    learn(core, table(2, 0, 1))
    assert not closed(core) and core.mailboxes[USER].sessions


def test_a_slot_that_was_elsewhere_unnoticed_has_its_sessions_closed(core: NodeCore) -> None:
    """What was said at the other home came to none of them (P2)."""
    learn(core, table(3, 0, 3))
    assert [(effect.session, effect.code) for effect in closed(core)] == [(1, "home_lost")]
    assert USER not in core.mailboxes
    core.open(2, Identity(USER, "phone"), 0, {}, 10_000, 0.2)
    assert core.mailboxes[USER].term == 3


def test_a_slot_that_is_at_home_elsewhere_has_no_mailbox_here(core: NodeCore) -> None:
    learn(core, table(2, 1, 2))
    assert USER not in core.mailboxes
