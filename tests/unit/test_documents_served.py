"""How a node serves the published documents."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from node.documents import FILES, FOLDER, Documents


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    app = web.Application()
    Documents().add_to(app)
    async with TestServer(app) as server, ClientSession(server.make_url("/"), auto_decompress=False) as session:
        yield session


@pytest.mark.parametrize("path", sorted(FILES))
async def test_a_document_comes_whole_or_compressed_and_not_twice(http: ClientSession, path: str) -> None:
    name, content_type = FILES[path]
    whole = (FOLDER / name).read_bytes()
    for accepted, encoding in (("identity", None), ("gzip, br", "gzip")):
        async with http.get(path, headers={"Accept-Encoding": accepted}) as answer:
            body = await answer.read()
            assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
            assert answer.headers.get("Content-Encoding") == encoding
            assert (gzip.decompress(body) if encoding else body) == whole
            etag = answer.headers["ETag"]
    assert len(body) < 20_000, "it is small"
    async with http.get(path, headers={"If-None-Match": f'W/{etag}, "other"'}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with http.get(path, headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


async def test_the_page_may_load_its_style_and_nothing_else(http: ClientSession) -> None:
    async with http.get("/docs") as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert policy[:2] == ["default-src 'none'", "style-src 'self'"]
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with http.post("/docs") as answer:
        assert answer.status == 405
