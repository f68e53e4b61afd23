"""Every node serves the web client: whole, typed, under its policy, and nothing else."""

from __future__ import annotations

import gzip
import http.client
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from node.web import DIST, POLICY
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import TIMEOUT_S, port_of


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(cluster: ClusterProcess, path: str, node: int = 0, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(cluster, node), TIMEOUT_S)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


def assets(cluster: ClusterProcess) -> list[str]:
    """What the page names."""
    return [found.decode() for found in re.findall(rb'(?:href|src)="(/assets/[^"]+)"', ask(cluster, "/").body)]


@pytest.mark.parametrize("node", range(3))
def test_every_node_serves_the_page_under_its_policy(shared_cluster: ClusterProcess, node: int) -> None:
    page = ask(shared_cluster, "/", node)
    assert page.status == 200
    assert page.body == (DIST / "index.html").read_bytes()
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_the_policy_allows_nothing_inline_and_no_frame(shared_cluster: ClusterProcess) -> None:
    directives = dict(part.strip().partition(" ")[::2] for part in POLICY.split(";"))
    assert directives["default-src"] == directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert not re.search(r"unsafe|\*|data:|https?:", POLICY)
    page = ask(shared_cluster, "/").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page), "nothing inline"


def test_what_the_page_names_is_there_for_good(shared_cluster: ClusterProcess) -> None:
    named = assets(shared_cluster)
    assert [Path(path).suffix for path in named] == [".css", ".js"]
    for path in named:
        file = ask(shared_cluster, path)
        assert (file.status, file.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert file.headers["Content-Security-Policy"] == POLICY
        squeezed = ask(shared_cluster, path, Accept_Encoding="gzip")
        assert squeezed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(squeezed.body) == file.body == (DIST / path[1:]).read_bytes()
        if path.endswith(".js"):
            assert len(squeezed.body) <= 150_000, "the budget of the script"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/sw.js", "text/javascript; charset=utf-8"),
        ("/manifest.webmanifest", "application/manifest+json"),
        ("/icon.svg", "image/svg+xml"),
        ("/icon-192.png", "image/png"),
    ],
)
def test_types_and_what_must_be_asked_for_again(shared_cluster: ClusterProcess, path: str, kind: str) -> None:
    file = ask(shared_cluster, path)
    assert (file.status, file.headers["Content-Type"], file.headers["Cache-Control"]) == (200, kind, "no-cache")
    same = ask(shared_cluster, path, If_None_Match=file.headers["Etag"])
    assert (same.status, same.body) == (304, b"")
    assert ask(shared_cluster, path, If_None_Match='"other"').status == 200
    head = ask(shared_cluster, path, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(file.body)))


@pytest.mark.parametrize(
    "path",
    [
        "/../setup.cfg",
        "/assets/../../../setup.cfg",
        "/assets/..%2f..%2f..%2fsetup.cfg",
        "/%2e%2e/%2e%2e/setup.cfg",
        "/assets/%5c..%5c..%5csetup.cfg",
        "//etc/passwd",
        "/assets/",
        "/assets/app.js",
        "/index.html%00",
        "/.gitignore",
    ],
)
def test_nothing_else_is_served(shared_cluster: ClusterProcess, path: str) -> None:
    answer = ask(shared_cluster, path)
    assert answer.status == 404
    assert b"[metadata]" not in answer.body and b"root:" not in answer.body


def test_the_page_takes_no_other_method(shared_cluster: ClusterProcess) -> None:
    assert ask(shared_cluster, "/", method="POST").status == 405
