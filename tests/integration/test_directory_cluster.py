"""The directory as a process, over the real mesh, with a real storage worker: joins, deaths, restarts, storage that is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from homing.ids import SLOTS, slot_of, user_id

from directory.client import Lost, ReleaseAsked
from directory.row import RowStore
from tests.integration.directory_rig import Cluster, until


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    one = Cluster(tmp_path)
    try:
        yield one
    finally:
        await one.close()


async def three(cluster: Cluster) -> None:
    """Directory, storage, node-1 and node-2, settled."""
    await cluster.start()
    for name in ("node-1", "node-2"):
        await cluster.node(name)
    await until(lambda: sum(n.slots for n in cluster.nodes) == SLOTS and len({n.client.table.epoch for n in cluster.nodes}) == 1)


async def test_nodes_join_and_share_the_slots_and_a_third_gets_its_share_by_planned_moves(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    assert min(one.slots, two.slots) > SLOTS / 3 and one.saw(ReleaseAsked) == 0
    late = await cluster.node("node-3")
    await until(lambda: late.slots > SLOTS / 5 and sum(n.slots for n in cluster.nodes) == SLOTS)
    assert one.saw(ReleaseAsked) and two.saw(ReleaseAsked)
    await until(lambda: len({n.client.table.epoch for n in cluster.nodes}) == 1)
    assert not any(n.saw(Lost) for n in cluster.nodes)


async def test_a_killed_node_s_slots_are_elsewhere_within_two_seconds_and_come_back_with_it(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    before = {s for s in range(SLOTS) if two.client.table.owner(s) == two.incarnation}
    loop = asyncio.get_running_loop()
    killed_at = loop.time()
    await two.kill()
    await until(lambda: one.slots == SLOTS)
    assert loop.time() - killed_at < 2.5
    again = await cluster.node("node-2")
    await until(lambda: again.slots == len(before))
    assert {s for s in range(SLOTS) if again.client.table.owner(s) == again.incarnation} == before


async def test_a_node_that_says_good_bye_is_out_at_once(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    began = asyncio.get_running_loop().time()
    await two.leave()
    await until(lambda: one.slots == SLOTS)
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_a_new_incarnation_takes_the_old_one_s_place(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    slots, mine = two.slots, one.slots
    await two.kill()
    again = await cluster.node("node-2")
    await until(lambda: again.slots == slots)
    assert one.slots == mine and one.saw(ReleaseAsked) == 0


async def test_a_directory_killed_and_started_again_goes_on_and_nobody_loses_his_lease(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    owners = [one.client.table.owner(s) for s in range(SLOTS)]
    epoch, time_ms = one.client.table.epoch, one.client.time_ms(asyncio.get_running_loop().time())
    await cluster.kill("directory-1")
    for node in cluster.nodes:
        # What a node does meanwhile: it finds itself in the cell row.
        node.client.on_cell_seen(True, asyncio.get_running_loop().time() + 5.0)
    await cluster.start("directory-1")
    await until(lambda: all(n.client.table.epoch > epoch for n in cluster.nodes))
    assert [one.client.table.owner(s) for s in range(SLOTS)] == owners
    assert one.client.table.terms[0] <= epoch, "a restart gives no slot a new term"
    assert one.client.time_ms(asyncio.get_running_loop().time()) > time_ms
    assert not any(n.saw(Lost) for n in (one, two))
    late = await cluster.node("node-3")
    await until(lambda: late.slots > SLOTS / 5)


async def test_who_dies_while_the_directory_is_dead_is_taken_out_a_lease_after_it_is_back(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    await cluster.kill("directory-1")
    await two.kill()
    one.client.on_cell_seen(True, asyncio.get_running_loop().time() + 5.0)
    await cluster.start("directory-1")
    await until(lambda: one.slots == SLOTS)


async def test_while_storage_is_dead_nothing_is_published_and_afterwards_it_is(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    epoch = one.client.table.epoch
    await cluster.kill("storage-1")
    await two.leave()
    await asyncio.sleep(1.5)
    assert one.client.table.epoch == epoch and one.slots < SLOTS
    lease = one.client.lease_until
    await until(lambda: one.client.lease_until > lease)
    await cluster.start("storage-1")
    await until(lambda: one.slots == SLOTS)


async def test_directory_and_storage_killed_together_in_the_middle_of_a_change(cluster: Cluster) -> None:
    await three(cluster)
    one, two = cluster.nodes
    await cluster.kill("storage-1")
    await two.leave()
    await asyncio.sleep(0.3)
    store = RowStore(cluster.config.database, 5.0)
    row = store.load()
    store.close()
    assert row is not None and row.epoch > one.client.table.epoch, "the change is committed but not published"
    await cluster.kill("directory-1")
    one.client.on_cell_seen(True, asyncio.get_running_loop().time() + 10.0)
    await cluster.start("directory-1")
    await asyncio.sleep(1.0)
    assert one.slots < SLOTS, "a table was told before its cell row was stored"
    await cluster.start("storage-1")
    await until(lambda: one.slots == SLOTS)


async def test_a_move_that_died_with_its_directory_is_taken_back_or_done(cluster: Cluster) -> None:
    await three(cluster)
    late = await cluster.node("node-3")
    await until(lambda: any(n.saw(ReleaseAsked) for n in cluster.nodes))
    await cluster.kill("directory-1")
    for node in cluster.nodes:
        node.client.on_cell_seen(True, asyncio.get_running_loop().time() + 5.0)
    await cluster.start("directory-1")
    await until(lambda: late.slots > SLOTS / 5 and sum(n.slots for n in cluster.nodes) == SLOTS)
    await until(lambda: not any(n.client._moves for n in cluster.nodes))


async def test_discovery_over_http(cluster: Cluster) -> None:
    await cluster.start("directory-1")

    async def ready() -> int:
        try:
            return (await cluster.get("/readyz"))[0]
        except OSError:
            return 0

    while await ready() == 0:
        await asyncio.sleep(0.02)
    assert await ready() == 503
    user = user_id("alice")
    assert (await cluster.get(f"/v1/connect?user={user}"))[0] == 503
    await cluster.start("storage-1")
    for name in ("node-1", "node-2"):
        await cluster.node(name)
    await until(lambda: sum(n.slots for n in cluster.nodes) == SLOTS)
    assert await ready() == 200 and (await cluster.get("/healthz"))[0] == 200

    status, found = await cluster.get("/v1/cluster")
    assert status == 200 and found["schema"] == 1 and found["leading"] is True
    members = {m["name"]: m for m in found["members"]}  # type: ignore[attr-defined]  # JSON
    assert {n: m["role"] for n, m in members.items()} == {
        "directory-1": "directory",
        "storage-1": "storage",
        "node-1": "node",
        "node-2": "node",
    }
    assert sum(m["slots"] for m in members.values()) == SLOTS
    assert members["node-1"]["public_url"] == "ws://node-1" and members["node-1"]["seen_ago_s"] < 2.0 and members["node-1"]["storage_ok"]

    status, slots = await cluster.get("/v1/slots")
    owned = {n["name"]: sum(count for _, count in n["slots"]) for n in slots["nodes"]}  # type: ignore[attr-defined]  # JSON
    assert owned == {"node-1": cluster.nodes[0].slots, "node-2": cluster.nodes[1].slots}
    assert (await cluster.get("/v1/slots", **{"If-None-Match": cluster.etag}))[0] == 304

    status, where = await cluster.get(f"/v1/connect?user={user}")
    table = cluster.nodes[0].client.table
    assert where["home"] == table.by_incarnation[table.owner(slot_of(user)) or ""].public_url
    assert sorted(where["nodes"]) == ["ws://node-1", "ws://node-2"]  # type: ignore[call-overload]  # JSON
    assert where["slot"] == slot_of(user)
    assert (await cluster.get("/v1/connect?user=alice"))[0] == 400

    metrics = str((await cluster.get("/metrics"))[1]["text"])
    assert 'homing_directory_members{role="node"} 2.0' in metrics and "homing_directory_leading 1.0" in metrics


async def test_a_directory_without_its_database_says_so_and_recovers(cluster: Cluster) -> None:
    database = cluster.path / "directory.db"
    database.mkdir()
    await cluster.start()
    node = await cluster.node("node-1")
    for _ in range(200):
        try:
            status, why = await cluster.get("/readyz")
            if "database" in str(why.get("reason")):
                break
        except OSError:
            pass
        await asyncio.sleep(0.02)
    assert status == 503 and "database" in str(why["reason"])
    database.rmdir()
    await until(lambda: node.client.joined)


async def test_sigterm_ends_it_cleanly(cluster: Cluster) -> None:
    await three(cluster)
    assert await cluster.kill("directory-1", signal.SIGTERM) == 0
    assert "Traceback" not in cluster.log() and "stopped" in cluster.log()
