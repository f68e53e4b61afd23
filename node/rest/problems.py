"""Refusals over HTTP: one form for all (RFC 9457), and the status that goes with each code."""

from __future__ import annotations

import math

import msgspec
from aiohttp import web
from homing import codes
from homing.codes import Code
from homing.rest import Problem

from node.refusal import Refused

CONTENT_TYPE = "application/problem+json"
DETAIL_CHARS_MAX = 300
STATUS: dict[Code, int] = {
    codes.MALFORMED: 400,
    codes.UNKNOWN_OP: 405,
    codes.INVALID: 422,
    codes.TOO_BIG: 413,
    codes.NOT_A_MEMBER: 403,
    codes.NOT_FOUND: 404,
    codes.FORBIDDEN: 403,
    codes.GROUP_FULL: 409,
    codes.CONFLICT: 409,
    codes.UNSUPPORTED_TYPE: 415,
    codes.WRONG_CREDENTIALS: 401,
    codes.BLOCKED: 403,
    codes.NOT_IMPLEMENTED: 501,
    codes.OVERLOADED: 503,
    codes.UNAVAILABLE: 503,
    codes.RATE_LIMITED: 429,
    codes.GOING_AWAY: 503,
    codes.SESSION_REPLACED: 409,
    codes.TOKEN_INVALID: 401,
    codes.TOKEN_EXPIRED: 401,
    codes.DEVICE_REVOKED: 401,
    codes.RESYNC: 409,
}
"""What is not here asks for another try, over HTTP: 503."""
_ENCODER = msgspec.json.Encoder()


def problem_of(refused: Refused) -> Problem:
    """What a client reads."""
    code = refused.code
    return Problem(
        type=f"urn:homing:problem:{code.name}",
        title=code.name,
        status=refused.status or STATUS.get(code, 503),
        detail=refused.message.encode("utf-8", "replace").decode()[:DETAIL_CHARS_MAX],
        code=code.number,
        field=refused.field,
        retry_after_ms=None if refused.retry_after_s is None else math.ceil(refused.retry_after_s * 1_000),
    )


def response(refused: Refused) -> web.Response:
    """The answer; a 401 says how to sign in, and what may be tried again says when."""
    problem = problem_of(refused)
    headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(refused.retry_after_s))
    return web.Response(status=problem.status, body=_ENCODER.encode(problem), headers=headers)
