"""What a request must look like to have a chance: checked before it is queued, so that no outbox fills with what no server takes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from homing import ids
from homing.protocol import FRAME_BYTES_MAX, HOME_TYPES, Block, GroupOp, GroupRole, Send, Unblock
from homing.state import Request

_DECODER = msgspec.json.Decoder(Request)
_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,31}")


class RequestInvalid(ValueError):
    """The request could never be accepted; nothing was queued."""


def validate(frame: Request) -> None:
    """Checks lengths, ids, the type and the size on the wire.

    Raises:
        RequestInvalid
    """
    try:
        encoded = msgspec.json.encode(frame)
        _DECODER.decode(encoded)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise RequestInvalid(str(error)) from None
    if len(encoded) > FRAME_BYTES_MAX:
        raise RequestInvalid(f"the request is {len(encoded)} bytes long, {FRAME_BYTES_MAX} are allowed")
    if isinstance(frame, Block | Unblock):
        if not ids.is_id(frame.user) or ids.kind_of(frame.user) != ids.USER:
            raise RequestInvalid(f"not a user: {frame.user!r}")
        return
    for id_ in _ids(frame):
        if not ids.is_id(id_):
            raise RequestInvalid(f"not an id: {id_!r}")
    if isinstance(frame, Send) and (not _TYPE.fullmatch(frame.type) or frame.type.startswith(HOME_TYPES)):
        raise RequestInvalid(f"not a type that can be sent: {frame.type!r}")


def _ids(frame: Send | GroupOp) -> Iterator[str]:
    yield frame.to if isinstance(frame, Send) else frame.conversation
    yield from getattr(frame, "members", ())
    if isinstance(frame, GroupRole):
        yield frame.user
