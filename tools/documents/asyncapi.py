"""The AsyncAPI 3.0 document: every frame of the WebSocket protocol, who sends it, and what answers it.

The document speaks as the node: it ``receives`` what clients send. Its schemas are of the dialect that AsyncAPI has by default, draft 7
of JSON Schema: a tuple is an ``items`` list there.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from homing import protocol as p
from msgspec import Struct

from node.edge.upgrade import SUBPROTOCOLS, WS_PATH
from tools.documents.errors import error_table
from tools.documents.schemas import Json, schemas_of

PROTOCOL_PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
ANSWERS: dict[type[Struct], tuple[type[Struct], ...]] = {
    p.Hello: (p.Welcome, p.Heads, p.Synced, p.Error, p.Reconnect),
    p.Send: (p.Sent, p.Error),
    p.Ack: (),
    p.Read: (),
    p.Fetch: (p.Entries, p.Error),
    p.FetchHeads: (p.Heads, p.Error),
    p.FetchMembers: (p.MembersPage, p.Error),
    p.FetchPerson: (p.Person, p.Error),
    p.Ping: (p.Pong,),
    p.Watch: (),
    p.Typing: (),
}
"""Client frame → what answers it; what is not here makes an entry: see ``MAKES_ENTRY``."""
MAKES_ENTRY = (p.Sent, p.Error)
UNASKED: tuple[type[Struct], ...] = (
    p.Message, p.HeadChanged, p.Receipts, p.PresenceChanged, p.TypingShown, p.Reconnect, p.Error,
)  # fmt: skip
"""What comes without being asked for."""
DESCRIPTION = """\
A client opens a WebSocket at `{path}` of any node and offers a sub-protocol: `{json}` (JSON objects in text messages) or
`{msgpack}` (the same objects as msgpack maps in binary messages). One message is one frame; `op` tells which. Unknown fields are
ignored, unknown ops refused. A client's frame has at most {bytes_max} bytes.

**First `hello`**, within 5 s, once, with an access token or a ticket (`POST /v1/sessions` or `POST /v1/tickets`, see
`/openapi.json`). Then `welcome` comes, pages of `heads`, and `synced`; from `welcome` on `message` frames may come in between. Send
a `ping` at least every `heartbeat_ms`.

**A request** has an `id` of the client's choice, and its answer bears it. What makes an entry (`send`, `block`, `unblock`,
`group_*`) may be repeated under its `id`, through any node: it is one entry. `after` is the seq that the client knew of the
conversation when it first queued the request. Say `ack` for what you hold, `read` for what was seen; both are cumulative. Show
entries by `seq`, once; fetch a gap.

**An error** with an `id` refuses that request; without one it is about the session. `x-errors` says for each code what to do: `fix`
the request, `retry` it after `retry_after_ms` (connect again first, if the connection is gone), `refresh` the access token, `sync`:
fetch what is missing and send again with a newer `after`, or `stop`. Of a code that is not listed its thousands say it: 1 fix, 2
and 3 retry, 4 refresh, 5 sync."""


def asyncapi() -> Json:
    """The document."""
    clients, nodes = get_args(p.ClientFrame), get_args(p.ServerFrame)
    schemas = schemas_of([*clients, *nodes])
    _older_dialect(schemas.components)
    messages = {
        _name(kind): _message(kind, schemas.ref(kind), examples[_op(kind)])
        for kinds, examples in zip((clients, nodes), protocol_examples(), strict=True)
        for kind in kinds
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Homing",
            "version": version("homing"),
            "description": DESCRIPTION.format(
                path=WS_PATH, json=p.JSON_SUBPROTOCOL, msgpack=p.MSGPACK_SUBPROTOCOL, bytes_max=f"{p.FRAME_BYTES_MAX:,}"
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": "{host}", "protocol": "ws", "description": "Any node; behind TLS: wss",
                "variables": {"host": {"default": "127.0.0.1:7401", "description": "Host and port of a node"}},
                "security": [{"$ref": "#/components/securitySchemes/hello"}],
            }
        },
        "channels": {
            "session": {
                "address": WS_PATH,
                "title": "One device's session",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": _binding()},
            }
        },
        "operations": {**{_name(kind): _asked(kind) for kind in clients}, "unasked": _unasked()},
        "components": {
            "messages": messages,
            "schemas": schemas.components,
            "correlationIds": {"request": {"location": "$message.payload#/id", "description": "The request's id, in its answer too"}},
            "securitySchemes": {
                "hello": {"type": "userPassword", "description": "Not part of the upgrade: the `token` of the first frame, `hello`."}
            },
        },
        "x-frame-bytes-max": p.FRAME_BYTES_MAX,
        "x-errors": error_table(),
    }  # fmt: skip


def protocol_examples() -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Op → the examples on the protocol's page, of the clients' frames and of the nodes'; a test has read each of them."""
    found: tuple[dict[str, list[Any]], dict[str, list[Any]]] = {}, {}
    for part, of_part in zip(PROTOCOL_PAGE.read_text(encoding="utf-8").split("## From the server"), found, strict=True):
        for text in re.findall(r"```json\n(.*?)\n```", part, re.DOTALL):
            value = json.loads(text)
            of_part.setdefault(value["op"], []).append(value)
    return found


def _op(kind: type[Struct]) -> str:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str), "frames are told apart by a word"
    return tag


def _name(kind: type[Struct]) -> str:
    """Its op; what a node says under an op that clients say too has another one."""
    both = kind in get_args(p.ServerFrame) and any(_op(kind) == _op(other) for other in get_args(p.ClientFrame))
    return f"{_op(kind)}_shown" if both else _op(kind)


def _message(kind: type[Struct], ref: Json, examples: list[Any]) -> Json:
    shown = [{"payload": example} for example in examples]
    message: Json = {"name": _name(kind), "title": kind.__name__, "payload": ref, "examples": shown}
    if kind.__doc__:
        message["summary"] = " ".join(kind.__doc__.split())
    if "id" in kind.__struct_fields__:
        message["correlationId"] = {"$ref": "#/components/correlationIds/request"}
    return message


def _asked(kind: type[Struct]) -> Json:
    operation: Json = {"action": "receive", "channel": {"$ref": "#/channels/session"}, "messages": [_in_channel(kind)]}
    answers = ANSWERS.get(kind, MAKES_ENTRY)
    if answers:
        operation["reply"] = {"channel": {"$ref": "#/channels/session"}, "messages": [_in_channel(answer) for answer in answers]}
    return operation


def _unasked() -> Json:
    return {
        "action": "send",
        "summary": "What a node says without being asked",
        "channel": {"$ref": "#/channels/session"},
        "messages": [_in_channel(kind) for kind in UNASKED],
    }


def _in_channel(kind: type[Struct]) -> Json:
    return {"$ref": f"#/channels/session/messages/{_name(kind)}"}


def _binding() -> Json:
    wanted = {"type": "string", "enum": [p.JSON_SUBPROTOCOL, p.MSGPACK_SUBPROTOCOL], "description": "One of them must be offered"}
    assert set(wanted["enum"]) == set(SUBPROTOCOLS)
    headers = {"type": "object", "properties": {"Sec-WebSocket-Protocol": wanted}, "required": ["Sec-WebSocket-Protocol"]}
    return {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}


def _older_dialect(schema: Any) -> None:
    """Draft 2020-12 into draft 7, where they differ."""
    if isinstance(schema, dict):
        if "prefixItems" in schema:
            schema["items"] = schema.pop("prefixItems")
        for part in schema.values():
            _older_dialect(part)
    elif isinstance(schema, list):
        for part in schema:
            _older_dialect(part)
