"""docs/errors.md says what the code says: every code with what to do, its HTTP status, and the close code behind it."""

from __future__ import annotations

import re
from pathlib import Path

from homing import codes

from node.gateway import close_code
from node.rest.problems import STATUS

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "errors.md").read_text(encoding="utf-8")
ROW = re.compile(r"\| (\d{4}) \| `(\w+)` \| \*\*(\w+)\*\* \| `(\w+)` \| (.+) \| ([\d, ]+|–) \| (\d{4}|–) \|")
CLOSE_ROW = re.compile(r"\| (\d{4}) \| ([^`|]+) \|")
NEVER_ENDS = {
    codes.NOT_A_MEMBER, codes.NOT_FOUND, codes.FORBIDDEN, codes.GROUP_FULL, codes.HELLO_TWICE, codes.CONFLICT,
    codes.RATE_LIMITED, codes.RESYNC, codes.UNSUPPORTED_TYPE, codes.WRONG_CREDENTIALS,
    codes.BLOCKED, codes.NOT_IMPLEMENTED,
}  # fmt: skip
"""Answers to requests: the session goes on."""


def rows() -> list[tuple[str, ...]]:
    return [match.groups() for line in TEXT.splitlines() if (match := ROW.fullmatch(line))]


def test_every_code_has_one_row_with_its_name_what_to_do_and_its_action_in_order() -> None:
    assert [(int(row[0]), *row[1:4]) for row in rows()] == [(c.number, c.name, c.remedy, c.action) for c in codes.CODES.values()]
    assert {code.remedy for code in codes.CODES.values()} == {"fix", "retry", "refresh", "sync", "stop"}


def test_the_http_status_is_the_one_that_a_node_answers_with() -> None:
    others = {codes.INVALID: [400], codes.UNAVAILABLE: [500]}
    told = {codes.CODES[row[1]]: [int(status) for status in row[5].split(", ")] for row in rows() if row[5] != "–"}
    assert told == {code: [status, *others.get(code, [])] for code, status in STATUS.items()}


def test_the_close_codes_are_those_that_the_gateway_sends() -> None:
    for number, name, *_, close in rows():
        code = codes.CODES[name]
        expected = "–" if code in NEVER_ENDS else str(close_code(code))
        assert close == expected, (number, name)


def test_every_row_says_when() -> None:
    assert all(len(row[4]) > 10 for row in rows())


def test_every_close_code_of_ours_is_explained() -> None:
    explained = {int(match[1]) for line in TEXT.splitlines() if (match := CLOSE_ROW.fullmatch(line))}
    assert explained == {value for name, value in vars(codes).items() if name.startswith("CLOSE_")}


def test_the_ranges_have_the_actions_that_the_table_of_ranges_says() -> None:
    ranges = dict(re.findall(r"\| (\d)000s \| `(\w+)` \|", TEXT))
    assert ranges == {str(code.number // 1_000): code.action for code in codes.CODES.values()}
