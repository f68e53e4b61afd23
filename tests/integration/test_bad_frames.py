"""Frames that are wrong in themselves: each is a clear error with a stable code and field, or a closed connection; nobody else notices."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from homing import codes, ids
from homing import protocol as p
from msgspec import Struct

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_client import BINARY, CONT, TEXT, frame
from tests.integration.raw_homing import Device, Frame, check_error, unharmed

FRAMES: tuple[type[Struct], ...] = typing.get_args(p.ClientFrame)
USER = ids.user_id("somebody")
GROUP = ids.group_id(b"0123456789abcdef")
GOOD: Frame = {
    "token": "x", "cursor": "1", "have": {}, "client": "", "id": "r1", "to": USER, "body": "b", "type": "text", "ts": 1, "after": 0,
    "conversation": GROUP, "seq": 1, "from_seq": 1, "to_seq": 1, "limit": 1, "before": "1.x", "title": "t", "members": [USER],
    "user": USER, "role": "admin", "users": [USER], "kind": "typing",
}  # fmt: skip
"""A right value for every field of every client frame."""
HUGE = 10**30
BAD_FRAMES_MAX = 20
"""``node.bad_frames_max``: the next one ends the connection."""
WRONG: dict[str, list[Any]] = {
    "str": [None, 1, -1, 1.5, True, [], {}, ["x"]],
    "int": [None, "1", 1.5, True, False, [], {}, -1, HUGE, -HUGE, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)],
    "list": [None, 1, "x", {}, True, [None], [1], [[]], ["x"], ["G" * 32], ["0" * 31], [USER] * 1_025],
    "dict": [None, 1, "x", [], True, {"x": 1}, {USER: "1"}, {USER: -1}, {USER: HUGE}, {USER: 2**63}, {USER: 1.5}, {USER: True}],
}
WRONG_TEXT: dict[str, list[str]] = {
    "id": ["", "x" * 65],
    "to": ["", "0" * 31, "0" * 33, "G" * 32, "0" * 31 + "\n", "0" * 31 + "A", "é" * 32],
    "conversation": ["", "0" * 31, "0" * 33, "G" * 32, "0" * 31 + "\n"],
    "user": ["", "0" * 31, "0" * 33, "G" * 32],
    "type": ["", "x" * 33, "Text", "a b", "1a", "text\n", "é"],
    "body": ["x" * 16_385],
    "title": ["", "x" * 129],
    "role": ["owner", "Admin", "", "admin\n"],
    "kind": ["", "text", "Typing", "typing\n"],
    "client": ["x" * 129],
    "cursor": ["x" * 65],
    "token": ["x" * 4_097],
    "before": ["x" * 65],
}


def op_of(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


def kind_of_field(kind: type[Struct], name: str) -> str:
    """str, int, list or dict: which JSON type the field takes."""
    hint = typing.get_type_hints(kind)[name]
    if typing.get_origin(hint) is typing.Literal:
        return type(typing.get_args(hint)[0]).__name__
    names = {a.__name__ for a in (typing.get_origin(x) or x for x in (hint, *typing.get_args(hint))) if isinstance(a, type)}
    return next(name for name in ("list", "dict", "str", "int") if name in names)


def wrong_values() -> Iterator[tuple[type[Struct], str, Any]]:
    """Every field of every client frame with every value that it may not have."""
    for kind in FRAMES:
        for field in msgspec.structs.fields(kind):
            optional = field.default is None
            of_kind = kind_of_field(kind, field.name)
            for value in WRONG[of_kind]:
                if value is None and optional:
                    continue
                if of_kind == "int" and field.name == "ts" and value == -1:
                    continue  # a clock may be before 1970
                yield kind, field.name, value
            for text in WRONG_TEXT.get(field.name, ()) if of_kind == "str" else ():
                yield kind, field.name, text


def good(kind: type[Struct], /, **changes: Any) -> Frame:
    return {"op": op_of(kind)} | {f.name: GOOD[f.name] for f in msgspec.structs.fields(kind)} | changes


def encodable(value: Any, binary: bool) -> bool:
    numbers = value.values() if isinstance(value, dict) else [value]
    return not (binary and any(isinstance(n, int) and not -(2**63) <= n < 2**64 for n in numbers))


CASES = list(wrong_values())


def test_the_cases_cover_every_field_of_every_client_frame() -> None:
    assert len(FRAMES) == 19 and len(CASES) > 400
    expected = {(kind, field.name) for kind in FRAMES for field in msgspec.structs.fields(kind)}
    assert {(kind, name) for kind, name, _ in CASES} == expected


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_a_wrong_value_in_any_field_is_an_error_that_names_the_field(shared_cluster: ClusterProcess, binary: bool) -> None:
    with unharmed(shared_cluster):
        session, used = Device(shared_cluster, binary=binary), BAD_FRAMES_MAX
        for kind, name, value in CASES:
            if not encodable(value, binary):
                continue
            if used == BAD_FRAMES_MAX:
                session.close()
                session, used = Device(shared_cluster, binary=binary, hello=kind is not p.Hello), 0
            session.put(good(kind, **{name: value}))
            got = session.receive()
            used += 1
            field = got.get("field") or ""
            assert re.fullmatch(rf"{name}(\[.*\]|\..*)?", field), (kind, name, value, got)
            check_error(got, codes.INVALID, field)
            if "id" in good(kind) and name != "id":
                assert got["id"] == "r1", "the error answers the request"
            if kind is p.Hello:
                session.expect_close(codes.CLOSE_POLICY)
                used = BAD_FRAMES_MAX
        session.is_alive()
        session.close()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_a_missing_field_is_named(shared_cluster: ClusterProcess, binary: bool) -> None:
    seen = 0
    for kind in FRAMES:
        with Device(shared_cluster, binary=binary, hello=kind is not p.Hello) as session:
            for field in msgspec.structs.fields(kind):
                if not field.required:
                    continue
                left = good(kind)
                del left[field.name]
                session.put(left)
                session.expect_error(codes.INVALID, field.name)
                seen += 1
            if kind is not p.Hello:
                session.is_alive()
    assert seen > 30


MALFORMED_JSON = [
    b"", b" ", b"{", b"}", b"{]", b'{"op":', b'{"op":"ping"', b'{"op":"ping"} {"op":"ping"}', b'{"op":"ping",}', b"{'op':'ping'}",
    b'{"op":"send","id":"x","to":"' + USER.encode() + b'","body":"\\ud800 alone"}', b'{"op":"ping","x":"\x01"}', b"nul", b"\x00",
    b'{"op":"ping","x":' + b"[" * 60_000, b'{"op":"ping","x":1e}', b'{"op":"ping","x":"\\q"}', b'{"op":"ping","x":"\\u12"}',
]  # fmt: skip
MALFORMED_MSGPACK = [
    b"", b"\xc1", b"\x81", b"\x82\xa2op\xa4ping", b"\x81\xa2op\xa4pin", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff", b"\x81\xa2op\xa4ping\xc0", b"\x82\xa2op\xa4ping\xa1x" + b"\x91" * 60_000, b"\x82\xa2op\xa4ping\xa1x\xd9\xff",
    msgspec.msgpack.encode({"op": "send", "id": "x", "to": USER, "body": msgspec.Raw(b"\xa3\xed\xa0\x80")}),
    msgspec.msgpack.encode({"op": "send", "id": "x", "to": USER, "body": msgspec.Raw(b"\xa2\xff\xfe")}),
]  # fmt: skip


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_what_cannot_be_read_is_malformed_and_the_session_goes_on(shared_cluster: ClusterProcess, binary: bool) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, binary=binary) as session:
        for data in MALFORMED_MSGPACK if binary else MALFORMED_JSON:
            session.put_raw(data)
            session.expect_error(codes.MALFORMED)
        session.is_alive()


NO_FRAMES: list[Any] = [None, True, 1, 1.5, "ping", [], [1], {}, {"op": None}, {"op": 1}, {"op": []}, {"op": {}}, {"Op": "ping"}]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_what_is_no_frame_is_an_invalid_field(shared_cluster: ClusterProcess, binary: bool) -> None:
    with Device(shared_cluster, binary=binary) as session:
        for value in NO_FRAMES:
            session.put_raw(msgspec.msgpack.encode(value) if binary else msgspec.json.encode(value))
            session.expect_error(codes.INVALID, "op" if isinstance(value, dict) else None)
        session.is_alive()


OPS = ["", "Ping", "ping ", "sent", "welcome", "error", "message", "reconnect", "x" * 60_000, "\0", "é", "hello\0"]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_an_unknown_op_is_told_with_the_request_it_belongs_to(shared_cluster: ClusterProcess, binary: bool) -> None:
    with Device(shared_cluster, binary=binary) as session:
        for op in OPS:
            session.put({"op": op, "id": "r7"})
            got = session.expect_error(codes.UNKNOWN_OP, "op")
            assert got["id"] == "r7" and len(got["message"]) <= 200
        session.is_alive()


def test_unknown_fields_are_ignored_for_newer_clients_may_have_them(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster) as session:
        session.put({"op": "ping", "new": {"deep": [1, 2, {"x": None}]}})
        session.expect("pong")


def test_after_too_many_bad_frames_the_connection_is_closed(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster) as session:
        session.put_raw(*[b"{"] * 30)
        session.expect_close(codes.CLOSE_POLICY)
        assert [f["name"] for f in session.received if f["op"] == "error"] == ["malformed"] * (BAD_FRAMES_MAX + 1)


# ---------------------------------------------------------------- sizes, fragments, text


def padded(size: int) -> bytes:
    """A ping of exactly this many bytes."""
    start, end = b'{"op":"ping","x":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


def test_a_frame_may_have_64_kib_and_not_a_byte_more(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster):
        with Device(shared_cluster) as session:
            session.put_raw(padded(p.FRAME_BYTES_MAX))
            session.expect("pong")
            session.put_raw(padded(p.FRAME_BYTES_MAX + 1))
            session.expect_close(codes.CLOSE_TOO_BIG)
        with Device(shared_cluster, hello=False) as session:
            session.put_raw(padded(p.FRAME_BYTES_MAX + 1))
            session.expect_close(codes.CLOSE_TOO_BIG)


def test_a_frame_in_fragments_is_one_frame(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster) as session:
        data = padded(p.FRAME_BYTES_MAX)
        parts = [data[n : n + 1_000] for n in range(0, len(data), 1_000)]
        last = len(parts) - 1
        session.raw.send(*(frame(TEXT if n == 0 else CONT, part, fin=n == last) for n, part in enumerate(parts)))
        session.expect("pong")
        session.raw.send(frame(TEXT, b'{"op":', fin=False), *[frame(CONT, b"", fin=False)] * 1_000, frame(CONT, b'"ping"}'))
        session.expect("pong")


def test_fragments_that_add_up_to_too_much_end_the_connection(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster) as session:
        half = b"x" * (p.FRAME_BYTES_MAX // 2 + 1)
        session.raw.send(frame(TEXT, half, fin=False), frame(CONT, half, fin=False))
        session.expect_close(codes.CLOSE_TOO_BIG)


@pytest.mark.parametrize("length", [b"\x7f" + (2**63 - 1).to_bytes(8, "big"), b"\x7f" + (2**40).to_bytes(8, "big")])
def test_a_length_that_nobody_can_send_ends_the_connection_at_once(shared_cluster: ClusterProcess, length: bytes) -> None:
    with unharmed(shared_cluster, grown_bytes_max=32 << 20), Device(shared_cluster) as session:
        session.raw.send(frame(TEXT, b"x", length=length))
        session.expect_close(codes.CLOSE_TOO_BIG)


@pytest.mark.parametrize(
    "data", [b'{"op":"\xff"}', b'{"op":"ping","x":"\xed\xa0\x80"}', b'{"op":"ping","x":"\xc0\xaf"}', b"\xf8\x88\x80\x80\x80"]
)
def test_a_text_that_is_not_utf_8_ends_the_connection(shared_cluster: ClusterProcess, data: bytes) -> None:
    with Device(shared_cluster) as session:
        session.put_raw(data)
        session.expect_close(codes.CLOSE_BAD_DATA)


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_the_other_kind_of_message_ends_the_connection(shared_cluster: ClusterProcess, binary: bool) -> None:
    with Device(shared_cluster, binary=binary) as session:
        session.raw.send(frame(TEXT if binary else BINARY, b'{"op":"ping"}'))
        session.expect_close(codes.CLOSE_UNSUPPORTED)


# ---------------------------------------------------------------- hello


@pytest.mark.parametrize("kind", [kind for kind in FRAMES if kind is not p.Hello], ids=op_of)
def test_before_hello_nothing_else_may_be_said(shared_cluster: ClusterProcess, kind: type[Struct]) -> None:
    with Device(shared_cluster, hello=False) as session:
        session.put(good(kind))
        session.expect_error(codes.HELLO_FIRST)
        session.expect_close(codes.CLOSE_POLICY)


@pytest.mark.parametrize("data", [b"{", b'{"op":"x"}', b"\x00", b"[]"])
def test_before_hello_one_bad_frame_is_enough(shared_cluster: ClusterProcess, data: bytes) -> None:
    with Device(shared_cluster, hello=False) as session:
        session.put_raw(data)
        session.expect_close(codes.CLOSE_POLICY)
        assert [f["op"] for f in session.received] == ["error"]


def test_a_second_hello_is_refused_and_the_session_goes_on(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster) as session, Device(shared_cluster) as other:
        session.put({"op": "hello", "token": other.token()})
        session.expect_error(codes.HELLO_TWICE)
        entry = session.say(other.user, "still myself")
        assert entry["sender"] == session.user


def test_two_hellos_in_one_write_open_one_session(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": session.token()}, {"op": "hello", "token": session.token()}, {"op": "ping"})
        session.expect_error(codes.HELLO_TWICE)
        ops = [session.receive()["op"] for _ in range(3)] + [f["op"] for f in session.received]
        assert sorted(ops) == ["pong", "synced", "welcome"]


def test_a_hello_that_lists_too_much_or_bears_a_strange_cursor_is_refused(shared_cluster: ClusterProcess) -> None:
    have = {ids.group_id(n.to_bytes(16, "big")): n for n in range(101)}
    bad: list[tuple[str, Frame]] = [("have", {"have": have})]
    bad += [("cursor", {"cursor": text}) for text in ("", "-1", "1.5", "x", " 1", "٣", "9" * 16, "1\0")]
    for field, fields in bad:
        with Device(shared_cluster, hello=False) as session:
            session.put({"op": "hello", "token": session.token(), **fields})
            session.expect_error(codes.INVALID, field)
            session.expect_close(codes.CLOSE_POLICY)


@pytest.mark.parametrize("fields", [{"have": {GROUP: 2**53}}, {"have": {USER: 1}}, {"cursor": "0"}, {"cursor": "9" * 15}])
def test_a_hello_that_claims_what_cannot_be_is_let_in_and_shows_nothing_foreign(shared_cluster: ClusterProcess, fields: Frame) -> None:
    with Device(shared_cluster, **fields) as session:
        assert not [f for f in session.received if f["op"] in ("heads", "message", "head")]
        session.is_alive()
