"""Messages over HTTP: people chat without a WebSocket, through any node, with those who have one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, group_of
from tests.integration.rest_client import Person, Value


@pytest.fixture
def alice(shared_cluster: ClusterProcess) -> Person:
    return registered(shared_cluster, 0)


def registered(cluster: ClusterProcess, node: int) -> Person:
    person = Person(cluster, node)
    person.register()
    return person


def whole(entry: Value) -> Value:
    """An entry with what may be left out."""
    return {"type": "text", "body": ""} | entry


def say(person: Person, to: str, body: str, id_: str = "", node: int | None = None, **more: object) -> Value:
    request = {"id": id_ or body, "to": to, "body": body, **more}
    entry = person.ask("POST", "/v1/messages", request, node=node).is_(200)["entry"]
    return whole(entry)


def page(person: Person, conversation: str, query: str = "", node: int | None = None) -> Value:
    value = person.ask("GET", f"/v1/conversations/{conversation}/messages{query}", node=node).is_(200)
    return value | {"entries": [whole(entry) for entry in value["entries"]]}


def bodies(value: Value) -> list[str]:
    return [entry["body"] for entry in value["entries"]]


@pytest.fixture
def history(alice: Person, shared_cluster: ClusterProcess) -> Iterator[tuple[Person, str, list[Value]]]:
    """Seven entries of a conversation, each at a time of its own."""
    bob = registered(shared_cluster, 1)
    entries: list[Value] = []
    for number in range(1, 8):
        speaker, other = (alice, bob) if number % 2 else (bob, alice)
        entries.append(say(speaker, other.session["user"], str(number), node=number % 3))
        time.sleep(0.003)
    yield alice, entries[0]["conversation"], entries


def test_a_message_over_http_is_heard_on_a_socket_and_the_other_way_round(alice: Person, shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 1) as bob, Device(shared_cluster, 2, alice.handle, "tablet") as tablet:
        entry = say(alice, bob.user, "over HTTP", node=0)
        assert whole(bob.hears("over HTTP")) == entry
        assert whole(tablet.hears("over HTTP")) == entry, "the sender's other devices get it"
        bob.say(alice.session["user"], "over a socket")
        assert bodies(page(alice, entry["conversation"], node=1)) == ["over HTTP", "over a socket"]
        bob.is_alive()
        tablet.is_alive()


def test_the_same_id_is_one_message_through_any_node(alice: Person, shared_cluster: ClusterProcess) -> None:
    bob = registered(shared_cluster, 1)
    user = bob.session["user"]
    answers = [say(alice, user, "once", "id-1", node=node) for node in (0, 1, 2, 0)]
    assert answers.count(answers[0]) == len(answers)
    with Device(shared_cluster, 2, alice.handle) as device:
        assert device.say(user, "once", id="id-1")["seq"] == answers[0]["seq"], "on a socket too"
    assert bodies(page(bob, answers[0]["conversation"])) == ["once"]


def test_a_page_of_history_by_seq(history: tuple[Person, str, list[Value]]) -> None:
    alice, conversation, entries = history
    got = page(alice, conversation)
    assert (got["entries"], got["head"]) == (entries, 7)
    for query, expected in (
        ("?limit=2", "67"),
        ("?before=6&limit=2", "45"),
        ("?before=2", "1"),
        ("?before=1", ""),
        ("?after=0&limit=3", "123"),
        ("?after=5", "67"),
        ("?after=7", ""),
        ("?before=9000", "1234567"),
    ):
        assert bodies(page(alice, conversation, query, node=1)) == list(expected), query


def test_a_page_of_history_by_time(history: tuple[Person, str, list[Value]]) -> None:
    alice, conversation, entries = history
    at = [entry["ts"] for entry in entries]
    for query, expected in (
        (f"?since={at[3]}", "4567"),
        (f"?since={at[3] + 1}&limit=2", "56"),
        (f"?since={at[6] + 1}", ""),
        ("?since=0&limit=2", "12"),
        (f"?until={at[3]}", "123"),
        (f"?until={at[3] + 1}&limit=2", "34"),
        (f"?until={at[0]}", ""),
        (f"?until={at[6] + 60_000}&limit=1", "7"),
    ):
        assert bodies(page(alice, conversation, query, node=2)) == list(expected), query


def test_a_long_page_upwards_has_no_hole(alice: Person, shared_cluster: ClusterProcess) -> None:
    user = ids.user_id(f"{alice.handle}-friend")
    conversation = ids.direct_id(alice.session["user"], user)
    for number in range(40):
        say(alice, user, "ü" * 16_384, str(number), node=number % 3)
    seen: list[int] = []
    while entries := page(alice, conversation, f"?after={seen[-1] if seen else 0}&limit=30")["entries"]:
        seen += [entry["seq"] for entry in entries]
    assert seen == list(range(1, 41))
    down: list[int] = []
    while entries := page(alice, conversation, f"?before={down[0] if down else 41}&limit=30")["entries"]:
        down = [entry["seq"] for entry in entries] + down
    assert down == seen


def test_the_conversation_list_comes_newest_first_in_pages(alice: Person, shared_cluster: ClusterProcess) -> None:
    others = [registered(shared_cluster, node) for node in range(3)]
    for number, other in enumerate(others):
        say(other, alice.session["user"], f"from {number}")
    with Device(shared_cluster, 0, alice.handle) as device:
        group = group_of(device, others[0].session["user"], title="Pigeons")
        listed: list[Value] = []
        query = "?limit=3"
        while True:
            got = alice.ask("GET", f"/v1/conversations{query}", node=1).is_(200)
            listed += got["conversations"]
            if got["more"] is None:
                break
            query = f"?limit=3&before={got['more']}"
        assert len({head["conversation"] for head in listed}) == len(listed) == 4
        direct = {head["peer"]: head for head in listed if "peer" in head}
        assert direct.keys() == {other.session["user"] for other in others}
        assert all(head["ordinal"] - head.get("read_ordinal", 0) == 1 for head in direct.values()), "unread"
        assert [head["title"] for head in listed if head["conversation"] == group] == ["Pigeons"]
        members = alice.ask("GET", f"/v1/conversations/{group}/members", node=2).is_(200)
        assert members["title"] == "Pigeons"
        assert {m["user"] for m in members["members"]} == {alice.session["user"], others[0].session["user"]}


def test_who_is_no_member_sees_nothing(history: tuple[Person, str, list[Value]], shared_cluster: ClusterProcess) -> None:
    _, conversation, _ = history
    eve = registered(shared_cluster, 1)
    for what in ("messages", "messages?since=1", "members"):
        eve.ask("GET", f"/v1/conversations/{conversation}/{what}").refuses(403, codes.NOT_A_MEMBER, "conversation")
    refused = eve.ask("POST", "/v1/messages", {"id": "x", "to": conversation, "body": "hello"})
    assert refused.status in (403, 404)
    eve.ask("GET", f"/v1/conversations/{conversation}/messages", token="x").refuses(401, codes.TOKEN_INVALID)
    eve.ask("GET", "/v1/conversations/nothing/messages").refuses(404, codes.NOT_FOUND)
    eve.ask("GET", f"/v1/conversations/0003{'0' * 28}/messages").refuses(404, codes.NOT_FOUND)


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"to": "x"}, 422, codes.INVALID, "to"),
        ({"to": "X" * 32}, 422, codes.INVALID, "to"),
        ({"to": "0003" + "0" * 28}, 422, codes.INVALID, "to"),
        ({"id": ""}, 422, codes.INVALID, "id"),
        ({"body": "x" * 16_385}, 422, codes.INVALID, "body"),
        ({"type": "Text"}, 422, codes.INVALID, "type"),
        ({"type": "group.add"}, 422, codes.INVALID, "type"),
        ({"after": 7_000}, 422, codes.INVALID, "after"),
        ({"ts": 2**60}, 422, codes.INVALID, "ts"),
    ],
)
def test_a_message_that_cannot_be_is_told_what_is_wrong(
    alice: Person, changes: dict[str, object], status: int, code: codes.Code, field: str
) -> None:
    good = {"id": "x", "to": ids.user_id("somebody"), "body": "x"}
    alice.ask("POST", "/v1/messages", good | changes).refuses(status, code, field)


def test_a_page_that_cannot_be_is_told_what_is_wrong(history: tuple[Person, str, list[Value]]) -> None:
    alice, conversation, _ = history
    for query, field in (
        ("before=0", "before"),
        ("limit=101", "limit"),
        ("after=-1", "after"),
        ("since=x", "since"),
        ("before=1&after=1", "after"),
    ):
        alice.ask("GET", f"/v1/conversations/{conversation}/messages?{query}").refuses(400, codes.INVALID, field)


def test_who_keeps_sending_while_nodes_die_has_each_message_once(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster()
    alice, bob = registered(cluster, 0), registered(cluster, 0)
    user, total, said = bob.session["user"], 60, []

    def send() -> None:
        for number in range(total):
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    answer = alice.ask("POST", "/v1/messages", {"id": f"m{number}", "to": user, "body": str(number)}, node=0)
                except OSError:
                    time.sleep(0.05)
                    continue
                if answer.status == 200:
                    said.append(answer.value["entry"]["message_id"])
                    break
                assert answer.status == 503, answer
                time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    for name in ("node-2", "node-3", "storage-1"):
        while len(said) < 15 * (1 + ("node-2", "node-3", "storage-1").index(name)) and sender.is_alive():
            time.sleep(0.01)
        old = cluster.kill(name)
        cluster.wait_restarted(name, old)
    sender.join(120)
    assert len(said) == len(set(said)) == total
    conversation = ids.direct_id(alice.session["user"], user)
    assert bodies(page(bob, conversation, "?after=0&limit=100")) == [str(number) for number in range(total)]
