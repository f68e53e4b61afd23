"""The web client's built files (``client/web/dist``), served at ``/`` by every node under a strict policy.

All files are read at the start and each has a route of its own: no request names a file, so none can name another one. What is named by its
content is kept by browsers for good, everything else is asked for each time and answered 304 while it is the same.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import NamedTuple

from aiohttp import hdrs, web

DIST = Path(__file__).resolve().parent.parent / "client" / "web" / "dist"
FILES_BYTES_MAX = 4 * 1024 * 1024
"""What a node keeps in memory for it."""
POLICY = "; ".join(
    [
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "manifest-src 'self'"),
        *("worker-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
SQUEEZED = frozenset(TYPES)
FOR_GOOD = "public, max-age=31536000, immutable"


class File(NamedTuple):
    """One built file as it is answered."""

    data: bytes
    squeezed: bytes | None
    """The same with gzip."""
    headers: dict[str, str]
    etag: str


def read(path: Path, for_good: bool) -> File:
    """Reads a file and says how it is served."""
    data, suffix = path.read_bytes(), path.suffix
    kind = TYPES.get(suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    caching = FOR_GOOD if for_good else "no-cache"
    headers = {hdrs.CONTENT_TYPE: kind, hdrs.CACHE_CONTROL: caching, hdrs.ETAG: etag, hdrs.VARY: hdrs.ACCEPT_ENCODING, **SECURITY}
    return File(data, gzip.compress(data, 9, mtime=0) if suffix in SQUEEZED else None, headers, etag)


class WebClient:
    """The files below ``dist`` by their paths; none where nothing was built."""

    def __init__(self, dist: Path = DIST) -> None:
        paths = sorted(path for path in dist.rglob("*") if path.is_file())
        total = sum(path.stat().st_size for path in paths)
        if total > FILES_BYTES_MAX:
            raise ValueError(f"the web client in {dist} has {total} bytes, {FILES_BYTES_MAX} are allowed")
        self.files = {f"/{path.relative_to(dist).as_posix()}": read(path, path.parent.name == "assets") for path in paths}
        if "/index.html" in self.files:
            self.files["/"] = self.files.pop("/index.html")

    def add_to(self, app: web.Application) -> None:
        for path in self.files:
            app.router.add_get(path, self._serve)

    def add_page_to(self, app: web.Application, path: str) -> None:
        """Serves the page under another path as well; its script looks at that."""
        if "/" in self.files:
            self.files[path] = self.files["/"]
            app.router.add_get(path, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        file = self.files[request.path]
        if file.etag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            kept = {name: value for name, value in file.headers.items() if name != hdrs.CONTENT_TYPE}
            return web.Response(status=304, headers=kept)
        if file.squeezed is not None and "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            return web.Response(body=file.squeezed, headers={**file.headers, hdrs.CONTENT_ENCODING: "gzip"})
        return web.Response(body=file.data, headers=file.headers)
