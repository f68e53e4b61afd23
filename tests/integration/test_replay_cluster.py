"""`homing replay` against a real cluster: every shipped chat, at home and away from home, and one while a node is killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import ClusterProcess, free_base_port
from tools.errors import FAILED, UNREACHABLE

CHATS = Path(__file__).parent.parent / "data" / "chats"
FILES = sorted(path for path in CHATS.iterdir() if path.suffix in (".txt", ".log"))
RUN_TIMEOUT_S = 90.0


def command(file: Path, cluster: ClusterProcess, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", "tools.cli", "replay", str(file), "--data", str(cluster.data), "--json", *options]


def replay(file: Path, cluster: ClusterProcess, *options: str) -> dict[str, object]:
    done = subprocess.run(command(file, cluster, *options), capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("placement", ["home", "split"])
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_history_of_a_shipped_chat_is_the_file(file: Path, placement: str, shared_cluster: ClusterProcess) -> None:
    options = ["--churn", "0.5", *(["--split-nodes"] if placement == "split" else [])]
    result = replay(file, shared_cluster, *options)
    rows = [json.loads(line) for line in file.with_suffix(".jsonl").read_text("utf-8").splitlines()]
    messages = [row for row in rows if row["kind"] in ("text", "action", "media", "deleted")]
    assert (result["equal"], result["differences"]) == (True, [])
    assert (result["messages"], result["people"]) == (len(messages), len({row["sender"] for row in messages}))
    assert int(str(result["reconnects"])) > 0


def long_chat(path: Path, messages: int, people: int) -> Path:
    draw = random.Random(11)
    lines = [f"[10:{n * 50 // messages:02}] <p{draw.randrange(people)}> message {n} {'x' * draw.randrange(200)}" for n in range(messages)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_history_is_the_file_though_a_node_is_killed_meanwhile(cluster: ClusterProcess, tmp_path: Path) -> None:
    file = long_chat(tmp_path / "2024-01-01.log", 300, 12)
    out = tmp_path / "out.txt"
    with out.open("wb") as errors:
        process = subprocess.Popen(command(file, cluster, "--speed", "400", "--churn", "0.3"), stdout=subprocess.PIPE, stderr=errors)
    try:
        _wait_for_output(out, process)
        pid = cluster.kill("node-2")
        stdout, _ = process.communicate(timeout=RUN_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, stdout.decode() + out.read_text()
    result = json.loads(stdout)
    assert (result["equal"], result["people"], result["messages"]) == (True, 12, 300)
    assert result["seconds"] > 6, "the node was killed after the chat was over"
    cluster.wait_restarted("node-2", pid)


def _wait_for_output(out: Path, process: subprocess.Popen[bytes]) -> None:
    """Waits until the first messages are played."""
    until = time.monotonic() + RUN_TIMEOUT_S
    while "people: 12 of 12" not in out.read_text():
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < until, out.read_text()
        time.sleep(0.05)
    time.sleep(1.0)  # some of the chat's seven seconds


def test_one_node_is_too_few_to_be_away_from_home(start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(nodes=1)
    done = subprocess.run(command(FILES[0], cluster, "--split-nodes"), capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == FAILED
    assert "two nodes" in done.stderr


def test_a_cluster_that_is_not_there_is_one_line_and_a_code_of_its_own(shared_cluster: ClusterProcess, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_base_port(1)}"
    done = subprocess.run(command(FILES[0], shared_cluster, "--url", url), capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    assert done.returncode == UNREACHABLE
    assert f"cannot use the directory at {url}" in done.stderr.splitlines()[-1]
    done = subprocess.run(
        [*command(FILES[0], shared_cluster), "--data", str(tmp_path)], capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )
    assert done.returncode == FAILED
    assert "there is no cluster in" in done.stderr and done.stderr.count("\n") == 1
