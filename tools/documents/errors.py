"""The table of codes on ``docs/errors.md`` as rows for the documents. Tests compare that page with the code, row by row."""

from __future__ import annotations

import re
from pathlib import Path

from homing import codes

from tools.documents.schemas import Json

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"\| (\d{4}) \| `(\w+)` \| \*\*(\w+)\*\* \| `(\w+)` \| (.+) \| ([\d, ]+|–) \| (\d{4}|–) \|")


def error_table() -> list[Json]:
    """Every code: what to do, when it comes, its HTTP statuses, and the close code behind it if it ends a session."""
    table = [_row(match) for line in PAGE.read_text(encoding="utf-8").splitlines() if (match := ROW.fullmatch(line))]
    if [row["code"] for row in table] != [code.number for code in codes.CODES.values()]:
        raise ValueError(f"{PAGE.name} has not one row for every code, in their order")
    return table


def _row(match: re.Match[str]) -> Json:
    number, name, remedy, _, when, statuses, close = match.groups()
    row: Json = {"code": int(number), "name": name, "do": remedy, "when": when}
    if statuses != "–":
        row["status"] = [int(status) for status in statuses.split(", ")]
    return row if close == "–" else {**row, "close": int(close)}
