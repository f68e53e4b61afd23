"""Every status that the documents name, as a real cluster answers it: one form, a stable code, the field at fault."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from homing import codes, ids
from homing.codes import Code

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device
from tests.integration.rest_client import PASSWORD, Person
from tests.integration.test_rest_messages import registered
from tools import token

BOB = ids.user_id("bob")
NOBODY = ids.user_id("nobody-at-all")
GROUP = ids.group_id(bytes(16))
STRANGERS = ids.direct_id(BOB, NOBODY)
MESSAGE = {"id": "x", "to": BOB, "body": "x"}


class Case(NamedTuple):
    """A request and the refusal that it gets; ``{alice}`` stands for the asking user's id."""

    status: int
    code: Code
    field: str | None
    method: str
    path: str
    body: Any = ...
    raw: bytes | None = None
    token: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


JSON = (("Content-Type", "application/json"),)
CASES = {
    "not JSON": Case(400, codes.MALFORMED, None, "POST", "/v1/messages", raw=b"{", headers=JSON),
    "not Unicode": Case(400, codes.MALFORMED, None, "POST", "/v1/messages", raw=b'{"id":"\xff"}', headers=JSON),
    "a parameter out of bounds": Case(400, codes.INVALID, "limit", "GET", "/v1/conversations?limit=101"),
    "a parameter of another type": Case(400, codes.INVALID, "limit", "GET", "/v1/conversations?limit=x"),
    "a parameter given twice": Case(400, codes.INVALID, "limit", "GET", "/v1/contacts?limit=1&limit=2"),
    "a parameter left out": Case(400, codes.INVALID, "handle", "GET", "/v1/users"),
    "two that exclude each other": Case(400, codes.INVALID, "after", "GET", f"/v1/conversations/{BOB}/messages?before=1&after=1"),
    "no cursor of ours": Case(400, codes.INVALID, "cursor", "GET", "/v1/events?cursor=x"),
    "a poll that would last too long": Case(400, codes.INVALID, "timeout", "GET", "/v1/events?timeout=31"),
    "no token": Case(401, codes.TOKEN_INVALID, None, "GET", "/v1/me", token=""),
    "no token for discovery": Case(401, codes.TOKEN_INVALID, None, "GET", "/v1/connect", token=""),
    "no token of ours": Case(401, codes.TOKEN_INVALID, None, "GET", "/v1/conversations", token="x.y.z"),
    "a wrong password": Case(
        401, codes.WRONG_CREDENTIALS, None, "POST", "/v1/sessions", {"handle": "nobody-at-all", "password": PASSWORD}, token=""
    ),
    "a wrong present password": Case(
        401, codes.WRONG_CREDENTIALS, "current", "PUT", "/v1/me/password", {"current": "wrong horse", "new": "battery staple"}
    ),
    "no refresh token": Case(401, codes.TOKEN_INVALID, "refresh_token", "POST", "/v1/sessions/refresh", {"refresh_token": "x"}, token=""),
    "a page of another site": Case(403, codes.FORBIDDEN, None, "GET", "/v1/me", headers=(("Origin", "https://evil.example"),)),
    "other people's history": Case(403, codes.NOT_A_MEMBER, "conversation", "GET", f"/v1/conversations/{STRANGERS}/messages"),
    "other people's mark": Case(
        403, codes.NOT_A_MEMBER, "conversation", "POST", "/v1/receipts", {"conversation": STRANGERS, "seq": 1, "status": "read"}
    ),
    "nothing there": Case(404, codes.NOT_FOUND, None, "GET", "/v1/nothing"),
    "nobody there": Case(404, codes.NOT_FOUND, None, "GET", f"/v1/users/{NOBODY}"),
    "no id": Case(404, codes.NOT_FOUND, None, "GET", "/v1/users/x"),
    "no conversation's id": Case(404, codes.NOT_FOUND, None, "GET", "/v1/conversations/x/messages"),
    "no group's id": Case(404, codes.NOT_FOUND, None, "PATCH", f"/v1/groups/{BOB}", {"id": "1", "title": "x"}),
    "no message's id": Case(404, codes.NOT_FOUND, None, "POST", "/v1/messages/x/status", {"status": "read"}),
    "no such device": Case(404, codes.NOT_FOUND, None, "DELETE", "/v1/devices/x"),
    "another method": Case(405, codes.UNKNOWN_OP, None, "DELETE", "/v1/messages"),
    "another method for discovery": Case(405, codes.UNKNOWN_OP, None, "POST", "/v1/connect"),
    "oneself as a contact": Case(409, codes.CONFLICT, "user", "PUT", "/v1/contacts/{alice}", {}),
    "too big": Case(413, codes.TOO_BIG, None, "POST", "/v1/messages", raw=b" " * 70_000, headers=JSON),
    "not said to be JSON": Case(
        415, codes.UNSUPPORTED_TYPE, "Content-Type", "POST", "/v1/messages", raw=b"{}", headers=(("Content-Type", "text/plain"),)
    ),
    "compressed": Case(
        415,
        codes.UNSUPPORTED_TYPE,
        "Content-Encoding",
        "POST",
        "/v1/messages",
        raw=gzip.compress(b"{}"),
        headers=(*JSON, ("Content-Encoding", "gzip")),
    ),
    "a field left out": Case(422, codes.INVALID, "body", "POST", "/v1/messages", {"id": "x", "to": BOB}),
    "a field of another type": Case(422, codes.INVALID, "to", "POST", "/v1/messages", {**MESSAGE, "to": 1}),
    "a field within a list": Case(422, codes.INVALID, "members[1]", "POST", "/v1/groups", {"id": "1", "title": "x", "members": [BOB, "x"]}),
    "a field out of bounds": Case(422, codes.INVALID, "body", "POST", "/v1/messages", {**MESSAGE, "body": "x" * 16_385}),
    "no such id in a body": Case(422, codes.INVALID, "to", "POST", "/v1/messages", {**MESSAGE, "to": "x"}),
    "no conversation's id in a body": Case(
        422, codes.INVALID, "conversation", "POST", "/v1/receipts", {"conversation": "x", "seq": 1, "status": "read"}
    ),
    "a password anybody would try": Case(422, codes.INVALID, "new", "PUT", "/v1/me/password", {"current": PASSWORD, "new": "aaaaaaaa"}),
    "media": Case(501, codes.NOT_IMPLEMENTED, None, "POST", "/v1/media", raw=b"\x89PNG", headers=(("Content-Type", "image/png"),)),
}


@pytest.fixture(scope="module")
def alice(shared_cluster: ClusterProcess) -> Person:
    return registered(shared_cluster, 0)


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_done_is_refused_as_the_documents_say(alice: Person, name: str) -> None:
    case = CASES[name]
    path = case.path.replace("{alice}", alice.session["user"])
    for node in range(3):
        headers = {key.replace("-", "_"): value for key, value in case.headers}
        if case.token == "":
            headers["Authorization"] = ""
        answer = alice.ask(case.method, path, case.body, raw=case.raw, token=case.token or None, node=node, **headers)
        answer.refuses(case.status, case.code, case.field)
        assert answer.headers["Cache-Control"] == "no-store"
        if case.status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        if case.status == 405:
            assert answer.headers["Allow"]


def test_what_was_signed_out_or_is_over_is_refused(shared_cluster: ClusterProcess) -> None:
    alice = registered(shared_cluster, 1)
    old = token.issue(shared_cluster.data, alice.handle, "phone", 1)
    desk = alice.session
    alice.sign_in()
    alice.ask("DELETE", f"/v1/devices/{desk['device']}").is_(204)
    time.sleep(2.1)
    alice.ask("GET", "/v1/me", token=desk["access_token"]).refuses(401, codes.DEVICE_REVOKED)
    alice.ask("GET", "/v1/me", token=old).refuses(401, codes.TOKEN_EXPIRED)


def test_what_is_there_already_is_a_conflict(shared_cluster: ClusterProcess) -> None:
    alice = registered(shared_cluster, 2)
    alice.ask("POST", "/v1/accounts", {"handle": alice.handle, "password": PASSWORD}).refuses(409, codes.CONFLICT, "handle")
    group = alice.ask("POST", "/v1/groups", {"id": "g", "title": "Pigeons"}).is_(201)["entry"]["conversation"]
    again = {"id": "a", "members": [alice.session["user"]]}
    alice.ask("POST", f"/v1/groups/{group}/members", again).refuses(409, codes.CONFLICT, "members")
    eve = registered(shared_cluster, 0)
    eve.ask("PATCH", f"/v1/groups/{group}", {"id": "1", "title": "x"}).refuses(403, codes.NOT_A_MEMBER)


def test_what_comes_too_often_is_told_when_to_come_again(shared_cluster: ClusterProcess) -> None:
    handle = Person(shared_cluster).handle
    for number in itertools.count():
        answer = Person(shared_cluster).ask("POST", "/v1/sessions", {"handle": handle, "password": PASSWORD}, node=1)
        if answer.status == 429:
            break
        answer.refuses(401, codes.WRONG_CREDENTIALS)
        assert number < 30
    answer.refuses(429, codes.RATE_LIMITED)
    assert 0 < int(answer.headers["Retry-After"]) <= 10
    assert 0 < answer.value["retry_after_ms"] <= 10_000
    Person(shared_cluster).ask("POST", "/v1/sessions", {"handle": handle + "x", "password": PASSWORD}, node=1).is_(401)


@pytest.mark.timeout(120)
def test_what_cannot_be_done_now_is_done_when_it_is_repeated(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(1)
    alice = registered(cluster, 0)
    alice.ask("POST", "/v1/messages", {**MESSAGE, "id": "before"}).is_(200)
    cluster.kill("storage-1", signal.SIGSTOP)
    try:
        answer = alice.ask("POST", "/v1/messages", MESSAGE)
    finally:
        cluster.kill("storage-1", signal.SIGCONT)
    answer.refuses(503, codes.UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) >= 1
    until = time.monotonic() + 30
    while (answer := alice.ask("POST", "/v1/messages", MESSAGE)).status == 503:
        assert time.monotonic() < until
        time.sleep(0.2)
    assert answer.is_(200)["entry"]["seq"] == 2
    page = alice.ask("GET", f"/v1/conversations/{BOB}/messages").is_(200)
    assert len(page["entries"]) == 2, json.dumps(page)


def test_a_new_password_closes_the_other_devices_everywhere(shared_cluster: ClusterProcess) -> None:
    alice = registered(shared_cluster, 0)
    desk = alice.session
    phone = alice.sign_in(node=1)
    alice.ask("PUT", "/v1/me/password", {"current": PASSWORD, "new": "battery staple"}, node=2).is_(204)
    time.sleep(2.1)
    for node in range(3):
        alice.ask("GET", "/v1/me", token=desk["access_token"], node=node).refuses(401, codes.DEVICE_REVOKED)
        alice.ask("GET", "/v1/me", token=phone["access_token"], node=node).is_(200)
    alice.ask("POST", "/v1/sessions", {"handle": alice.handle, "password": PASSWORD}).refuses(401, codes.WRONG_CREDENTIALS)
    alice.ask("POST", "/v1/sessions", {"handle": alice.handle, "password": "battery staple"}).is_(201)


def test_the_home_of_a_user_is_the_same_for_all_nodes(alice: Person) -> None:
    told = [alice.ask("GET", "/v1/connect", node=node).is_(200) for node in range(3)]
    assert told.count(told[0]) == 3
    assert told[0]["user"] == alice.session["user"]
    assert told[0]["url"] in told[0]["nodes"]
    assert sorted(told[0]["nodes"]) == alice.cluster.node_urls


def test_every_status_of_the_documents_is_seen_here() -> None:
    elsewhere = {429, 503}
    assert {case.status for case in CASES.values()} | elsewhere == {400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 501, 503}


def test_without_accounts_discovery_is_all_that_is_there(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(1)
    file = cluster.layout.config_file("node-1")
    text = file.read_text()
    assert "[accounts]\nenabled = true" in text
    file.write_text(text.replace("[accounts]\nenabled = true", "[accounts]\nenabled = false"))
    old = cluster.kill("node-1", signal.SIGTERM)
    cluster.wait_restarted("node-1", old)
    robot = Person(cluster)
    access = token.issue(cluster.data, "robot", "program", 600)
    told = robot.ask("GET", "/v1/connect", token=access).is_(200)
    assert told == {"user": ids.user_id("robot"), "url": cluster.node_urls[0], "nodes": cluster.node_urls}
    robot.ask("GET", "/v1/connect").refuses(401, codes.TOKEN_INVALID)
    robot.ask("GET", "/v1/me", token=access).refuses(404, codes.NOT_FOUND)
    robot.ask("GET", "/v1/events", token=access).refuses(404, codes.NOT_FOUND)
    with Device(cluster, 0, "robot") as device:
        device.is_alive()
    for _ in range(120):
        if (answer := robot.ask("GET", "/v1/connect", token=access)).status == 429:
            break
    answer.refuses(429, codes.RATE_LIMITED)
