"""Requests as bytes into typed values, or a refusal that names what is wrong."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web
from homing import codes
from msgspec import Struct

from node.edge.codec import explained
from node.refusal import Refused

BODY_BYTES_MAX = 64 * 1024
"""As much as a client's frame may have."""
BODY_TIMEOUT_S = 10.0
"""From the head to the whole body."""
CONTENT_TYPE = "application/json"
S = TypeVar("S", bound=Struct)


async def read_body(request: web.Request, kind: type[S]) -> S:
    """The body of a request.

    Raises:
        Refused: UNSUPPORTED_TYPE, TOO_BIG, MALFORMED (not JSON, or it did not come) or INVALID (a field is).
    """
    data = await _read(request)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Refused(codes.UNSUPPORTED_TYPE, "the body must not be compressed", "Content-Encoding")
    if "Content-Type" not in request.headers and not data:
        data = b"{}"
    elif request.content_type != CONTENT_TYPE or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise Refused(codes.UNSUPPORTED_TYPE, f"the body must be {CONTENT_TYPE}", "Content-Type")
    return decode_body(data, kind)


def decode_body(data: bytes, kind: type[S]) -> S:
    """The same from its bytes."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        what, field = explained(str(error))
        raise Refused(codes.INVALID, what, field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise Refused(codes.MALFORMED, f"not JSON: {error}") from None


def read_query(request: web.Request, kind: type[S]) -> S:
    """The parameters behind the question mark. Raises Refused: INVALID, with status 400."""
    values: dict[str, str] = {}
    for key, value in request.query.items():
        if key in values:
            raise Refused(codes.INVALID, "given twice", key[:64], status=400)
        values[key] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        what, field = explained(str(error))
        raise Refused(codes.INVALID, what, field, status=400) from None


async def _read(request: web.Request) -> bytes:
    too_big = Refused(codes.TOO_BIG, f"a body may have {BODY_BYTES_MAX} bytes")
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_big
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > BODY_BYTES_MAX:
                    raise too_big
    except TimeoutError:
        raise Refused(codes.MALFORMED, "the body did not come in time") from None
    except web.RequestPayloadError as error:
        raise Refused(codes.MALFORMED, f"the body cannot be read: {error}") from None
    return bytes(data)
