"""The programs in the READMEs run word for word against a cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.conftest import ClusterProcess
from tools import token

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTS = {
    "hello.py": r"bob has it\n",
    "group.py": r"(?s).*who comes\?\n1 alice \{.*The trip.*\}\n",
    "careful.py": r"",
    "here.py": r"bob is online\nwriting: \{.*\}\n",
    "block.py": r"blocked\n",
}
"""What each program prints: all of it."""


def programs(page: str) -> dict[str, str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = dict(BLOCK.findall(text))
    assert len(found) == text.count("```python"), f"{page}: every program has a name in its first line"
    return found


def environment(cluster: ClusterProcess, user: str) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOMING_DATA": str(cluster.data),
        "HOMING_URL": ",".join(cluster.node_urls),
        "HOMING_TOKEN": token.issue(cluster.data, user, "program"),
    }


def run(name: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@contextmanager
def robot(cluster: ClusterProcess, folder: Path) -> Iterator[None]:
    """bob, who answers all the time."""
    (folder / "robot.py").write_text(programs("client/README.md")["robot.py"], encoding="utf-8")
    process = subprocess.Popen([sys.executable, "robot.py"], cwd=folder, env=environment(cluster, "bob"), stderr=subprocess.PIPE)
    try:
        yield
        assert process.poll() is None, "the robot has ended"
    finally:
        process.kill()
        _, said = process.communicate()
    assert said == b""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", ["README.md", "client/README.md"])
def test_every_program_on_the_page_runs_as_it_is_printed(page: str, shared_cluster: ClusterProcess, tmp_path: Path) -> None:
    with robot(shared_cluster, tmp_path):
        for name, program in programs(page).items():
            if name != "robot.py":
                (tmp_path / name).write_text(program, encoding="utf-8")
                began = time.monotonic()
                ran = run(name, tmp_path, environment(shared_cluster, "alice"))
                assert ran.returncode == 0 and ran.stderr == "", f"{name}: {ran.stderr}"
                assert re.fullmatch(PRINTS[name], ran.stdout), f"{name} printed {ran.stdout!r}"
                assert time.monotonic() - began < 30


def test_a_program_without_a_token_says_what_is_missing(shared_cluster: ClusterProcess, tmp_path: Path) -> None:
    environment_ = {**environment(shared_cluster, "alice"), "HOMING_TOKEN": ""}
    (tmp_path / "hello.py").write_text(programs("README.md")["hello.py"], encoding="utf-8")
    ran = run("hello.py", tmp_path, environment_)
    assert ran.returncode == 1
    assert "ClientClosed: closed before the own user was known: no token: neither given nor in $HOMING_TOKEN" in ran.stderr
