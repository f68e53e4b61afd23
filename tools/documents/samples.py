"""Example values for schemas: the same few people in every document.

A field is known by its name, here or by its struct's default; what is new and known by neither gets a value that its schema allows.
"""

from __future__ import annotations

from typing import Any

from tools.documents.schemas import Json, Schemas

ALICE = "0f200000000000000000000000000004"
BOB = "0f1c0000000000000000000000000002"
DIRECT = "0f1d0000000000000000000000000001"
TIME_MS = 1_798_534_800_000
BY_NAME: dict[str, Any] = {
    "about": "Keeps pigeons",
    "access_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
    "access_expires_s": 600,
    "body": "Hello",
    "conversation": DIRECT,
    "created_ts": TIME_MS,
    "current": "correct horse",
    "detail": "Expected `str`, got `int`",
    "device": "d3b07384d113edec",
    "device_name": "Phone",
    "expires_s": 60,
    "handle": "alice",
    "head": 42,
    "id": "c-1",
    "message_id": f"{DIRECT}.42.7",
    "name": "Alice",
    "new": "battery staple",
    "nodes": ["ws://127.0.0.1:7401", "ws://127.0.0.1:7402"],
    "ordinal": 42,
    "password": "correct horse",
    "peer": BOB,
    "refresh_expires_s": 2_592_000,
    "refresh_token": "WkP0cT5f0mJ3hTq1xYx2.7wJb0w",
    "role": "member",
    "seen_ts": TIME_MS,
    "sender": ALICE,
    "seq": 42,
    "sent_ts": TIME_MS,
    "ticket": "eyJhbGciOiJFZERTQSJ9.eyJhdWQiOiJ0aWNrZXQifQ.c2lnbmF0dXJl",
    "title": "Pigeons",
    "to": BOB,
    "ts": TIME_MS,
    "url": "ws://127.0.0.1:7402",
    "user": ALICE,
}


def sample(schema: Json, schemas: Schemas) -> Any:
    """A value that ``schema`` allows; objects get every field that is required or has a name of ours."""
    schema = schemas.resolved(schema)
    if "properties" in schema:
        required = schema.get("required", ())
        return {name: _field(name, part, schemas) for name, part in schema["properties"].items() if name in required or name in BY_NAME}
    return _value(schema, schemas)


def _field(name: str, schema: Json, schemas: Schemas) -> Any:
    schema = schemas.resolved(schema)
    if name in BY_NAME and _fits(BY_NAME[name], schema):
        return BY_NAME[name]
    return sample(schema, schemas) if "properties" in schema else _value(schema, schemas)


def _value(schema: Json, schemas: Schemas) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], schemas)
    match schema.get("type"):
        case "array":
            parts = schema.get("prefixItems")
            return [sample(part, schemas) for part in parts] if parts else [sample(schema.get("items", {}), schemas)]
        case "integer" | "number":
            return max(schema.get("minimum", 1), 1)
        case "boolean":
            return True
        case "object":
            return {}
        case "string":
            return ALICE if schema.get("pattern") == "^[0-9a-f]{32}$" else "text"[: schema.get("maxLength", 4)]
        case _:
            return None


def _fits(value: object, schema: Json) -> bool:
    kinds = {option.get("type") for option in schema.get("anyOf", [schema])}
    name = {str: "string", int: "integer", list: "array", bool: "boolean"}[type(value)]
    return name in kinds and "enum" not in schema
