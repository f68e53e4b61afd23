"""People block each other through a real cluster: over WebSocket and HTTP, on any node, and it holds over kills of homes and storage."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, eventually
from tests.integration.rest_client import Person, Value


def people(cluster: ClusterProcess, *nodes: int) -> list[Person]:
    made = [Person(cluster, node) for node in nodes]
    for person in made:
        person.register()
    return made


def user(person: Person) -> str:
    text = person.session["user"]
    assert isinstance(text, str)
    return text


def blocked(person: Person, node: int | None = None) -> list[str]:
    return [one["user"] for one in person.ask("GET", "/v1/blocks", node=node).is_(200)["blocks"]]


def types(person: Person, other: Person) -> list[str]:
    page = person.ask("GET", f"/v1/conversations/{user(other)}/messages?after=0").is_(200)
    return [entry.get("type", "text") for entry in page["entries"]]


def said(person: Person, to: Person, id_: str, node: int | None = None) -> Value:
    return person.ask("POST", "/v1/messages", {"id": id_, "to": user(to), "body": id_}, node=node).is_(200)["entry"]  # type: ignore[no-any-return]


def test_a_block_over_a_socket_holds_for_both_and_both_see_it(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0) as alice, Device(shared_cluster, 1, binary=True) as bob:
        first = alice.ask("block", user=bob.user)["entry"]
        assert (first["seq"], first["type"], first["ordinal"]) == (1, "direct.block", 0), "it needs no conversation before"
        heard = bob.expect("message")["entry"]
        assert heard == first and heard["conversation"] == ids.direct_id(alice.user, bob.user)
        alice.refused(codes.BLOCKED, "to", "send", to=bob.user, body="hi")
        bob.refused(codes.BLOCKED, "to", "send", to=alice.user, body="hi")
        bob.refused(codes.BLOCKED, "to", "send", to=first["conversation"], body="hi")
        bob.refused(codes.INVALID, "type", "send", to=alice.user, body="", type="direct.unblock")
        assert bob.ask("unblock", user=alice.user)["op"] == "sent", "his own, of which there is none"
        bob.refused(codes.BLOCKED, "to", "send", to=alice.user, body="hi")
        assert alice.ask("unblock", user=bob.user)["entry"]["seq"] == 3
        bob.say(alice.user, "at last")
        assert alice.hears("at last")["ordinal"] == 1
        alice.refused(codes.INVALID, "user", "block", user=alice.user)
        alice.refused(codes.INVALID, "user", "block", user=first["conversation"])
        alice.refused(codes.INVALID, "user", "block", user="bob")


def test_a_block_over_http_is_answered_with_its_entry_and_listed_by_every_node(shared_cluster: ClusterProcess) -> None:
    alice, bob, carol = people(shared_cluster, 0, 1, 2)
    said(bob, alice, "m-1")
    path = f"/v1/blocks/{user(bob)}"
    entry = alice.ask("PUT", path, node=2).is_(200)["entry"]
    assert (entry["type"], entry["sender"], entry["seq"]) == ("direct.block", user(alice), 2)
    for node in range(3):
        bob.ask("POST", "/v1/messages", {"id": "m-2", "to": user(alice), "body": "x"}, node=node).refuses(403, codes.BLOCKED, "to")
        alice.ask("POST", "/v1/messages", {"id": "m-2", "to": user(bob), "body": "x"}, node=node).refuses(403, codes.BLOCKED, "to")
        eventually(lambda node=node: blocked(alice, node) == [user(bob)])  # type: ignore[misc]  # a default binds it
    assert said(bob, alice, "m-1", node=2)["seq"] == 1, "what was said before is answered as before"
    assert blocked(bob) == []
    alice.ask("PUT", f"/v1/blocks/{user(carol)}").is_(200)
    eventually(lambda: blocked(alice) == sorted([user(bob), user(carol)]))
    page = alice.ask("GET", "/v1/blocks?limit=1").is_(200)
    assert alice.ask("GET", f"/v1/blocks?limit=1&after={page['next']}").is_(200)["next"] is None
    assert abs(page["blocks"][0]["since_ts"] - time.time() * 1_000) < 60_000
    assert carol.ask("GET", f"/v1/users?handle={alice.handle}").is_(200)["user"] == user(alice), "who is blocked still finds people"
    alice.ask("DELETE", path, node=1).is_(200)
    eventually(lambda: blocked(alice) == [user(carol)])
    said(bob, alice, "m-3")
    assert types(bob, alice) == types(alice, bob) == ["text", "direct.block", "direct.unblock", "text"]


def test_what_cannot_be_blocked_is_told(shared_cluster: ClusterProcess) -> None:
    (alice,) = people(shared_cluster, 0)
    alice.ask("PUT", f"/v1/blocks/{user(alice)}").refuses(403, codes.FORBIDDEN)
    alice.ask("PUT", "/v1/blocks/nobody").refuses(404, codes.NOT_FOUND)
    alice.ask("DELETE", f"/v1/blocks/{ids.group_id(bytes(16))}").refuses(404, codes.NOT_FOUND)
    alice.ask("PUT", f"/v1/blocks/{ids.user_id('x')}", token="").refuses(401, codes.TOKEN_INVALID)


def test_a_group_goes_on(shared_cluster: ClusterProcess) -> None:
    alice, bob = people(shared_cluster, 0, 1)
    group = alice.ask("POST", "/v1/groups", {"id": "g", "title": "T", "members": [user(bob)]}).is_(201)["entry"]["conversation"]
    alice.ask("PUT", f"/v1/blocks/{user(bob)}").is_(200)
    for person in (alice, bob):
        person.ask("POST", "/v1/messages", {"id": "m", "to": group, "body": "to all"}).is_(200)


def test_a_block_outlives_every_process(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(2)
    alice, bob = people(cluster, 0, 1)
    said(alice, bob, "m-1")
    alice.ask("PUT", f"/v1/blocks/{user(bob)}").is_(200)
    for name in ("node-1", "node-2", "storage-1"):
        cluster.wait_restarted(name, cluster.kill(name))
        eventually(lambda: refused(bob, alice), 20)
        eventually(lambda: blocked(alice) == [user(bob)], 20)
    cluster.stop()
    cluster.start()
    cluster.wait_ready()
    eventually(lambda: refused(bob, alice), 20)
    eventually(lambda: unblocks(alice, bob), 20)
    assert said(bob, alice, "m-9")["ordinal"] == 2
    eventually(lambda: blocked(alice) == [], 20)


def refused(person: Person, to: Person) -> bool:
    """Whether he is refused; a node that comes back may ask him to try again."""
    answer = person.ask("POST", "/v1/messages", {"id": "late", "to": user(to), "body": "late"})
    assert answer.status in (403, 503), answer
    return answer.status == 403


def unblocks(person: Person, other: Person) -> bool:
    answer = person.ask("DELETE", f"/v1/blocks/{user(other)}")
    assert answer.status in (200, 503), answer
    return answer.status == 200


@pytest.mark.parametrize("kind", ["block", "unblock"])
def test_the_same_request_again_through_another_node_is_the_same_entry(shared_cluster: ClusterProcess, kind: str) -> None:
    with Device(shared_cluster, 0) as alice, Device(shared_cluster, 1) as bob:
        first = alice.ask(kind, id="b-1", user=bob.user)["entry"]
        alice.ask("unblock", user=bob.user)
        with Device(shared_cluster, 2, alice.name, "tablet") as tablet:
            assert tablet.ask(kind, id="b-1", user=bob.user)["entry"] == first
        bob.say(alice.user, "a late repeat blocks nobody")


def test_who_is_blocked_does_not_see_whether_the_other_is_here(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0) as alice, Device(shared_cluster, 1) as bob:
        bob.put({"op": "watch", "users": [alice.user]})
        bob.expect("presence", people=[{"user": alice.user, "state": "online"}])
        alice.ask("block", user=bob.user)
        bob.expect("presence", people=[{"user": alice.user, "state": "unknown"}])
        alice.ask("unblock", user=bob.user)
        bob.expect("presence", people=[{"user": alice.user, "state": "online"}])


def test_a_cluster_without_accounts_blocks_as_well(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(nodes=1)
    file = cluster.layout.config_file("node-1")
    text = file.read_text()
    assert "[accounts]\nenabled = true" in text
    file.write_text(text.replace("[accounts]\nenabled = true", "[accounts]\nenabled = false"))
    cluster.wait_restarted("node-1", cluster.kill("node-1"))
    with Device(cluster, 0) as alice, Device(cluster, 0) as bob:
        assert alice.ask("block", user=bob.user)["entry"]["type"] == "direct.block"
        bob.refused(codes.BLOCKED, "to", "send", to=alice.user, body="hi")
        alice.ask("unblock", user=bob.user)
        bob.say(alice.user, "hi")
    assert "Traceback" not in cluster.layout.log_file("node-1").read_text()
