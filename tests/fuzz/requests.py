"""HTTP requests that are nearly right, for every operation of a node: made from the routes' own types, then changed.

What a request costs is the limiters' affair: each connection comes from an address of its own (127.0.0.0/8) and each few requests from
another user, so that most are looked at instead of being answered 429.
"""

from __future__ import annotations

import http.client
import socket
import time
from random import Random
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from homing import ids

from node.edge.tokens import TokenAuthority
from node.rest.route import Route
from node.rest.table import described_routes
from tests.fuzz.documents import Documents
from tests.fuzz.mutation import flipped
from tests.integration.conftest import ClusterProcess
from tests.strange_frames import TEXTS, Strange

USERS = 200
REQUESTS_PER_CONNECTION = 40
COSTLY = {"register", "sign_in", "password_change", "events"}
"""A password's hash takes 14 ms, a poll waits: these come rarely."""
COSTLY_SHARE = 0.02
TIMEOUT_S = 30.0
JSON, PROBLEM = "application/json", "application/problem+json"


class Request(NamedTuple):
    route: Route
    target: str
    headers: dict[str, str]
    body: bytes | None


class Requests:
    """Makes them."""

    def __init__(self, cluster: ClusterProcess, chance: Random) -> None:
        self.chance = chance
        layout = cluster.layout
        authority = TokenAuthority(layout.token_keys_dir, layout.cluster_name())
        names = [f"fuzz-http-{n}" for n in range(USERS)]
        self.users = [ids.user_id(name) for name in names]
        self.tokens = [authority.sign(ids.user_id(name), "fuzz", name, time.time(), 86_400) for name in names]
        ours = [ids.group_id(bytes(15) + bytes([n])) for n in range(4)] + [ids.direct_id(self.users[0], self.users[n]) for n in (1, 2)]
        self.known = [*self.users[:8], *ours, f"{ours[-1]}.1.1"]
        self.strange = Strange(chance, self.known, sound=0.8)
        routes = described_routes()
        self.cheap = [route for route in routes if route.name not in COSTLY]
        self.costly = [route for route in routes if route.name in COSTLY]

    def make(self) -> Request:
        chance = self.chance
        route = chance.choice(self.costly if chance.random() < COSTLY_SHARE else self.cheap)
        path = "/".join(self._segment() if part.startswith("{") else part for part in route.path.split("/"))
        if route.query is not None:
            values = self._values(route.query)
            if route.name == "events":
                values["timeout"] = "0"
            path += "?" + urlencode({name: str(value)[:2_000] for name, value in values.items() if chance.random() < 0.6}, errors="replace")
            if route.name == "events" and "timeout" not in path:
                path += "&timeout=0"
        headers: dict[str, str] = {}
        if chance.random() < 0.97:
            token = chance.choice(self.tokens)
            headers["Authorization"] = f"Bearer {token}" if chance.random() < 0.97 else f"Bearer {token[: chance.randrange(len(token))]}x"
        body = None
        if route.body is not None or chance.random() < 0.03:
            body = msgspec.json.encode(self._values(route.body) if route.body is not None else {})
            if chance.random() < 0.3:
                body = flipped(body, chance)
            headers["Content-Type"] = JSON if chance.random() < 0.97 else chance.choice(("text/plain", "", "application/json; x"))
        return Request(route, path, headers, body)

    def _segment(self) -> str:
        text = self.chance.choice(self.known) if self.chance.random() < 0.8 else self.chance.choice(TEXTS)[:500]
        return quote(text.replace("/", "") or "x", safe="", errors="replace")

    def _values(self, kind: type) -> dict[str, object]:
        made = msgspec.to_builtins(self.strange.value(kind))
        assert isinstance(made, dict)
        if "id" in made and self.chance.random() < 0.9:
            made["id"] = f"r{self.chance.getrandbits(40)}"
        return {name: value for name, value in made.items() if self.chance.random() < 0.97}


class Asker:
    """Sends them to a node, and holds every answer against the document."""

    def __init__(self, port: int, documents: Documents, chance: Random) -> None:
        self.port, self.documents, self.chance = port, documents, chance
        self.connection: http.client.HTTPConnection | None = None
        self.left = 0
        self.statuses: dict[int, int] = {}

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def ask(self, request: Request) -> None:
        """Raises AssertionError or jsonschema_rs.ValidationError: an answer outside of the document."""
        try:
            status, kind, body = self._exchange(request)
            self.statuses[status] = self.statuses.get(status, 0) + 1
            self.documents.check_answer(request.route.method, request.route.path, status, kind, body)
        except Exception as error:
            error.add_note(f"the request was {request.route.method} {request.target[:300]} {(request.body or b'')[:600]!r}")
            raise

    def _exchange(self, request: Request) -> tuple[int, str, bytes]:
        for again in (True, False):
            if self.connection is None or not self.left:
                self._connect()
            assert self.connection is not None
            self.left -= 1
            try:
                self.connection.request(request.route.method, request.target, request.body, request.headers)
                answer = self.connection.getresponse()
                return answer.status, (answer.headers.get("Content-Type") or "").partition(";")[0], answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self.close()  # it was idle for too long, or the answer before ended it
                if not again:
                    raise
        raise AssertionError

    def _connect(self) -> None:
        self.close()
        n = self.chance.getrandbits(22)
        source = f"127.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S, source_address=(source, 0))
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = REQUESTS_PER_CONNECTION
