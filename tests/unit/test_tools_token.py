"""`homing token` and `homing keys`: what they issue is what the edge accepts, and what is retired is refused."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pytest
from homing import ids

from node.edge.tokens import TokenChecker, TokenError
from tools import cli, keys, token
from tools.errors import CommandError
from tools.layout import Layout

LATER = 1_000.0
"""Past the pause between two readings of the key directory."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.at(tmp_path / "data")
    made.make()
    return made


def checker(layout: Layout) -> TokenChecker:
    return TokenChecker(layout.token_keys_dir, layout.cluster_name())


def test_an_issued_token_names_user_and_device_and_the_edge_accepts_it(layout: Layout) -> None:
    claims = checker(layout).check(token.issue(layout.data, " Ärne ", "phone", 60), time.time())
    assert (claims.user, claims.device, claims.name) == (ids.user_id("Ärne"), "phone", "Ärne")
    assert claims.exp - time.time() == pytest.approx(60, abs=2)


def test_the_account_is_named_with_or_without_an_option(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["maya"], ["--user", "maya"]):
        assert cli.main(["token", *arguments, "--data", str(layout.data)]) == 0
        assert checker(layout).check(capsys.readouterr().out.strip(), time.time()).name == "maya"
    with pytest.raises(SystemExit):
        cli.main(["token", "maya", "--user", "theo", "--data", str(layout.data)])


def test_a_token_of_another_cluster_is_refused(layout: Layout, tmp_path: Path) -> None:
    other = Layout.at(tmp_path / "other")
    other.make()
    with pytest.raises(TokenError):
        checker(layout).check(token.issue(other.data, "alice"), time.time())


@pytest.mark.parametrize(("user", "device"), [("", "cli"), ("  ", "cli"), ("a" * 129, "cli"), ("alice", "no spaces"), ("alice", "")])
def test_what_the_edge_would_refuse_is_not_issued(layout: Layout, user: str, device: str) -> None:
    with pytest.raises(CommandError) as error:
        token.issue(layout.data, user, device)
    assert error.value.code == 2


def test_without_a_cluster_the_command_says_where_it_looked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "--user", "alice", "--data", str(tmp_path / "none")]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert not (tmp_path / "none").exists(), "looking makes nothing"


def test_the_command_prints_only_the_token(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "--user", "alice", "--data", str(layout.data), "--ttl", "2h"]) == 0
    printed = capsys.readouterr().out
    assert checker(layout).check(printed.rstrip("\n"), time.time()).exp - time.time() == pytest.approx(7_200, abs=2)
    assert cli.main(["token", "--user", "alice", "--data", str(layout.data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["user"] == ids.user_id("alice")


@pytest.mark.parametrize(("text", "seconds"), [("600", 600), ("10m", 600), ("12h", 43_200), ("7d", 604_800), ("1s", 1)])
def test_lifetimes(text: str, seconds: int) -> None:
    assert token.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["0", "-5", "10 m", "1w", "32d", "", "99999999d", "١"])
def test_bad_lifetimes_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        token.duration_s(text)


def test_the_data_directory_is_for_its_owner_only_and_keeps_its_name(layout: Layout) -> None:
    name = layout.cluster_name()
    layout.make()
    assert layout.cluster_name() == name
    assert all(path.stat().st_mode & 0o077 == 0 for path in (layout.data, layout.keys_dir, layout.logs_dir, layout.store_dir))


def run_keys(layout: Layout, *arguments: str) -> int:
    return cli.main(["keys", *arguments, "--data", str(layout.data)])


def test_after_a_rotation_old_tokens_stay_valid_until_their_key_is_retired(layout: Layout) -> None:
    old = token.issue(layout.data, "alice")
    assert run_keys(layout, "rotate", "tokens") == 0
    new = token.issue(layout.data, "alice")
    edge = checker(layout)
    edge.check(old, time.time())
    edge.check(new, time.time())
    assert [(key.kid, key.signs) for key in keys.token_keys(layout)] == [("1", False), ("2", True)]
    assert run_keys(layout, "retire", "1") == 0
    with pytest.raises(TokenError):
        edge.check(old, time.time() + LATER)
    checker(layout).check(new, time.time())


def test_the_key_that_signs_cannot_be_retired(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    token.issue(layout.data, "alice")
    assert run_keys(layout, "retire", "1") == 1
    assert "rotate tokens" in capsys.readouterr().err
    assert run_keys(layout, "retire", "9") == 1


def test_process_keys_are_made_once_listed_rotated_and_retired(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    def listed() -> dict[str, str]:
        capsys.readouterr()
        assert run_keys(layout, "list", "--json") == 0
        return {row["name"]: row["public_key"] for row in json.loads(capsys.readouterr().out)["processes"]}

    assert run_keys(layout, "create", "node-1") == 0
    first = listed()
    assert run_keys(layout, "create", "node-1") == 0
    assert listed() == first
    assert run_keys(layout, "rotate", "node-1") == 0
    assert listed().keys() == first.keys() and listed() != first
    assert run_keys(layout, "retire", "node-1") == 0
    assert listed() == {}


def test_no_secret_is_ever_printed(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    run_keys(layout, "create", "node-1")
    run_keys(layout, "create", "tokens")
    run_keys(layout)
    out = capsys.readouterr().out
    secret = (layout.curve_keys_dir / "node-1.key").read_text().split()[1]
    assert "node-1" in out and "signs" in out and secret not in out and "PRIVATE" not in out


@pytest.mark.parametrize("arguments", [["create"], ["create", "../x"], ["rotate", "nobody"]])
def test_a_key_of_no_process_is_a_usage_error(layout: Layout, arguments: list[str]) -> None:
    assert run_keys(layout, *arguments) == 2


def test_the_table_says_when_there_are_no_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "--data", str(tmp_path)]) == 1
    assert "there are no keys" in capsys.readouterr().err
