"""The command line: which commands there are, that only the asked one is imported, and how errors look."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import cli
from tools.errors import CommandError

MODULE = "tests.unit.test_tools_cli"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A command `probe` whose module is a stand-in; its ``run`` can be replaced."""
    module = SimpleNamespace(
        add_arguments=lambda parser: parser.add_argument("--count", type=int, required=True), run=lambda args: args.count
    )
    monkeypatch.setattr(cli, "COMMANDS", (cli.Command("probe", MODULE, "look at it"), cli.Command("absent", "tools.is_not_there", "never")))
    monkeypatch.setattr("importlib.import_module", lambda name: module)
    return module


def test_the_exit_code_is_the_commands(command: SimpleNamespace) -> None:
    assert cli.main(["probe", "--count", "7"]) == 7


def test_a_command_whose_module_does_not_exist_is_not_offered(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "probe" in out and "absent" not in out
    assert cli.main(["absent"]) == 2
    assert capsys.readouterr().err == "homing: there is no command 'absent' (see homing --help)\n"


@pytest.mark.parametrize("arguments", [["probe"], ["probe", "--count", "x"], ["probe", "--count", "1", "--what"]])
def test_a_usage_error_is_one_line_and_exit_code_2(
    command: SimpleNamespace, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.startswith("homing probe: ") and err.count("\n") == 1


def test_no_command_at_all_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: homing" in capsys.readouterr().err


def test_a_command_that_cannot_says_why_in_one_line(command: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(args: object) -> int:
        raise CommandError("the port 7400 is in use", 7)

    command.run = fail
    assert cli.main(["probe", "--count", "1"]) == 7
    assert capsys.readouterr().err == "homing probe: the port 7400 is in use\n"


def test_ctrl_c_ends_with_130(command: SimpleNamespace) -> None:
    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    command.run = interrupt
    assert cli.main(["probe", "--count", "1"]) == 130


def test_the_command_line_itself_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys, tools.cli; tools.cli.overview(); print(sorted({'aiohttp', 'zmq', 'sqlalchemy', 'picows', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("homing ")


@pytest.mark.parametrize("role", ["node", "directory", "storage"])
def test_a_wrong_configuration_ends_with_78_and_the_key_at_fault(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('[process]\nname = "x-1"\n[mesh]\nwindow_frames = "many"\n')
    assert cli.main([role, "--config", str(config)]) == 78
    assert "mesh.window_frames" in capsys.readouterr().err
