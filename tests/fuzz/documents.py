"""Whether an answer is one that a node's own documents describe: frames by AsyncAPI, HTTP answers by OpenAPI."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import jsonschema_rs

from tests.integration.document_client import Json, Protocol


class Documents:
    """The two that a node serves."""

    def __init__(self, url: str) -> None:
        self.protocol = Protocol(_fetched(f"{url}/asyncapi.json"))
        self._openapi = _fetched(f"{url}/openapi.json")
        self._validators: dict[tuple[str, str, str, str], jsonschema_rs.Draft202012Validator] = {}

    def check_frame(self, frame: Json) -> None:
        """Raises: the document has no such frame."""
        self.protocol.name_of(frame)

    def check_answer(self, method: str, path: str, status: int, kind: str, body: bytes) -> None:
        """Raises: the operation gives no such answer. ``path`` is the document's, with its braces; ``kind`` the answer's media type."""
        key = (method, path, str(status), kind)
        if status == 204:
            assert str(status) in self._operation(method, path) and not body, key
            return
        if key not in self._validators:
            self._validators[key] = self._validator(*key)
        self._validators[key].validate(json.loads(body))

    def _operation(self, method: str, path: str) -> Json:
        found: Json = self._openapi["paths"][path][method.lower()]["responses"]
        return found

    def _validator(self, method: str, path: str, status: str, kind: str) -> jsonschema_rs.Draft202012Validator:
        responses = self._operation(method, path)
        assert status in responses, f"{method} {path} answers {status}, which is not documented"
        content = self._at(responses[status])["content"]
        assert kind in content, f"{method} {path} answers {status} as {kind!r}, which is not documented"
        return jsonschema_rs.Draft202012Validator({**content[kind]["schema"], "components": self._openapi["components"]})

    def _at(self, value: Json) -> Json:
        while "$ref" in value:
            found: Any = self._openapi
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part.replace("~1", "/").replace("~0", "~")]
            value = found
        return value


def _fetched(url: str) -> Json:
    with urllib.request.urlopen(url, timeout=20) as answer:
        value = json.load(answer)
    assert isinstance(value, dict)
    return value
