"""The demo's links and people: a code opens once and not for ever, the files are their owner's alone, nothing of it without being asked."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node.demo import links, people
from node.demo.config import DemoConfig, is_loopback
from node.demo.people import DemoPeople, DemoPerson
from tools.configure import sections
from tools.layout import Layout

NOW = 1_000_000.0


def test_a_code_opens_once_as_it_was_printed_or_typed(tmp_path: Path) -> None:
    code = links.make(tmp_path, NOW)
    assert len(code) == 14 and set(code) <= set(links.ALPHABET + "-")
    assert not links.take(tmp_path, code[:-1], NOW)
    assert links.take(tmp_path, f" {code.lower().replace('-', ' ')}", NOW + 1)
    assert not links.take(tmp_path, code, NOW + 1)


def test_a_code_is_good_until_its_time_is_over_and_not_before_it_was_made(tmp_path: Path) -> None:
    first, second, third = (links.make(tmp_path, NOW) for _ in range(3))
    assert links.take(tmp_path, first, NOW + links.LIFETIME_S - 1)
    assert not links.take(tmp_path, second, NOW + links.LIFETIME_S)
    assert not links.take(tmp_path, third, NOW - 1), "a clock that was set back does not make a link last longer"


def test_only_the_newest_codes_are_good(tmp_path: Path) -> None:
    codes = [links.make(tmp_path, NOW + number) for number in range(links.LINKS_MAX + 1)]
    assert [links.take(tmp_path, code, NOW + 60) for code in codes] == [False] + [True] * links.LINKS_MAX


def test_of_many_who_show_a_code_at_once_one_gets_in(tmp_path: Path) -> None:
    code = links.make(tmp_path, NOW)
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: links.take(tmp_path, code, NOW), range(32))) == 1


def test_the_file_holds_no_code_and_is_its_owners_alone(tmp_path: Path) -> None:
    code = links.make(tmp_path, NOW)
    file = tmp_path / "links.json"
    assert code not in file.read_text() and code.replace("-", "") not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_was_cut_off_loses_its_links_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "links.json").write_text('{"abc": 1')
    assert not links.take(tmp_path, "abc", NOW)
    assert links.take(tmp_path, links.make(tmp_path, NOW), NOW)


def test_the_peoples_passwords_are_read_back_and_their_owners_alone(tmp_path: Path) -> None:
    assert people.read(tmp_path) is None
    two = DemoPeople((DemoPerson("maya", "Maya", "secret"), DemoPerson("theo", "Theo", "other")))
    people.write(tmp_path, two)
    assert people.read(tmp_path) == two
    assert stat.S_IMODE((tmp_path / people.FILE).stat().st_mode) == 0o600
    (tmp_path / people.FILE).write_text('{"people": []}')
    assert people.read(tmp_path) is None


HERE = ("127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1")
ELSEWHERE = ("0.0.0.0", "::", "10.0.0.1", "", "localhost.example.org")


@pytest.mark.parametrize("address", [*HERE, *ELSEWHERE])
def test_which_addresses_are_this_machine(address: str) -> None:
    assert is_loopback(address) == (address in HERE)


def test_a_node_has_a_demo_only_on_loopback_and_with_accounts() -> None:
    assert DemoConfig().relations("0.0.0.0", False) == []
    assert DemoConfig("d").relations("127.0.0.1", True) == []
    assert "process.http_host" in DemoConfig("d").relations("0.0.0.0", True)[0]
    assert "accounts.enabled" in DemoConfig("d").relations("127.0.0.1", False)[0]


def test_nodes_are_told_of_a_demo_only_where_it_was_asked_for(tmp_path: Path) -> None:
    for has_demo in (False, True):
        layout = Layout(tmp_path / str(has_demo), 7400, 1, has_demo)
        layout.make()
        written = {part.role: sections(layout, part) for part in layout.parts()}
        assert [role for role in written if "demo" in written[role]] == (["node"] if has_demo else [])
        assert layout.demo_dir.exists() == has_demo
        json.dumps(written)
