"""Whatever is asked of a running cluster, the answer is one that its own OpenAPI document describes, and never a fault of ours.

Schemathesis makes the requests from the document that the nodes serve: good ones and bad ones. Half of the good ones are about people
and conversations that exist. They come from addresses of their own (127.0.0.0/8), so that the limiters of other tests' addresses stay as
they are.
``HOMING_OPENAPI_EXAMPLES`` requests are made per operation and kind, by default few and always the same.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import schemathesis
from homing import codes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import CheckContext, CheckFunction, GenerationMode
from schemathesis.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    not_a_server_error,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.generation.overrides import Override

from node.rest.table import described_routes
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import port_of
from tests.integration.rest_client import Person
from tools.documents.openapi import openapi
from tools.documents.plain import PLAIN

DEFAULT_EXAMPLES = 15
EXAMPLES = int(os.environ.get("HOMING_OPENAPI_EXAMPLES", DEFAULT_EXAMPLES))
REQUESTS_A_PERSON = 15
"""With those that ``ignored_auth`` adds, fewer than any limiter's burst."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    ignored_auth,
]
OPERATIONS = {
    **{route.name: "access_token" if route.needs_token else "" for route in described_routes()},
    **{p.name: p.security for p in PLAIN},
}
PLANNED = {route.name for route in described_routes() if route.is_planned}
"""Those that are refused with 501, whatever is asked."""
RULES = {
    "register": {"password"},
    "change_password": {"new"},
    "send": {"after", "to"},
    "messages": {"before", "after", "since", "until"},
    "receipt": {"conversation", "seq"},
    "typing": {"conversation"},
    "group_create": {"members"},
    "group_add": {"members", "after"},
    "group_rename": {"after"},
    "group_remove": {"after"},
    "group_role": {"after"},
}
"""Operation → the fields of which a value may be refused although its schema allows it: the rule is in words."""
TAKERS = {p.name for p in PLAIN if p.query} | {r.name for r in described_routes() if r.query or r.body or "{" in r.path}
"""Those that can be asked wrongly."""
KINDS = [(name, mode) for name in OPERATIONS for mode in GenerationMode if mode == GenerationMode.POSITIVE or name in TAKERS]
_addresses = itertools.count(random.Random(os.getpid()).randrange(1 << 16) << 6)


URL_CHARS_MAX = 7_000
"""An address of more than 8,190 octets is no HTTP for a node: what it says of that is in no document."""


def _wait_for_nothing(case: Any) -> None:
    """A poll that is right would be answered when something happens, and here nothing does. Wrong time-outs stay as they are."""
    query = case.query
    if case.operation.definition.raw["operationId"] == "events" and (query is None or isinstance(query, dict)):
        wanted = str((query or {}).get("timeout", 25))
        if wanted.isdecimal() and 0 < int(wanted) <= 30:
            case.query = {**(query or {}), "timeout": 0}


class _From(HTTPAdapter):
    """Connections from an address of this machine that nobody else asks from."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        n = next(_addresses) % (1 << 22)
        super().init_poolmanager(*args, source_address=(f"127.{64 + (n >> 16)}.{n >> 8 & 255}.{n & 255}", 0), **kwargs)


class Asker:
    """Sends cases to one node after another, as somebody who has an account, friends and a conversation."""

    def __init__(self, cluster: ClusterProcess, security: str) -> None:
        self.cluster, self.security = cluster, security
        self.urls = [f"http://127.0.0.1:{port_of(cluster, node)}" for node in range(3)]
        self._left = 0
        self.known: dict[str, Any] = {}
        self.session = requests.Session()

    def ask(self, case: Any, url: str, *more: CheckFunction) -> None:
        if not self._left:
            self._renew()
        self._left -= 1
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        _wait_for_nothing(case)
        if isinstance(case.query, dict) and len(urlencode(case.query, doseq=True, errors="replace")) > URL_CHARS_MAX:
            return
        is_planned = case.operation.definition.raw["operationId"] in PLANNED
        checks = (
            [status_code_conformance, content_type_conformance, response_schema_conformance]
            if is_planned
            else [*CHECKS, accepted, rejected]
        )
        case.call_and_validate(url, session=self.session, headers=headers, checks=[*checks, *more], timeout=20)

    def close(self) -> None:
        self.session.close()

    def _renew(self) -> None:
        """Another address; another person, where the operation needs one."""
        self.close()
        self.session = requests.Session()
        self.session.mount("http://", _From())
        self._left, self._token = REQUESTS_A_PERSON, ""
        if self.security == "operators_key":
            self._token = self.cluster.layout.ops_key_file.read_text().strip()
        elif self.security == "access_token":
            self._register()

    def _post(self, path: str, body: Any, token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.session.post(self.urls[0] + path, json=body, headers=headers, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    def _register(self) -> None:
        names = [Person(self.cluster).handle for _ in range(2)]
        me, friend = (self._post("/v1/accounts", {"handle": name, "password": "correct horse"}) for name in names)
        self._token = me["access_token"]
        entry = self._post("/v1/messages", {"id": "first", "to": friend["user"], "body": "hello"}, self._token)["entry"]
        self.known = {
            "user": friend["user"],
            "to": friend["user"],
            "conversation": entry["conversation"],
            "message": entry["message_id"],
            "handle": friend["handle"],
            "device": me["device"],
        }


def whole(value: Any) -> Any:
    """The value with 1 for 1.0: JSON Schema says that both are integers, JSON's writers write the first, and only that is taken."""
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    if isinstance(value, list):
        return [whole(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def with_known(case: Any, known: dict[str, Any]) -> Any:
    """The case, about what exists."""
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: value for name, value in known.items() if name in part})
    return case


def accepted(ctx: CheckContext, response: schemathesis.Response, case: Any) -> Any:
    """What the schemas allow is accepted, but for the rules in words."""
    name = case.operation.definition.raw["operationId"]
    if (
        response.status_code in (400, 422)
        and response.json()["code"] == codes.INVALID.number
        and response.json().get("field") in RULES.get(name, ())
    ):
        return None
    return positive_data_acceptance(ctx, response, case)


def rejected(ctx: CheckContext, response: schemathesis.Response, case: Any) -> Any:
    """What the schemas do not allow is refused; but unknown parameters are ignored, and a token that is left out is put in by ``Asker``."""
    if response.status_code == 413:
        return None
    try:
        return negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData as failure:
        wrong = re.findall(r"(?:Invalid component:|-) (?:in )?(\w+)( - |: )(violates .*)", failure.message)
        if wrong and all(part == "header" or (part == "query" and "additionalProperties" in what) for part, _, what in wrong):
            return None
        raise


@pytest.fixture(scope="module")
def document(shared_cluster: ClusterProcess) -> Any:
    answer = requests.get(f"http://127.0.0.1:{port_of(shared_cluster, 1)}/openapi.json", timeout=20)
    assert answer.json() == json.loads(json.dumps(openapi(described_routes()))), "a node serves what the code says"
    return schemathesis.openapi.from_dict(answer.json())


def operation(document: Any, name: str) -> Any:
    return next(found for result in document.get_all_operations() if (found := result.ok()).definition.raw["operationId"] == name)


@pytest.mark.parametrize(("name", "mode"), KINDS, ids=[f"{name}-{mode.value}" for name, mode in KINDS])
@pytest.mark.timeout(120 + 2 * EXAMPLES)
def test_every_answer_is_in_the_document(shared_cluster: ClusterProcess, document: Any, name: str, mode: GenerationMode) -> None:
    asker = Asker(shared_cluster, OPERATIONS[name])
    try:
        bounded(one_example(asker, operation(document, name), mode))()
    finally:
        asker.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_at_the_edges_is_in_the_document(shared_cluster: ClusterProcess, document: Any, name: str) -> None:
    """Each bound from both sides, each field left out, each method: chosen by Schemathesis, not by chance."""
    asked = operation(document, name)
    config = asked.schema.config.generation_for(operation=asked)
    edges = CoverageGenerator(
        operation=asked, generation_modes=list(GenerationMode), generation_config=config,
        auth_storage=None, override=Override(), feedback=NO_FEEDBACK,
    )  # fmt: skip
    asker = Asker(shared_cluster, OPERATIONS[name])
    asked_for = 0
    try:
        for case, url in zip(edges, itertools.cycle(asker.urls), strict=False):
            asker.ask(case, url, unsupported_method, allow_header_conformance)
            asked_for += 1
    finally:
        asker.close()
    assert asked_for > 2


def one_example(asker: Asker, asked: Any, mode: GenerationMode) -> Callable[[], None]:
    @given(case=asked.as_strategy(generation_mode=mode), url=st.sampled_from(asker.urls), known=st.booleans())
    def example(case: Any, url: str, known: bool) -> None:
        if mode == GenerationMode.POSITIVE and isinstance(case.body, dict):
            case.body = whole(case.body)
        asker.ask(with_known(case, asker.known) if known and mode == GenerationMode.POSITIVE else case, url)

    return example


def bounded(example: Callable[[], None]) -> Callable[[], None]:
    return settings(
        max_examples=EXAMPLES,
        derandomize=EXAMPLES == DEFAULT_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(example)
