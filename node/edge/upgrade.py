"""The opening handshake of a WebSocket (RFC 6455 §4.2), without I/O: a request head in, the agreed sub-protocol or a refusal out.

Owns which requests may become a connection: method, version, key, sub-protocol, origin. It must not know a socket or a library.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from homing.protocol import JSON_SUBPROTOCOL, MSGPACK_SUBPROTOCOL

WS_PATH = "/v1/ws"
SUBPROTOCOLS = (MSGPACK_SUBPROTOCOL, JSON_SUBPROTOCOL)
HEADERS_MAX = 128


@dataclass(frozen=True, slots=True)
class Head:
    """A request head, parsed."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated header are joined by a comma (RFC 9110 §5.3)."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The handshake may be answered with 101."""

    key: str
    subprotocol: str | None
    """None only where a sub-protocol is not required (the echo server)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The HTTP status and the reason, for a human."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


def parse_head(data: bytes) -> Head | Refused:
    """Parses ``data``, a head up to and without its empty line."""
    lines = data.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1]:
        return Refused(400, "malformed request line")
    if len(lines) > HEADERS_MAX:
        return Refused(431, f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\0" in line:
            return Refused(400, "malformed header")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(parts[0], parts[1], parts[2], headers)


def negotiate(head: Head, origins: frozenset[str], subprotocol_required: bool = True) -> Accepted | Refused:
    """Decides about a request for ``WS_PATH``."""
    headers = head.headers
    if head.method != "GET":
        return Refused(405, "a WebSocket is opened with GET", (("Allow", "GET"),))
    if head.version != "HTTP/1.1":
        return Refused(505, "a WebSocket needs HTTP/1.1")
    if "websocket" not in tokens(headers.get("upgrade", "").lower()) or "upgrade" not in tokens(headers.get("connection", "").lower()):
        return Refused(426, "this address speaks WebSocket", (("Upgrade", "websocket"), ("Connection", "Upgrade")))
    if headers.get("sec-websocket-version") != "13":
        return Refused(426, "WebSocket version 13 only", (("Sec-WebSocket-Version", "13"),))
    if headers.get("content-length", "0").strip("0") or "transfer-encoding" in headers:
        return Refused(400, "a handshake has no body")
    key = headers.get("sec-websocket-key", "")
    if not _is_key(key):
        return Refused(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    if not origin_allowed(headers.get("origin"), headers.get("host", ""), origins):
        return Refused(403, "this origin may not connect")
    offered = tokens(headers.get("sec-websocket-protocol", ""))
    chosen = next((name for name in offered if name in SUBPROTOCOLS), None)
    if chosen is None and not subprotocol_required:
        chosen = offered[0] if offered else None
    elif chosen is None:
        return Refused(400, f"offer a sub-protocol: {MSGPACK_SUBPROTOCOL} or {JSON_SUBPROTOCOL}")
    return Accepted(key, chosen)


def tokens(value: str) -> list[str]:
    """The elements of a comma-separated header value."""
    return [token for part in value.split(",") if (token := part.strip(" \t"))]


def _is_key(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def origin_allowed(origin: str | None, host: str, origins: frozenset[str]) -> bool:
    """Whether a request that names this origin may be served: browsers name theirs, others do not."""
    if origin is None:
        return True  # not a browser: the token alone decides
    if origin.lower() in origins:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
