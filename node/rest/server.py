"""The REST interface's one way from a request to its answer: limits, token, body, handler, problem.

Owns that way, the rules of origins, and the counts. It must not know an operation: those are ``Route`` values.

Laws:
    * Every answer is what the route's documents say, or a problem of ``problems.py``.
    * A browser's page of a foreign origin is refused unless the origin is on the list; the same list as for WebSockets.
    * A request without a token that is good costs one look into a bucket and one into a cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web
from homing import codes
from msgspec import Struct

from node.edge.tokens import Claims, TokenChecker, TokenError
from node.edge.upgrade import origin_allowed
from node.refusal import Refused
from node.rest.limiters import Limiters
from node.rest.problems import response
from node.rest.requests import read_body, read_query
from node.rest.route import Call, Route
from router import logs

PREFLIGHT_AGE_S = 600
KEY_RETRY_S = 5.0
"""When a token whose issuer's key is not known yet may be shown again."""
log = logs.get("node.rest")
_ENCODER = msgspec.json.Encoder()


class Surroundings(NamedTuple):
    """What the server asks its node."""

    checker: TokenChecker
    now: Callable[[], float]
    """Monotonic seconds."""
    time_ms: Callable[[], int]
    """Cluster time."""
    is_ready: Callable[[], bool]
    """Whether it knows cluster time and its place."""
    is_revoked: Callable[[str, str], Awaitable[bool]]
    """Whether a user's device was signed out; may be a few seconds old."""


class RestServer:
    """All routes of one node."""

    def __init__(self, routes: Sequence[Route], around: Surroundings, limiters: Limiters, origins: frozenset[str]) -> None:
        self.routes = tuple(routes)
        self.around, self.limiters, self.origins = around, limiters, origins
        self.answers: Counter[tuple[str, int]] = Counter()
        """Operation and status → how often."""
        self._by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._by_path.setdefault(route.path, {})[route.method] = route

    def add_to(self, app: web.Application) -> None:
        for path in self._by_path:
            app.router.add_route("*", path, self._serve)
        app.router.add_route("*", "/v1/{rest:.*}", self._serve)  # whatever else is under /v1 has a longer path, and goes first

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        resource = request.match_info.route.resource
        methods = self._by_path.get(resource.canonical if resource is not None else "", {})
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        origin = request.headers.get(hdrs.ORIGIN)
        may_ask = origin_allowed(origin, request.headers.get(hdrs.HOST, ""), self.origins)
        try:
            if not may_ask:
                raise Refused(codes.FORBIDDEN, "this origin may not ask")
            if route is not None:
                answer = await self._answer(request, route)
            elif request.method == "OPTIONS" and methods:
                answer = _preflight(methods)
            elif methods:
                raise Refused(codes.UNKNOWN_OP, f"here is only {', '.join(methods)}")
            else:
                raise Refused(codes.NOT_FOUND, "there is nothing under this path")
        except Refused as refused:
            answer = response(refused)
            if answer.status == 405:
                answer.headers[hdrs.ALLOW] = ", ".join([*methods, "OPTIONS"])
        except Exception:
            if request.transport is None:
                # Nobody reads an answer, and aiohttp would log what is raised here: a thousand clients that go at once must cost nothing.
                return web.Response(status=204)
            log.exception("request_failed", operation=route.name if route is not None else "")
            answer = response(Refused(codes.UNAVAILABLE, "this went wrong on our side", retry_after_s=1.0, status=500))
        self.answers[route.name if route is not None else "none", answer.status] += 1
        if origin is not None and may_ask:
            answer.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            answer.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = hdrs.RETRY_AFTER
        answer.headers[hdrs.VARY] = hdrs.ORIGIN
        return answer

    async def _answer(self, request: web.Request, route: Route) -> web.Response:
        now = self.around.now()
        address = self.limiters.addresses.of(request.remote or "", request.headers.getall(hdrs.X_FORWARDED_FOR, []))
        limiter = self.limiters.by_name[route.limiter]
        _wait(limiter.take_address(address, now))
        if not self.around.is_ready():
            raise Refused(codes.UNAVAILABLE, "this node is not in the cluster yet", retry_after_s=1.0)
        claims = self._claims(request) if route.needs_token else None
        if claims is not None:
            _wait(limiter.take_user(claims.user, address, now))
            if not route.revoked_may and await self.around.is_revoked(claims.user, claims.device):
                raise Refused(codes.DEVICE_REVOKED, "this device was signed out")
        query = read_query(request, route.query) if route.query is not None else None
        body = await read_body(request, route.body) if route.body is not None else None
        call = Call(claims, dict(request.match_info), query, body, lambda: request.transport is None)
        if route.limited_by is not None:
            _wait(limiter.take_user(route.limited_by(call), address, now))
        return _response(route, await route.handle(call))

    def _claims(self, request: web.Request) -> Claims:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(codes.TOKEN_INVALID, "a bearer token is needed")
        try:
            return self.around.checker.check(token.strip(), self.around.time_ms() / 1_000)
        except TokenError as error:
            raise Refused(error.code, error.message, retry_after_s=KEY_RETRY_S if error.code.action == "retry" else None) from None


def _wait(wait_s: float) -> None:
    if wait_s:
        raise Refused(codes.RATE_LIMITED, "too many requests of this kind in too short a time", retry_after_s=min(wait_s, 3_600.0))


def _response(route: Route, answer: Struct | None) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-store"}
    if answer is None:
        return web.Response(status=204, headers=headers)
    headers[hdrs.CONTENT_TYPE] = "application/json"
    return web.Response(status=route.status, body=_ENCODER.encode(answer), headers=headers)


def _preflight(methods: dict[str, Route]) -> web.Response:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(methods),
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type",
        hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_AGE_S),
    }
    return web.Response(status=204, headers=headers)
