"""What `homing up` writes is what the processes read; the examples in config/ hold every key with its default."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from directory.main import Settings as DirectorySettings
from node.config import NodeConfig
from node.config import Settings as NodeSettings
from node.edge.tokens import TokenChecker
from router.keys import allow_list
from router.keys import load as load_key
from router.life import read_settings
from storage.main import Settings as StorageSettings
from tools.configure import Value, prepare, to_toml
from tools.layout import Layout
from tools.token import issue

ROOT = Path(__file__).resolve().parent.parent.parent


def _sections(settings: Struct) -> dict[str, Struct]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


READERS: dict[str, Callable[[Path], dict[str, Struct]]] = {
    "directory": lambda path: _sections(read_settings(DirectorySettings, path, None)),
    "storage": lambda path: _sections(read_settings(StorageSettings, path, None)),
    "node": lambda path: _sections(read_settings(NodeSettings, path, None)),
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / 'da"ta \\ ü', 7400, 2)
    made.make()
    return made


def test_every_process_can_read_its_configuration_and_its_key(layout: Layout) -> None:
    assert prepare(layout) == {part.name for part in layout.parts()}
    names = set(allow_list(layout.curve_keys_dir).values())
    assert names == {part.name for part in layout.parts()}
    directory = read_settings(DirectorySettings, layout.config_file("directory-1"), None)
    storage = read_settings(StorageSettings, layout.config_file("storage-1"), None)
    node = read_settings(NodeSettings, layout.config_file("node-2"), None).process
    assert directory.directory.expected_nodes == 2
    assert storage.storage.path == str(layout.store_dir / "homing.db")
    assert (node.name, node.http_port, node.endpoint) == ("node-2", 7402, "tcp://127.0.0.1:7502")
    assert {s.endpoint for s in (directory.process, storage.process, node)} == {p.endpoint for p in layout.parts() if p.name != "node-1"}
    assert storage.directory.endpoints() == directory.directory.endpoints() == {"directory-1": directory.process.endpoint}
    load_key(Path(node.keys_dir), node.name)


def test_a_node_with_that_configuration_accepts_the_tokens_that_are_issued(layout: Layout) -> None:
    prepare(layout)
    node = read_settings(NodeSettings, layout.config_file("node-1"), None).process
    token = issue(layout.data, "alice", "phone", 60)
    assert TokenChecker(Path(node.tokens_dir), node.cluster).check(token, 0).device == "phone"


def test_only_what_changed_is_said_to_have_changed(layout: Layout) -> None:
    prepare(layout)
    key = load_key(layout.curve_keys_dir, "node-1")
    assert prepare(layout) == set()
    assert load_key(layout.curve_keys_dir, "node-1") == key, "a start does not change the keys"
    assert prepare(Layout(layout.data, 7400, 3)) == {"node-3", "directory-1"}, "the directory is told how many nodes to wait for"
    assert "node-1" in prepare(Layout(layout.data, 7500, 3))


def test_the_examples_hold_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "config_examples.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run `make config`"


@pytest.mark.parametrize("role", ["directory", "storage", "node"])
def test_an_example_with_every_comment_sign_taken_away_is_a_valid_configuration_with_the_defaults(tmp_path: Path, role: str) -> None:
    text = (ROOT / "config" / f"{role}.toml").read_text(encoding="utf-8")
    full = tmp_path / "full.toml"
    full.write_text(re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.MULTILINE), encoding="utf-8")
    short = tmp_path / "short.toml"
    short.write_text("\n".join(line for line in text.splitlines() if not line.startswith("#")), encoding="utf-8")
    assert len(tomllib.loads(full.read_text())) == len(READERS[role](full))
    assert READERS[role](full) == READERS[role](short)


values: st.SearchStrategy[Value] = st.one_of(
    st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.lists(st.text())
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), values))
def test_what_is_written_reads_back(section: dict[str, Value]) -> None:
    assert tomllib.loads(to_toml({"name": section})) == {"name": section}


def test_the_node_has_defaults_for_everything_that_up_does_not_say(layout: Layout) -> None:
    prepare(layout)
    assert read_settings(NodeSettings, layout.config_file("node-1"), None).node == NodeConfig()
