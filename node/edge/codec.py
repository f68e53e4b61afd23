"""Client frames: bytes to structs and back.

Owns what is a well-formed frame, and what a client is told when his is not. It must not know sockets, sessions or rights.

Laws:
    * ``decode`` returns a ClientFrame or a BadFrame for any bytes whatever; it raises nothing.
    * What the concatenating functions build equals, byte for byte, what encoding the whole struct gives: an entry that goes to a thousand
      devices is encoded once per format.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from homing import codes
from homing.codes import Code
from homing.ids import is_id
from homing.protocol import (
    FRAME_BYTES_MAX,
    Block,
    ClientFrame,
    Entry,
    Error,
    FetchHeads,
    FetchPerson,
    GroupAdd,
    GroupCreate,
    GroupRemove,
    GroupRole,
    Hello,
    Ping,
    Send,
    ServerFrame,
    Unblock,
    Watch,
)
from msgspec import Struct

_JSON: Final[msgspec.json.Decoder[ClientFrame]] = msgspec.json.Decoder(ClientFrame)
_MSGPACK: Final[msgspec.msgpack.Decoder[ClientFrame]] = msgspec.msgpack.Decoder(ClientFrame)
_JSON_ENCODER: Final = msgspec.json.Encoder()
_MSGPACK_ENCODER: Final = msgspec.msgpack.Encoder()
_DETAIL_CHARS_MAX = 200

# What every ``message`` and ``sent`` frame has around its entry. The lengths of the maps are fixed, for no field of these two is optional.
_JSON_MESSAGE: Final = b'{"op":"message","entry":'
_JSON_SENT: Final = b'{"op":"sent","id":'
_MSGPACK_MESSAGE: Final = b"\x82" + msgspec.msgpack.encode("op") + msgspec.msgpack.encode("message") + msgspec.msgpack.encode("entry")
_MSGPACK_SENT: Final = b"\x83" + msgspec.msgpack.encode("op") + msgspec.msgpack.encode("sent") + msgspec.msgpack.encode("id")
_MSGPACK_ENTRY: Final = msgspec.msgpack.encode("entry")


# The frame that idle clients say all the time, as every encoder of ours makes it; said in another way it is decoded.
PINGS: Final = {False: msgspec.json.encode(Ping()), True: msgspec.msgpack.encode(Ping())}
_MSGPACK_PONG: Final = b"\x82" + b"".join(map(msgspec.msgpack.encode, ("op", "pong", "time"))) + b"\xcf"


class BadFrame(Struct, frozen=True):
    """Why a frame was not taken, ready to be told to the client."""

    code: Code
    message: str
    field: str | None = None
    """The path of the wrong field, ``members[2]``."""
    id: str | None = None
    """The request's id, if it could be read: the error then answers that request."""

    def as_error(self) -> Error:
        return Error(code=self.code.number, name=self.code.name, message=self.message, id=self.id, field=self.field)


class _IdOnly(Struct):
    """The one field that is worth a second look at a bad frame."""

    id: str | None = None


_JSON_ID: Final = msgspec.json.Decoder(_IdOnly)
_MSGPACK_ID: Final = msgspec.msgpack.Decoder(_IdOnly)


def decode(data: bytes, binary: bool, bytes_max: int = FRAME_BYTES_MAX) -> ClientFrame | BadFrame:
    """Reads one client message.

    Args:
        data: the whole message.
        binary: whether it is msgpack (else JSON).
        bytes_max: what is longer is not looked at.
    """
    if len(data) > bytes_max:
        return BadFrame(codes.TOO_BIG, f"a frame may have {bytes_max} bytes, this one has {len(data)}")
    try:
        frame = _MSGPACK.decode(data) if binary else _JSON.decode(data)
        field = wrong_field(frame)
        return frame if field is None else _invalid_field(frame, field)
    except msgspec.ValidationError as error:
        return _invalid(str(error), data, binary)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        return BadFrame(codes.MALFORMED, _shortened(f"not {'msgpack' if binary else 'JSON'}: {error}"))


def encode(frame: ServerFrame, binary: bool) -> bytes:
    """One server message."""
    return _MSGPACK_ENCODER.encode(frame) if binary else _JSON_ENCODER.encode(frame)


class EncodedEntry:
    """An entry that is encoded when first needed, once per format, and then kept."""

    __slots__ = ("_json", "_json_message", "_msgpack", "_msgpack_message", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._json = self._msgpack = self._json_message = self._msgpack_message = b""

    @property
    def json(self) -> bytes:
        if not self._json:
            self._json = _JSON_ENCODER.encode(self.entry)
        return self._json

    @property
    def msgpack(self) -> bytes:
        if not self._msgpack:
            self._msgpack = _MSGPACK_ENCODER.encode(self.entry)
        return self._msgpack

    def message(self, binary: bool) -> bytes:
        """The ``message`` frame, the same bytes for all who get it."""
        if binary:
            if not self._msgpack_message:
                self._msgpack_message = _MSGPACK_MESSAGE + self.msgpack
            return self._msgpack_message
        if not self._json_message:
            self._json_message = _JSON_MESSAGE + self.json + b"}"
        return self._json_message


def message_frame(entry: EncodedEntry, binary: bool) -> bytes:
    """``encode(Message(entry=…), binary)`` without encoding the entry again."""
    return entry.message(binary)


def sent_frame(id_: str, entry: EncodedEntry, binary: bool) -> bytes:
    """``encode(Sent(id=…, entry=…), binary)`` without encoding the entry again."""
    if binary:
        return b"".join((_MSGPACK_SENT, _MSGPACK_ENCODER.encode(id_), _MSGPACK_ENTRY, entry.msgpack))
    return b"".join((_JSON_SENT, _JSON_ENCODER.encode(id_), b',"entry":', entry.json, b"}"))


def pong_frame(time_ms: int, binary: bool) -> bytes:
    """``encode(Pong(time=time_ms), binary)``, of times since 1970."""
    return _MSGPACK_PONG + time_ms.to_bytes(8, "big") if binary else b'{"op":"pong","time":%d}' % time_ms


# ---------------------------------------------------------------- what was wrong

_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,31}")


def wrong_field(frame: ClientFrame) -> str | None:
    """The first field whose text is not of the form that the documents give for ids and types."""
    if isinstance(frame, Send):
        if not is_id(frame.to):
            return "to"
        return None if frame.type == "text" or _TYPE.fullmatch(frame.type) else "type"
    if isinstance(frame, Ping | FetchHeads):
        return None
    if isinstance(frame, Hello):
        return next((f"have.{key[:40]}" for key in frame.have if not is_id(key)), None)
    if isinstance(frame, FetchPerson | Block | Unblock):
        return None if is_id(frame.user) else "user"
    if isinstance(frame, Watch):
        return next((f"users[{n}]" for n, user in enumerate(frame.users) if not is_id(user)), None)
    if not is_id(frame.conversation):
        return "conversation"
    if isinstance(frame, GroupCreate | GroupAdd | GroupRemove):
        return next((f"members[{n}]" for n, user in enumerate(frame.members) if not is_id(user)), None)
    return "user" if isinstance(frame, GroupRole) and not is_id(frame.user) else None


def _invalid_field(frame: ClientFrame, field: str) -> BadFrame:
    what = "a type is a lower-case word of at most 32 characters" if field == "type" else "an id is 32 hexadecimal digits in lower case"
    return BadFrame(codes.INVALID, what, field, getattr(frame, "id", None))


_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def explained(text: str) -> tuple[str, str | None]:
    """Turns msgspec's words into ours: what is wrong, and the path of the field without its ``$.``."""
    match = _PATH.match(text)
    what, path = (text, None) if match is None else (match["what"], match["path"])
    field = None if path is None else path.removeprefix("$").removeprefix(".") or None
    missing = _MISSING.search(what)
    if missing is not None:
        field = missing["name"] if field is None else f"{field}.{missing['name']}"
    return what, field


def _invalid(text: str, data: bytes, binary: bool) -> BadFrame:
    """An unknown op apart from a wrong field."""
    what, field = explained(text)
    id_ = _read_id(data, binary)
    if what.startswith("Invalid value") and field == "op":
        return BadFrame(codes.UNKNOWN_OP, _shortened(f"unknown op: {what}"), "op", id_)
    return BadFrame(codes.INVALID, _shortened(what), field, id_)


def _read_id(data: bytes, binary: bool) -> str | None:
    try:
        id_ = (_MSGPACK_ID if binary else _JSON_ID).decode(data).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        return None
    return id_ if id_ is not None and 0 < len(id_) <= 64 else None


def _shortened(text: str) -> str:
    """Bounded, and fit to be encoded again: a peer's input may be quoted in it."""
    return text.encode("utf-8", "replace").decode("utf-8")[:_DETAIL_CHARS_MAX]
