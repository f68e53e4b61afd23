"""A client of the WebSocket protocol that knows nothing but an AsyncAPI document: it is made from what the document says.

It must not import the client library, nor name an op or a path of the protocol: those come from the document, or from the caller who has
read it. What it sends and gets is held against the document's schemas.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, TypeAlias

import jsonschema_rs
import msgpack
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

Json: TypeAlias = dict[str, Any]
TIMEOUT_S = 20.0
CODECS = {"json": (lambda value: json.dumps(value), json.loads), "msgpack": (msgpack.packb, msgpack.unpackb)}


class Refused(Exception):
    """The answer to a request is an error; ``do`` is what the document's table says about its code."""

    def __init__(self, frame: Json, do: str) -> None:
        super().__init__(f"{do}: {frame}")
        self.frame, self.do = frame, do


class Operation(NamedTuple):
    """What a client may send, and what answers it."""

    message: Json
    answers: tuple[str, ...]
    correlated: tuple[str, ...]
    """Where the id of a request is, in it and in its answer; empty: it has none."""


class Protocol:
    """The document, read."""

    def __init__(self, document: Json) -> None:
        assert document["asyncapi"].startswith("3.")
        self.document = document
        (self.channel,) = document["channels"].values()
        (server,) = document["servers"].values()
        self.url = f"{server['protocol']}://{{host}}{self.channel['address']}"
        offered = self.channel["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]["enum"]
        self.subprotocols = {name.rpartition(".")[2]: name for name in offered}
        self.messages: dict[str, Json] = {name: self._at(ref) for name, ref in self.channel["messages"].items()}
        self.operations = {
            name: Operation(self._message(operation), tuple(self._replies(operation)), self._correlated(operation))
            for name, operation in document["operations"].items()
            if operation["action"] == "receive"
        }
        self.remedies = {row["code"]: row["do"] for row in document["x-errors"]}
        self._validators = {name: self._validator(message) for name, message in self.messages.items()}
        self._tag = self._discriminator()

    def name_of(self, frame: Json) -> str:
        """Which message of the document this frame is. Raises: it is none, or is not as its schema says."""
        asked = {operation.message["name"] for operation in self.operations.values()}
        said = (name for name in self.messages if name not in asked)  # what a node says
        name = next((name for name in said if self._constant(self.messages[name]) == frame.get(self._tag)), None)
        assert name is not None, f"not in the document: {frame}"
        self._validators[name].validate(frame)
        return name

    def frame(self, name: str, fields: Json) -> Json:
        """A frame of the operation ``name`` with these fields. Raises: its schema does not allow it."""
        message = self.operations[name].message
        schema = self._at(message["payload"])
        unknown = set(fields) - set(schema["properties"])
        assert not unknown, f"{name} has no {unknown}"
        made = {self._tag: self._constant(message), **fields}
        self._validators[message["name"]].validate(made)
        return made

    def _discriminator(self) -> str:
        """The field that is a constant of its own in every message."""
        schemas = [self._at(message["payload"])["properties"] for message in self.messages.values()]
        (tag,) = (field for field in schemas[0] if all(len(schema.get(field, {}).get("enum", ())) == 1 for schema in schemas))
        return str(tag)

    def _constant(self, message: Json) -> str:
        (value,) = self._at(message["payload"])["properties"][self._tag]["enum"]
        return str(value)

    def _message(self, operation: Json) -> Json:
        (message,) = operation["messages"]
        return self._at(message)

    def _replies(self, operation: Json) -> list[str]:
        return [str(self._at(message)["name"]) for message in operation.get("reply", {}).get("messages", ())]

    def _correlated(self, operation: Json) -> tuple[str, ...]:
        message = self._message(operation)
        if "correlationId" not in message:
            return ()
        location = self._at(message["correlationId"])["location"]
        return tuple(location.removeprefix("$message.payload#/").split("/"))

    def _at(self, value: Json) -> Json:
        """The value, or what it refers to."""
        while "$ref" in value:
            found: Any = self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value

    def _validator(self, message: Json) -> jsonschema_rs.Draft7Validator:
        return jsonschema_rs.Draft7Validator({**message["payload"], "components": self.document["components"]})


class DocumentClient:
    """One session, spoken as ``Protocol`` says.

    Attributes:
        unasked: frames that came without being asked for, oldest first.
    """

    def __init__(self, protocol: Protocol, socket: ClientWebSocketResponse, encoding: str) -> None:
        self.protocol, self.unasked = protocol, list[Json]()
        self._socket, self._encoding = socket, encoding
        self._encode, self._decode = CODECS[encoding]
        self._requests = 0

    @classmethod
    async def connect(cls, protocol: Protocol, http: ClientSession, host: str, encoding: str) -> DocumentClient:
        wanted = protocol.subprotocols[encoding]
        socket = await http.ws_connect(protocol.url.format(host=host), protocols=[wanted], max_msg_size=1 << 20)
        assert socket.protocol == wanted
        return cls(protocol, socket, encoding)

    async def close(self) -> None:
        await self._socket.close()

    async def tell(self, name: str, **fields: Any) -> None:
        """Sends what nothing answers, or what the caller waits for himself."""
        data = self._encode(self.protocol.frame(name, fields))
        await (self._socket.send_str(data) if isinstance(data, str) else self._socket.send_bytes(data))

    async def ask(self, name: str, **fields: Any) -> Json:
        """Sends a request and returns its answer.

        Raises:
            Refused: the answer is an error.
        """
        operation = self.protocol.operations[name]
        self._requests += 1
        id_ = f"{name}-{self._requests}"
        if operation.correlated:
            (field,) = operation.correlated
            fields[field] = id_
        await self.tell(name, **fields)
        while True:
            frame = await self.receive()
            answers = self.protocol.name_of(frame) in operation.answers
            if answers and (not operation.correlated or frame.get(operation.correlated[0]) == id_):
                return self._checked(frame)
            self.unasked.append(frame)

    async def wait(self, name: str) -> Json:
        """The next frame of this name; those that were passed over are kept in ``unasked``."""
        for frame in self.unasked:
            if self.protocol.name_of(frame) == name:
                self.unasked.remove(frame)
                return frame
        while self.protocol.name_of(frame := await self.receive()) != name:
            self.unasked.append(self._checked(frame))
        return frame

    async def receive(self) -> Json:
        got = await self._socket.receive(TIMEOUT_S)
        assert got.type in (WSMsgType.TEXT, WSMsgType.BINARY), got
        frame = self._decode(got.data)
        assert isinstance(frame, dict)
        self.protocol.name_of(frame)
        return frame

    def _checked(self, frame: Json) -> Json:
        do = self.protocol.remedies.get(frame.get("code"))
        if do is not None:
            raise Refused(frame, do)
        return frame
