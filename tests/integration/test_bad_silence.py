"""Peers that fall silent: half-open TCP, dribbled handshakes, a missing hello, too many connections. On a node with short times."""

from __future__ import annotations

import contextlib
import select
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from homing import codes

from router import keys as curve
from tests.integration.conftest import ClusterProcess, free_base_port
from tests.integration.raw_client import PING, PONG, RawClient, Received, frame
from tests.integration.raw_homing import Device, eventually, fresh, http_status, is_cut, unharmed
from tools.configure import sections, to_toml
from tools.layout import Part
from tools.processes import Process, command_line

NAME = "node-90"
HELLO_S, HANDSHAKE_S, PING_S, IDLE_S = 0.5, 0.5, 0.6, 1.5
CONNECTIONS_MAX = 60
PATIENCE_S = 10.0


def is_ready(part: Part) -> bool:
    try:
        return http_status(f"{part.url}/readyz") == 200
    except urllib.error.URLError:
        return False


@pytest.fixture(scope="module")
def strict(shared_cluster: ClusterProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Part]:
    """One more node of the cluster, that waits for nobody for long. It leaves as it came."""
    folder: Path = tmp_path_factory.mktemp("strict")
    port = free_base_port(1)
    part = Part(NAME, "node", port, port + 1)
    curve.create(shared_cluster.layout.curve_keys_dir, NAME)
    made = sections(shared_cluster.layout, part)
    made["node"] = {"hello_timeout_s": HELLO_S}
    made["edge"] = {
        "handshake_timeout_s": HANDSHAKE_S, "ping_idle_s": PING_S, "idle_s": IDLE_S, "http_idle_s": 1.0, "connections_max": CONNECTIONS_MAX,
    }  # fmt: skip
    config = folder / f"{NAME}.toml"
    config.write_text(to_toml(made))
    process = Process.start(command_line("node", config), folder / "log")
    try:
        eventually(lambda: is_ready(part))
        yield part
    finally:
        process.signal(signal.SIGTERM)
        if not select.select([process.fd], [], [], 20)[0]:
            process.signal(signal.SIGKILL)
        ended = process.reap()
        for suffix in ("key", "pub"):
            (shared_cluster.layout.curve_keys_dir / f"{NAME}.{suffix}").unlink()
    assert ended == "ended with exit code 0", (folder / "log").read_text()[-3_000:]


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def answer_pings(device: Device, for_s: float) -> int:
    """Does what a WebSocket client does by itself; returns how often."""
    until, answered = time.monotonic() + for_s, 0
    while time.monotonic() < until:
        if not select.select([device.raw.sock], [], [], 0.1)[0]:
            continue
        got: Received | None = device.raw.receive()
        assert got is not None, "closed although it answered"
        if got.op == PING:
            device.raw.send(frame(PONG, got.payload))
            answered += 1
    return answered


def test_who_never_says_hello_is_told_and_closed(shared_cluster: ClusterProcess, strict: Part) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, hello=False, port=strict.http_port) as session:
        session.expect_error(codes.HELLO_TIMEOUT)
        session.expect_close(codes.CLOSE_HELLO_TIMEOUT)


def test_frames_of_the_web_socket_itself_are_no_hello(shared_cluster: ClusterProcess, strict: Part) -> None:
    with Device(shared_cluster, hello=False, port=strict.http_port) as session:
        for _ in range(3):
            session.raw.send(frame(PING, b"x"))
            time.sleep(HELLO_S / 4)
        session.expect_error(codes.HELLO_TIMEOUT)


def test_who_said_hello_in_time_is_not_bothered_by_that_timer(shared_cluster: ClusterProcess, strict: Part) -> None:
    with Device(shared_cluster, port=strict.http_port) as session:
        assert answer_pings(session, 2 * IDLE_S) >= 2
        session.is_alive()


def test_a_half_open_connection_is_cut_and_its_user_catches_up(shared_cluster: ClusterProcess, strict: Part) -> None:
    """Nothing comes from the peer any more, no FIN either: the network in between, or the machine, is gone."""
    name = fresh("vanished")
    with unharmed(shared_cluster), Device(shared_cluster, 1) as friend:
        with Device(shared_cluster, user=name, port=strict.http_port) as vanished:
            waited = took(lambda: is_cut(vanished.raw.sock))
            assert IDLE_S * 0.5 < waited < PATIENCE_S
            friend.say(vanished.user, "are you there?")
        with Device(shared_cluster, 2, name) as back:
            heads = [h for f in back.received if f["op"] == "heads" for h in f["heads"]]
            assert [h["last"]["body"] for h in heads] == ["are you there?"]


def test_who_reads_but_says_nothing_any_more_is_told_why_he_is_closed(shared_cluster: ClusterProcess, strict: Part) -> None:
    with Device(shared_cluster, port=strict.http_port) as hung:
        began = time.monotonic()
        hung.expect_error(codes.HEARTBEAT_LOST)
        hung.expect_close(codes.CLOSE_RESTART)
        assert IDLE_S * 0.5 < time.monotonic() - began < PATIENCE_S


def test_many_half_open_connections_are_all_cut(shared_cluster: ClusterProcess, strict: Part) -> None:
    with unharmed(shared_cluster), contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Device(shared_cluster, port=strict.http_port)) for _ in range(CONNECTIONS_MAX - 5)]
        began = time.monotonic()
        assert all(is_cut(device.raw.sock) for device in silent)
        assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("start", [b"", b"G", b"GET /v1/ws HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01"])
def test_a_handshake_that_never_ends_is_cut(strict: Part, start: bytes) -> None:
    with RawClient(strict.http_port, PATIENCE_S) as client:
        client.sock.sendall(start)
        assert is_cut(client.sock)


def test_a_dribbled_handshake_wins_no_time(strict: Part) -> None:
    with RawClient(strict.http_port, 0.05) as client:
        request, began = client.request(), time.monotonic()
        with contextlib.suppress(OSError):
            for byte in request:
                client.sock.sendall(bytes([byte]))
                time.sleep(0.02)
        assert HANDSHAKE_S * 0.8 < time.monotonic() - began < len(request) * 0.02, "it was cut before its end"


def test_past_its_connections_the_node_says_so_and_takes_others_when_there_is_room(shared_cluster: ClusterProcess, strict: Part) -> None:
    with unharmed(shared_cluster):
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS_MAX):
                stack.enter_context(RawClient(strict.http_port))
            with RawClient(strict.http_port) as late:
                status, headers = late.response()
                assert (status, headers["retry-after"]) == (503, "5")
        eventually(lambda: is_ready(strict))
        with Device(shared_cluster, port=strict.http_port) as session:
            session.is_alive()
