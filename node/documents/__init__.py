"""The published documents, as every node serves them: OpenAPI, AsyncAPI, and both on a page for people.

Owns the files beside it, which `homing documents` makes from the code, and how they are served: read once, at the first request; kept
compressed; asked again for with an ETag. It must not know what they say.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web

FOLDER = Path(__file__).parent
FILES = {
    "/openapi.json": ("openapi.json", "application/json"),
    "/asyncapi.json": ("asyncapi.json", "application/json"),
    "/docs": ("index.html", "text/html; charset=utf-8"),
    "/docs/style.css": ("style.css", "text/css; charset=utf-8"),
}
"""Path → file and type."""
MAX_AGE_S = 300
HEADERS = {
    hdrs.CACHE_CONTROL: f"public, max-age={MAX_AGE_S}",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Document(NamedTuple):
    """One file."""

    content_type: str
    etag: str
    whole: bytes
    zipped: bytes


class Documents:
    """The four files of one node."""

    def __init__(self) -> None:
        self._read: dict[str, Document] = {}

    def add_to(self, app: web.Application) -> None:
        for path in FILES:
            app.router.add_get(path, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        path = request.path
        document = self._read.get(path)
        if document is None:
            document = self._read[path] = await asyncio.to_thread(read, path)
        headers = {**HEADERS, hdrs.ETAG: document.etag}
        if document.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        headers[hdrs.CONTENT_TYPE] = document.content_type
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            return web.Response(body=document.zipped, headers=headers)
        return web.Response(body=document.whole, headers=headers)


def read(path: str) -> Document:
    """The file behind a path of ``FILES``."""
    name, content_type = FILES[path]
    whole = (FOLDER / name).read_bytes()
    return Document(content_type, f'"{hashlib.sha256(whole).hexdigest()[:20]}"', whole, gzip.compress(whole, mtime=0))
