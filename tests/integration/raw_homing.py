"""A client of the protocol for tests: it speaks JSON or msgpack, says whatever it is told to, and stops reading when it is told to.

``Device`` is one WebSocket of one user to a real node. ``Bystanders`` are two people who chat while something bad happens elsewhere: at the
end every message of theirs must have arrived, once and in order. ``Watch`` sees to it that no process was lost and none has grown.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import psutil
from homing import codes, ids
from homing.protocol import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from tools import token

Frame: TypeAlias = dict[str, Any]  # what a server says is looked at field by field
TIMEOUT_S = 20.0
MIB = 1 << 20
_names = itertools.count(1)


def fresh(name: str) -> str:
    """An account name that no other test uses."""
    return f"{name}-{os.getpid()}-{next(_names)}"


class Closed(AssertionError):
    """The connection ended; ``code`` is that of the close frame, None without one."""

    def __init__(self, code: int | None, said: Sequence[Frame] = ()) -> None:
        super().__init__(f"closed with {code} after {said}")
        self.code = code


class Device:
    """One connection of one device of one user.

    Args:
        cluster: where.
        node: which node, from 0.
        user: the account's name; a new one if left out.
        binary: msgpack instead of JSON.
        hello: whether to sign in at once.
        receive_buffer_bytes: how much the kernel takes for one who does not read.
    """

    def __init__(
        self,
        cluster: ClusterProcess,
        node: int = 0,
        user: str = "",
        device: str = "phone",
        *,
        binary: bool = False,
        hello: bool = True,
        port: int | None = None,
        receive_buffer_bytes: int | None = None,
        **hello_fields: Any,
    ) -> None:
        self.cluster = cluster
        self.name = user or fresh("user")
        self.user = ids.user_id(self.name)
        self.device = device
        self.binary = binary
        self.received: list[Frame] = []
        """Frames that ``expect`` passed over."""
        self._requests = itertools.count(1)
        self.raw = RawClient(port or port_of(cluster, node), TIMEOUT_S, receive_buffer_bytes)
        try:
            self.raw.open(MSGPACK_SUBPROTOCOL if binary else JSON_SUBPROTOCOL)
            if hello:
                self.hello(**hello_fields)
        except BaseException:
            self.raw.sock.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.sock.close()

    def close(self) -> None:
        self.raw.sock.close()

    # ------------------------------------------------------------ out

    def token(self, lifetime_s: int = 600) -> str:
        return token.issue(self.cluster.data, self.name, self.device, lifetime_s)

    def hello(self, **fields: Any) -> Frame:
        """Signs in and waits until everything is listed; returns ``welcome``."""
        self.put({"op": "hello", "token": self.token(), **fields})
        welcome = self.expect("welcome")
        self.expect("synced")
        return welcome

    def put(self, *frames: Mapping[str, Any]) -> None:
        """Sends frames as they are, in one write."""
        encode = msgspec.msgpack.encode if self.binary else msgspec.json.encode
        self.put_raw(*(encode(f) for f in frames))

    def put_raw(self, *payloads: bytes) -> None:
        """Sends messages with these payloads."""
        self.raw.send(*(frame(BINARY if self.binary else TEXT, payload) for payload in payloads))

    def request_id(self) -> str:
        return f"r{next(self._requests)}"

    # ------------------------------------------------------------ in

    def receive(self) -> Frame:
        """The next frame.

        Raises:
            Closed: the connection ended.
            TimeoutError: nothing came.
        """
        while True:
            got = self.raw.receive()
            if got is None or got.op == CLOSE:
                raise Closed(None if got is None else got.code, self.received[-5:])
            if got.op in (TEXT, BINARY):
                assert (got.op == BINARY) == self.binary
                value = msgspec.msgpack.decode(got.payload) if self.binary else json.loads(got.payload)
                assert isinstance(value, dict)
                return value

    def expect(self, op: str, **fields: Any) -> Frame:
        """The next frame with this op and these fields; others are kept in ``received``. An error that nobody asked for fails."""
        while True:
            got = self.receive()
            if got["op"] == op and all(got.get(key) == value for key, value in fields.items()):
                return got
            assert got["op"] != "error", f"instead of {op} {fields}: {got}"
            self.received.append(got)
            del self.received[:-1_000]

    def ask(self, op: str, **fields: Any) -> Frame:
        """Makes a request; returns its answer, an error included."""
        id_ = fields.pop("id", None) or self.request_id()
        self.put({"op": op, "id": id_, **fields})
        while True:
            got = self.receive()
            if got.get("id") == id_ and got["op"] in ("sent", "entries", "members", "person", "heads", "error"):
                return got
            self.received.append(got)

    def refused(self, code: codes.Code, field: str | None, op: str, **fields: Any) -> Frame:
        """Makes a request that must be refused so."""
        return check_error(self.ask(op, **fields), code, field)

    def expect_error(self, code: codes.Code, field: str | None = None) -> Frame:
        """The next error must be this one."""
        while True:
            got = self.receive()
            if got["op"] == "error":
                return check_error(got, code, field)
            self.received.append(got)

    def expect_close(self, code: int | None) -> None:
        """The connection ends, with this close code; what comes before is kept in ``received``."""
        try:
            while True:
                self.received.append(self.receive())
        except Closed as end:
            assert end.code == code, f"closed with {end.code}, not {code}"

    def say(self, to: str, body: str, **fields: Any) -> Frame:
        """Sends a message; returns its entry."""
        got = self.ask("send", to=to, body=body, **fields)
        assert got["op"] == "sent", got
        entry = got["entry"]
        assert isinstance(entry, dict)
        return entry

    def hears(self, body: str) -> Frame:
        """Waits for the message with this body; returns its entry."""
        while True:
            got = next((f for f in self.received if f["op"] == "message" and f["entry"].get("body") == body), None)
            if got is not None:
                self.received.remove(got)
                entry = got["entry"]
                assert isinstance(entry, dict)
                return entry
            self.received.append(self.receive())

    def is_alive(self) -> None:
        """A ping is answered: the session goes on."""
        self.put({"op": "ping"})
        self.expect("pong")


def port_of(cluster: ClusterProcess, node: int) -> int:
    return int(cluster.node_urls[node].rpartition(":")[2])


def check_error(got: Frame, code: codes.Code, field: str | None) -> Frame:
    """An error's stable parts: code, name and field."""
    assert (got["op"], got.get("code"), got.get("name"), got.get("field")) == ("error", code.number, code.name, field), got
    if code.action == "retry":
        assert got["retry_after_ms"] > 0, got
    return got


def group_of(owner: Device, *members: str, title: str = "a group") -> str:
    """A new group of ``owner`` and ``members`` (ids)."""
    group = ids.group_id(os.urandom(16))
    answer = owner.ask("group_create", conversation=group, title=title, members=list(members))
    assert answer["op"] == "sent", answer
    return group


# ---------------------------------------------------------------- what must not suffer


class Bystanders:
    """Two people on two nodes who write to each other all the time.

    ``check`` (called at the end of the ``with``) asserts that each of their messages arrived once, in order, within ``wait_s_max``.
    """

    def __init__(self, cluster: ClusterProcess, wait_s_max: float = 5.0, pause_s: float = 0.02) -> None:
        self.wait_s_max, self.pause_s = wait_s_max, pause_s
        self.waits_s: list[float] = []
        self.pair = (Device(cluster, 0), Device(cluster, 1))
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="bystanders")

    def __enter__(self) -> Bystanders:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for device in self.pair:
            device.close()
        if kind is None:
            self.check()

    def check(self) -> None:
        if self._failure is not None:
            raise AssertionError(f"a bystander suffered: {self._failure!r}") from self._failure
        assert len(self.waits_s) >= 3, "they said too little to prove anything"
        assert max(self.waits_s) < self.wait_s_max, f"a bystander waited {max(self.waits_s):.2f} s"

    def _run(self) -> None:
        a, b = self.pair
        try:
            last = 0
            for n in itertools.count():
                began = time.monotonic()
                entry = a.say(b.user, f"bystander {n}")
                heard = b.hears(f"bystander {n}")
                self.waits_s.append(time.monotonic() - began)
                assert heard["message_id"] == entry["message_id"] and entry["seq"] == last + 1, (heard, entry)
                last = entry["seq"]
                b.put({"op": "ack", "conversation": entry["conversation"], "seq": last})
                if n % 50 == 49:
                    a.is_alive()
                if self._stop.wait(self.pause_s) and n >= 3:
                    return
        except BaseException as failure:  # handed to the test, which raises it
            self._failure = failure


class Watch:
    """The processes of a cluster, before and after: the same pids, ``/healthz`` 200, memory within ``grown_bytes_max``."""

    def __init__(self, cluster: ClusterProcess, grown_bytes_max: int) -> None:
        self.cluster, self.grown_bytes_max = cluster, grown_bytes_max
        self.pids = cluster.pids
        self.rss = {name: rss_of(pid) for name, pid in self.pids.items()}
        self.grown: dict[str, int] = {}

    def check(self) -> None:
        assert self.cluster.pids == self.pids, f"processes were lost: {self.pids} → {self.cluster.pids}\n{self.cluster.said()}"
        for part in self.cluster.layout.parts():
            assert http_status(f"{part.url}/healthz") == 200
            assert http_status(f"{part.url}/readyz") == 200
        self.grown = {name: rss_of(pid) - self.rss[name] for name, pid in self.pids.items()}
        assert max(self.grown.values()) < self.grown_bytes_max, f"memory has grown: {self.grown}"


@contextlib.contextmanager
def unharmed(cluster: ClusterProcess, grown_bytes_max: int = 64 * MIB, wait_s_max: float = 5.0) -> Iterator[Bystanders]:
    """Whatever happens inside, two others chat on, and no process is lost or grows by more than ``grown_bytes_max``."""
    with Bystanders(cluster, wait_s_max) as bystanders:
        watch = Watch(cluster, grown_bytes_max)
        yield bystanders
    watch.check()


def rss_of(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def http_status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def metric(cluster: ClusterProcess, name: str, part: str = "node-1") -> float:
    """The sum of a metric's samples at one process."""
    url = next(p.url for p in cluster.layout.parts() if p.name == part)
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def eventually(holds: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
    until = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until, "it did not come true"
        time.sleep(0.02)


def is_cut(sock: socket.socket) -> bool:
    """Reads to the end; True when the other side ended the connection, False when it said nothing for the socket's time-out."""
    try:
        while sock.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
