"""The operations of a node beside the table of routes: what load balancers, operators and readers ask.

Owns their description; that it is true is what the test against a running cluster says.
"""

from __future__ import annotations

from typing import Annotated

from homing import codes, ids
from homing.codes import Code
from msgspec import UNSET, Meta, Struct, UnsetType


class Health(Struct, kw_only=True):
    """The process's event loop runs."""

    ok: bool


class Readiness(Struct, kw_only=True):
    """Whether the node does its work for others."""

    ready: bool
    reason: str | UnsetType = UNSET
    """Why not."""


def _text(pattern: str) -> Meta:
    return Meta(extra_json_schema={"pattern": pattern})


USER_PATTERN = "^[0-9a-f]{3}[048c][0-9a-f]{28}$"
CONVERSATION_PATTERN = "^[0-9a-f]{3}[12569ade][0-9a-f]{28}$"
MESSAGE_PATTERN = r"^[0-9a-f]{32}\.[0-9]{1,16}\.[0-9]{1,16}$"


class TraceQuery(Struct, kw_only=True):
    message: Annotated[str, _text(MESSAGE_PATTERN)]
    """A message id."""


class Step(Struct, kw_only=True):
    at_ms: float
    """Cluster time."""
    what: str
    cause: str
    detail: str


class Trace(Struct, kw_only=True):
    """The steps of one message that this node remembers."""

    schema: str
    process: str
    steps: list[Step]


class RevokeQuery(Struct, kw_only=True):
    user: Annotated[str, _text(USER_PATTERN)]
    """A user's id."""
    device: Annotated[str, _text("^[A-Za-z0-9._-]{1,64}$")]
    """The device's name in its tokens."""


class Revoked(Struct, kw_only=True):
    """The device is not let in any more."""

    schema: str
    user: str
    device: str


class Plain(Struct, frozen=True, kw_only=True):
    """One operation."""

    name: str
    method: str = "GET"
    path: str
    summary: str
    tag: str
    query: type[Struct] | None = None
    answers: tuple[tuple[int, type[Struct] | str], ...]
    """Status → a struct (JSON) or a media type."""
    errors: tuple[tuple[int, tuple[Code, ...]], ...] = ()
    security: str = ""
    """Its security scheme."""


OPERATORS = "operators"
_NO_KEY = (401, (codes.TOKEN_INVALID,))
_NO_PARAMETER = (400, (codes.INVALID,))
PLAIN = (
    Plain(name="healthz", path="/healthz", summary="200 as long as the process runs", tag=OPERATORS, answers=((200, Health),)),
    Plain(
        name="readyz", path="/readyz", summary="200 when the node does its work for others", tag=OPERATORS,
        answers=((200, Readiness), (503, Readiness)),
    ),
    Plain(name="metrics", path="/metrics", summary="Prometheus' text form", tag=OPERATORS, answers=((200, "text/plain"),)),
    Plain(
        name="trace", path="/debug/trace", summary="The steps of one message; only where an operators' key is configured", tag=OPERATORS,
        query=TraceQuery, answers=((200, Trace),), errors=(_NO_KEY, _NO_PARAMETER), security="operators_key",
    ),
    Plain(
        name="revoke", method="POST", path="/debug/revoke", summary="Let a device in no more; only where an operators' key is configured",
        tag=OPERATORS, query=RevokeQuery, answers=((200, Revoked),), security="operators_key",
        errors=(_NO_KEY, _NO_PARAMETER, (503, (codes.OVERLOADED, codes.UNAVAILABLE, codes.GOING_AWAY))),
    ),
    Plain(name="openapi", path="/openapi.json", summary="This document", tag="documents", answers=((200, "application/json"),)),
    Plain(
        name="asyncapi", path="/asyncapi.json", summary="The WebSocket protocol, as AsyncAPI", tag="documents",
        answers=((200, "application/json"),),
    ),
    Plain(name="docs", path="/docs", summary="Both, for people", tag="documents", answers=((200, "text/html"),)),
    Plain(name="docs_style", path="/docs/style.css", summary="The page's style", tag="documents", answers=((200, "text/css"),)),
)  # fmt: skip

PATH_PARAMETERS = {
    "user": (USER_PATTERN, ids.user_id("bob"), "A user's id"),
    "conversation": (CONVERSATION_PATTERN, ids.direct_id(ids.user_id("alice"), ids.user_id("bob")), "A conversation's id"),
    "message": (MESSAGE_PATTERN, f"{ids.direct_id(ids.user_id('alice'), ids.user_id('bob'))}.1.1", "A message's id"),
}
"""Name → pattern, example, description."""
