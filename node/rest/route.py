"""What a route is: everything about one operation that the server and the documents must know, in one value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from homing import codes
from homing.codes import Code
from homing.ids import USER, is_id, kind_of
from msgspec import Struct

from node.edge.tokens import Claims
from node.refusal import Refused

S = TypeVar("S", bound=Struct)


class Call(Struct):
    """One request, read and checked; the structs are of the types that its route names."""

    claims: Claims | None
    path: dict[str, str]
    query: Struct | None
    body: Struct | None
    is_gone: Callable[[], bool] = lambda: False
    """Whether the client has closed its connection."""

    @property
    def who(self) -> Claims:
        """Who asks, on a route that needs a token."""
        assert self.claims is not None, "this route needs no token"
        return self.claims


class Route(Struct, frozen=True, kw_only=True):
    """One operation."""

    name: str
    """For documents and metrics; never changes."""
    method: str
    path: str
    """``/v1/devices/{device}``."""
    summary: str
    handle: Callable[[Call], Awaitable[Struct | None]]
    limiter: str
    """Its field in ``[limiters]``."""
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    answer: type[Struct] | None = None
    """None: 204, without a body."""
    status: int = 200
    is_planned: bool = False
    """It is refused whatever is asked: no release does it yet."""
    errors: tuple[Code, ...] = ()
    """Beside those that every route may give."""
    needs_token: bool = True
    limited_by: Callable[[Call], str] | None = None
    """Whose bucket a request without a token takes from, beside its address's."""
    revoked_may: bool = False
    """Whether a device that was signed out may still ask: only to be signed out again."""


def body_of(call: Call, kind: type[S]) -> S:
    """The body, of the type that the route names."""
    assert isinstance(call.body, kind), "the server decodes what the route names"
    return call.body


def query_of(call: Call, kind: type[S]) -> S:
    """The parameters, of the type that the route names."""
    assert isinstance(call.query, kind), "the server decodes what the route names"
    return call.query


def id_of(call: Call, name: str) -> str:
    """A path's part that must be a user's id. Raises Refused: nothing can be found under it."""
    text = call.path[name]
    if not is_id(text) or kind_of(text) != USER:
        raise Refused(codes.NOT_FOUND, f"{name} must be a user's id")
    return text
