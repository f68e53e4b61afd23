"""A peer with a good key that says absurd things in frames of the right form, to a node, the storage worker and the directory.

Every type of frame, fields drawn from what is right, what is nearly right and what is absurd. No process ends, and two others chat on.
``HOMING_FUZZ_FRAMES`` says how many frames go to each (10,000).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from homing import ids

from node.core.frames import NodeFrame
from storage.frames import StorageFrame
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import MIB, Device, fresh, metric, unharmed
from tests.integration.test_bad_ports import ROLES, Insider, allowed, part_of
from tests.strange_frames import DIRECTORY, NODE, STORAGE, Strange

assert NodeFrame and StorageFrame
COUNT = int(os.environ.get("HOMING_FUZZ_FRAMES", "10000"))
SEED = int(os.environ.get("HOMING_FUZZ_SEED", "1"))
BATCH = 500
GROWN_BYTES_MAX = 160 * MIB
BAD = {"node-1": "homing_node_frames_unreadable_total", "storage-1": "homing_storage_bad_frames_total"}
pytestmark = pytest.mark.timeout(180 + COUNT // 100)


def victims(cluster: ClusterProcess) -> list[str]:
    """Ids of people who talk, of what they talk in, and their devices' names: absurd frames about them get far."""
    with Device(cluster, 0, fresh("victim"), "phone") as a, Device(cluster, 1, fresh("victim"), "laptop") as b:
        said = a.say(b.user, "hello")["conversation"]
        return [a.user, b.user, ids.user_id(fresh("unknown")), said, "phone", "laptop"]


def frames(strange: Strange, count: int) -> Iterator[bytes]:
    kinds = (*NODE, *STORAGE, *DIRECTORY)
    for n in range(count):
        yield strange.frame(kinds[n % len(kinds)])


@pytest.mark.parametrize("name", ROLES)
async def test_absurd_frames_of_a_peer_with_a_good_key_end_nothing(start_cluster: Callable[..., ClusterProcess], name: str) -> None:
    cluster = start_cluster(2)
    strange = Strange(random.Random(f"peer {SEED} {name}"), victims(cluster))
    with allowed(cluster), unharmed(cluster, GROWN_BYTES_MAX):
        async with Insider(cluster, part_of(cluster, name)) as insider:
            for _ in range(max(1, COUNT // BATCH)):
                await insider.send(frames(strange, BATCH))
    if name in BAD:
        assert metric(cluster, BAD[name], name) > COUNT / 20, "what is absurd is counted"
