"""The way from a request to its answer, over a real socket, with routes of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiohttp import ClientSession, web
from homing import codes, ids
from homing.rest import Problem
from msgspec import Meta, Struct, structs

from node.edge.limits import Rate
from node.edge.tokens import TICKET_AUDIENCE, TokenAuthority, TokenChecker
from node.refusal import Refused
from node.rest import requests
from node.rest.limiters import Limit, LimiterConfig, Limiters
from node.rest.problems import STATUS
from node.rest.route import Call, Route
from node.rest.server import RestServer, Surroundings
from node.rest.table import described_routes

NOW_MS = 1_700_000_000_000
ALICE = ids.user_id("alice")
FRIEND = "https://friend.example"
JSON = {"Content-Type": "application/json"}


class Thing(Struct):
    name: Annotated[str, Meta(max_length=3)]
    count: int = 1


class Door:
    """A server with a few routes, and what its surroundings say."""

    def __init__(self, folder: Path) -> None:
        self.authority = TokenAuthority(folder, "cell-1")
        self.now, self.ready = 0.0, True
        self.revoked: set[str] = set()
        slow = Limit(address=Rate(per_s=0.1, burst=4), user=Rate(per_s=0.2, burst=2))
        self.limiters = Limiters(LimiterConfig(reads=slow, sign_in=slow))
        around = Surroundings(TokenChecker(folder, "cell-1"), lambda: self.now, lambda: NOW_MS, lambda: self.ready, self._is_revoked)
        self.rest = RestServer(self._routes(), around, self.limiters, frozenset({FRIEND}))
        self.calls: list[Call] = []
        self.end_waits = asyncio.Event()
        self.url = ""
        self.http: ClientSession

    async def _is_revoked(self, user: str, device: str) -> bool:
        return device in self.revoked

    def _routes(self) -> list[Route]:
        async def echo(call: Call) -> Struct | None:
            self.calls.append(call)
            return call.body

        async def fail(call: Call) -> None:
            raise KeyError("a bug")

        async def refuse(call: Call) -> None:
            raise Refused(codes.OVERLOADED, "\ud800 no", retry_after_s=0.3)

        async def wait(call: Call) -> None:
            self.calls.append(call)
            await self.end_waits.wait()
            raise ConnectionResetError("the client has gone")

        async def forbid(call: Call) -> None:
            raise Refused(codes.NOT_A_MEMBER, "no")

        def by_name(call: Call) -> str:
            assert isinstance(call.body, Thing)
            return call.body.name

        def route(name: str, method: str, path: str, **more: Any) -> Route:
            fields: dict[str, Any] = {"handle": echo, "needs_token": False, "limiter": "changes", **more}
            return Route(name=name, method=method, path=path, summary="", **fields)

        return [
            route("put", "PUT", "/v1/things/{thing}", body=Thing, answer=Thing),
            route("get", "GET", "/v1/things/{thing}", query=Thing),
            route("mine", "GET", "/v1/mine", needs_token=True, limiter="reads"),
            route("try", "POST", "/v1/tries", body=Thing, limiter="sign_in", limited_by=by_name),
            route("fail", "GET", "/v1/fail", handle=fail),
            route("refuse", "GET", "/v1/refuse", handle=refuse),
            route("wait", "GET", "/v1/wait", handle=wait),
            route("forbidden", "GET", "/v1/forbidden", handle=forbid),
        ]

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, JSON (empty without) and headers of an answer; a problem must have its form."""
        async with self.http.request(method, self.url + path, **more) as answer:
            value = await answer.json(content_type=None) if (await answer.read()) else {}
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json"
                assert value["status"] == answer.status
                assert value["type"] == f"urn:homing:problem:{value['title']}"
                assert codes.CODES[value["title"]].number == value["code"]
                assert set(value) <= set(Problem.__struct_fields__)
            return answer.status, value, dict(answer.headers)

    def bearer(self, **more: Any) -> dict[str, str]:
        token = self.authority.sign(ALICE, "phone", "Alice", NOW_MS / 1_000 + more.pop("at", 0), 60, **more)
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door, app = Door(tmp_path), web.Application()
    door.rest.add_to(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    door.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession(auto_decompress=False) as door.http:
        yield door
    await runner.cleanup()


async def test_a_good_request_reaches_its_handler_with_everything_read(door: Door) -> None:
    status, value, headers = await door.ask("PUT", "/v1/things/7?x=1", json={"name": "abc", "more": [1]})
    assert (status, value) == (200, {"name": "abc", "count": 1})
    assert headers["Cache-Control"] == "no-store"
    assert door.calls[0].path == {"thing": "7"}
    assert (await door.ask("GET", "/v1/things/7?name=ab&count=3"))[0] == 204
    assert door.calls[1].query == Thing("ab", 3)
    assert door.rest.answers == {("put", 200): 1, ("get", 204): 1}


@pytest.mark.parametrize(
    ("body", "headers", "status", "code", "field"),
    [
        (b"{", JSON, 400, codes.MALFORMED, None),
        (b"\xff", JSON, 400, codes.MALFORMED, None),
        (b'{"name": "\xff"}', JSON, 400, codes.MALFORMED, None),
        (b"[" * 60_000, JSON, 422, codes.INVALID, None),
        (b'{"x":' + b"[" * 60_000, JSON, 400, codes.MALFORMED, None),
        (b"", JSON, 400, codes.MALFORMED, None),
        (b"[]", JSON, 422, codes.INVALID, None),
        (b"{}", JSON, 422, codes.INVALID, "name"),
        (b"", {}, 422, codes.INVALID, "name"),
        (b'{"name": "abcd"}', JSON, 422, codes.INVALID, "name"),
        (b'{"name": "a", "count": "1"}', JSON, 422, codes.INVALID, "count"),
        (b'{"name": "a", "count": 1e400}', JSON, 422, codes.INVALID, "count"),
        (b'{"name": "a"}', {"Content-Type": "text/plain"}, 415, codes.UNSUPPORTED_TYPE, "Content-Type"),
        (b'{"name": "a"}', {"Content-Type": "application/json; charset=latin-1"}, 415, codes.UNSUPPORTED_TYPE, "Content-Type"),
        (b"x" * (requests.BODY_BYTES_MAX + 1), JSON, 413, codes.TOO_BIG, None),
    ],
)  # fmt: skip
async def test_a_bad_body_is_refused_with_what_is_wrong(
    door: Door, body: bytes, headers: dict[str, str], status: int, code: codes.Code, field: str | None
) -> None:
    skip = {"Content-Type"} if not headers else set()
    got, value, _ = await door.ask("PUT", "/v1/things/7", data=body, headers=headers, skip_auto_headers=skip)
    assert (got, value["code"], value.get("field")) == (status, code.number, field), value
    assert door.calls == []


async def test_a_body_without_a_length_is_counted_while_it_comes(door: Door) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 16_384

    status, value, _ = await door.ask("PUT", "/v1/things/7", data=chunks(), headers=JSON)
    assert (status, value["title"]) == (413, "too_big")


async def test_a_body_that_does_not_come_is_not_waited_for(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.02)
    reader, writer = await asyncio.open_connection(*door.url.removeprefix("http://").split(":"))
    writer.write(b"PUT /v1/things/7 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    assert b" 400 " in await reader.readline()
    writer.close()


async def test_a_compressed_body_is_refused(door: Door) -> None:
    status, value, _ = await door.ask("PUT", "/v1/things/7", json={"name": "a"}, compress="gzip")
    assert (status, value["title"], value["field"]) == (415, "unsupported_type", "Content-Encoding")


@pytest.mark.parametrize(("query", "field"), [("", "name"), ("name=abcd", "name"), ("name=a&count=x", "count"), ("name=a&name=b", "name")])
async def test_a_bad_parameter_is_400(door: Door, query: str, field: str) -> None:
    status, value, _ = await door.ask("GET", f"/v1/things/7?{query}")
    assert (status, value["title"], value["field"]) == (400, "invalid_field", field)


async def test_other_methods_and_paths(door: Door) -> None:
    status, value, headers = await door.ask("POST", "/v1/things/7")
    assert (status, value["title"], headers["Allow"]) == (405, "unknown_op", "PUT, GET, OPTIONS")
    for path in ("/v1/things", "/v1/things/7/8", "/v1/", "/v1/%ff"):
        status, value, _ = await door.ask("GET", path)
        assert (status, value["title"]) == (404, "not_found"), path


async def test_a_token_is_needed_where_the_route_says_so(door: Door) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer x"}, door.bearer(audience=TICKET_AUDIENCE)):
        status, value, answered = await door.ask("GET", "/v1/mine", headers=headers)
        assert (status, value["title"], answered["WWW-Authenticate"]) == (401, "token_invalid", "Bearer")
        door.now += 100
    status, value, _ = await door.ask("GET", "/v1/mine", headers=door.bearer(at=-60))
    assert (status, value["title"]) == (401, "token_expired")
    assert (await door.ask("GET", "/v1/mine", headers=door.bearer()))[0] == 204
    assert door.calls[0].who.user == ALICE
    door.revoked.add("phone")
    status, value, _ = await door.ask("GET", "/v1/mine", headers=door.bearer())
    assert (status, value["title"]) == (401, "device_revoked")


async def test_a_user_and_an_address_have_each_their_bucket(door: Door) -> None:
    for _ in range(2):
        assert (await door.ask("GET", "/v1/mine", headers=door.bearer()))[0] == 204
    status, value, headers = await door.ask("GET", "/v1/mine", headers=door.bearer())
    assert (status, value["title"], headers["Retry-After"], value["retry_after_ms"]) == (429, "rate_limited", "5", 5_000)
    for _ in range(2):  # what was refused took nothing from the address
        assert (await door.ask("GET", "/v1/mine"))[0] == 401
    status, _, headers = await door.ask("GET", "/v1/mine")
    assert (status, headers["Retry-After"]) == (429, "10")
    limiter = door.limiters.by_name["reads"]
    assert limiter.refused == {"address": 1, "user": 1}
    door.now += 10
    assert (await door.ask("GET", "/v1/mine", headers=door.bearer()))[0] == 204


async def test_behind_a_trusted_proxy_each_client_has_a_bucket_of_its_own(door: Door) -> None:
    async def status(client: str) -> int:
        return (await door.ask("GET", "/v1/mine", headers={"X-Forwarded-For": client}))[0]

    assert [await status(f"192.0.2.{n}") for n in range(5)] == [401] * 4 + [429], "nobody is believed"
    door.limiters.configure(structs.replace(door.limiters.config, trusted_proxies=["127.0.0.1"]))
    assert [await status(f"192.0.2.{n}") for n in range(5)] == [401] * 5
    assert [await status("192.0.2.1") for _ in range(4)] == [401] * 3 + [429]


async def test_what_is_tried_without_a_token_counts_for_whom_it_names(door: Door) -> None:
    for name, status in (("a", 200), ("a", 200), ("a", 429), ("b", 200), ("b", 200)):
        assert (await door.ask("POST", "/v1/tries", json={"name": name}))[0] == status, name
    assert door.limiters.by_name["sign_in"].refused == {"address": 0, "user": 1}


async def test_a_node_that_does_not_serve_yet_says_when_to_ask_again(door: Door) -> None:
    door.ready = False
    status, value, headers = await door.ask("GET", "/v1/mine", headers=door.bearer())
    assert (status, value["title"], headers["Retry-After"]) == (503, "unavailable", "1")


async def test_a_bug_is_a_problem_too_and_is_logged(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    status, value, _ = await door.ask("GET", "/v1/fail")
    assert (status, value["title"]) == (500, "unavailable")
    assert "a bug" not in str(value)
    assert "request_failed" in "".join(capsys.readouterr())


async def test_a_client_that_has_gone_is_no_bug_and_logs_nothing(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = asyncio.ensure_future(door.ask("GET", "/v1/wait"))
    while not door.calls:
        await asyncio.sleep(0.01)
    assert not door.calls[0].is_gone()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    while not door.calls[0].is_gone():
        await asyncio.sleep(0.01)
    door.end_waits.set()
    await asyncio.sleep(0.05)
    assert "".join(capsys.readouterr()) == ""
    assert door.rest.answers == {}


async def test_what_a_handler_refuses_is_told_with_its_time(door: Door) -> None:
    status, value, headers = await door.ask("GET", "/v1/refuse")
    assert (status, value["detail"], value["retry_after_ms"], headers["Retry-After"]) == (503, "? no", 300, "1")


async def test_pages_of_listed_origins_may_ask_and_others_not(door: Door) -> None:
    status, _, headers = await door.ask("GET", "/v1/things/7?name=a", headers={"Origin": FRIEND})
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (204, FRIEND, "Origin")
    status, _, headers = await door.ask("OPTIONS", "/v1/things/7", headers={"Origin": FRIEND, "Access-Control-Request-Method": "PUT"})
    assert (status, headers["Access-Control-Allow-Methods"]) == (204, "PUT, GET")
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    for path, methods in (("/v1/things/7", {"PUT", "GET"}), ("/v1/mine", {"GET"}), ("/v1/tries", {"POST"})):
        for method in methods:  # whatever is served may be asked for
            headers = {"Origin": FRIEND, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
            status, _, answer = await door.ask("OPTIONS", path, headers=headers)
            assert (status, answer["Access-Control-Allow-Origin"]) == (204, FRIEND)
            assert set(answer["Access-Control-Allow-Methods"].split(", ")) == methods
    own = door.url
    assert (await door.ask("GET", "/v1/things/7?name=a", headers={"Origin": own}))[0] == 204
    status, _, headers = await door.ask("GET", "/v1/forbidden", headers={"Origin": FRIEND})
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, FRIEND), "a page reads why it was refused"
    assert headers["Access-Control-Expose-Headers"] == "Retry-After"
    for method in ("GET", "OPTIONS"):
        status, value, headers = await door.ask(method, "/v1/things/7?name=a", headers={"Origin": "https://evil.example"})
        assert (status, value["title"]) == (403, "forbidden")
        assert "Access-Control-Allow-Origin" not in headers


def test_every_code_that_a_route_may_name_has_a_status() -> None:
    routes = described_routes()
    assert {code for route in routes for code in route.errors} <= set(STATUS)
    assert len({route.name for route in routes}) == len({(route.method, route.path) for route in routes}) == len(routes)
    assert {route.limiter for route in routes} == set(Limiters(LimiterConfig()).by_name)
    assert all((route.status == 204) == (route.answer is None) or route.status in (200, 201) for route in routes)
    assert all(route.needs_token or route.limited_by is not None for route in routes)
