"""People come in through a real cluster: they register on one node, sign in on another, chat, renew, and are signed out everywhere."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable

import pytest
from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, eventually, metric
from tests.integration.rest_client import PASSWORD, Person

SIGN_IN = "/v1/sessions"


def connect(person: Person, node: int, token: str) -> Device:
    """A WebSocket of this person that says hello with this token."""
    device = Device(person.cluster, node, person.handle, hello=False)
    device.put({"op": "hello", "token": token})
    return device


def live(person: Person, node: int, token: str) -> Device:
    device = connect(person, node, token)
    assert device.expect("welcome")["user"] == person.session["user"]
    device.expect("synced")
    return device


def test_two_new_people_on_different_nodes_chat(shared_cluster: ClusterProcess) -> None:
    alice, bob = Person(shared_cluster, 0), Person(shared_cluster, 1)
    alice.register(name="Alice")
    assert alice.session["user"] == ids.user_id(alice.handle.upper()), "as `homing token` has it"
    bob.register()
    alice.sign_in(node=1, device_name="Desk")
    found = alice.ask("GET", f"/v1/users?handle={bob.handle.upper()}", node=2).is_(200)
    assert found["user"] == bob.session["user"]
    with live(alice, 2, alice.session["access_token"]) as a, live(bob, 1, bob.session["access_token"]) as b:
        a.say(found["user"], "Hello")
        assert b.hears("Hello")["sender"] == alice.session["user"]
        assert b.ask("fetch_person", user=alice.session["user"])["name"] == "Alice"


def test_a_ticket_opens_a_socket_and_nothing_else(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    alice.register()
    ticket = alice.ask("POST", "/v1/tickets", node=1).is_(201)
    assert ticket["expires_s"] <= 60
    live(alice, 2, ticket["ticket"]).close()
    alice.ask("GET", "/v1/me", token=ticket["ticket"]).refuses(401, codes.TOKEN_INVALID)
    alice.ask("GET", "/v1/connect", token=ticket["ticket"]).is_(401)


def test_a_refresh_token_counts_once_on_all_nodes_together(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    first = alice.register()
    second = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": first["refresh_token"]}, node=1).is_(200)
    again = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": first["refresh_token"]}, node=2).is_(200)
    assert again["refresh_token"] == second["refresh_token"] != first["refresh_token"], "an answer that was lost may be asked for again"
    third = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": second["refresh_token"]}, node=2).is_(200)
    with live(alice, 0, third["access_token"]) as device:
        reused = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": first["refresh_token"]}, node=1)
        reused.refuses(401, codes.DEVICE_REVOKED, "refresh_token")
        at = time.monotonic()
        device.expect_error(codes.DEVICE_REVOKED)
        device.expect_close(codes.CLOSE_SIGN_IN)
        assert time.monotonic() - at < 2, "sessions are closed in the whole cluster within 2 s"
    alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": third["refresh_token"]}).refuses(401, codes.TOKEN_INVALID, "refresh_token")
    with connect(alice, 2, third["access_token"]) as device:
        device.expect_error(codes.DEVICE_REVOKED)


def test_a_revoked_device_is_out_everywhere_and_the_others_stay(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    phone = alice.register(device_name="Phone")
    desk = alice.sign_in(node=1, device_name="Desk")
    listed = alice.ask("GET", "/v1/devices", node=2).is_(200)["devices"]
    assert [(d["name"], d["current"]) for d in listed] == [("Desk", True), ("Phone", False)]
    with live(alice, 0, phone["access_token"]) as old, live(alice, 2, desk["access_token"]) as new:
        assert alice.ask("DELETE", f"/v1/devices/{phone['device']}", node=1).is_(204) == {}
        at = time.monotonic()
        old.expect_error(codes.DEVICE_REVOKED)
        assert time.monotonic() - at < 2
        new.is_alive()
    alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": phone["refresh_token"]}).refuses(401, codes.TOKEN_INVALID, "refresh_token")
    until = time.monotonic() + 5

    def is_out() -> bool:
        return all(alice.ask("GET", "/v1/me", token=phone["access_token"], node=node).status == 401 for node in range(3))

    eventually(is_out)
    assert time.monotonic() < until, "a revocation holds in the whole cluster within 5 s"
    assert alice.ask("DELETE", f"/v1/devices/{phone['device']}", node=0).is_(204) == {}, "it may be asked for again"


def test_who_signs_out_is_out_and_may_sign_in_again(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    session = alice.register()
    with live(alice, 1, session["access_token"]) as device:
        alice.ask("DELETE", f"{SIGN_IN}/current", node=2).is_(204)
        device.expect_error(codes.DEVICE_REVOKED)
    alice.ask("GET", "/v1/me", node=2).refuses(401, codes.DEVICE_REVOKED)
    live(alice, 1, alice.sign_in()["access_token"]).close()


def test_a_device_that_an_operator_revokes_renews_nothing(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    session = alice.register()
    key = shared_cluster.layout.ops_key_file.read_text().strip()
    with live(alice, 2, session["access_token"]) as device:
        path = f"/debug/revoke?user={session['user']}&device={session['device']}"
        alice.ask("POST", path, token=key, node=1).is_(200)
        device.expect_error(codes.DEVICE_REVOKED)
    refused = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": session["refresh_token"]})
    refused.refuses(401, codes.TOKEN_INVALID, "refresh_token")
    eventually(lambda: all(alice.ask("GET", "/v1/me", node=node).status == 401 for node in range(3)))
    alice.sign_in()


def test_profile_contacts_and_privacy_are_the_same_on_all_nodes(shared_cluster: ClusterProcess) -> None:
    alice, bob = Person(shared_cluster), Person(shared_cluster, 1)
    alice.register()
    bob.register()
    user = bob.session["user"]
    assert alice.ask("PATCH", "/v1/me", {"name": "Al", "about": "a\nb"}).is_(200)["name"] == "Al"
    assert bob.ask("GET", f"/v1/users/{alice.session['user']}").is_(200)["about"] == "a\nb"
    alice.ask("PUT", f"/v1/contacts/{user}", {"name": "Bobby"}, node=1).is_(200)
    assert [c["name"] for c in alice.ask("GET", "/v1/contacts", node=2).is_(200)["contacts"]] == ["Bobby"]
    alice.ask("DELETE", f"/v1/contacts/{user}").is_(204)
    alice.ask("DELETE", f"/v1/contacts/{user}", node=1).refuses(404, codes.NOT_FOUND)
    alice.ask("PATCH", "/v1/privacy", {"online": "contacts"}, node=1).is_(200)
    assert alice.ask("GET", "/v1/privacy", node=2).is_(200) == {"last_seen": "everyone", "online": "contacts"}
    alice.ask("PATCH", "/v1/privacy", {"online": "friends"}).refuses(422, codes.INVALID, "online")


def test_a_wrong_password_and_an_unknown_account_cannot_be_told_apart(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    alice.register()
    times: dict[str, list[float]] = {"wrong": [], "unknown": []}
    said = set()
    for _ in range(5):
        for what, person in (("wrong", alice), ("unknown", Person(shared_cluster))):
            at = time.perf_counter()
            answer = person.ask("POST", SIGN_IN, {"handle": person.handle, "password": "wrong horse"}, token="")
            times[what].append(time.perf_counter() - at)
            said.add(str(sorted(answer.refuses(401, codes.WRONG_CREDENTIALS).value.items())))
    assert len(said) == 1
    fastest = {what: min(values) for what, values in times.items()}
    assert 0.5 < fastest["wrong"] / fastest["unknown"] < 2, {what: statistics.median(values) for what, values in times.items()}


def test_guesses_are_slowed_down_for_the_account_and_nobody_else(shared_cluster: ClusterProcess) -> None:
    alice, bob = Person(shared_cluster), Person(shared_cluster)
    alice.register()
    bob.register()
    before = metric(shared_cluster, "homing_rest_limited_total")
    answers = [alice.ask("POST", SIGN_IN, {"handle": alice.handle.upper(), "password": "wrong horse"}) for _ in range(12)]
    assert [answer.status for answer in answers[:10]] == [401] * 10
    limited = [answer for answer in answers if answer.status == 429]
    assert limited
    limited[0].refuses(429, codes.RATE_LIMITED)
    assert int(limited[0].headers["Retry-After"]) >= 1
    assert metric(shared_cluster, "homing_rest_limited_total") - before == len(limited)
    alice.ask("POST", SIGN_IN, {"handle": alice.handle, "password": PASSWORD}).refuses(429, codes.RATE_LIMITED)
    bob.sign_in()


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, codes.MALFORMED, None),
        (b"{}", 422, codes.INVALID, "handle"),
        (b'{"handle": 7, "password": "correct horse"}', 422, codes.INVALID, "handle"),
        (b'{"handle": "a b", "password": "correct horse"}', 422, codes.INVALID, "handle"),
        (b'{"handle": "abc-def", "password": "short"}', 422, codes.INVALID, "password"),
        (b'{"handle": "abc-def", "password": "' + b"x" * 257 + b'"}', 422, codes.INVALID, "password"),
        (b'{"handle": "abc-def", "password": "correct horse", "name": "\\u0000"}', 422, codes.INVALID, "name"),
        (b'{"handle": "' + b"x" * 70_000 + b'"}', 413, codes.TOO_BIG, None),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(
    shared_cluster: ClusterProcess, body: bytes, status: int, code: codes.Code, field: str | None
) -> None:
    person = Person(shared_cluster, 2)
    person.ask("POST", "/v1/accounts", raw=body, Content_Type="application/json").refuses(status, code, field)
    person.ask("POST", "/v1/accounts", raw=body[:1_000], Content_Type="text/plain").refuses(415, codes.UNSUPPORTED_TYPE, "Content-Type")


def test_a_handle_is_taken_once(shared_cluster: ClusterProcess) -> None:
    alice = Person(shared_cluster)
    alice.register()
    other = Person(shared_cluster, 1, alice.handle.upper())
    other.ask("POST", "/v1/accounts", {"handle": other.handle, "password": PASSWORD}).refuses(409, codes.CONFLICT, "handle")


def test_pages_of_other_origins_are_refused(shared_cluster: ClusterProcess) -> None:
    person = Person(shared_cluster)
    body = {"handle": "abc", "password": "x"}
    person.ask("POST", SIGN_IN, body, Origin="https://evil.example").refuses(403, codes.FORBIDDEN)


def test_accounts_survive_a_restart_of_everything(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(nodes=1)
    alice = Person(cluster)
    session = alice.register()
    cluster.stop()
    cluster.start()
    cluster.wait_ready()
    renewed = alice.ask("POST", f"{SIGN_IN}/refresh", {"refresh_token": session["refresh_token"]}).is_(200)
    assert renewed["device"] == session["device"]
    alice.sign_in()


def test_limiters_are_changed_while_the_node_runs(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(nodes=1)
    person = Person(cluster)
    person.register()
    file = cluster.layout.config_file("node-1")
    good = file.read_text()
    tight = "[limiters.people.address]\nper_s = 0.001\nburst = 1\n[limiters.people.user]\nper_s = 1\nburst = 1\n"
    pid = cluster.pids["node-1"]
    path = f"/v1/users/{person.session['user']}"

    def statuses() -> set[int]:
        return {person.ask("GET", path).status for _ in range(3)}

    assert statuses() == {200}
    for broken in ("[limiters.people.address]\nper_s = 0\nburst = 1\n", "[limiters"):
        file.write_text(good + broken)
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: "limiters_not_reloaded" in cluster.layout.log_file("node-1").read_text())
        assert statuses() == {200}
    file.write_text(good + tight)
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: 429 in statuses())
    file.write_text(good)
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: statuses() == {200})
    assert cluster.pids["node-1"] == pid
