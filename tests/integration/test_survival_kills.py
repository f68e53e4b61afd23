"""Real processes are killed while real people chat (design §1, P1 to P6): nothing that was acked is lost, doubled or reordered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.conftest import ClusterProcess
from tests.survival.people import Crowd, sockets
from tests.survival.scene import Scene

PEOPLE = 32
PER_S = 120.0


async def crowded(cluster: ClusterProcess, folder: Path) -> Crowd:
    """32 people with 46 devices; each talks to four others, 20 in a big group, some in two small ones."""
    rng = random.Random(str(folder))
    crowd = Crowd(cluster.data, cluster.node_urls, folder, sockets(), rng)
    names = [f"p{number:02}" for number in range(PEOPLE)]
    for number, name in enumerate(names):
        crowd.add(name, devices=3 if number % 16 == 0 else 2 if number % 3 == 0 else 1, stored=number % 4 == 0)
    await crowd.open()
    for number, name in enumerate(names):
        crowd.meet(name, names[(number + 1) % PEOPLE], 3.0)
        crowd.meet(name, names[(number + 11) % PEOPLE])
    await crowd.gather("the village", names[:20], 0.6)
    await crowd.gather("the bench", names[5:13], 1.0)
    await crowd.gather("the ferry", names[18:30:2], 1.0)
    return crowd


@pytest.fixture
async def scene(cluster: ClusterProcess, tmp_path: Path) -> AsyncIterator[Scene]:
    crowd = await crowded(cluster, tmp_path)
    try:
        yield Scene(cluster, crowd, PER_S)
    finally:
        await crowd.close()
        await crowd.sockets.close()


async def kill(scene: Scene, *names: str) -> None:
    """kill -9, then waits until they are back and the cluster is ready."""
    pids = {name: scene.cluster.kill(name) for name in names}
    for name, pid in pids.items():
        await asyncio.to_thread(scene.cluster.wait_restarted, name, pid)


@pytest.mark.timeout(300)
async def test_each_node_is_killed_in_turn(scene: Scene) -> None:
    await scene.compare()
    for name in ("node-1", "node-2", "node-3"):
        outcome = await scene.mishap(f"kill -9 {name}", partial(kill, scene, name), 8.0, [name])
        assert max(outcome.devices_s.values()) < 8 and max(outcome.conversations_s.values()) < 8
    await scene.compare(whole=True)
