"""Writes config/directory.toml, storage.toml and node.toml: every key with its reason and default, as the types in the code have them.

    .venv/bin/python .ci/config_examples.py [--check]

With --check nothing is written; exit code 1 says that a file is not what it should be (a test runs this).
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import NODEFAULT, Struct, structs
from msgspec.structs import FieldInfo

from directory.config import DirectoryConfig
from node.config import Settings
from router.config import MeshConfig
from router.process import ProcessConfig
from storage.config import StorageConfig
from tools.documents.fields import docs

ROOT = Path(__file__).resolve().parent.parent
COMMON: dict[str, type[Struct]] = {"process": ProcessConfig, "mesh": MeshConfig, "directory": DirectoryConfig}
ROLES: dict[str, dict[str, type[Struct]]] = {
    "directory": COMMON,
    "storage": {**COMMON, "storage": StorageConfig},
    "node": {field.name: field.type for field in structs.fields(Settings)},
}
PORTS = {"directory": (7400, 7500), "storage": (7499, 7599), "node": (7401, 7501)}
WIDTH = 118

HEAD = """\
# The configuration of {article}: `homing {role} --config FILE`. `homing up` writes such a file for each of its processes.
#
# Every key is here; those behind a # have the default that is shown. What is wrong is told at the start with the key's path.
# (Made from the types in the code by .ci/config_examples.py; do not edit.)
"""


def default(info: FieldInfo) -> object:
    return info.default_factory() if info.default_factory is not NODEFAULT else info.default


def value(item: object) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, list | tuple | set | frozenset):
        return f"[{', '.join(value(i) for i in item)}]"
    if isinstance(item, str):
        return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(item, int):
        return f"{item:_}" if item >= 10_000 else str(item)
    return repr(item)


def comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


def table(path: str, kind: type[Struct], given: dict[str, object], present: Struct | None) -> Iterator[str]:
    """One section with its sub-sections; ``given``: what an example must say; ``present``: the defaults where they are not the type's."""
    texts, nested = docs(kind), []
    whole = present is not None and any(info.required for info in msgspec.structs.fields(kind))
    yield from ("", f"{'# ' if whole else ''}[{path}]")  # some tables are only valid with all of their keys
    for info in msgspec.structs.fields(kind):
        item = getattr(present, info.name) if present is not None else default(info)
        if isinstance(item, Struct):
            nested.append((info.name, type(item), item))
            continue
        yield from comment(texts.get(info.name, ""))
        if info.name in given:
            yield f"{info.encode_name} = {value(given[info.name])}"
        elif item is None:
            yield f"# {info.encode_name} is not set"
        else:
            yield f"# {info.encode_name} = {value(item)}"
    for name, sub, item in nested:
        lines = table(f"{path}.{name}", sub, {}, item)
        yield next(lines)
        yield from comment(texts.get(name, ""))
        yield from lines


def example(role: str) -> str:
    http_port, mesh_port = PORTS[role]
    given: dict[str, object] = {"name": f"{role}-1", "endpoint": f"tcp://127.0.0.1:{mesh_port}", "http_port": http_port}
    lines = [HEAD.format(role=role, article={"storage": "a storage worker"}.get(role, f"a {role}"))]
    for name, kind in ROLES[role].items():
        heading = inspect.getdoc(kind) or ""
        lines += ["", *comment(heading.split("\n\n")[0].replace("\n", " "))]
        lines += list(table(name, kind, given if name == "process" else {}, None))[1:]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def main() -> int:
    check, wrong = "--check" in sys.argv, []
    for role in ROLES:
        path, text = ROOT / "config" / f"{role}.toml", example(role)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            wrong.append(path.name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print(f"{'not up to date' if check else 'written'}: {', '.join(wrong)}" if wrong else "up to date")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
