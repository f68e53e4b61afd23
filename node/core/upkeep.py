"""What a node does now and then, whoever asks for nothing: lets go of actors at rest, looks whether its sessions' homes are heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.core.services import NOBODY
from storage.store import Answer, CellLoaded, LoadCell

if TYPE_CHECKING:
    from node.core.node import NodeCore

SWEEP_S = 5.0
LOOK_S = 1.0


class Upkeep:
    """Of one node."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.sweep_at = node.now + SWEEP_S
        self.look_at = node.now + LOOK_S

    def tick(self) -> None:
        now = self.node.now
        if now >= self.sweep_at:
            self._sweep()
        if now >= self.look_at:
            self._look()

    def next(self) -> float:
        return min(self.sweep_at, self.look_at)

    def _sweep(self) -> None:
        """Lets go of actors at rest."""
        node = self.node
        self.sweep_at = node.now + SWEEP_S
        idle_before = node.now - node.limits.conversation_idle_s
        for id_ in [id_ for id_, c in node.conversations.items() if c.used_at < idle_before and c.is_at_rest()]:
            node.conversations.pop(id_).close()
        for user in [user for user, m in node.mailboxes.items() if m.is_idle()]:
            del node.mailboxes[user]
        node.live.beat()

    def _look(self) -> None:
        """Sessions of silent homes are closed; while the directory is silent the cell row is looked at instead."""
        node = self.node
        self.look_at = node.now + LOOK_S
        for home in dict.fromkeys(s.home for s in node.edge.sessions.values()):
            heard_at = node.mesh.heard_at(home)
            if home not in (node.me, NOBODY) and (heard_at is None or node.now - heard_at > node.lease_s):
                node.edge.silent(home)
        node.edge.close_unattached(node.now - node.lease_s)
        if node.directory.wants_cell_look(node.now):
            asked_at = node.now
            node.ask(LoadCell(), lambda answer: self._on_cell(answer, asked_at))

    def _on_cell(self, answer: Answer, asked_at: float) -> None:
        if isinstance(answer, CellLoaded) and answer.cell is not None:
            node = self.node
            node.on_directory_events(node.directory.on_cell_seen(node.me in answer.cell.live, asked_at))
