"""The demo of `homing up --demo`: two accounts that talk, a link that opens once and only from this machine, another one when asked."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.demo import people
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import TIMEOUT_S, port_of
from tools.demo_chat import DIRECT_CHAT, GROUP, GROUP_CHAT

LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/demo#([0-9A-Z-]{14})\n")


def ask(
    cluster: ClusterProcess, method: str, path: str, body: object = None, node: int = 0, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(cluster, node), TIMEOUT_S)
    given = {"Content-Type": "application/json", **(headers or {})}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), given)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if "json" in answer.headers.get("Content-Type", "") else {}
    finally:
        connection.close()


def open_link(cluster: ClusterProcess, code: str, node: int = 0, headers: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    return ask(cluster, "POST", "/demo/sessions", {"code": code}, node, headers)


def homing(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-P", "-m", "tools.cli", *arguments], capture_output=True, text=True, timeout=30)


def fresh_code(cluster: ClusterProcess) -> str:
    printed = homing("demo", "--data", str(cluster.data)).stdout
    found = LINK.fullmatch(printed)
    assert found, printed
    return found[2]


def said(cluster: ClusterProcess) -> str:
    """What `homing up` printed, once it printed all of it."""
    cluster.wait(lambda: "Ctrl-C stops all of it." in cluster.said(), 60, "the guide is not printed")
    return cluster.said()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    cluster = ClusterProcess(tmp_path_factory.mktemp("demo") / "data", 2)
    cluster.start("--demo")
    try:
        said(cluster)
        yield cluster
    finally:
        left = cluster.clean_up()
        shutil.rmtree(cluster.data, ignore_errors=True)
    assert left == {}


def conversations(cluster: ClusterProcess, token: str) -> dict[str, list[str]]:
    """Title ("" for a direct conversation) → what was said in it, in order."""
    bearer = {"Authorization": f"Bearer {token}"}
    listed = ask(cluster, "GET", "/v1/conversations", headers=bearer)[1]["conversations"]
    assert isinstance(listed, list)
    found: dict[str, list[str]] = {}
    for one in listed:
        page = ask(cluster, "GET", f"/v1/conversations/{one['conversation']}/messages", headers=bearer)[1]["entries"]
        assert isinstance(page, list)
        found[one.get("title", "")] = [entry["body"] for entry in page if entry.get("type", "text") == "text"]
    return found


def test_the_link_that_is_printed_opens_once_for_two_sessions_that_see_the_chat(demo: ClusterProcess) -> None:
    printed = LINK.search(said(demo))
    assert printed and int(printed[1]) == port_of(demo, 0)
    status, answer = open_link(demo, printed[2])
    assert status == 201
    sessions = answer["sessions"]
    assert isinstance(sessions, list) and [session["handle"] for session in sessions] == ["maya", "theo"]
    for session in sessions:
        assert conversations(demo, session["access_token"]) == {
            "": [body for _, body in DIRECT_CHAT],
            GROUP: [body for _, body in GROUP_CHAT],
        }
    status, answer = open_link(demo, printed[2])
    assert (status, answer["title"]) == (401, "wrong_credentials")
    assert "sessions" not in answer


def test_a_fresh_link_is_printed_whenever_one_asks_and_any_node_takes_it(demo: ClusterProcess) -> None:
    code = fresh_code(demo)
    assert open_link(demo, code, node=1)[0] == 201
    as_json = json.loads(homing("demo", "--json", "--data", str(demo.data)).stdout)
    assert as_json["schema"] == "homing.demo/1" and as_json["link"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example.org:7401"},
        {"Host": "192.168.1.7:7401"},
        {"Origin": "http://example.org"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
    ids=str,
)
def test_who_comes_by_another_name_origin_or_proxy_does_not_get_in_and_uses_no_code_up(
    demo: ClusterProcess, headers: dict[str, str]
) -> None:
    code = fresh_code(demo)
    local = {"Host": f"localhost:{port_of(demo, 0)}", "Origin": f"http://localhost:{port_of(demo, 0)}"}
    assert open_link(demo, code, headers=headers)[0] == 403
    assert open_link(demo, code, headers=local)[0] == 201


def test_the_page_is_the_web_client_and_its_policy_is_the_same(demo: ClusterProcess) -> None:
    answers = []
    for path in ("/", "/demo"):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(demo, 0), TIMEOUT_S)
        connection.request("GET", path)
        answer = connection.getresponse()
        answers.append((answer.status, answer.headers["Content-Security-Policy"], answer.read()))
        connection.close()
    assert answers[0] == answers[1] and "frame-ancestors 'none'" in answers[1][1]


def test_passwords_and_codes_are_in_no_log_and_no_state(demo: ClusterProcess) -> None:
    known = people.read(demo.layout.demo_dir)
    assert known is not None
    secrets = [person.password for person in known.people] + [found[1] for found in LINK.findall(demo.said())]
    assert len(secrets) == 3
    for file in (*demo.layout.logs_dir.iterdir(), demo.layout.state_file, *demo.layout.config_dir.iterdir()):
        assert not any(secret in file.read_text() for secret in secrets), file


def test_a_link_leads_to_a_node_that_answers(demo: ClusterProcess) -> None:
    old = demo.kill("node-1", signal.SIGSTOP)
    try:
        found = LINK.fullmatch(homing("demo", "--data", str(demo.data)).stdout)
        assert found and int(found[1]) == port_of(demo, 1)
        demo.wait(lambda: open_link(demo, found[2], node=1)[0] == 201, 20, "the link does not open while the other node is away")
    finally:
        os.kill(old, signal.SIGCONT)
        demo.wait_restarted("node-1", old)


def test_guesses_soon_have_to_wait(demo: ClusterProcess) -> None:
    # Last: the bucket of all tries on this node is empty afterwards.
    statuses = [open_link(demo, f"AAAA-AAAA-{number:04}", node=1)[0] for number in range(30)]
    assert set(statuses) == {401, 429} and statuses[-1] == 429


def test_a_cluster_without_one_has_no_demo(shared_cluster: ClusterProcess) -> None:
    assert ask(shared_cluster, "GET", "/demo")[0] == 404
    assert open_link(shared_cluster, "AAAA-AAAA-AAAA")[0] == 404
    ran = homing("demo", "--data", str(shared_cluster.data))
    assert ran.returncode == 1 and "has no demo" in ran.stderr and ran.stderr.count("\n") == 1


def test_a_second_start_says_nothing_twice_and_a_taken_handle_is_left_alone(tmp_path: Path) -> None:
    """Somebody is called maya before there is a demo; then it is made, cut off before its end, and started again."""
    cluster = ClusterProcess(tmp_path / "data", 2)
    try:
        cluster.start()
        cluster.wait_ready()
        mine = ask(cluster, "POST", "/v1/accounts", {"handle": "maya", "password": "correct horse"})[1]
        assert cluster.stop() == 0
        for start in range(3):
            cluster.output.write_text("")
            cluster.start("--demo")
            printed = LINK.search(said(cluster))
            assert printed, cluster.said()
            sessions = open_link(cluster, printed[2])[1]["sessions"]
            assert isinstance(sessions, list) and [session["handle"] for session in sessions] == ["maya-2", "theo"]
            chats = conversations(cluster, sessions[0]["access_token"])
            assert {title: len(bodies) for title, bodies in chats.items()} == {"": len(DIRECT_CHAT), GROUP: len(GROUP_CHAT)}
            if start == 0:  # as if it had been cut off before it was noted that all is said
                known = people.read(cluster.layout.demo_dir)
                assert known is not None
                people.write(cluster.layout.demo_dir, people.DemoPeople(known.people))
            assert cluster.stop() == 0
        assert mine["handle"] == "maya"
    finally:
        left = cluster.clean_up()
    assert left == {}
