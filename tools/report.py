"""What `homing up` says while it works: lines for people, or (``--json``) one JSON object per line with the lines for people beside it on
standard error. A terminal that has gone away must not keep the cluster from being stopped, so writing never fails."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

from tools.cli import COMMANDS, exists
from tools.layout import Layout, default_data

SCHEMA = "homing.up/1"


class Demo(NamedTuple):
    """What there is to say of the demo: its link, and the handles of its two people."""

    link: str
    left: str
    right: str


class Reporter:
    """Prints.

    Args:
        as_json: objects on standard output, lines for people on standard error.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def line(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def object(self, event: str, **fields: object) -> None:
        if self.as_json:
            with contextlib.suppress(OSError, ValueError):
                print(json.dumps({"schema": SCHEMA, "event": event, **fields}), flush=True)


def command_path() -> str:
    """How the `homing` command is called from where one stands."""
    script = Path(sys.executable).with_name("homing")
    relative = os.path.relpath(script)
    return relative if not relative.startswith("..") else str(script)


def guide(layout: Layout, seconds: float, demo: Demo | None = None) -> list[str]:
    """What is printed once the cluster is ready: where everything is and what to do now."""
    offered = {command.name for command in COMMANDS if exists(command)}
    homing, extra = command_path(), options(layout)
    nodes = [part for part in layout.parts() if part.role == "node"]
    lines = [f"Homing is ready after {seconds:.1f} s.", ""]
    if demo is not None:
        lines += [f"  {demo.link}", ""]
    lines.append(f"  {'directory':<12}{layout.directory.url}   (who is where: {layout.directory.url}/v1/cluster)")
    lines += [f"  {node.name:<12}ws://{node.url.removeprefix('http://')}/v1/ws" for node in nodes]
    beside = f"; {nodes[1].url}/ beside it is a place for somebody else" if len(nodes) > 1 else ""
    lines += [f"  {'web client':<12}{nodes[0].url}/   (create an account there{beside})"]
    lines += [f"  {'data':<12}{layout.data}", f"  {'logs':<12}{layout.logs_dir}/NAME.log", ""]
    if "chat" in offered:
        lines += ["To chat, type each of these in a terminal of its own:"]
        lines += [f"  {homing} chat --as {name}{extra}" for name in ("alice", "bob")]
    if "replay" in offered:
        lines += ["To play an exported chat over the cluster:", f"  {homing} replay FILE{extra}"]
    if "status" in offered:
        lines += ["To see inside:", f"  {homing} status --watch{extra}"]
    return [*lines, "", "Ctrl-C stops all of it."]


def options(layout: Layout) -> str:
    """The options with which the other commands find this cluster; none where it is the default one."""
    if layout.data == default_data().resolve():
        return ""
    return f" --data {os.path.relpath(layout.data) if layout.data.is_relative_to(Path.cwd()) else layout.data}"
