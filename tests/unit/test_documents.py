"""The published documents are what the code says, and are documents: valid by their standards, with examples that a server would take."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
from homing import protocol as p
from homing import rest
from openapi_spec_validator import OpenAPIV31SpecValidator

from node.edge.codec import decode
from node.rest.table import described_routes
from tools.documents.asyncapi import ANSWERS, UNASKED, asyncapi
from tools.documents.command import FOLDER, made
from tools.documents.openapi import openapi
from tools.documents.schemas import REF

ROOT = Path(__file__).parents[2]
ROUTES = described_routes()
OPENAPI, ASYNCAPI = openapi(ROUTES), asyncapi()
MADE = made()
META_SCHEMA = ROOT / "tools" / "documents" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json"
SCRIPT = re.compile(r"<script|<style|javascript:|\son\w+=|\sstyle=|https?://", re.IGNORECASE)


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_document_is_not_stale(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == MADE[name], "`homing documents` writes it anew"


def test_docs_leads_to_the_documents() -> None:
    for name in ("openapi.json", "asyncapi.json"):
        assert (ROOT / "docs" / name).resolve() == FOLDER / name


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_nothing_is_left_unused(document: Any) -> None:
    refs = set(references(document))
    for ref in refs:
        value = document
        for part in ref.removeprefix("#/").split("/"):
            value = value[part]
    kinds = ("schemas", "responses", "messages")
    named = {f"#/components/{kind}/{name}" for kind in kinds for name in document["components"].get(kind, ())}
    queries = {REF + route.query.__name__ for route in ROUTES if route.query is not None} | {REF + "TraceQuery", REF + "RevokeQuery"}
    assert named - refs - queries == set()


# ---------------------------------------------------------------- OpenAPI


def test_the_openapi_document_is_one() -> None:
    assert openapi_errors(OPENAPI) == []


def test_what_is_no_openapi_document_is_seen() -> None:
    wrong = copy.deepcopy(OPENAPI)
    wrong["paths"]["/v1/me"]["get"]["responses"]["200"].pop("description")
    assert openapi_errors(wrong)


def openapi_errors(document: Any) -> list[str]:
    return [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()]


def test_every_route_is_an_operation() -> None:
    told = {(path, method.upper()) for path, methods in OPENAPI["paths"].items() for method in methods}
    assert {(route.path, route.method) for route in ROUTES} <= told
    names = [operation["operationId"] for methods in OPENAPI["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body is not None], ids=lambda route: route.name)
def test_the_example_of_a_body_is_one(route: Any) -> None:
    content = OPENAPI["paths"][route.path][route.method.lower()]["requestBody"]["content"]["application/json"]
    msgspec.convert(content["example"], route.body)
    check(content["example"], content["schema"], OPENAPI)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_examples_of_answers_are_what_the_schemas_say(route: Any) -> None:
    for response in OPENAPI["paths"][route.path][route.method.lower()]["responses"].values():
        response = OPENAPI["components"]["responses"][response["$ref"].rpartition("/")[2]] if "$ref" in response else response
        for content in response.get("content", {}).values():
            check(content["example"], content["schema"], OPENAPI)


def check(value: Any, schema: Any, document: Any) -> None:
    """Raises unless the value is what the schema of the document says."""
    jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


# ---------------------------------------------------------------- AsyncAPI


@pytest.mark.skipif(not META_SCHEMA.exists(), reason="`npm ci --prefix tools/documents` brings AsyncAPI's meta-schema")
def test_the_asyncapi_document_is_one() -> None:
    validator = jsonschema_rs.Draft7Validator(json.loads(META_SCHEMA.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(ASYNCAPI)] == []
    wrong = copy.deepcopy(ASYNCAPI)
    wrong["operations"]["send"]["action"] = "sends"
    assert list(validator.iter_errors(wrong))


@pytest.mark.parametrize("op", sorted(ASYNCAPI["components"]["messages"]))
def test_the_examples_of_a_frame_are_what_its_schema_says(op: str) -> None:
    message = ASYNCAPI["components"]["messages"][op]
    schema = {**message["payload"], "components": ASYNCAPI["components"]}
    assert message["examples"]
    for example in message["examples"]:
        jsonschema_rs.Draft7Validator(schema).validate(example["payload"])
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.Draft7Validator(schema).validate({**example["payload"], "op": "other"})


def test_every_frame_has_its_place() -> None:
    operations = ASYNCAPI["operations"]
    answers = {name for operation in operations.values() for name in names(operation.get("reply", {}))}
    assert answers | set(operations) - {"unasked"} | set(names(operations["unasked"])) == set(ASYNCAPI["components"]["messages"])
    for name, operation in operations.items():
        assert operation["action"] == ("send" if name == "unasked" else "receive")
        if name != "unasked":
            example = ASYNCAPI["components"]["messages"][name]["examples"][0]["payload"]
            assert type(decode(json.dumps(example).encode(), binary=False)).__struct_config__.tag == name


def names(operation: Any) -> list[str]:
    return [ref["$ref"].rpartition("/")[2] for ref in operation.get("messages", ())]


# ---------------------------------------------------------------- the page


def test_the_page_has_every_operation_and_frame_and_nothing_that_its_policy_forbids() -> None:
    html = MADE["index.html"]
    assert SCRIPT.search(html) is None
    for methods in OPENAPI["paths"].values():
        assert all(f'<details id="{operation["operationId"]}">' in html for operation in methods.values())
    assert all(f'<details id="op-{op}">' in html for op in ASYNCAPI["components"]["messages"])
    identities = re.findall(r'id="([^"]+)"', html)
    assert len(identities) == len(set(identities))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(identities)


def test_a_poll_may_bring_whatever_comes_to_a_socket_unasked() -> None:
    of_hello = set(ANSWERS[p.Hello])
    assert set(get_args(rest.EventFrame)) == (of_hello | set(UNASKED)) - {p.Error}
