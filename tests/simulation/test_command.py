"""`homing simulate` as a command: codes, JSON, stories."""

from __future__ import annotations

import json

import pytest

from tools.cli import main
from tools.simulation.cluster import RULES


def test_histories_that_hold_end_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "2", "--from", "1"]) == 0
    assert "2 histories" in capsys.readouterr().out


def test_a_broken_promise_is_named_with_the_command_that_shows_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "40", "--break", "durable", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    (violation,) = told["violations"]
    assert violation["promise"] == "P1" and violation["command"].endswith(f"--seed {violation['seed']} --break durable")
    assert main(["simulate", "--seed", str(violation["seed"]), "--break", "durable"]) == 1
    assert f"P1: {violation['text']}" in capsys.readouterr().out


def test_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--break", "list"]) == 0
    assert tuple(capsys.readouterr().out.split()) == RULES


@pytest.mark.parametrize("arguments", [["--break", "gravity"], ["--story", "x"], ["--seeds", "0"]])
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str]) -> None:
    assert main(["simulate", *arguments]) == 2


def test_a_story_tells_what_devices_nodes_and_replicas_saw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seed", "19", "--json", "--story", "a1-1"]) in (0, 1)
    lines = json.loads(capsys.readouterr().out)["story"]
    ids = {word for line in lines for word in line["text"].split() if word.startswith("Send(id=")}
    for number in range(2, 40):
        if ids:
            break
        main(["simulate", "--seed", "19", "--json", "--story", f"a1-{number}"])
        lines = json.loads(capsys.readouterr().out)["story"]
        ids = {word for line in lines for word in line["text"].split() if word.startswith("Send(id=")}
    about = [line for line in lines if "a1-" in line["text"]]
    who = {line["who"].split()[0].split("-")[0] for line in about}
    assert {"a1", "node", "replica"} <= who
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
