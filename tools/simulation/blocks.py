"""People who block each other while a history runs: what the log must show, and what is repeated elsewhere of it.

Laws:
    * While one of two has blocked the other, by the log alone, neither of them says anything (P8).
    * What the homes tell their shells is written to a table in its own time, or lost with the node; in the end, when every conversation has
      been opened, the table says what the logs say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from homing import ids
from homing import protocol as p

from node.core.effects import BlockDecided
from storage.store import EntryRow

if TYPE_CHECKING:
    from tools.simulation.cluster import Cluster
    from tools.simulation.node import SimNode

WRITE_S = 1.5
"""How long the table may take, at most; a node that ends before loses what it had to write."""


def blockers(entries: Sequence[EntryRow]) -> set[str]:
    """Who blocks in the end."""
    found: set[str] = set()
    for row in entries:
        if row.type in p.BLOCK_TYPES:
            (found.add if row.type == p.BLOCK else found.discard)(row.sender)
    return found


def judge(entries: Sequence[EntryRow]) -> str:
    """What a log shows that must not be; empty: nothing."""
    blocking: dict[str, int] = {}
    for row in entries:
        if row.type == p.BLOCK:
            blocking[row.sender] = row.seq
        elif row.type == p.UNBLOCK:
            blocking.pop(row.sender, None)
        elif blocking and not row.type.startswith(p.HOME_TYPES):
            return f"{row.client_message_id} was said as {row.conversation}.{row.seq}, though {blocking} had blocked"
    return ""


def unblock(pair: Sequence[str], user: str, id_: str) -> p.Unblock:
    return p.Unblock(id=f"{id_}-{user[:6]}", user=next(other for other in pair if other != user))


class Blocks:
    """The table of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.world = cluster.world
        self.table: dict[tuple[str, str], tuple[int, bool]] = {}
        """(Who, whom) → the entry's seq, and whether it is a block."""
        self.writing = 0
        for node in cluster.nodes:
            node.on_block = self.on_block

    def on_block(self, node: SimNode, told: BlockDecided) -> None:
        self.writing += 1
        start = node.starts
        self.world.after(self.world.random.random() * WRITE_S, lambda: self._write(node, start, told))

    def _write(self, node: SimNode, start: int, told: BlockDecided) -> None:
        self.writing -= 1
        if node.up and node.starts == start:
            key = (told.user, told.peer)
            self.table[key] = max(self.table.get(key, (0, False)), (told.seq, told.is_blocked))

    def unrest(self, logs: Mapping[str, Sequence[EntryRow]], closed: bool) -> str:
        """What is not as it must be in the end; ``closed``: every conversation was open since the last crash."""
        if self.writing:
            return f"{self.writing} decisions are not written yet"
        decided = {
            (conversation, row.sender): (row.seq, row.type == p.BLOCK)
            for conversation, entries in logs.items() for row in entries if row.type in p.BLOCK_TYPES
        }  # fmt: skip
        written = {(ids.direct_id(user, peer), user): what for (user, peer), what in self.table.items()}
        for key in decided if closed else ():
            if written.get(key) != decided[key]:
                return f"the log of {key[0]} says of {key[1]} {decided[key]}, the table {written.get(key)}"
        for key, what in written.items():
            if what > decided.get(key, (0, False)):
                return f"the table says of {key[1]} in {key[0]} {what}, the log only {decided.get(key)}"
        return ""
