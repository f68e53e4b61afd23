"""Every case of Autobahn|Testsuite's groups 1 to 7 and 10, ported, by its own name: ``pytest tests/integration/test_autobahn.py -k 6.4.1``.

Each is run three times: against a real node's port, in a session that is signed in, and against an echo behind the node's own WebSocket
edge, on picows, which nodes run with, and on aiohttp (``tests/ws_echo.py``; any conformance client can be pointed at it). Where Autobahn
would write "non-strict" instead of "OK" is said in the case: an answer that is lost with a connection that broke the protocol right after
asking (``may_lack``; only a node, which answers when it has stored); 6.4.3 and 6.4.4, where a frame's bad UTF-8 is found when the frame is
complete; and 6.4.1 and 6.4.2 on aiohttp, which looks at a message when it is.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest
from homing import ids

from node.edge.picows_edge import PicowsEdge
from node.edge.websocket import EdgeLimits
from tests.integration.autobahn_cases import CASES, COUNTS, MESSAGE_BYTES_MAX, NORMAL, REFUSED, SENT, Case, Part, close, for_node
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_client import BINARY, CLOSE, TEXT, EdgeThread, RawClient, Received, serving
from tests.integration.raw_homing import Device
from tests.ws_echo import make_edge

QUIET_S = 0.1
"""Autobahn waits a second to see that nothing comes."""
PEER = ids.user_id("the autobahn")
NAMES = [case.name for case in CASES]
SHORT = [case for case in CASES if sum(len(part.payload) for part in case.parts) < 300]


def as_it_is(received: Received) -> Received:
    return received


def as_answer(received: Received) -> Received:
    """What a node said, as a case names it."""
    if received.op not in (TEXT, BINARY):
        return received
    value = (msgspec.msgpack if received.op == BINARY else msgspec.json).decode(received.payload)
    if value["op"] == "sent":
        return Received(SENT, value["entry"]["body"].encode())
    assert value["op"] == "error", value
    return Received(REFUSED, value["name"].encode())


def writes(case: Case, parts: tuple[Part, ...]) -> Iterator[bytes]:
    frames = [part.encoded() for part in parts]
    data = b"".join(frames)
    if case.chop > 0:
        yield from (data[n : n + case.chop] for n in range(0, len(data), case.chop))
    else:
        yield from frames if case.chop else [data]


class Run:
    """One case on one connection. ``strict``: what Autobahn calls non-strict is not good enough."""

    def __init__(self, case: Case, client: RawClient, read: Callable[[Received], Received], strict: bool = True) -> None:
        self.case, self.client, self.read, self.strict = case, client, read, strict
        self.got: list[Received] = []

    def send(self, *parts: Part) -> None:
        for data in writes(self.case, parts):
            self.client.send(data)

    def wait(self, answers: int) -> None:
        """Until so many answers have come; and if they have, that no other one comes."""
        while len(self.got) < answers:
            self._receive()
        self.client.sock.settimeout(QUIET_S)
        with pytest.raises(TimeoutError):
            self._receive()
        self.client.sock.settimeout(5.0)

    def _receive(self) -> None:
        received = self.client.receive()
        assert received is not None, f"the connection ended after {self.got}"
        self.got.append(self.read(received))

    def cut(self) -> None:
        """Sends the one frame piece by piece. Who finds the error early may hang up early."""
        (part,) = self.case.parts
        data, size = part.encoded(), len(part.payload)
        at = 0
        for end in (*self.case.cuts, size):
            end += len(data) - size
            self.client.send(data[at:end])
            at = end
            time.sleep(QUIET_S)

    def check(self) -> None:
        case = self.case
        # The server may have hung up before it was told everything.
        with contextlib.suppress(*() if case.code == NORMAL else (ConnectionResetError, BrokenPipeError)):
            if case.cuts:
                self.cut()
            else:
                done = 0
                for until, answers in case.waits:
                    self.send(*case.parts[done:until])
                    self.wait(answers)
                    done = until
                self.send(*case.parts[done : (case.early if self.strict else 0) or None])
        if case.code == NORMAL and not case.closes:
            self.wait_for_all()
            self.client.send(close(NORMAL).encoded())
        last = None
        while (received := self.client.receive()) is not None:
            assert last is None, f"{received} came after the close frame"
            if received.op == CLOSE:
                last = received
            else:
                self.got.append(self.read(received))
        if self.got or not (case.may_lack and self.read is as_answer):
            assert tuple(self.got) == case.answers
        assert last is not None, "the connection ended without a close frame"
        assert last.code == case.code

    def wait_for_all(self) -> None:
        while len(self.got) < len(self.case.answers):
            self._receive()


@pytest.fixture(scope="module", params=["picows", "aiohttp"])
def echo(request: pytest.FixtureRequest) -> Iterator[EdgeThread]:
    limits = EdgeLimits(frame_bytes_max=MESSAGE_BYTES_MAX)
    with serving(lambda: make_edge(limits, library=request.param)) as thread:
        yield thread


def test_no_case_is_missing_and_none_is_doubled() -> None:
    assert Counter(name.partition(".")[0] for name in NAMES) == COUNTS
    assert len(set(NAMES)) == len(NAMES) == 247
    by_folder = Counter(name.rpartition(".")[0] for name in NAMES)
    assert by_folder == {
        "1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20, "6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11,
        "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5, "6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5,
        "6.19": 5, "6.20": 7, "6.21": 8, "6.22": 34, "6.23": 7, "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2, "10.1": 1,
    }  # fmt: skip
    for folder, count in by_folder.items():
        assert {f"{folder}.{n}" for n in range(1, count + 1)} <= set(NAMES), f"a number of {folder} is missing"


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_echo(echo: EdgeThread, case: Case) -> None:
    with RawClient(echo.port).open(None) as client:
        Run(case, client, as_it_is, strict=isinstance(echo.edge, PicowsEdge)).check()


@pytest.mark.parametrize("case", SHORT, ids=[case.name for case in SHORT])
@pytest.mark.parametrize("echo", ["picows"], indirect=True)
def test_no_answer_depends_on_how_tcp_cuts_the_frames(echo: EdgeThread, case: Case) -> None:
    with RawClient(echo.port).open(None) as client:
        Run(replace(case, chop=1), client, as_it_is).check()


@pytest.mark.parametrize("case", CASES, ids=[f"node-{name}" for name in NAMES])
def test_node(shared_cluster: ClusterProcess, case: Case) -> None:
    with Device(shared_cluster, len(case.parts) % 3, binary=case.binary) as session:
        Run(for_node(case, PEER), session.raw, as_answer).check()
