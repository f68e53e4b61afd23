"""The OpenAPI 3.1 document: the table of routes and what a node answers beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from homing import codes, rest
from homing.codes import Code
from msgspec import Struct

from node.rest.limiters import Limit, LimiterConfig
from node.rest.problems import CONTENT_TYPE, STATUS
from node.rest.requests import BODY_BYTES_MAX
from node.rest.route import Route
from tools.documents.errors import error_table
from tools.documents.plain import PATH_PARAMETERS, PLAIN, Plain
from tools.documents.samples import BY_NAME, sample
from tools.documents.schemas import Json, Schemas, schemas_of, without_null

RETRIES = (codes.OVERLOADED, codes.UNAVAILABLE, codes.GOING_AWAY, codes.HOME_LOST)
"""What any route may say when the cluster cannot do it now."""
DESCRIPTION = """\
Accounts, devices, people and messages over HTTP; any node answers any request. The WebSocket protocol is in `/asyncapi.json`.
Where accounts are not enabled, `/v1/connect` is all that is under `/v1`, beside the WebSocket.

**Bodies** are JSON objects in UTF-8 (`application/json`), of at most {bytes_max} bytes; unknown fields and parameters are ignored.
Whole numbers have no fraction: 1, not 1.0. **Ids** are 32 hexadecimal digits, **times** are ms since 1970. A method that a path
does not have is answered with 405 and `Allow`, an unknown path with 404.

**Refusals** are problems (RFC 9457) with a `code` and a `title` that never change. What to do: `fix` the request; `retry` it after
`Retry-After`; `refresh` the access token (`POST /v1/sessions/refresh`), then repeat; `sync`: read what is missing, then send again
with a newer `after`; `stop`.

**Limits.** Each operation names its limiter in `x-limiter`, with its default rates: a bucket for the address and one for the user.
Past it: 429 with `Retry-After`."""


def openapi(routes: Iterable[Route]) -> Json:
    """The document.

    Raises:
        ValueError: two operations have one method and path.
    """
    routes = list(routes)
    schemas = schemas_of(_kinds(routes))
    problems = _Problems(schemas.ref(rest.Problem))
    paths: dict[str, Json] = {}
    for path, method, operation in [*(_route(r, schemas, problems) for r in routes), *(_plain(p, schemas, problems) for p in PLAIN)]:
        if method in paths.setdefault(path, {}):
            raise ValueError(f"{method} {path} is described twice: a route of the table need not be in plain.py")
        paths[path][method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Homing",
            "version": version("homing"),
            "summary": "A brokerless chat cluster: the REST interface",
            "description": DESCRIPTION.format(bytes_max=f"{BODY_BYTES_MAX:,}"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "This node"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": dict(sorted(problems.responses.items())),
            "securitySchemes": {
                "access_token": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The access token of a session: signing in gives it, 10 minutes long. Never in a URL.",
                },
                "operators_key": {"type": "http", "scheme": "bearer", "description": "The key that operators' tools hold."},
            },
        },
        "x-errors": error_table(),
    }  # fmt: skip


def problems_of(route: Route) -> dict[int, set[Code]]:
    """Status → the codes with which the server, or its handler, may refuse a request for this route."""
    found: dict[int, set[Code]] = {500: {codes.UNAVAILABLE}}

    def may(*given: Code, status: int = 0) -> None:
        for code in given:
            found.setdefault(status or STATUS.get(code, 503), set()).add(code)

    may(codes.FORBIDDEN, codes.RATE_LIMITED, *RETRIES, *route.errors)
    if route.needs_token:
        may(codes.TOKEN_INVALID, codes.TOKEN_EXPIRED)
        if not route.revoked_may:
            may(codes.DEVICE_REVOKED)
    if route.query is not None:
        may(codes.INVALID, status=400)
    if route.body is not None:
        may(codes.MALFORMED, codes.TOO_BIG, codes.UNSUPPORTED_TYPE, codes.INVALID)
    if "{" in route.path:
        may(codes.NOT_FOUND)
    return found


# ---------------------------------------------------------------- operations


def _route(route: Route, schemas: Schemas, problems: _Problems) -> tuple[str, str, Json]:
    operation: Json = {
        "operationId": route.name,
        "tags": [route.path.split("/")[2]],
        "summary": route.summary,
        "security": [{"access_token": []}] if route.needs_token else [],
        "x-limiter": {"name": route.limiter, **_rates(getattr(LimiterConfig(), route.limiter))},
    }
    parameters = [*_path_parameters(route.path), *_query(route.query, schemas)]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": bool(schemas.of(route.body)["required"]),
            "content": {"application/json": _content(route.body, schemas)},
            "x-bytes-max": BODY_BYTES_MAX,
        }
    answers: Json
    if route.is_planned:
        answers = {}
    elif route.answer is None:
        answers = {"204": {"description": "Done"}}
    else:
        answers = {str(route.status): _answer(route.answer, schemas)}
    for status, given in sorted(problems_of(route).items()):
        answers[str(status)] = problems.ref(status, given)
    return route.path, route.method.lower(), {**operation, "responses": answers}


def _plain(plain: Plain, schemas: Schemas, problems: _Problems) -> tuple[str, str, Json]:
    operation: Json = {"operationId": plain.name, "tags": [plain.tag], "summary": plain.summary}
    operation["security"] = [{plain.security: []}] if plain.security else []
    parameters = list(_query(plain.query, schemas))
    if parameters:
        operation["parameters"] = parameters
    answers: Json = {str(status): _answer(kind, schemas) for status, kind in plain.answers}
    for status, given in plain.errors:
        answers[str(status)] = problems.ref(status, set(given))
    return plain.path, plain.method.lower(), {**operation, "responses": answers}


def _path_parameters(path: str) -> Iterator[Json]:
    for name in re.findall(r"\{(\w+)\}", path):
        pattern, example, text = PATH_PARAMETERS.get(name, ("^[^/]+$", BY_NAME.get(name, "text"), f"The {name}"))
        schema = {"type": "string", "pattern": pattern}
        yield {"name": name, "in": "path", "required": True, "description": text, "schema": schema, "example": example}


def _query(kind: type[Struct] | None, schemas: Schemas) -> Iterator[Json]:
    if kind is None:
        return
    schema = schemas.of(kind)
    for name, part in schema["properties"].items():
        part = without_null(part)
        text = part.pop("description", None)
        parameter: Json = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": part}
        yield parameter | ({"description": text} if text else {})


def _answer(kind: type[Struct] | str, schemas: Schemas) -> Json:
    if isinstance(kind, str):
        whole: Json = {"type": "object"} if kind == "application/json" else {"type": "string"}
        return {"description": "Done", "content": {kind: {"schema": whole}}}
    text = schemas.of(kind).get("description", "Done")
    return {"description": text, "content": {"application/json": _content(kind, schemas)}}


def _content(kind: type[Struct], schemas: Schemas) -> Json:
    return {"schema": schemas.ref(kind), "example": sample(schemas.ref(kind), schemas)}


class _Problems:
    """The responses that are problems, each described once.

    Args:
        schema: the reference to ``Problem``.
    """

    def __init__(self, schema: Json) -> None:
        self.responses: Json = {}
        self._schema = schema

    def ref(self, status: int, given: set[Code]) -> Json:
        """The reference to the response of this status with these codes."""
        ordered = sorted(given)
        name = f"problem_{status}_{'_'.join(str(code.number) for code in ordered)}"
        if name not in self.responses:
            self.responses[name] = self._made(status, ordered)
        return {"$ref": f"#/components/responses/{name}"}

    def _made(self, status: int, given: list[Code]) -> Json:
        answer: Json = {"description": "; ".join(f"{code.number} `{code.name}`: {code.remedy}" for code in given)}
        if status == 401:
            answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}, "description": "How to sign in"}}
        elif status in (429, 500, 503):
            text = "Seconds after which to try again"
            answer["headers"] = {
                "Retry-After": {"required": status == 429, "schema": {"type": "integer", "minimum": 0}, "description": text}
            }
        parts = {
            "status": {"const": status},
            "code": {"enum": [code.number for code in given]},
            "title": {"enum": [code.name for code in given]},
        }
        first = given[0]
        example = {"type": f"urn:homing:problem:{first.name}", "title": first.name, "status": status, "detail": "…", "code": first.number}
        answer["content"] = {CONTENT_TYPE: {"schema": {"allOf": [self._schema], "properties": parts}, "example": example}}
        return answer


def _rates(limit: Limit) -> Json:
    return {who: {"per_s": rate.per_s, "burst": rate.burst} for who, rate in (("address", limit.address), ("user", limit.user))}


def _kinds(routes: list[Route]) -> Iterator[type[Struct]]:
    yield rest.Problem
    for route in routes:
        yield from (kind for kind in (route.body, route.query, route.answer) if kind is not None)
    for plain in PLAIN:
        yield from (kind for _, kind in plain.answers if not isinstance(kind, str))
        if plain.query is not None:
            yield plain.query
