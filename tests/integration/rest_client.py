"""A client of the REST interface for tests: it sends what it is told to, and checks the form of every refusal."""

from __future__ import annotations

import http.client
import itertools
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from homing import codes

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import TIMEOUT_S, port_of

Value: TypeAlias = dict[str, Any]  # an answer is looked at field by field
PASSWORD = "correct horse"
_numbers = itertools.count(1)


class Answer(NamedTuple):
    status: int
    value: Value
    headers: Mapping[str, str]

    def refuses(self, status: int, code: codes.Code, field: str | None = None) -> Answer:
        """Fails unless it is this refusal; returns itself."""
        told = (self.status, self.value.get("code"), self.value.get("title"), self.value.get("field"))
        assert told == (status, code.number, code.name, field), self
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.value["status"] == status
        return self

    def is_(self, status: int) -> Value:
        """Fails unless it has this status; returns its value."""
        assert self.status == status, self
        return self.value


class Person:
    """Somebody with an account, who asks one node; a request may name another."""

    def __init__(self, cluster: ClusterProcess, node: int = 0, handle: str = "") -> None:
        self.cluster, self.node = cluster, node
        self.handle = handle or f"u{os.getpid()}-{next(_numbers)}"
        self.session: Value = {}

    def ask(
        self,
        method: str,
        path: str,
        body: object = ...,
        *,
        token: str | None = None,
        node: int | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """A request with the access token, if there is one; ``raw`` is a body as it is, for which ``headers`` name the type."""
        access = token if token is not None else self.session.get("access_token")
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if access:
            given.setdefault("Authorization", f"Bearer {access}")
        data = raw
        if body is not ...:
            data = json.dumps(body, ensure_ascii=False).encode()
            given.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", port_of(self.cluster, self.node if node is None else node), TIMEOUT_S)
        try:
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            text = answer.read()
            return Answer(answer.status, json.loads(text) if text else {}, dict(answer.headers))
        finally:
            connection.close()

    def register(self, **more: object) -> Value:
        self.session = self.ask("POST", "/v1/accounts", {"handle": self.handle, "password": PASSWORD, **more}).is_(201)
        return self.session

    def sign_in(self, node: int | None = None, **more: object) -> Value:
        self.session = {}
        self.session = self.ask("POST", "/v1/sessions", {"handle": self.handle, "password": PASSWORD, **more}, node=node).is_(201)
        return self.session
