"""Writes, for each process of a cluster on this machine, its keys and the configuration that it is started with."""

from __future__ import annotations

from pathlib import Path

from node.edge import tokens
from router import keys as curve
from tools.cassandra_storage import replication_factor
from tools.layout import HOST, Layout, Part

Value = str | int | float | bool | list[str]
Sections = dict[str, dict[str, Value]]

HEAD = "# Written by `homing up` at each start: a change here is lost.\n"


def prepare(layout: Layout) -> set[str]:
    """Makes the keys that are missing and writes the configurations.

    Returns:
        The names of the processes whose configuration is another one than before.

    Raises:
        OSError: they cannot be written.
        KeyFileError: a key file is damaged, or open to others.
    """
    if not list(layout.token_keys_dir.glob("*.key.pem")):
        tokens.rotate(layout.token_keys_dir)
    changed: set[str] = set()
    for part in layout.parts():
        curve.load_or_create(layout.curve_keys_dir, part.name)
        text = HEAD + to_toml(sections(layout, part))
        path = layout.config_file(part.name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            _write(path, text)
            changed.add(part.name)
    return changed


def sections(layout: Layout, part: Part) -> Sections:
    """The configuration of one process; what is not here has its default."""
    directory: dict[str, Value] = {"directories": [f"{p.name}={p.endpoint}" for p in layout.parts() if p.role == "directory"]}
    made: Sections = {
        "process": {
            "name": part.name,
            "endpoint": part.endpoint,
            "http_host": HOST,
            "http_port": part.http_port,
            "cluster": layout.cluster_name(),
            "keys_dir": str(layout.curve_keys_dir),
            "tokens_dir": str(layout.token_keys_dir),
        },
        "directory": directory,
    }
    if part.role == "node":
        made["process"]["ops_key_file"] = str(layout.ops_key_file)
        made["accounts"] = {"enabled": True, "database": f"sqlite:///{layout.store_dir / 'accounts.db'}"}
        if layout.has_demo:
            made["demo"] = {"directory": str(layout.demo_dir)}
    if part.role == "directory":
        directory |= {"database": f"sqlite:///{layout.store_dir / 'directory.db'}", "expected_nodes": layout.nodes}
    if part.role == "storage":
        made |= _storage(layout)
    return made


def _storage(layout: Layout) -> Sections:
    """Where a storage worker keeps its rows."""
    if not layout.cassandra:
        return {"storage": {"path": str(layout.store_dir / "homing.db")}}
    cassandra: dict[str, Value] = {
        "contact_points": list(layout.cassandra),
        "port": layout.cassandra_port,
        "replication_factor": replication_factor(layout),
    }
    return {"storage": {"engine": "cassandra"}, "storage.cassandra": cassandra}


def to_toml(sections: Sections) -> str:
    """Sections as TOML."""
    lines: list[str] = []
    for name, values in sections.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = "".join(_escape(c) for c in value)
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return f"\\u{ord(character):04X}" if ord(character) < 32 or ord(character) == 127 else character


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a process may just be starting from it."""
    part = path.with_suffix(".new")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
