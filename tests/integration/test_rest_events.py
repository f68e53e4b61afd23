"""Long polling against real nodes: who polls has what a socket would bring, whatever is lost and whoever dies in between."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.poller import Poller
from tests.integration.raw_homing import Closed, Device, fresh, port_of
from tests.integration.rest_client import Person
from tests.integration.test_readme_programs import environment, programs
from tools import token

IDLE = 300
IDLE_BYTES_MAX = 60 * 1024
"""What a device that polls and waits may cost a node."""


def metric(cluster: ClusterProcess, node: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port_of(cluster, node)}/metrics", timeout=20) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def eventually(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def bodies(poller: Poller, conversation: str) -> list[str]:
    return [entry.get("body", "") for entry in poller.held.get(conversation, [])]


def test_who_polls_and_who_has_a_socket_chat_through_different_nodes(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice, node=0)
    assert [event["op"] for event in poller.poll()] == ["welcome", "synced"]
    with Device(shared_cluster, 1, bob) as device:
        device.say(ids.user_id(alice), "from a socket")
        heard = poller.hears("from a socket")
        poller.anywhere("POST", "/v1/messages", {"id": "m1", "to": ids.user_id(bob), "body": "from a poll"})
        assert device.hears("from a poll")["seq"] == 2
        assert poller.hears("from a poll")["seq"] == 2, "the sender's poll brings it too"
        poller.anywhere("POST", "/v1/receipts", {"conversation": heard["conversation"], "seq": 2, "status": "read"})
        device.expect("receipts", marks=[[ids.user_id(alice), 2, 2]])
        device.put({"op": "read", "conversation": heard["conversation"], "seq": 2})
        poller.until("receipts", marks=[[ids.user_id(bob), 2, 2]])


def test_a_poll_is_answered_as_soon_as_there_is_something_and_empty_after_its_time(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice, node=2)
    poller.poll()
    began = time.monotonic()
    assert poller.poll(1) == []
    assert 0.9 < time.monotonic() - began < 5
    with Device(shared_cluster, 0, bob) as device, ThreadPoolExecutor() as pool:
        poll = pool.submit(lambda: (poller.poll(25), time.monotonic()))
        time.sleep(0.3)
        said = time.monotonic()
        device.say(ids.user_id(alice), "now")
        events, at = poll.result()
        assert [event["op"] for event in events] == ["message"]
        assert at - said < 2


def test_an_answer_that_was_lost_comes_again_and_nothing_twice(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice, node=1)
    poller.poll()
    conversation = ids.direct_id(ids.user_id(alice), ids.user_id(bob))
    with Device(shared_cluster, 1, bob) as device:
        for number in range(20):
            device.say(ids.user_id(alice), str(number))
            if number % 3 == 0:
                lost = poller.poll(lose=True)
                assert lost
                assert poller.poll(lose=True)[: len(lost)] == lost, "the same again"
        poller.hears("19")
    assert bodies(poller, conversation) == [str(number) for number in range(20)]
    seqs = [event["entry"]["seq"] for event in poller.events if event["op"] == "message"]
    assert seqs == sorted(set(seqs)), "no event came twice to who lost no answer of it"


def test_every_poll_at_another_node_misses_nothing(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice)
    conversation = ids.direct_id(ids.user_id(alice), ids.user_id(bob))
    with Device(shared_cluster, 1, bob) as device:
        for number in range(12):
            device.say(ids.user_id(alice), str(number))
            poller.node = number % 3
            poller.poll(5)
        poller.hears("11")
    assert bodies(poller, conversation) == [str(number) for number in range(12)]


def test_who_polls_misses_and_doubles_nothing_while_nodes_are_killed(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster()
    alice, bob, total = fresh("alice"), fresh("bob"), 90
    poller, sender = Poller(cluster, alice, node=1), Poller(cluster, bob, node=0)
    conversation = ids.direct_id(ids.user_id(alice), ids.user_id(bob))
    done, said = threading.Event(), 0

    def send() -> None:
        nonlocal said
        for number in range(total):
            sender.anywhere("POST", "/v1/messages", {"id": f"m{number}", "to": ids.user_id(alice), "body": str(number)})
            said = number + 1
            time.sleep(0.02)
        done.set()

    thread = threading.Thread(target=send)
    poller.poll()
    thread.start()
    kills = itertools.cycle(("node-2", "node-3", "node-1"))
    killed: list[tuple[str, int]] = []
    limit = time.monotonic() + 120
    lose = itertools.cycle((False, True, False))
    while len(bodies(poller, conversation)) < total and time.monotonic() < limit:
        if said >= 25 * (len(killed) + 1) and len(killed) < 3:  # between two polls, its own node first
            if killed:
                cluster.wait_restarted(*killed[-1])
            name = next(kills)
            killed.append((name, cluster.kill(name)))
        try:
            poller.poll(2, lose=next(lose))
        except (OSError, http.client.HTTPException):
            poller.node = (poller.node + 1) % 3
        except AssertionError:  # 503: not there yet
            poller.node = (poller.node + 1) % 3
            time.sleep(0.05)
    thread.join(60)
    assert done.is_set()
    assert bodies(poller, conversation) == [str(number) for number in range(total)]
    assert [entry["seq"] for entry in poller.held[conversation]] == list(range(1, total + 1))
    assert len(killed) == 3
    assert sum(event["op"] == "welcome" for event in poller.events) >= 2, "it went on elsewhere"


def test_one_device_is_one_session_and_the_one_before_stops(shared_cluster: ClusterProcess) -> None:
    alice = fresh("alice")
    poller = Poller(shared_cluster, alice, "phone", node=0)
    poller.poll()
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(poller.raw)
        eventually(lambda: metric(shared_cluster, 0, "homing_polls_open") >= 1)
        with Device(shared_cluster, 1, alice, "phone") as device:
            poll.result().refuses(409, codes.SESSION_REPLACED)
            again = Poller(shared_cluster, alice, "phone", node=2)
            again.poll()
            with pytest.raises((Closed, AssertionError)):
                device.expect("nothing")
        older = pool.submit(again.raw)
        eventually(lambda: metric(shared_cluster, 2, "homing_polls_open") >= 1)
        newer = pool.submit(again.raw, 1)
        older.result().refuses(409, codes.SESSION_REPLACED)
        assert newer.result().is_(200)["events"] == []


def test_a_device_that_is_signed_out_hears_it_while_it_waits(shared_cluster: ClusterProcess) -> None:
    person = Person(shared_cluster, 0)
    person.register()
    poller = Poller(shared_cluster, person.handle, node=1)
    poller.token = person.session["access_token"]
    poller.poll()
    with ThreadPoolExecutor() as pool:
        poll = pool.submit(poller.raw)
        time.sleep(0.3)
        began = time.monotonic()
        person.ask("DELETE", "/v1/sessions/current", node=2).is_(204)
        poll.result().refuses(401, codes.DEVICE_REVOKED)
        assert time.monotonic() - began < 5


def test_who_polls_sees_and_says_who_is_here_and_who_writes(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice, node=0)
    poller.watch = [ids.user_id(bob)]
    poller.poll()
    with Device(shared_cluster, 1, bob) as device:
        poller.until("presence", people=[{"user": ids.user_id(bob), "state": "online"}])
        device.say(ids.user_id(alice), "hello")
        device.put({"op": "watch", "users": [ids.user_id(alice)]})
        device.expect("presence", people=[{"user": ids.user_id(alice), "state": "online"}])
        device.put({"op": "typing", "conversation": ids.user_id(alice), "kind": "recording"})
        assert poller.until("typing")["kind"] == "recording"
        poller.anywhere("POST", "/v1/typing", {"conversation": ids.user_id(bob), "kind": "typing"})
        assert device.expect("typing")["user"] == ids.user_id(alice)
    said = {"conversation": "x" * 32, "kind": "typing"}
    poller.request("POST", "/v1/typing", said).refuses(422, codes.INVALID, "conversation")
    poller.request("GET", "/v1/events?watch=x").refuses(400, codes.INVALID, "watch")


def test_who_polls_is_online_between_polls_and_whatever_node_he_asks(shared_cluster: ClusterProcess) -> None:
    alice, bob = fresh("alice"), fresh("bob")
    poller = Poller(shared_cluster, alice, node=0)
    poller.poll()
    with Device(shared_cluster, 1, bob) as device:
        device.put({"op": "watch", "users": [ids.user_id(alice)]})
        device.expect("presence", people=[{"user": ids.user_id(alice), "state": "online"}])
        for number in range(9):
            poller.node = number // 2 % 3
            poller.poll(1 if number % 2 else 0)
            time.sleep(0.3)
        poller.anywhere("POST", "/v1/messages", {"id": "m1", "to": ids.user_id(bob), "body": "still here"})
        device.hears("still here")
        told = [person["state"] for frame in device.received if frame["op"] == "presence" for person in frame["people"]]
        assert set(told) <= {"online"}, told


def test_a_poll_that_the_client_cuts_is_let_go(shared_cluster: ClusterProcess) -> None:
    poller = Poller(shared_cluster, fresh("alice"), node=1)
    poller.poll()
    before = metric(shared_cluster, 1, "homing_polls_open")
    with socket.create_connection(("127.0.0.1", port_of(shared_cluster, 1)), 10) as sock:
        sock.sendall(f"GET {poller.path()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {poller.token}\r\n\r\n".encode())
        eventually(lambda: metric(shared_cluster, 1, "homing_polls_open") == before + 1)
    eventually(lambda: metric(shared_cluster, 1, "homing_polls_open") == before, 5)
    assert poller.poll(0) == []


def test_a_cursor_that_never_was_one_is_refused(shared_cluster: ClusterProcess) -> None:
    poller = Poller(shared_cluster, fresh("alice"))
    for query, field in (("cursor=x", "cursor"), ("timeout=31", "timeout"), ("timeout=-1", "timeout"), ("timeout=x", "timeout")):
        poller.request("GET", f"/v1/events?{query}").refuses(400, codes.INVALID, field)
    poller.token = "x"
    poller.raw().refuses(401, codes.TOKEN_INVALID)


def test_a_node_that_is_stopped_sends_who_waits_elsewhere(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster()
    pollers = [Poller(cluster, fresh("alice"), node=1) for _ in range(5)]
    for poller in pollers:
        poller.poll()
    with ThreadPoolExecutor() as pool:
        polls = [pool.submit(poller.raw) for poller in pollers]
        eventually(lambda: metric(cluster, 1, "homing_polls_open") == 5)
        began = time.monotonic()
        old = cluster.kill("node-2", signal.SIGTERM)
        answers = [poll.result() for poll in polls]
        assert time.monotonic() - began < 3
    for poller, answer in zip(pollers, answers, strict=True):
        assert "reconnect" in [event["op"] for event in answer.is_(200)["events"]]
        poller.cursor, poller.node = answer.value["cursor"], 2
        assert "welcome" in [event["op"] for event in poller.poll()]
    cluster.wait_restarted("node-2", old)


@pytest.mark.timeout(180)
def test_what_a_device_that_waits_costs(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(1)
    process = psutil.Process(cluster.pids["node-1"])
    warm = 50
    tokens = [token.issue(cluster.data, f"idle-{number}", "poller", 3_600) for number in range(warm + IDLE)]
    with contextlib.ExitStack() as stack:

        def wait(text: str) -> None:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(cluster, 0)), 10))
            sock.settimeout(20)
            head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {text}\r\n\r\n"
            sock.sendall(f"GET /v1/events {head}".encode())
            answer = b""
            while not (found := re.search(rb'"cursor":"([0-9a-f.]+)"\}$', answer)):
                answer += sock.recv(65_536)
            sock.sendall(f"GET /v1/events?timeout=30&cursor={found[1].decode()} {head}".encode())

        for text in tokens[:warm]:
            wait(text)
        before = process.memory_info().rss
        for text in tokens[warm:]:
            wait(text)
        eventually(lambda: metric(cluster, 0, "homing_polls_open") > IDLE - 50)
        cost = (process.memory_info().rss - before) / IDLE
        print(f"{cost / 1024:.1f} KiB a poll")
    eventually(lambda: metric(cluster, 0, "homing_polls_open") == 0)
    assert cost < IDLE_BYTES_MAX


@pytest.mark.timeout(120)
def test_the_program_on_the_page_runs_as_it_is_printed(shared_cluster: ClusterProcess, tmp_path: Path) -> None:
    name, program = next(iter(programs("docs/rest.md").items()))
    (tmp_path / name).write_text(program, encoding="utf-8")
    alice = fresh("alice")
    with Device(shared_cluster, 0, fresh("bob")) as bob:
        bob.say(ids.user_id(alice), "before")
        around = {**environment(shared_cluster, alice), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        ran = subprocess.Popen([sys.executable, name], cwd=tmp_path, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert ran.stdout is not None
            assert ran.stdout.readline() == "before\n"
            for number in range(40):
                bob.say(ids.user_id(alice), str(number))
            bob.say(ids.user_id(alice), "bye")
            out, errors = ran.communicate(timeout=60)
        finally:
            ran.kill()
    assert (ran.returncode, errors) == (0, "")
    assert out.splitlines() == [*map(str, range(40)), "bye"]
