"""docs/rest.md lists the routes that there are, and docs/errors.md the status of each code."""

from __future__ import annotations

import re
from pathlib import Path

from homing import codes

from node.rest.problems import STATUS
from node.rest.table import described_routes

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"\| `(\w+) ([^`]+)` \| ([^|]+) \|(?: `(\w+)`)? \| (\d+)(?: `(\w+)`)? \| `(\w+)` \|")


def test_every_route_has_its_row() -> None:
    rows = [match.groups() for line in (DOCS / "rest.md").read_text(encoding="utf-8").splitlines() if (match := ROW.fullmatch(line))]
    told = [(method, path, given, status, answer, limiter) for method, path, _, given, status, answer, limiter in rows]
    assert told == [
        (
            route.method,
            route.path,
            next((kind.__name__ for kind in (route.body, route.query) if kind is not None), None),
            str(route.status if route.answer is not None else 204),
            route.answer.__name__ if route.answer is not None else None,
            route.limiter,
        )
        for route in described_routes()
    ]


def test_every_code_has_its_status() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## Over HTTP")[2]
    told = {name: int(status) for status, names in re.findall(r"\| (\d{3}) \| (.+) \|", text) for name in re.findall(r"`(\w+)`", names)}
    assert {codes.CODES[name]: status for name, status in told.items()} == STATUS | {codes.INVALID: 422, codes.UNAVAILABLE: 503}
