"""`homing replay`: options, `--parse-only`, refusals, and what is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tools.cli import main
from tools.errors import USAGE
from tools.replay.command import _directory_url, _print_report
from tools.replay.compare import Mismatch
from tools.replay.player import Difference, Report
from tools.replay.progress import Display
from tools.replay.script import Said

CHATS = Path(__file__).parent.parent / "data" / "chats"


@pytest.mark.parametrize("path", sorted(CHATS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_parse_only_json_prints_one_object_a_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next(p for p in CHATS.iterdir() if p.stem == path.stem and p != path)
    assert main(["replay", str(file), "--parse-only", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        json.loads(line) for line in path.read_text("utf-8").splitlines()
    ]


def test_parse_only_tells_what_is_in_the_file_and_what_was_decided(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(CHATS / "android-us.txt"), "--parse-only"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("whatsapp-android: 10 messages of 3 people, 2024-01-09 23:58 to 2024-02-03 09:06\n")
    assert "13 lines: 10 messages, 2 continuation lines, 1 service lines, 0 blank, 0 unparsed" in out
    assert "dates are month, day, year" in out


def test_dates_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text("[10:00] <a> x\n")
    (tmp_path / "w.txt").write_text("3/4/24, 10:00 - A: x\n")
    assert main(["replay", str(tmp_path / "a.log"), "--parse-only", "--json", "--date", "2008-04-27"]) == 0
    assert main(["replay", str(tmp_path / "w.txt"), "--parse-only", "--json", "--date-order", "mdy"]) == 0
    assert [json.loads(line)["at"] for line in capsys.readouterr().out.splitlines()] == ["2008-04-27T10:00:00", "2024-03-04T10:00:00"]


@pytest.mark.parametrize("name", ["missing.txt", ".", "diary.txt", "events.log", "long.log"])
def test_a_file_that_cannot_be_played_is_one_line_and_a_usage_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "diary.txt").write_text("dear diary\n")
    (tmp_path / "events.log").write_text("31/12/23, 10:00 - Anna left\n")
    (tmp_path / "long.log").write_text(f"[10:00] <a> x\n[10:01] <a> {'x' * 20_000}\n")
    assert main(["replay", str(tmp_path / name)]) == USAGE
    err = capsys.readouterr().err
    assert err.startswith("homing replay: ") and err.count("\n") == 1
    assert name != "long.log" or "line 2" in err


@pytest.mark.parametrize("options", [["--speed", "0"], ["--speed", "fast"], ["--speed", "nan"], ["--churn", "2"], ["--date", "1.2.3"], []])
def test_options_that_make_no_sense_are_usage_errors(options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["replay", *options, *(["x.txt"] if options else [])])
    assert caught.value.code == USAGE


def test_the_directory_is_the_one_that_runs_on_the_data(tmp_path: Path) -> None:
    assert _directory_url(tmp_path) == "http://127.0.0.1:7400"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "up.json").write_text('{"url": "http://127.0.0.1:7500"}')
    assert _directory_url(tmp_path) == "http://127.0.0.1:7500"
    (tmp_path / "run" / "up.json").write_text("[]")
    assert _directory_url(tmp_path) == "http://127.0.0.1:7400"


def _report(count: int) -> Report:
    mismatch = Mismatch("missing", 3, 12, Said("0" * 32, "text", "hi"), None)
    return Report(4, 100, 2.0, 5, 2, [Difference(f"p{n}", "live", mismatch, mismatch.tell({"0" * 32: "ann"})) for n in range(count)])


def test_the_summary_says_rates_and_reconnects_and_that_all_is_equal(capsys: pytest.CaptureFixture[str]) -> None:
    _print_report(_report(0), as_json=False)
    out = capsys.readouterr().out
    assert "100 messages of 4 people in 2.0 s: 50 messages/s" in out
    assert "5 absences, 2 connections cut" in out
    assert "Every history is the file" in out


def test_the_summary_shows_the_first_differences(capsys: pytest.CaptureFixture[str]) -> None:
    _print_report(_report(7), as_json=False)
    out = capsys.readouterr().out
    assert "7 of 8 histories differ" in out and "and 2 more" in out
    assert "p0 (live): message 3 (line 12): missing; the file has text 'hi' of ann, the history nothing" in out


def test_the_result_as_an_object_holds_all_of_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    _print_report(_report(1), as_json=True)
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == "homing.replay/1"
    assert (value["equal"], value["messages_per_s"], value["reconnects"]) == (False, 50.0, 7)
    assert value["differences"][0]["fault"] == "missing"


def test_progress_without_a_terminal_is_a_line_now_and_then_and_one_at_the_end() -> None:
    out, now = io.StringIO(), 0.0
    with Display(out, lambda: now) as display:
        display.note("begins [here]")
        for done in range(1, 101):
            now = done * 0.11
            display.progress("messages", done, 100)
    lines = out.getvalue().splitlines()
    assert lines[0] == "begins [here]" and lines[-1].startswith("messages: 100 of 100 ")
    assert len(lines) == 4


def test_progress_on_a_terminal_is_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with Display(out) as display:
        display.note("begins [here]")
        display.progress("messages", 100, 100)
    assert "begins [here]" in out.getvalue() and "100/100" in out.getvalue()
