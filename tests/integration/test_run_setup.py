"""`./run` makes its own environment: on a machine that has what it needs, on one that has not, twice at once, and not again for nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LOCKS = ("requirements.lock", "requirements-tests.lock")
PARTS = ("run", "test", *LOCKS, "setup.cfg", "pyproject.toml", "client", "router", "directory", "storage", "node", "tools")
SETUP_TIMEOUT_S = 600


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The sources as in a fresh clone, without an environment, under a path with a space in it."""
    target = tmp_path / "a clone"
    target.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*", "node_modules")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=ignore)
        else:
            shutil.copy2(ROOT / part, target / part)
    return target


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    """This machine's environment, with a home directory that is empty."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "PYTHON", "HOMING"))}
    return {**kept, "HOME": str(home), **more}


def fakes(tmp_path: Path, scripts: dict[str, str]) -> str:
    """A directory of programs that stand in for the machine's, as the first of a PATH."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_help_explains_itself_and_makes_nothing(clone: Path, tmp_path: Path) -> None:
    done = subprocess.run([clone / "run", "--help"], env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert "--setup-only" in done.stdout and "--nodes" in done.stdout
    assert not (clone / ".venv").exists()


def test_setup_only_takes_no_other_argument(clone: Path, tmp_path: Path) -> None:
    done = subprocess.run([clone / "run", "--setup-only", "--nodes", "3"], env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 2 and not (clone / ".venv").exists()


BARE_PYTHON = 'case "$*" in *ensurepip*) exit 1 ;; *sys.version_info*) echo python3.11-venv; exit 0 ;; *) exit 1 ;; esac'
"""As Debian's without python3-venv: runs, but cannot make environments."""


def test_who_may_not_install_packages_is_told_the_one_command(clone: Path, tmp_path: Path) -> None:
    path = fakes(tmp_path, {"python": BARE_PYTHON, "id": "echo 1000", "sudo": "exit 1", "apt-get": "echo called >>calls; exit 0"})
    env = environment(tmp_path, PATH=path, PYTHON=str(tmp_path / "fakes" / "python"))
    done = subprocess.run([clone / "run", "--setup-only"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "    sudo apt-get update && sudo apt-get install --yes python3.11-venv\n" in done.stderr
    assert not (tmp_path / "calls").exists() and not (clone / ".venv").exists()


@pytest.mark.parametrize("user", ["0", "1000"])
def test_who_may_install_packages_has_them_installed(clone: Path, tmp_path: Path, user: str) -> None:
    record = tmp_path / "calls"
    scripts = {
        "python": BARE_PYTHON,
        "id": f"echo {user}",
        "apt-get": f'echo "$@" >>{record}',
        "sudo": f'shift; echo sudo >>{record}; exec "$@"',
    }
    env = environment(tmp_path, PATH=fakes(tmp_path, scripts), PYTHON=str(tmp_path / "fakes" / "python"))
    done = subprocess.run([clone / "run", "--setup-only"], env=env, cwd=tmp_path, capture_output=True, text=True)
    calls = record.read_text().split("\n")
    assert "install --yes --no-install-recommends python3.11-venv" in calls
    assert ("sudo" in calls) == (user != "0")
    assert done.returncode == 1 and "found no Python" in done.stderr, "the stand-in installs nothing"


@pytest.mark.timeout(SETUP_TIMEOUT_S + 60)
def test_the_environment_is_made_once_however_often_it_is_asked_for(clone: Path, tmp_path: Path) -> None:
    """One long test, for making an environment takes half a minute: interrupted, then twice at once, then again, then moved."""
    env = environment(tmp_path)
    command = [str(clone / "run"), "--setup-only"]

    interrupted = subprocess.Popen(command, env=env, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not (clone / ".venv" / "homing-setup.log").exists():
        assert interrupted.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.05)
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.wait(30) != 0

    refused = subprocess.run([str(clone / "run"), "--no-such-option"], env=env, cwd="/", capture_output=True, text=True)
    assert refused.returncode == 2 and "requirements.lock" in refused.stderr and "--no-such-option" in refused.stderr, refused.stderr
    has_pytest = [str(clone / ".venv" / "bin" / "python"), "-c", "import pytest"]
    assert subprocess.run(has_pytest, env=env, capture_output=True).returncode == 1, "./run installs only what Homing runs with"

    both = [subprocess.Popen(command, env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=SETUP_TIMEOUT_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Installing the packages" in text for text in said) == 1, said
    assert sum("waiting for it" in text for text in said) == 1, said

    began = time.monotonic()
    again = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=True)
    assert (again.stdout, again.stderr) == ("", "") and time.monotonic() - began < 5

    subprocess.run(has_pytest, env=env, check=True)
    homing = [str(clone / ".venv" / "bin" / "homing"), "--version"]
    assert subprocess.run(homing, env=env, cwd="/", capture_output=True, text=True, check=True).stdout.startswith("homing ")
    subprocess.run([clone / ".venv" / "bin" / "python", "-m", "pip", "check"], env=env, check=True, stdout=subprocess.DEVNULL)

    moved = clone.with_name("moved")
    clone.rename(moved)
    ended = subprocess.run([moved / "run", "--setup-only"], env=env, capture_output=True, text=True, check=True)
    assert "Making the environment" in ended.stderr, "scripts in an environment name their own path: a moved one is made anew"
    subprocess.run([moved / ".venv" / "bin" / "homing", "--version"], env=env, check=True, stdout=subprocess.DEVNULL)
