"""A client that is made from nothing but the AsyncAPI document chats with one of the Python library, in JSON and in msgpack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import homing
import pytest
from aiohttp import ClientSession
from homing import ids

from tests.integration.conftest import ClusterProcess
from tests.integration.document_client import DocumentClient, Protocol, Refused
from tests.integration.raw_homing import fresh
from tools import token


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def protocol_of(http: ClientSession, cluster: ClusterProcess, node: int) -> Protocol:
    async with http.get(cluster.node_urls[node].replace("ws://", "http://") + "/asyncapi.json") as answer:
        return Protocol(await answer.json())


async def signed_in(http: ClientSession, cluster: ClusterProcess, node: int, name: str, encoding: str) -> tuple[DocumentClient, Any]:
    protocol = await protocol_of(http, cluster, node)
    client = await DocumentClient.connect(protocol, http, cluster.node_urls[node].removeprefix("ws://"), encoding)
    welcome = await client.ask("hello", token=token.issue(cluster.data, name, "generated", 600))
    await client.wait("synced")
    return client, welcome


async def shown(events: homing.EventStream) -> homing.Entry:
    """The next message that the library shows."""
    while not isinstance(event := await anext(events), homing.Shown):
        pass
    return event.entry


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_a_client_made_from_the_document_chats(shared_cluster: ClusterProcess, http: ClientSession, encoding: str) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    client, welcome = await signed_in(http, shared_cluster, 0, alice, encoding)
    bobs_token = token.issue(shared_cluster.data, bob, "phone", 600)
    async with asyncio.timeout(60), homing.connect(shared_cluster.node_urls[1], token=bobs_token) as library:
        await library.wait_for()
        events = library.events()
        sent = (await client.ask("send", to=ids.user_id(bob), body="hello from the document"))["entry"]
        heard = await shown(events)
        assert (heard.body, heard.sender) == ("hello from the document", welcome["user"])
        answer = await library.send(welcome["user"], "hello from the library")
        came = (await client.wait("message"))["entry"]
        assert (came["body"], came["conversation"], came["seq"]) == ("hello from the library", sent["conversation"], 2)
        await client.tell("ack", conversation=came["conversation"], seq=came["seq"])
        await answer.delivered
        await client.tell("read", conversation=came["conversation"], seq=came["seq"])
        await answer.read
        marks = await client.wait("receipts")
        assert marks["marks"][0][0] == ids.user_id(bob)
        page = await client.ask("fetch", conversation=sent["conversation"])
        assert [entry["body"] for entry in page["entries"]] == ["hello from the document", "hello from the library"]
        heads = await client.ask("fetch_heads", limit=1)
        assert heads["heads"][0]["peer"] == ids.user_id(bob)
        assert (await client.ask("ping"))["time"] > 0
    await client.close()


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_it_makes_a_group_and_knows_what_to_do_about_refusals(
    shared_cluster: ClusterProcess, http: ClientSession, encoding: str
) -> None:
    client, welcome = await signed_in(http, shared_cluster, 2, fresh("owner"), encoding)
    friend, group = ids.user_id(fresh("friend")), f"{welcome['user'][:3]}2{welcome['user'][4:]}"
    made = await client.ask("group_create", conversation=group, title="Made from a document", members=[friend])
    assert made["entry"]["type"] == "group.create"
    await client.ask("group_role", conversation=group, user=friend, role="admin", after=made["entry"]["seq"])
    members = await client.ask("fetch_members", conversation=group)
    assert {member["user"]: member["role"] for member in members["members"]} == {welcome["user"]: "owner", friend: "admin"}
    await client.ask("group_leave", conversation=group, after=2)
    with pytest.raises(Refused) as caught:
        await client.ask("send", to=group, body="am I still in?")
    assert caught.value.do == "fix"
    await client.close()


async def test_what_the_document_does_not_allow_is_seen(shared_cluster: ClusterProcess, http: ClientSession) -> None:
    protocol = await protocol_of(http, shared_cluster, 1)
    for fields in ({"to": "nobody", "body": "x", "id": "1"}, {"to": ids.user_id("x"), "id": "1"}):
        with pytest.raises(ValueError, match=r"pattern|does not match|required|shorter"):
            protocol.frame("send", fields)
    for frame in ({"op": "pong", "time": "late"}, {"op": "synced"}):
        with pytest.raises(ValueError, match=r"integer|required"):
            protocol.name_of(frame)
    with pytest.raises(AssertionError, match="not in the document"):
        protocol.name_of({"op": "gossip"})
