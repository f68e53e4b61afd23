"""Client frames: what is taken, what is refused and how, and that concatenated frames equal encoded ones."""

from __future__ import annotations

import random

import msgspec
import pytest
from homing import codes
from homing.protocol import ClientFrame, Entry, Error, Message, Ping, Pong, Send, Sent
from hypothesis import given, settings
from hypothesis import strategies as st

from node.edge.codec import PINGS, BadFrame, EncodedEntry, decode, encode, message_frame, pong_frame, sent_frame

A, B = "0" * 32, "00041f" + "a" * 26
CODES_ALLOWED = {codes.MALFORMED, codes.UNKNOWN_OP, codes.INVALID, codes.TOO_BIG}
VALID: list[dict[str, object]] = [
    {"op": "hello", "token": "t", "cursor": None, "have": {A: 7}, "client": "x"},
    {"op": "send", "id": "m1", "to": A, "body": "hé \U0001f600", "type": "text", "ts": 1, "after": 3},
    {"op": "ack", "conversation": A, "seq": 1},
    {"op": "read", "conversation": A, "seq": 0},
    {"op": "fetch", "id": "f", "conversation": A, "from_seq": 1, "to_seq": 9, "limit": 100},
    {"op": "fetch_heads", "id": "f", "before": "x", "limit": 1},
    {"op": "fetch_members", "id": "f", "conversation": A},
    {"op": "fetch_person", "id": "f", "user": A},
    {"op": "ping"},
    {"op": "watch", "users": [A, B]},
    {"op": "typing", "conversation": B, "kind": "recording"},
    {"op": "group_create", "id": "g", "conversation": B, "title": "T", "members": [A, B]},
    {"op": "group_add", "id": "g", "conversation": B, "members": [A]},
    {"op": "group_remove", "id": "g", "conversation": B, "members": [A], "after": 1},
    {"op": "group_leave", "id": "g", "conversation": B},
    {"op": "group_rename", "id": "g", "conversation": B, "title": "T"},
    {"op": "group_role", "id": "g", "conversation": B, "user": A, "role": "admin"},
]


def packed(value: object, binary: bool) -> bytes:
    return msgspec.msgpack.encode(value) if binary else msgspec.json.encode(value)


def refused(value: object, binary: bool) -> BadFrame:
    frame = decode(value if isinstance(value, bytes) else packed(value, binary), binary)
    assert isinstance(frame, BadFrame), frame
    encode(frame.as_error(), binary)  # an error must itself be sendable
    return frame


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("value", VALID, ids=lambda value: str(value["op"]))
def test_every_op_is_read_in_both_formats(value: dict[str, object], binary: bool) -> None:
    frame = decode(packed(value, binary), binary)
    assert not isinstance(frame, BadFrame)
    assert frame.__struct_config__.tag == value["op"]
    for name, wanted in value.items():
        if name != "op":
            assert getattr(frame, name) == wanted


@pytest.mark.parametrize("binary", [False, True])
def test_unknown_fields_are_ignored(binary: bool) -> None:
    assert decode(packed({"op": "ping", "new": {"deep": [1]}}, binary), binary) == Ping()


REFUSED = [
    ("an unknown op", {"op": "nope", "id": "x"}, codes.UNKNOWN_OP, "op", "x"),
    ("a server's op", {"op": "welcome"}, codes.UNKNOWN_OP, "op", None),
    ("no op", {"id": "x"}, codes.INVALID, "op", "x"),
    ("an op that is a number", {"op": 5}, codes.INVALID, "op", None),
    ("a missing field", {"op": "send", "id": "x", "to": A}, codes.INVALID, "body", "x"),
    ("a missing id", {"op": "send", "to": A, "body": ""}, codes.INVALID, "id", None),
    ("a wrong type", {"op": "send", "id": "x", "to": 5, "body": ""}, codes.INVALID, "to", "x"),
    ("an id that is none", {"op": "send", "id": "x", "to": "z" * 32, "body": ""}, codes.INVALID, "to", "x"),
    ("an id with a line feed", {"op": "send", "id": "x", "to": A + "\n", "body": ""}, codes.INVALID, "to", "x"),
    ("a type with a line feed", {"op": "send", "id": "x", "to": A, "body": "", "type": "text\n"}, codes.INVALID, "type", "x"),
    ("a body too long", {"op": "send", "id": "x", "to": A, "body": "a" * 16_385}, codes.INVALID, "body", "x"),
    ("an empty request id", {"op": "send", "id": "", "to": A, "body": ""}, codes.INVALID, "id", None),
    ("a request id too long", {"op": "send", "id": "x" * 65, "to": A, "body": ""}, codes.INVALID, "id", None),
    ("a person who is no id", {"op": "fetch_person", "id": "x", "user": "bob"}, codes.INVALID, "user", "x"),
    ("a negative seq", {"op": "ack", "conversation": A, "seq": -1}, codes.INVALID, "seq", None),
    ("a seq past 2^53", {"op": "ack", "conversation": A, "seq": 2**53 + 1}, codes.INVALID, "seq", None),
    ("a wrong element", {"op": "group_add", "id": "g", "conversation": A, "members": [A, 5]}, codes.INVALID, "members[1]", "g"),
    ("a wrong key", {"op": "hello", "token": "", "have": {"a": 1}}, codes.INVALID, "have", None),
    ("an array", [1], codes.INVALID, None, None),
    ("a number", 5, codes.INVALID, None, None),
    ("null", None, codes.INVALID, None, None),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("value", "code", "field", "id_"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_wrong_frame_is_refused_with_its_field_and_id(
    value: object, code: codes.Code, field: str | None, id_: str | None, binary: bool
) -> None:
    frame = refused(value, binary)
    assert (frame.code, frame.field, frame.id) == (code, field, id_)


MALFORMED = [
    (b"", False), (b"{", False), (b'{"op":"ping"} x', False), (b'{"op":"send","id":"\xff"}', False), (b"\xef\xbb\xbf{}", False),
    (b"NaN", False), (b'{"op":"ping","x":"\\ud800"}', False), (b'{"a":' * 10_000, False), (b"", True), (b"\xc1", True),
    (b"\x82\xa2op\xa3\xff\xff\xff", True), (b"\xdf\xff\xff\xff\xff", True),
    (b"\x81\xa2op\xa4ping\x00", True), (b"\x82\xa2op\xa4ping\xa1x" + b"\x91" * 20_000, True),
]  # fmt: skip


@pytest.mark.parametrize(("data", "binary"), MALFORMED)
def test_what_is_not_the_format_is_malformed(data: bytes, binary: bool) -> None:
    assert refused(data, binary).code == codes.MALFORMED


def test_lone_surrogates_are_malformed_in_every_way_of_writing_them() -> None:
    assert refused(b'{"op":"send","id":"x","to":"' + A.encode() + b'","body":"\\ud800"}', False).code == codes.MALFORMED
    assert refused(b'{"op":"send","id":"x","to":"' + A.encode() + b'","body":"\xed\xa0\x80"}', False).code == codes.MALFORMED
    assert refused(packed(VALID[1], True).replace(b"h\xc3\xa9", b"\xed\xa0\x80"), True).code == codes.MALFORMED


def test_a_frame_over_the_limit_is_not_looked_at() -> None:
    assert refused(b'{"op":"ping"}' + b" " * 70_000, False).code == codes.TOO_BIG


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_quoted_from_a_peer_is_short(binary: bool) -> None:
    assert len(refused({"op": "x" * 30_000}, binary).message) <= 200


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = sorted({name for value in VALID for name in value})


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_bytes_of_any_kind_give_a_frame_or_a_clean_refusal(data: bytes, binary: bool) -> None:
    frame = decode(data, binary)
    assert not isinstance(frame, BadFrame) or frame.code in CODES_ALLOWED


@given(st.sampled_from(VALID), st.dictionaries(st.sampled_from(FIELDS), JSON_VALUE, max_size=3), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_value_in_any_field_gives_a_frame_or_a_clean_refusal(base: dict[str, object], change: dict[str, object], binary: bool) -> None:
    frame = decode(packed({**base, **change}, binary), binary)
    assert not isinstance(frame, BadFrame) or refused({**base, **change}, binary).code in CODES_ALLOWED


def mutated(data: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0 if at < len(data):
                data[at] = rng.randrange(256)
            case 1:
                data[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 2:
                del data[at : at + rng.randrange(1, 5)]
            case _:
                data[at:at] = rng.choice((b'"', b"\\u", b"{", b"[", b"\xc0", b"\xdf\xff", b"1e999", b"null", b"\xed\xa0\x80"))
    return bytes(data)


def test_a_hundred_thousand_mutated_frames_give_frames_or_clean_refusals() -> None:
    rng = random.Random(3)
    seeds = [(packed(value, binary), binary) for value in VALID for binary in (False, True)]
    seen = set()
    for _ in range(100_000):
        seed, binary = rng.choice(seeds)
        frame = decode(mutated(bytearray(seed), rng), binary)
        if isinstance(frame, BadFrame):
            assert frame.code in CODES_ALLOWED
            seen.add(frame.code)
        else:
            assert isinstance(frame, ClientFrame)
    assert seen == {codes.MALFORMED, codes.UNKNOWN_OP, codes.INVALID}  # the mutations do reach each of them


TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ENTRIES = st.builds(
    Entry, conversation=st.sampled_from([A, B]), seq=st.integers(0, 2**53), message_id=TEXT, sender=st.sampled_from([A, B]), id=TEXT,
    type=st.sampled_from(["text", "group.add"]), body=TEXT | st.just("x" * 300), ts=st.integers(0, 2**53), ordinal=st.integers(0, 2**31),
    sent_ts=st.integers(-5, 2**40),
)  # fmt: skip


@given(ENTRIES, TEXT, st.booleans())
@settings(max_examples=200, deadline=None)
def test_concatenated_frames_equal_encoded_structs(entry: Entry, id_: str, binary: bool) -> None:
    encoded = EncodedEntry(entry)
    assert message_frame(encoded, binary) == encode(Message(entry=entry), binary)
    assert sent_frame(id_, encoded, binary) == encode(Sent(id=id_, entry=entry), binary)
    assert message_frame(encoded, binary) is message_frame(encoded, binary)  # a group's fan-out shares one object


def test_an_error_names_request_and_field() -> None:
    error = refused({"op": "send", "id": "x", "to": 5, "body": ""}, False).as_error()
    assert error == Error(code=1003, name="invalid_field", message="Expected `str`, got `int`", id="x", field="to")
    assert isinstance(decode(packed(VALID[1], False), False), Send)


@pytest.mark.parametrize("binary", [False, True])
def test_the_frames_of_idle_clients_are_what_the_structs_say(binary: bool) -> None:
    assert decode(PINGS[binary], binary) == Ping()
    for time_ms in (1_798_534_800_000, 2**33, 2**45):
        assert pong_frame(time_ms, binary) == encode(Pong(time=time_ms), binary)
