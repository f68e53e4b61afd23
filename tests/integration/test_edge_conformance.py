"""The echo server's WebSocket edge against RFC 6455, beyond the cases of Autobahn (``test_autobahn.py``), in the order of its groups.

A case sends frames and names everything that must come back. ``chopped`` sends the same bytes one at a time: no answer may depend on how
TCP cuts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from node.edge.websocket import EdgeLimits
from tests.integration.raw_client import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    EdgeThread,
    RawClient,
    Received,
    close_frame,
    frame,
    serving,
    wait_for,
)
from tests.ws_echo import make_edge

LIMIT = EdgeLimits().frame_bytes_max
BYE = close_frame(1000)
NORMAL = 1000


@dataclass(frozen=True)
class Case:
    name: str
    send: tuple[bytes, ...]
    answers: tuple[Received, ...] = ()
    code: int = NORMAL
    """The close frame that ends it. Cases that end normally have ``BYE`` sent behind them."""


def text(payload: bytes) -> Received:
    return Received(TEXT, payload)


def binary(payload: bytes) -> Received:
    return Received(BINARY, payload)


def pong(payload: bytes = b"") -> Received:
    return Received(PONG, payload)


def fragments(op: int, *parts: bytes) -> tuple[bytes, ...]:
    last = len(parts) - 1
    return tuple(frame(CONT if n else op, part, fin=n == last) for n, part in enumerate(parts))


def octets(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[n : n + 1] for n in range(len(data)))


SIZES = (1, 2, 124, 129, 65_534)
GROUP_1 = [Case(f"text of {n}", (frame(TEXT, b"*" * n),), (text(b"*" * n),)) for n in SIZES]
GROUP_1 += [Case(f"binary of {n}", (frame(BINARY, b"\xfe" * n),), (binary(b"\xfe" * n),)) for n in SIZES]

GROUP_2 = [
    Case("ping with bytes that are no text", (frame(PING, b"\x00\xff\xfe\xfd"),), (pong(b"\x00\xff\xfe\xfd"),)),
    Case("pong of 126", (frame(PONG, b"\xfe" * 126),), (), 1002),
]

HI = frame(TEXT, b"hi")
GROUP_3 = [
    Case(f"reserved bits {rsv} on op {op}", (frame(op, b"", rsv=rsv),), (), 1002)
    for rsv in range(1, 8)
    for op in (TEXT, BINARY, PING, PONG)
]
GROUP_3 += [
    Case("a good message before reserved bits is answered", (HI, frame(TEXT, b"x", rsv=2), frame(PING)), (text(b"hi"),), 1002),
    Case("reserved bits on a continuation", (frame(TEXT, b"a", fin=False), frame(CONT, b"b", rsv=4)), (), 1002),
    Case("reserved bits on close", (frame(CLOSE, b"\x03\xe8", rsv=7),), (), 1002),
]

GROUP_4 = [
    Case(f"reserved op {op}", (frame(op, payload),), (), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) for payload in (b"", b"x")
]

A, B, C, D = b"fragment1", b"fragment2", b"fragment3", b"fragment4"
GROUP_5 = [
    Case("fragmented close", (frame(CLOSE, b"\x03\xe8", fin=False),), (), 1002),
    Case("binary in three fragments", fragments(BINARY, A, B, C), (binary(A + B + C),)),
    Case("two fragmented messages", fragments(TEXT, A, B) + fragments(TEXT, C, D), (text(A + B), text(C + D))),
    Case("text, then binary, then text", (HI, frame(BINARY, A), HI), (text(b"hi"), binary(A), text(b"hi"))),
    Case("a pong between fragments", (frame(TEXT, A, fin=False), frame(PONG, b"p"), frame(CONT, B)), (text(A + B),)),
    Case("continuation after a whole message", (HI, frame(CONT, A)), (text(b"hi"),), 1002),
    Case("a binary inside a text", (frame(TEXT, A, fin=False), frame(BINARY, B, fin=False)), (), 1002),
    Case("a text inside a binary", (frame(BINARY, A, fin=False), frame(TEXT, B)), (), 1002),
    Case("an unmasked frame", (frame(TEXT, A, masked=False),), (), 1002),
    Case("an unmasked close", (frame(CLOSE, b"\x03\xe8", masked=False),), (), 1002),
    Case("a short length in 16 bits", (frame(TEXT, A, length=b"\x7e\x00\x09"),), (), 1002),
    Case("a short length in 64 bits", (frame(TEXT, A, length=b"\x7f" + bytes(7) + b"\x09"),), (), 1002),
    Case("a length with the highest bit", (frame(TEXT, A, length=b"\x7f\x80" + bytes(6) + b"\x09"),), (), 1002),
]  # fmt: skip

KOSME = "κόσμε".encode()
VALID_UTF8 = [
    b"", "Hello-µ@ßöäüàá-UTF-8!!".encode(), KOSME, b"\x00", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xed\x9f\xbf",
    b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xef\xbf\xbe", b"\xef\xbf\xbf", b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf",
    b"\xf0\x9f\xbf\xbe", b"\xf3\xbf\xbf\xbf",
]  # fmt: skip
INVALID_UTF8 = [
    KOSME + b"\xed\xa0\x80edited", b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80\xbf", b"\xc0 ", b"\xc1 \xe0 ",
    b"\xe0 \xef ", b"\xf0 \xf4 ", b"\xf8 ", b"\xfc ", b"\xc0", b"\xdf", b"\xe0\x80", b"\xef\xbf", b"\xf0\x80\x80",
    b"\xf7\xbf\xbf", b"\xf8\x80\x80\x80", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", b"\xe0\x80\x80",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80", b"\xfb\xbf\xbf\xbf\xbf", KOSME[:-1],
]  # fmt: skip
GROUP_6 = [Case(f"text {data!r}", (frame(TEXT, data),), (text(data),)) for data in VALID_UTF8]
GROUP_6 += [Case(f"text {data!r} by octets", fragments(TEXT, *octets(data)), (text(data),)) for data in VALID_UTF8 if data]
GROUP_6 += [Case(f"invalid text {data!r}", (frame(TEXT, data),), (), 1007) for data in INVALID_UTF8]
GROUP_6 += [Case(f"invalid text {data!r} by octets", fragments(TEXT, *octets(data)), (), 1007) for data in INVALID_UTF8]
GROUP_6 += [
    Case("bytes that are no text in a binary message", (frame(BINARY, b"\xff\xed\xa0\x80"),), (binary(b"\xff\xed\xa0\x80"),)),
    Case("a character across a ping", (frame(TEXT, b"\xce", fin=False), frame(PING), frame(CONT, b"\xba")), (pong(), text(b"\xce\xba"))),
]
# Fail fast: the message is never finished, yet the error must come.
UNFINISHED = [
    Case("an invalid first octet of a character", (frame(TEXT, KOSME + b"\xf4", fin=False), frame(CONT, b"\x90", fin=False)), (), 1007),
    Case("a header that announces too much", (frame(TEXT, b"", length=b"\x7f" + (LIMIT + 1).to_bytes(8, "big")),), (), 1009),
    Case("a header that announces 2^62", (frame(BINARY, b"", length=b"\x7f" + (2**62).to_bytes(8, "big")),), (), 1009),
]

CODES = (1012, 1013, 1014, 3001, 4001)
BAD_CODES = (1, 1015, 5001, 65_534)
GROUP_7 = [
    Case("close with a reason", (close_frame(1000, "Grüße".encode()),)),
    Case("close with a reason that is no text", (close_frame(1000, b"\xce\xba\xed\xa0\x80"),), (), 1007),
]
GROUP_7 += [Case(f"close code {code}", (close_frame(code),), (), code) for code in CODES]
GROUP_7 += [Case(f"close code {code}", (close_frame(code),), (), 1002) for code in BAD_CODES]
GROUP_7 += [Case(f"close code {code} with a reason", (close_frame(code, b"reason"),), (), 1002) for code in BAD_CODES]

BIG = bytes(range(256)) * 256
GROUP_9 = [
    Case("one byte over the limit", (frame(BINARY, BIG + b"x"),), (), 1009),
    Case("one byte over the limit in fragments", fragments(BINARY, BIG[:40_000], BIG[40_000:], b"x"), (), 1009),
    Case("the limit is for a message, not a connection", fragments(BINARY, BIG[:40_000], BIG[40_000:]) * 3, (binary(BIG),) * 3),
    Case("a thousand fragments", fragments(BINARY, *(BIG[n : n + 64] for n in range(0, 65_536, 64))), (binary(BIG),)),
    Case(
        "ten thousand empty fragments", (frame(TEXT, b"a", fin=False), frame(CONT, fin=False) * 10_000, frame(CONT, b"b")), (text(b"ab"),)
    ),
    Case("a thousand messages at once", (HI,) * 1000, (text(b"hi"),) * 1000),
]
CASES = GROUP_1 + GROUP_2 + GROUP_3 + GROUP_4 + GROUP_5 + GROUP_6 + GROUP_7 + GROUP_9
SHORT = [case for case in CASES if sum(map(len, case.send)) < 300]


@pytest.fixture(scope="module")
def echo() -> Iterator[EdgeThread]:
    with serving(lambda: make_edge(EdgeLimits())) as thread:
        yield thread


def named(case: Case) -> str:
    return case.name


def run(port: int, case: Case, chopped: bool, finished: bool = True) -> None:
    with RawClient(port).open(None) as client:
        data = b"".join(case.send)
        if finished and case.code == NORMAL and CLOSE not in (part[0] & 0x0F for part in case.send):
            data += BYE
        try:
            for octet in octets(data) if chopped else (data,):
                client.send(octet)
        except (ConnectionResetError, BrokenPipeError):
            assert case.code != NORMAL  # the server may have hung up before it was told everything
        *answers, last = client.receive_all()
        assert tuple(answers) == case.answers
        assert (last.op, last.code) == (CLOSE, case.code)


@pytest.mark.parametrize("case", CASES + UNFINISHED, ids=named)
def test_frames_are_answered_as_rfc_6455_demands(echo: EdgeThread, case: Case) -> None:
    run(echo.port, case, chopped=False, finished=case not in UNFINISHED)


@pytest.mark.parametrize("case", SHORT + UNFINISHED, ids=named)
def test_the_same_frames_are_answered_alike_when_they_come_byte_by_byte(echo: EdgeThread, case: Case) -> None:
    run(echo.port, case, chopped=True, finished=case not in UNFINISHED)


@pytest.mark.parametrize("target", ["/", "/runCase?case=1&agent=x", "/v1/ws"])
def test_the_echo_server_takes_any_path_and_still_serves_http(echo: EdgeThread, target: str) -> None:
    with RawClient(echo.port) as client:
        assert client.handshake(client.request(target=target, Sec_WebSocket_Protocol=None))[0] == 101
        client.send(HI)
        assert client.receive() == text(b"hi")
    with RawClient(echo.port) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response()[0] == 200


def test_no_connection_is_left_behind(echo: EdgeThread) -> None:
    wait_for(lambda: echo.call(echo.edge.connections) == 0)
