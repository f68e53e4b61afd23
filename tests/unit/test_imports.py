"""The laws of the source tree itself: imports point one way, the cores do no I/O, modules stay small, what is imported is declared."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ("homing", "router", "directory", "storage", "node", "tools", "tests")
MAY_IMPORT = {
    "homing": {"homing"},
    "router": {"homing", "router"},
    "directory": {"homing", "router", "storage", "directory"},
    "storage": {"homing", "router", "storage"},
    "node": {"homing", "router", "directory", "storage", "node"},
    "tools": {"homing", "router", "directory", "storage", "node", "tools"},
    "tests": set(OURS),
}
WIRING = {"storage/member.py": {"directory"}}
"""A storage worker is a member of the cluster: here, and only here, it speaks to the directory; the directory writes its cell row through
storage/client.py, which knows nothing of this."""
CORES = (
    "client/homing/core*.py", "client/homing/effects.py", "client/homing/ids.py", "client/homing/codes.py", "client/homing/protocol.py",
    "client/homing/state.py", "client/homing/tail.py", "client/homing/catchup.py", "client/homing/log.py", "client/homing/outbox.py",
    "client/homing/people.py", "client/homing/presence.py", "client/homing/questions.py", "client/homing/typists.py",
    "client/homing/receipts.py", "client/homing/requesting.py", "client/homing/requests.py", "client/homing/resync.py",
    "client/homing/session.py", "client/homing/limits.py",
    "router/link.py", "router/mesh.py", "router/memory.py", "router/packets.py", "router/neighbour.py", "router/events.py",
    "directory/membership.py", "directory/moves.py", "directory/slots.py", "directory/table.py", "directory/clock.py",
    "directory/frames.py", "directory/events.py", "directory/roll.py", "directory/client.py",
    "storage/worker.py", "storage/client.py", "storage/store.py", "storage/frames.py", "storage/rows.py",
    "node/core/*.py",
)  # fmt: skip
OPTIONAL = {"cassandra": "storage/cassandra"}
"""Libraries of the extra `cluster`, and the one folder that may import each: all else runs without them."""
NO_CORE_IMPORTS = {
    "asyncio",
    "zmq",
    "time",
    "random",
    "secrets",
    "socket",
    "selectors",
    "threading",
    "subprocess",
    "aiohttp",
    "picows",
    "sqlite3",
}
LINES_MAX = 500


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        path
        for path in found
        if not any(part.startswith(".") or part in {"build", "node_modules"} for part in path.relative_to(ROOT).parts)
    ]


ALL = sources("client", "router", "directory", "storage", "node", "tools", "tests")


def package_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[1] if parts[0] == "client" else parts[0]


def imports(source: str) -> Iterator[tuple[str, int]]:
    """The modules that a source imports, at its top or inside functions, and in which line. Those for type checkers count as well."""
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            yield from ((alias.name, item.lineno) for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            if item.level:
                yield ".", item.lineno
            elif item.module:
                yield item.module, item.lineno


def top(module: str) -> str:
    return module.split(".")[0]


def back_edges(package: str, source: str, more: frozenset[str] = frozenset()) -> list[str]:
    """The imports in a source of ``package`` that point the wrong way; ``more`` are allowed besides."""
    allowed = MAY_IMPORT.get(package, set()) | more
    return [f"line {line}: {name}" for name, line in imports(source) if name == "." or (top(name) in OURS and top(name) not in allowed)]


def io_in_core(source: str) -> list[str]:
    """The imports that a core must not have. ``from random import Random`` may stay: it names the type of what is passed in."""
    source = re.sub(r"^from random import Random$", "", source, flags=re.MULTILINE)
    return [f"line {line}: {name}" for name, line in imports(source) if top(name) in NO_CORE_IMPORTS]


def declared(with_extras: bool = True, nightly: bool = True) -> set[str]:
    """The distributions that the two setup.cfg files name, in canonical form; without their extras: those that Homing runs with; without
    ``nightly``: those that the tests run with."""
    names: set[str] = set()
    for file in (ROOT / "setup.cfg", ROOT / "client" / "setup.cfg"):
        config = configparser.ConfigParser()
        config.read(file, encoding="utf-8")
        texts = [config.get("options", "install_requires")]
        if with_extras and config.has_section("options.extras_require"):
            texts += [text for name, text in config.items("options.extras_require") if nightly or name != "nightly"]
        names |= {canonical(re.split(r"[\[<>=!~; ]", line.strip())[0]) for text in texts for line in text.splitlines() if line.strip()}
    return names


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("path", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_imports_only_what_lies_below_it(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    more = frozenset(WIRING.get(str(path.relative_to(ROOT)), ()))
    assert back_edges(package_of(path), source, more) == []
    assert source.count("\n") <= LINES_MAX, f"{path.name} has more than {LINES_MAX} lines: which noun could have a file of its own?"


@pytest.mark.parametrize("pattern", CORES)
def test_a_core_does_no_io(pattern: str) -> None:
    for path in ROOT.glob(pattern):
        assert io_in_core(path.read_text(encoding="utf-8")) == [], f"{path.relative_to(ROOT)} does I/O; time and randomness are arguments"


def test_every_library_that_is_imported_is_declared() -> None:
    distributions = {name: {canonical(d) for d in ds} for name, ds in packages_distributions().items()}
    undeclared: dict[str, str] = {}
    for path in ALL:
        for name, line in imports(path.read_text(encoding="utf-8")):
            library = top(name)
            if library in OURS or library in sys.stdlib_module_names or library == ".":
                continue
            if library in OPTIONAL and path.is_relative_to(ROOT / OPTIONAL[library]):
                continue
            if not distributions.get(library, {library}) & declared(with_extras=path.is_relative_to(ROOT / "tests")):
                undeclared[library] = f"{path.relative_to(ROOT)}:{line}"
    assert undeclared == {}


def pins(lock: str) -> dict[str, str]:
    """Distribution → version."""
    return {canonical(name): version for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)==(\S+)", lock, re.MULTILINE)}


def test_the_tests_run_with_the_versions_that_homing_runs_with() -> None:
    run, tests = (pins((ROOT / name).read_text(encoding="utf-8")) for name in ("requirements.lock", "requirements-tests.lock"))
    assert run and run.items() <= tests.items()


@pytest.mark.parametrize(
    ("name", "with_extras"), [("requirements.lock", False), ("requirements-tests.lock", True), ("requirements-nightly.lock", True)]
)
def test_a_lock_file_holds_all_that_is_declared_with_hashes_and_no_address(name: str, with_extras: bool) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    nightly = "nightly" in name
    assert declared(with_extras, nightly) - (declared(nightly=False) if nightly else {"homing-client"}) <= pins(lock).keys()
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock):
        assert "==" not in block or "--hash=sha256:" in block, block
    assert not re.search(r"https?://|--index|--find-links|--extra|--trusted", lock)


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("homing", "import router.logs"),
        ("router", "from directory.table import Table"),
        ("storage", "from directory import table"),
        ("directory", "def f():\n    from node.core import log"),
        ("node", "from tools.cli import main"),
        ("node", "from . import edge"),
        ("tools", "import tests.unit"),
        ("newpackage", "import homing"),
    ],
)
def test_a_back_edge_is_seen(package: str, line: str) -> None:
    assert back_edges(package, line)


@pytest.mark.parametrize(
    "line", ["import time", "from asyncio import sleep", "import zmq.asyncio", "from random import random", "import socket as s"]
)
def test_io_in_a_core_is_seen(line: str) -> None:
    assert io_in_core(line)


def test_the_cores_are_there() -> None:
    missing = [pattern for pattern in CORES if not list(ROOT.glob(pattern))]
    assert missing == [], "a core was renamed: this test must follow"
