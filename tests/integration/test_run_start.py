"""`./run`: one command, from anywhere, to a cluster that is ready; what it prints works as it is printed; Ctrl-C ends all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from tests.integration.conftest import ClusterProcess, free_base_port

ROOT = Path(__file__).resolve().parent.parent.parent


def run_as_printed(text: str, second_line: str, folder: Path) -> str:
    """Pastes the three lines whose second one begins so into a shell; returns what that prints."""
    lines = text.splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith(second_line)) - 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOMING", "PYTHON"))}
    ran = subprocess.run(
        ["bash"], input="".join(lines[at : at + 3]), cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    assert lines[at + 3] == "\n", "three lines, no more"
    return ran.stdout


def test_one_command_starts_three_nodes_and_ctrl_c_ends_them(tmp_path: Path) -> None:
    data, said = tmp_path / "chats", tmp_path / "said"
    base_port = free_base_port(3)
    environment = {name: value for name, value in os.environ.items() if name != "HOMING_DATA"}
    # A group of its own and the signal to the whole group: that is what a terminal does.
    command = [str(ROOT / "run"), "--data", str(data), "--base-port", str(base_port)]
    with said.open("wb") as out:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=out, process_group=0)
    cluster = ClusterProcess(data, 3, base_port)
    try:
        until = time.monotonic() + 90
        while "Ctrl-C stops all of it." not in said.read_text():
            assert run.poll() is None and time.monotonic() < until, said.read_text()
            time.sleep(0.1)
        assert set(cluster.pids) == {"directory-1", "storage-1", "node-1", "node-2", "node-3"}
        text = said.read_text()
        assert f"{ROOT}/.venv/bin/homing status --watch --data chats\n" in text, "commands work from where one stands"
        assert run_as_printed(text, "import homing\n", tmp_path) == "Hello from Python\n"
        assert run_as_printed(text, "import { run } from ", tmp_path) == "Hello from JavaScript\n"
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(45) == 0, said.read_text()
        assert cluster.pids == {}
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
        left = cluster.clean_up()
    assert left == {}
