"""Absurd frames of every type, from members and strangers, into the nodes of a simulated cluster: no core raises, nothing spins.

What they say may well come true, for a key on the allow list is trusted: who is told a message that a member made up sees it. So no
promise is checked here but that every process lives. ``tests/integration/test_bad_peers.py`` does it to real ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import msgspec
import pytest
from homing import protocol as p

from node.core.node import NodeCore
from node.edge.codec import wrong_field
from router.events import FrameIn
from tests.strange_frames import NODE, STORAGE, Strange
from tools.simulation.device import Watcher
from tools.simulation.history import History
from tools.simulation.socket import Socket

Hand: TypeAlias = Callable[[Socket, p.ClientFrame], None]
BEGIN_S, END_S, EVERY_S = 2.0, 6.0, 0.25
OF_EACH = 2


def _as_the_edge_does(hand: Hand, socket: Socket, frame: p.ClientFrame) -> None:
    """A device asks about whatever it was told; the real edge looks at ids before the core sees them."""
    if not wrong_field(frame):
        hand(socket, frame)


class Storm:
    """A calm history with absurd frames in it."""

    def __init__(self, seed: int) -> None:
        self.history = History(seed, profile="calm")
        self.chance = random.Random(seed)
        self.sent = 0
        for device in self.history.cluster.devices:
            device.watcher = Watcher()
        for node in self.history.cluster.nodes:
            node.on_client_frame = partial(_as_the_edge_does, node.on_client_frame)  # type: ignore[method-assign]

    def run(self) -> None:
        history = self.history
        history.world.at(BEGIN_S, self._blow)
        history.cluster.start()
        history.workload.plan()
        history.world.run(END_S)

    def _blow(self) -> None:
        cluster, chance = self.history.cluster, self.chance
        incarnations = [process.incarnation for process in (*cluster.nodes, *cluster.workers)]
        conversations = sorted({id_ for node in cluster.nodes if node.up for id_ in node.core.conversations})
        strange = Strange(chance, [*cluster.users, *conversations, *[device.name for device in cluster.devices], *incarnations])
        for node in cluster.nodes:
            for kind in (*NODE, *STORAGE) * OF_EACH:
                if node.up:
                    source = chance.choice([*incarnations, "intruder-1:x"])
                    node.core.on_events([FrameIn(source, strange.frame(kind))], node.clock())
                    node.settle()
                    self.sent += 1
        self.history.world.after(EVERY_S, self._blow)


@pytest.mark.parametrize("seed", range(3))
def test_absurd_frames_end_no_process(seed: int) -> None:
    storm = Storm(seed)
    storm.run()
    nodes = [node for node in storm.history.cluster.nodes if node.starts]
    assert all(node.up and node.starts == 1 for node in nodes), [node.ends for node in nodes]
    counts: dict[str, int] = {}
    for node in nodes:
        for name, count in node.core.counts.items():
            counts[name] = counts.get(name, 0) + count
    assert storm.sent > 2_000 and counts["frames_unreadable"] > storm.sent / 4 and counts["frames_absurd"] > 10, (storm.sent, counts)


def test_a_bug_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a handler raises ends the process, which starts anew: nobody goes on with half a change."""

    def fail(core: NodeCore, id_: str) -> str:
        raise KeyError(id_)

    storm = Storm(1)
    storm.history.world.at(BEGIN_S - 0.1, lambda: monkeypatch.setattr(NodeCore, "owner_of", fail))
    with pytest.raises(KeyError):
        storm.run()


@pytest.mark.parametrize("kind", [*NODE, *STORAGE])
def test_every_kind_of_frame_can_be_made_and_read(kind: type) -> None:
    """Else the storm would be one of frames that cannot be read."""
    strange, read = Strange(random.Random(1), ["0" * 32], 0.98), 0
    for _ in range(200):
        try:
            msgspec.msgpack.decode(strange.frame(kind), type=kind)
            read += 1
        except (msgspec.ValidationError, msgspec.DecodeError):
            continue
    assert read > 2, kind
