"""Presence and typing over real WebSockets: several nodes and devices, a killed home, settings that are changed elsewhere, a restart."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable

import pytest
from homing import codes

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Closed, Device, Frame
from tests.integration.rest_client import Person

LINGER_S = 5.0
"""``node.limits.linger_s``, and below the silence of a new home."""
SILENCE_S = 30.0
SLACK_S = 10.0
PING_S = 5.0


class Watcher:
    """A device that reads all the time, pings, and remembers what it was told of whom."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.told: dict[str, list[tuple[str, int | None]]] = {}
        """User → states with last_seen, in the order in which they came."""
        self.typing: list[Frame] = []
        self.beside: list[Watcher] = []
        self.pinged_at = time.monotonic()

    def watch(self, *users: str) -> None:
        self.device.put({"op": "watch", "users": list(users)})

    def state(self, user: str) -> str:
        """What the device shows now; empty: nothing was said."""
        return self.told[user][-1][0] if self.told.get(user) else ""

    def read(self, for_s: float) -> None:
        """Reads, and those beside it do, too: who never pings is taken for gone."""
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0:
            everybody = [self, *self.beside]
            for each in everybody:
                each.ping_in_time()
            if not any(each.device.raw.has_more() for each in everybody):
                select.select([each.device.raw.sock for each in everybody], [], [], min(left_s, 0.2))
            for each in everybody:
                each.take()

    def ping_in_time(self) -> None:
        if time.monotonic() - self.pinged_at > PING_S:
            self.pinged_at = time.monotonic()
            self.device.put({"op": "ping"})

    def take(self) -> None:
        """Takes a frame, if there is one."""
        if not self.device.raw.has_more() and not select.select([self.device.raw.sock], [], [], 0)[0]:
            return
        got = self.device.receive()
        if got["op"] == "presence":
            for p in got["people"]:
                self.told.setdefault(p["user"], []).append((p["state"], p.get("last_seen")))
        elif got["op"] == "typing":
            self.typing.append(got)

    def until(self, holds: Callable[[], object], timeout_s: float) -> float:
        """Reads until it is so; returns how long that took."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < timeout_s, self.told
            self.read(0.1)
        return time.monotonic() - began


def live(person: Person, node: int, device: str = "") -> Device:
    """A WebSocket of a new device of this person."""
    person.sign_in(node, device_name=device)
    opened = Device(person.cluster, node, person.handle, hello=False)
    opened.put({"op": "hello", "token": person.session["access_token"]})
    opened.expect("welcome")
    opened.expect("synced")
    return opened


def person(cluster: ClusterProcess, node: int = 0) -> Person:
    made = Person(cluster, node)
    made.register()
    return made


def at_home(cluster: ClusterProcess, node: int) -> Person:
    """Somebody new whose home is this node."""
    for _ in range(100):
        made = person(cluster)
        if made.ask("GET", "/v1/connect").is_(200)["url"] == cluster.node_urls[node]:
            return made
    raise AssertionError("nobody is at home there")


@pytest.mark.timeout(300)  # two silences of a new home and one of a long wait, 105 s in all, and two starts of a cluster
def test_presence_through_closed_sockets_settings_a_killed_home_and_a_restart(cluster: ClusterProcess) -> None:
    began = time.monotonic()
    alice, bob, carol = at_home(cluster, 0), at_home(cluster, 2), at_home(cluster, 2)
    a, b, c = (who.session["user"] for who in (alice, bob, carol))
    on_alice, on_bob, on_desk, on_carol = live(alice, 0), live(bob, 1), live(bob, 0), live(carol, 1)
    watcher, seen_by_bob = Watcher(on_alice), Watcher(on_bob)
    watcher.beside = [seen_by_bob]
    watcher.watch(b, c)
    watcher.until(lambda: watcher.state(b) == watcher.state(c) == "online", SLACK_S)

    # Several devices are one person; a last one that goes is told after the linger, with a time that is true.
    on_desk.close()
    left_ms = time.time() * 1_000
    on_carol.close()
    watcher.until(lambda: watcher.state(c) == "offline", max(LINGER_S, SILENCE_S - (time.monotonic() - began)) + SLACK_S)
    last_seen = watcher.told[c][-1][1]
    assert last_seen is not None and abs(last_seen - left_ms) < 3_000, "seen last when the socket was closed"
    assert watcher.told[b] == [("online", None)], "the other device stays, and nothing is said twice"
    assert alice.ask("GET", f"/v1/users/{c}/presence", node=2).is_(200) == {"user": c, "state": "offline", "last_seen": last_seen}
    assert alice.ask("GET", f"/v1/users/{b}/presence", node=1).is_(200) == {"user": b, "state": "online"}
    alice.ask("GET", "/v1/users/nobody/presence").refuses(404, codes.NOT_FOUND)

    # Who hides is hidden at once, whatever node is told so, and sees nothing either.
    seen_by_bob.watch(a)
    watcher.until(lambda: seen_by_bob.state(a) == "online", SLACK_S)
    bob.ask("PATCH", "/v1/privacy", {"online": "nobody", "last_seen": "nobody"}, node=1).is_(200)
    assert watcher.until(lambda: watcher.state(b) == "unknown", SLACK_S) < 3.0
    watcher.until(lambda: seen_by_bob.state(a) == "unknown", SLACK_S)
    assert alice.ask("GET", f"/v1/users/{b}/presence", node=1).is_(200) == {"user": b, "state": "unknown"}
    assert bob.ask("GET", f"/v1/users/{a}/presence", node=1).is_(200) == {"user": a, "state": "unknown"}
    bob.ask("PATCH", "/v1/privacy", {"online": "contacts", "last_seen": "nobody"}, node=0).is_(200)
    watcher.read(1.5)
    assert watcher.state(b) == "unknown", "Alice is not in his address book"
    bob.ask("PUT", f"/v1/contacts/{a}", {}, node=0).is_(200)
    watcher.until(lambda: watcher.state(b) == "online", SLACK_S)
    bob.ask("PATCH", "/v1/privacy", {"online": "everyone", "last_seen": "everyone"}, node=2).is_(200)
    watcher.until(lambda: seen_by_bob.state(a) == "online", SLACK_S)
    watcher.read(1.0)
    assert watcher.state(b) == "online"

    # Who blocks shows nothing, and sees nothing, until he takes it back.
    bob.ask("PUT", f"/v1/blocks/{a}", node=1).is_(200)
    watcher.until(lambda: watcher.state(b) == seen_by_bob.state(a) == "unknown", SLACK_S)
    bob.ask("DELETE", f"/v1/blocks/{a}", node=2).is_(200)
    watcher.until(lambda: watcher.state(b) == seen_by_bob.state(a) == "online", SLACK_S)

    # His home dies: his socket is closed, he comes back, and is never shown as offline. Of who was away nothing is forgotten.
    before = {user: len(told) for user, told in watcher.told.items()}
    killed = cluster.kill("node-3", signal.SIGKILL)
    watcher.beside = []
    with pytest.raises((Closed, AssertionError)):
        seen_by_bob.read(20)
    on_bob.close()
    on_bob = live(bob, 1)
    watcher.beside = [Watcher(on_bob)]
    watcher.read(SILENCE_S + LINGER_S + SLACK_S)
    assert {state for state, _ in watcher.told[b][before[b] :]} <= {"online"} and watcher.state(b) == "online"
    assert watcher.told[c][before[c] :] in ([], [("offline", last_seen)])
    cluster.wait_restarted("node-3", killed)

    # Everything is started again: when they were last seen is still known, and nobody seems to have gone earlier than was said.
    assert cluster.stop() == 0
    stopped_ms = time.time() * 1_000
    for device in (on_alice, on_bob):
        device.close()
    cluster.start()
    cluster.wait_ready()
    watcher = Watcher(live(alice, 1))
    watcher.watch(b, c)
    watcher.until(lambda: watcher.state(b) == watcher.state(c) == "offline", SILENCE_S + SLACK_S)
    assert watcher.told[c] == [("offline", last_seen)]
    ((_, bob_seen),) = watcher.told[b]
    assert bob_seen is not None and abs(bob_seen - stopped_ms) < 61_000
    watcher.device.close()


def test_who_types_is_shown_to_the_others_of_the_conversation_and_to_nobody_else(shared_cluster: ClusterProcess) -> None:
    alice, bob, carol = Device(shared_cluster, 0), Device(shared_cluster, 1), Device(shared_cluster, 2)
    tablet = Device(shared_cluster, 1, alice.name, "tablet")
    desk = Device(shared_cluster, 2, bob.name, "desk")
    entry = alice.say(bob.user, "Hello")
    alice.put(
        {"op": "typing", "conversation": bob.user, "kind": "recording"}, {"op": "typing", "conversation": bob.user, "kind": "stopped"}
    )
    for device in (bob, desk):
        for kind in ("recording", "stopped"):
            shown = device.expect("typing")
            assert shown == {"op": "typing", "conversation": entry["conversation"], "user": alice.user, "kind": kind, "ms": 6_000}
    carol.put({"op": "typing", "conversation": entry["conversation"], "kind": "typing"})
    for _ in range(50):
        alice.put({"op": "typing", "conversation": entry["conversation"], "kind": "typing"})
    alice.say(bob.user, "I have typed")
    for device in (alice, tablet, bob, desk):
        device.is_alive()
    heard = {device: [f for f in device.received if f["op"] == "typing"] for device in (alice, tablet, bob, desk)}
    assert heard[alice] == heard[tablet] == [], "not what one types oneself, and nothing of a stranger"
    assert [f["user"] for f in heard[bob]] == [f["user"] for f in heard[desk]] == [alice.user], "fifty at once are one"
    for device in (alice, bob, carol, tablet, desk):
        device.close()


def test_what_nobody_can_watch_is_an_error_that_ends_nothing(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster) as device:
        device.put({"op": "watch", "users": [device.user, "x" * 32]})
        device.expect_error(codes.INVALID, "users[1]")
        device.put({"op": "watch", "users": [device.user[:3] + "e" + device.user[4:]]})
        device.expect_error(codes.INVALID, "users")
        device.put({"op": "watch", "users": [device.user] * 257})
        device.expect_error(codes.INVALID, "users")
        device.put({"op": "typing", "conversation": device.user, "kind": "singing"})
        device.expect_error(codes.INVALID, "kind")
        device.is_alive()
