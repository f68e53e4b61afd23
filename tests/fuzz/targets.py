"""What reads bytes that others made, each alone and in process: no socket, no cluster, thousands of inputs a second.

A target raises for an input only what a bug raises. Each also checks a law of what was read: that it can be written again and is the same,
that a refusal can be told, that what was let through is within its bounds.
"""

from __future__ import annotations

import tempfile
import typing
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from homing import codes, ids
from homing import protocol as p
from homing.connection import _DECODERS as CLIENT_DECODERS

from directory.table import Table, decode_delta, encode_delta
from node.core.frames import NodeFrame
from node.core.pigeonhole import parse_cursor
from node.edge import codec
from node.edge.tokens import TokenAuthority, TokenChecker, TokenError
from node.edge.upgrade import Head, negotiate, parse_head
from node.refusal import Refused
from node.rest.addresses import Addresses
from node.rest.requests import decode_body
from node.rest.table import described_routes
from router.packets import PacketError, decode, encode
from storage.frames import StorageFrame
from storage.memory import MemoryStore
from storage.store import Answer, CellRow, Query, Row, Write
from tests.fuzz.mutation import fuzzed
from tests.strange_frames import DIRECTORY, NODE, STORAGE, Strange
from tools.replay.chat import ChatError
from tools.replay.detect import read_chat

CHATS = Path(__file__).parent.parent / "data" / "chats"
NOW = 1_800_000_000
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What those who read a mesh frame are ready for."""
CLIENT_FRAMES = typing.get_args(p.ClientFrame)
SERVER_FRAMES = typing.get_args(p.ServerFrame)


class Target(NamedTuple):
    """One of them.

    Attributes:
        seeds: inputs that are right, for one to change.
        read: hands it an input. Raises for a bug.
        share: of a run's inputs, in parts of all shares.
    """

    seeds: Callable[[Random], list[bytes]]
    read: Callable[[bytes], None]
    share: int = 2


def _strange(kinds: tuple[type, ...], chance: Random, encode_: Callable[[object], bytes], sound: float = 0.9) -> list[bytes]:
    strange, made = Strange(chance, [ids.user_id(str(n)) for n in range(4)], sound), list[bytes]()
    for kind in kinds:
        for _ in range(12):
            try:
                made.append(encode_(strange.value(kind)))
            except (NotImplementedError, OverflowError, UnicodeEncodeError):
                break
    assert made
    return made


def _nested(made: list[bytes]) -> list[bytes]:
    """Beside them some with a field more, which is deep."""
    arrays = [bytes([data[0] + 1]) + data[1:] + b"\x91" * 3_000 + b"\x00" for data in made[::12] if 0x90 <= data[0] < 0x9F]
    return made + arrays[:4]


# ---------------------------------------------------------------- clients


def _client_frame(binary: bool) -> Callable[[bytes], None]:
    pack = msgspec.msgpack.encode if binary else msgspec.json.encode

    def read(data: bytes) -> None:
        got = codec.decode(data, binary)
        if isinstance(got, codec.BadFrame):
            assert got.code in (codes.MALFORMED, codes.INVALID, codes.UNKNOWN_OP, codes.TOO_BIG), got
            codec.encode(got.as_error(), binary)
            return
        assert codec.decode(pack(got), binary) == got

    return read


def _server_frame(binary: bool) -> Callable[[bytes], None]:
    decoder = CLIENT_DECODERS["msgpack" if binary else "json"]

    def read(data: bytes) -> None:
        try:
            decoder(data)
        except UNREADABLE:
            return

    return read


_BODIES = tuple(dict.fromkeys(route.body for route in described_routes() if route.body is not None))


def _body(data: bytes) -> None:
    kind = _BODIES[data[0] % len(_BODIES)] if data else _BODIES[0]
    try:
        decode_body(data[1:], kind)
    except Refused as refused:
        msgspec.json.encode({"message": refused.message, "field": refused.field})


def _body_seeds(chance: Random) -> list[bytes]:
    return [bytes([n]) + data for n, kind in enumerate(_BODIES) for data in _strange((kind,), chance, msgspec.json.encode)]


def _cursor(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        cursor = parse_cursor(text)
    except ValueError:
        return
    assert parse_cursor(cursor.text()) == cursor
    msgspec.msgpack.encode(cursor.sync)


def _cursor_seeds(_: Random) -> list[bytes]:
    return [f"{'0123456789abcdef'}.{n}.{at}".encode() for n in (0, 1, 99) for at in (0, 1_800_000_000_000)]


# ---------------------------------------------------------------- HTTP

_HEAD = (
    "GET /v1/ws?slot=1 HTTP/1.1\r\nHost: chat.example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: x, homing.v1.json\r\n"
    "Origin: https://chat.example.org\r\nX-Forwarded-For: 10.0.0.1, [2001:db8::1]:80"
)
_ADDRESSES = Addresses(["10.0.0.0/8", "2001:db8::/32"])


def _head(data: bytes) -> None:
    head = parse_head(data)
    if isinstance(head, Head):
        answer = negotiate(head, frozenset({"https://other.example"}))
        assert hasattr(answer, "key") or 400 <= answer.status < 500 or answer.status == 505
        _ADDRESSES.of("10.0.0.2", [head.headers.get("x-forwarded-for", "")])


class _Tokens:
    """A checker, and tokens of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="homing-fuzz-")
        keys = Path(self._folder.name)
        self.authority = TokenAuthority(keys, "cell-1")
        self.checker = TokenChecker(keys, "cell-1", cache_entries_max=100)

    def read(self, data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        try:
            claims = self.checker.check(text, NOW)
        except TokenError:
            return
        assert ids.kind_of(claims.user) == ids.USER and claims.exp > NOW

    def seeds(self, _: Random) -> list[bytes]:
        return [self.authority.sign(ids.user_id(name), "phone", name, NOW, 60).encode() for name in ("alice", "bob", "éè")]


# ---------------------------------------------------------------- the mesh


def _packet(data: bytes) -> None:
    try:
        packet = decode(data)
    except PacketError:
        return
    assert decode(encode(packet, data[0])) == packet


def _packet_seeds(chance: Random) -> list[bytes]:
    kinds = typing.get_args(__import__("router.packets", fromlist=["Packet"]).Packet)
    return _nested([b"\x01" + data for data in _strange(kinds, chance, msgspec.msgpack.encode)])


def _frame(decoder: msgspec.msgpack.Decoder[object]) -> Callable[[bytes], None]:
    """What is read can be written, and reads the same."""

    def read(data: bytes) -> None:
        try:
            frame = decoder.decode(data)
        except UNREADABLE:
            return
        assert decoder.decode(msgspec.msgpack.encode(frame)) == frame

    return read


def _frame_seeds(kinds: tuple[type, ...]) -> Callable[[Random], list[bytes]]:
    return lambda chance: _nested(_strange(kinds, chance, msgspec.msgpack.encode))


class _Store:
    """A store that is told and asked whatever can be read."""

    def __init__(self) -> None:
        self._store, self._n = MemoryStore(), 0
        self._row, self._query = msgspec.msgpack.Decoder(Row), msgspec.msgpack.Decoder(Query)
        self._clear()

    def _clear(self) -> None:
        self._store = MemoryStore()
        self._store.commit([Write("directory", CellRow(1, ("a",)))])

    def read(self, data: bytes) -> None:
        self._n += 1
        if self._n % 500 == 0:
            self._clear()
        try:
            row = self._row.decode(data)
        except UNREADABLE:
            pass
        else:
            (outcome,) = self._store.commit([Write("a", row)])
            msgspec.msgpack.encode(outcome)
        try:
            query = self._query.decode(data)
        except UNREADABLE:
            return
        answer = self._store.read(query)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer) == answer

    @staticmethod
    def seeds(chance: Random) -> list[bytes]:
        return _strange((*typing.get_args(Row), *typing.get_args(Query)), chance, msgspec.msgpack.encode)


def _delta(data: bytes) -> None:
    try:
        delta = decode_delta(data)
        table = Table.empty().apply(delta)
    except ValueError:
        return
    again = Table.empty().apply(decode_delta(encode_delta(table.delta(0))))
    assert again.epoch == table.epoch and again.runs() == table.runs()


def _delta_seeds(chance: Random) -> list[bytes]:
    from directory.table import Delta

    return _strange((Delta,), chance, msgspec.msgpack.encode, sound=0.97) * 3


# ---------------------------------------------------------------- files


def _chat(data: bytes) -> None:
    try:
        chat = read_chat(data, "log-2023-11-04.txt")
    except ChatError:
        return
    chat.check()


def _chat_seeds(suffix: str) -> Callable[[Random], list[bytes]]:
    def seeds(chance: Random) -> list[bytes]:
        made = []
        for path in sorted(CHATS.glob(f"*{suffix}")):
            lines = path.read_bytes().splitlines(keepends=True)
            for _ in range(6):
                at = chance.randrange(len(lines))
                made.append(b"".join(lines[at : at + chance.randrange(1, 12)]))
        return made

    return seeds


def make_targets() -> dict[str, Target]:
    """All of them, by name."""
    tokens, store = _Tokens(), _Store()
    mesh: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(NodeFrame | StorageFrame)
    directory: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(typing.Union[DIRECTORY])  # noqa: UP007  # of a tuple
    return {
        "client-json": Target(lambda chance: _strange(CLIENT_FRAMES, chance, msgspec.json.encode), _client_frame(False), 5),
        "client-msgpack": Target(lambda chance: _strange(CLIENT_FRAMES, chance, msgspec.msgpack.encode), _client_frame(True), 5),
        "server-json": Target(lambda chance: _strange(SERVER_FRAMES, chance, msgspec.json.encode), _server_frame(False)),
        "server-msgpack": Target(lambda chance: _strange(SERVER_FRAMES, chance, msgspec.msgpack.encode), _server_frame(True)),
        "rest-body": Target(_body_seeds, _body, 3),
        "cursor": Target(_cursor_seeds, _cursor, 1),
        "http-head": Target(lambda _: [_HEAD.encode(), b"GET / HTTP/1.1"], _head, 3),
        "token": Target(tokens.seeds, tokens.read, 1),
        "packet": Target(_packet_seeds, _packet, 4),
        "node-frame": Target(_frame_seeds((*NODE, *STORAGE)), _frame(mesh), 4),
        "directory-frame": Target(_frame_seeds(DIRECTORY), _frame(directory), 3),
        "table-delta": Target(_delta_seeds, _delta, 1),
        "storage-rows": Target(store.seeds, store.read, 4),
        "whatsapp": Target(_chat_seeds(".txt"), _chat, 1),
        "irc": Target(_chat_seeds(".log"), _chat, 1),
    }


def run(target: Target, count: int, seed: object) -> None:
    """``count`` inputs made without looking at what the code does with them."""
    chance = Random(f"{seed}")
    seeds = target.seeds(chance)
    for _ in range(count):
        data = fuzzed(seeds, chance)
        try:
            target.read(data)
        except Exception as error:
            error.add_note(f"the input was {data!r}"[:2_000])
            raise
