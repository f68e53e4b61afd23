"""Opening handshakes: what becomes a connection and with what it is refused; where frames end; what the sweeper finds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.edge.framing import FrameSplitter, are_plain_frames
from node.edge.sweep import PARTS, ROUNDS_PER_PING, Sweeper
from node.edge.upgrade import Accepted, Head, Refused, negotiate, parse_head
from node.edge.websocket import CLOSE_ABNORMAL, EdgeLimits, is_close_code
from tests.integration.raw_client import TEXT, frame

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "host": "chat.example.org",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
    "sec-websocket-protocol": "homing.v1.json",
}


def asked(
    method: str = "GET", version: str = "HTTP/1.1", required: bool = True, origins: frozenset[str] = frozenset(), **changes: str
) -> object:
    headers = GOOD | {name.replace("_", "-"): value for name, value in changes.items()}
    headers = {name: value for name, value in headers.items() if value}
    return negotiate(Head(method, "/v1/ws", version, headers), origins, required)


def status(answer: object) -> int:
    assert isinstance(answer, Refused), answer
    return answer.status


def test_a_good_request_is_accepted() -> None:
    assert asked() == Accepted(KEY, "homing.v1.json")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("homing.v1.msgpack", "homing.v1.msgpack"),
        ("homing.v2.json, homing.v1.json", "homing.v1.json"),
        ("homing.v1.json,homing.v1.msgpack", "homing.v1.json"),
        ("other, homing.v1.msgpack ,homing.v1.json", "homing.v1.msgpack"),
    ],
)
def test_the_clients_first_sub_protocol_that_we_know_is_chosen(offered: str, chosen: str) -> None:
    assert asked(sec_websocket_protocol=offered) == Accepted(KEY, chosen)


@pytest.mark.parametrize("offered", ["", "chat", "homing.v1", "HOMING.V1.JSON", "homing.v2.json"])
def test_without_one_of_our_sub_protocols_the_request_is_refused(offered: str) -> None:
    assert status(asked(sec_websocket_protocol=offered)) == 400
    assert asked(sec_websocket_protocol=offered, required=False) == Accepted(KEY, offered or None)


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade", "Upgrade,keep-alive"])
def test_the_connection_header_is_a_list(connection: str) -> None:
    assert isinstance(asked(connection=connection), Accepted)  # Firefox sends the first


REFUSED = [
    ({"method": "POST"}, 405), ({"method": "get"}, 405), ({"version": "HTTP/1.0"}, 505), ({"upgrade": ""}, 426),
    ({"upgrade": "h2c"}, 426), ({"connection": ""}, 426), ({"connection": "keep-alive"}, 426), ({"sec_websocket_version": ""}, 426),
    ({"sec_websocket_version": "8"}, 426), ({"sec_websocket_key": ""}, 400), ({"sec_websocket_key": "x"}, 400),
    ({"sec_websocket_key": "AAAA"}, 400), ({"sec_websocket_key": KEY[:-1] + "!"}, 400), ({"content_length": "5"}, 400),
    ({"sec_websocket_key": f"{KEY}, {KEY}"}, 400),
    ({"transfer_encoding": "chunked"}, 400), ({"origin": "https://evil.example"}, 403), ({"origin": "null"}, 403),
    ({"origin": "https://["}, 403), ({"origin": "https://chat.example.org.evil.example"}, 403),
    ({"origin": "https://chat.example.org:8443"}, 403),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "wanted"), REFUSED)
def test_what_is_no_handshake_is_refused(changes: dict[str, str], wanted: int) -> None:
    assert status(asked(**changes)) == wanted  # type: ignore[arg-type]  # all of them texts


def test_an_origin_is_allowed_if_it_is_ours_or_listed() -> None:
    assert isinstance(asked(origin="https://chat.example.org"), Accepted)
    assert isinstance(asked(origin="https://app.example", origins=frozenset({"https://app.example"})), Accepted)
    assert status(asked(origin="http://app.example", origins=frozenset({"https://app.example"}))) == 403
    assert status(asked(origin="https://chat.example.org", host="")) == 403


def test_a_repeated_header_is_one_list() -> None:
    head = parse_head(b"GET /v1/ws?slot=5 HTTP/1.1\r\nA: 1\r\nB:x\r\na:  2 ")
    assert head == Head("GET", "/v1/ws?slot=5", "HTTP/1.1", {"a": "1, 2", "b": "x"})
    assert isinstance(head, Head) and head.path == "/v1/ws"


@pytest.mark.parametrize(
    "data", [b"", b"GET", b"GET /", b"GET  HTTP/1.1", b"GET / HTTP/1.1\r\nx", b"GET / HTTP/1.1\r\n: x", b"GET / HTTP/1.1\r\nA : x"]
)
def test_a_malformed_head_is_refused(data: bytes) -> None:
    assert status(parse_head(data)) == 400


def test_too_many_headers_are_refused() -> None:
    assert status(parse_head(b"GET / HTTP/1.1" + b"\r\na: b" * 200)) == 431


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_head_of_any_bytes_is_parsed_or_refused(data: bytes) -> None:
    head = parse_head(data)
    if isinstance(head, Head):
        assert isinstance(negotiate(head, frozenset()), Refused)


@pytest.mark.parametrize("seed", range(20))
def test_no_part_reaches_beyond_the_end_of_a_frame(seed: int) -> None:
    rng = random.Random(seed)
    frames = [frame(TEXT, rng.randbytes(rng.choice((0, 1, 125, 126, 300, 65_535, 65_536)))) for _ in range(12)]
    data, ends, at = b"".join(frames), set(), 0
    for one in frames:
        at += len(one)
        ends.add(at)
    splitter, given_out, parts_of = FrameSplitter(), 0, b""
    while data:
        cut = rng.choice((1, 2, 3, 5, 9, 14, 200, 100_000))
        for part in splitter.split(data[:cut]):
            assert part
            assert not [end for end in ends if given_out < end < given_out + len(part)]
            given_out += len(part)
            parts_of += part
            assert splitter.at_boundary() == (given_out in ends)
        data = data[cut:]
    assert parts_of == b"".join(frames)


PLAIN = [frame(op, b"x" * n) for op in (1, 2, 9, 10) for n in (0, 1, 125)] + [frame(op, b"x" * n) for op in (1, 2) for n in (126, 9999)]
OTHER = [
    frame(8), frame(0, b"x"), frame(1, b"x", fin=False), frame(1, rsv=4), frame(3), frame(1, b"x", masked=False), frame(9, b"x" * 126),
    frame(1, b"x" * 10_001), frame(1, b"x" * 65_536), frame(1, b"x", length=b"\x7e\0\1"), frame(1, b"x", length=b"\x7f" + bytes(7) + b"\1"),
]  # fmt: skip


def test_whole_frames_of_the_common_kinds_are_plain_and_nothing_else_is() -> None:
    for one in PLAIN:
        assert are_plain_frames(one, len(one), 10_000)
        for other in PLAIN:
            both = one + other
            assert are_plain_frames(both + b"behind", len(both), 10_000)
            assert not any(are_plain_frames(both, n, 10_000) for n in range(len(both)) if n not in (len(one), len(other)))
        for other in OTHER:
            assert not are_plain_frames(one + other, len(one + other), 10_000)


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_close_codes_that_may_be_sent(code: int) -> None:
    assert is_close_code(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_codes_that_may_not(code: int) -> None:
    assert not is_close_code(code)


class Swept:
    """A connection as the sweeper sees it."""

    def __init__(self, id_: int, waiting: int = 0) -> None:
        self.id, self.seen, self.pinged, self.waiting = id_, 0.0, False, waiting
        self.pings = 0
        self.cuts: list[int] = []

    def buffered(self) -> int:
        return self.waiting

    def ping(self) -> None:
        self.pings += 1

    def cut(self, code: int) -> None:
        self.cuts.append(code)


def swept(limits: EdgeLimits, *connections: Swept) -> Sweeper[Swept]:
    sweeper: Sweeper[Swept] = Sweeper(limits, 1013)
    for c in connections:
        sweeper.add(c)
    return sweeper


def run(sweeper: Sweeper[Swept], begin: float, seconds: float) -> float:
    now = begin
    while now < begin + seconds:
        now += sweeper.step_s
        sweeper.step(now)
    return now


def test_a_silent_connection_is_pinged_once_and_then_cut_each_in_time() -> None:
    limits = EdgeLimits(ping_idle_s=40, idle_s=60)
    silent, lively = Swept(1), Swept(2)
    sweeper = swept(limits, silent, lively)
    late_s = limits.ping_idle_s / ROUNDS_PER_PING
    now = run(sweeper, 0.0, 39)
    assert silent.pings == 0
    lively.seen = now
    now = run(sweeper, now, 1 + late_s)
    assert (silent.pings, lively.pings) == (1, 0)
    now = run(sweeper, now, 60 - now - 1)
    assert (silent.pings, silent.cuts) == (1, [])
    run(sweeper, now, 1 + late_s)
    assert silent.cuts and set(silent.cuts) == {CLOSE_ABNORMAL} and not lively.cuts


def test_a_connection_that_answered_is_pinged_again_when_it_falls_silent_again() -> None:
    c = Swept(1)
    sweeper = swept(EdgeLimits(ping_idle_s=40, idle_s=60), c)
    now = run(sweeper, 0.0, 46)
    c.seen = now
    run(sweeper, now, 46)
    assert c.pings == 2


def test_each_connection_is_looked_at_once_a_round() -> None:
    connections = [Swept(n) for n in range(3 * PARTS)]
    sweeper = swept(EdgeLimits(), *connections)
    looked = 0
    for c in connections:
        c.seen = -1e9
    for _ in range(PARTS):
        sweeper.step(0.0)
        cut = sum(len(c.cuts) for c in connections)
        assert cut - looked == 3
        looked = cut


def test_when_too_much_waits_for_all_together_those_with_the_most_are_cut() -> None:
    connections = [Swept(n, waiting) for n, waiting in enumerate((50, 400, 300, 200, 0))]
    sweeper = swept(EdgeLimits(frame_bytes_max=1, buffered_total_bytes_max=600), *connections)
    for _ in range(PARTS):
        sweeper.step(1.0)
    assert [c.cuts for c in connections] == [[], [1013], [], [], []]
    assert sweeper.buffered() == 550


def test_who_has_left_is_forgotten() -> None:
    c = Swept(1, 5)
    sweeper = swept(EdgeLimits(), c)
    run(sweeper, 0.0, 10)
    sweeper.remove(c)
    assert (len(sweeper), sweeper.all(), sweeper.buffered()) == (0, [], 0)


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        (EdgeLimits(idle_s=15), "idle_s"),
        (EdgeLimits(buffered_bytes_max=1), "buffered_bytes_max"),
        (EdgeLimits(handshake_timeout_s=0), "handshake"),
    ],
)
def test_limits_that_contradict_each_other_are_refused_with_their_key(limits: EdgeLimits, key: str) -> None:
    with pytest.raises(ValueError, match=rf"edge\.{key}"):
        limits.check()
