"""Groups and receipts over HTTP: every change is one entry that all members see, through any node."""

from __future__ import annotations

import pytest
from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, eventually
from tests.integration.rest_client import Person, Value


@pytest.fixture
def people(shared_cluster: ClusterProcess) -> tuple[Person, Person, Person]:
    made = (Person(shared_cluster, 0), Person(shared_cluster, 1), Person(shared_cluster, 2))
    for person in made:
        person.register()
    return made


def user(person: Person) -> str:
    text = person.session["user"]
    assert isinstance(text, str)
    return text


def change(person: Person, method: str, path: str, body: Value, status: int = 200) -> Value:
    entry = person.ask(method, path, body).is_(status)["entry"]
    assert isinstance(entry, dict)
    return entry


def roles(person: Person, group: str) -> dict[str, str]:
    got = person.ask("GET", f"/v1/conversations/{group}/members").is_(200)
    return {member["user"]: member.get("role", "member") for member in got["members"]}


def test_a_group_lives_its_life_over_http(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    new = {"id": "g-1", "title": "Pigeons", "members": [user(bob)]}
    made = change(alice, "POST", "/v1/groups", new, 201)
    group = made["conversation"]
    assert alice.ask("POST", "/v1/groups", new, node=2).is_(201)["entry"]["message_id"] == made["message_id"], (
        "the same request is the same group"
    )
    with Device(alice.cluster, 1, carol.handle) as device:
        one = f"/v1/groups/{group}"
        assert change(alice, "POST", f"{one}/members", {"id": "g-2", "members": [user(carol)]})["type"] == "group.add"
        bob.ask("PATCH", one, {"id": "x", "title": "Mine"}).refuses(403, codes.FORBIDDEN)
        bob.ask("PATCH", f"{one}/members/{user(carol)}", {"id": "x", "role": "admin"}).refuses(403, codes.FORBIDDEN)
        change(alice, "PATCH", f"{one}/members/{user(bob)}", {"id": "g-3", "role": "admin"})
        change(bob, "PATCH", one, {"id": "g-4", "title": "Homing pigeons"})
        assert roles(carol, group) == {user(alice): "owner", user(bob): "admin", user(carol): "member"}
        change(bob, "POST", "/v1/messages", {"id": "m", "to": group, "body": "to all"})
        assert device.hears("to all")["conversation"] == group
        change(carol, "POST", f"{one}/members/{user(carol)}/remove", {"id": "g-5"})
        change(alice, "POST", f"{one}/members/{user(bob)}/remove", {"id": "g-6"})
        assert roles(alice, group) == {user(alice): "owner"}
        bob.ask("POST", "/v1/messages", {"id": "late", "to": group, "body": "hello?"}).refuses(403, codes.NOT_A_MEMBER, "to")
    history = alice.ask("GET", f"/v1/conversations/{group}/messages?after=0").is_(200)["entries"]
    assert [entry.get("type", "text") for entry in history] == [
        "group.create", "group.add", "group.role", "group.rename", "text", "group.leave", "group.remove",
    ]  # fmt: skip


def test_what_cannot_be_done_to_a_group_is_told(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    group = change(alice, "POST", "/v1/groups", {"id": "g", "title": "T", "members": [user(bob)]}, 201)["conversation"]
    alice.ask("POST", "/v1/groups", {"id": "h", "title": ""}).refuses(422, codes.INVALID, "title")
    alice.ask("POST", "/v1/groups", {"id": "h", "title": "T", "members": ["x"]}).refuses(422, codes.INVALID, "members[0]")
    alice.ask("POST", "/v1/groups", {"id": "h", "title": "T", "members": ["x" * 32]}).refuses(422, codes.INVALID, "members[0]")
    alice.ask("POST", "/v1/groups", {"id": "h", "title": "T", "members": [group]}).refuses(422, codes.INVALID, "members")
    alice.ask("PATCH", f"/v1/groups/{group}/members/{user(bob)}", {"id": "h", "role": "owner"}).refuses(422, codes.INVALID, "role")
    alice.ask("PATCH", f"/v1/groups/{user(bob)}", {"id": "h", "title": "T"}).refuses(404, codes.NOT_FOUND)
    alice.ask("POST", f"/v1/groups/{group}/members", {"id": "h", "members": [user(bob)]}).refuses(409, codes.CONFLICT, "members")
    carol.ask("PATCH", f"/v1/groups/{group}", {"id": "h", "title": "T"}).refuses(403, codes.NOT_A_MEMBER)


def test_receipts_tell_who_has_a_message(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    entry = change(alice, "POST", "/v1/messages", {"id": "m", "to": user(bob), "body": "hello"})
    path = f"/v1/messages/{entry['message_id']}/receipts"
    assert alice.ask("GET", path).is_(200) == {"message_id": entry["message_id"], "delivered": [], "read": []}
    with Device(bob.cluster, 2, bob.handle) as device:
        device.put({"op": "ack", "conversation": entry["conversation"], "seq": 1})
        eventually(lambda: alice.ask("GET", path, node=1).is_(200)["delivered"] == [user(bob)])
        assert alice.ask("GET", path).is_(200)["read"] == []
        device.put({"op": "read", "conversation": entry["conversation"], "seq": 1})
        eventually(lambda: bob.ask("GET", path, node=0).is_(200)["read"] == [user(bob)])
    carol.ask("GET", path).refuses(403, codes.NOT_A_MEMBER, "conversation")
    conversation = entry["conversation"]
    for wrong in (
        f"{conversation}.1.999",
        f"{conversation}.7.1",
        f"{conversation}.0.1",
        f"{conversation}.1",
        "x",
        f"{user(bob)}.1.1",
        f"{conversation}.{2**70}.1",
    ):
        alice.ask("GET", f"/v1/messages/{wrong}/receipts").refuses(404, codes.NOT_FOUND)


def test_a_user_stands_for_the_conversation_with_him(people: tuple[Person, Person, Person]) -> None:
    alice, bob, _ = people
    assert alice.ask("GET", f"/v1/conversations/{user(bob)}/messages").is_(200) == {"entries": [], "head": 0}
    entry = change(alice, "POST", "/v1/messages", {"id": "m", "to": user(bob), "body": "hello"})
    assert entry["conversation"] == ids.direct_id(user(alice), user(bob))
    for reader, other in ((alice, bob), (bob, alice)):
        got = reader.ask("GET", f"/v1/conversations/{user(other)}/messages").is_(200)
        assert [e["message_id"] for e in got["entries"]] == [entry["message_id"]]


def test_marks_over_http_are_durable_and_seen_by_all(people: tuple[Person, Person, Person]) -> None:
    alice, bob, carol = people
    entries = [change(alice, "POST", "/v1/messages", {"id": body, "to": user(bob), "body": body}) for body in "123"]
    conversation, ids_ = entries[0]["conversation"], [entry["message_id"] for entry in entries]
    with Device(alice.cluster, 1, alice.handle) as sender, Device(bob.cluster, 2, bob.handle) as other:
        bob.ask("POST", f"/v1/messages/{ids_[1]}/status", {"status": "delivered"}, node=0).is_(204)
        assert sender.expect("receipts", conversation=conversation)["marks"] == [[user(bob), 2, 0]]
        for node in (1, 2):
            bob.ask("POST", "/v1/receipts", {"conversation": conversation, "seq": 2, "status": "read"}, node=node).is_(204)
        assert sender.expect("receipts", conversation=conversation)["marks"] == [[user(bob), 2, 2]]
        assert other.expect("receipts", conversation=conversation)["marks"] == [[user(bob), 2, 2]], "his other device hears it"
    bob.ask("POST", f"/v1/messages/{ids_[0]}/status", {"status": "read"}).is_(204)  # moves nothing back
    got = [alice.ask("GET", f"/v1/messages/{id_}/receipts").is_(200) for id_ in ids_]
    assert [(bool(r["delivered"]), bool(r["read"])) for r in got] == [(True, True), (True, True), (False, False)]
    bob.ask("POST", "/v1/receipts", {"conversation": conversation, "seq": 4, "status": "read"}).refuses(422, codes.INVALID, "seq")
    bob.ask("POST", f"/v1/messages/{ids_[0]}/status", {"status": "eaten"}).refuses(422, codes.INVALID, "status")
    carol.ask("POST", f"/v1/messages/{ids_[0]}/status", {"status": "read"}).refuses(403, codes.NOT_A_MEMBER, "conversation")
    carol.ask("POST", "/v1/receipts", {"conversation": "x" * 32, "seq": 1, "status": "read"}).refuses(422, codes.INVALID, "conversation")
