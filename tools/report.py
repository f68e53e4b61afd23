"""What `homing up` says while it works: lines for people, or (``--json``) one JSON object per line with the lines for people beside it on
standard error. A terminal that has gone away must not keep the cluster from being stopped, so writing never fails."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import NamedTuple

from node.demo.links import LIFETIME_S
from tools.layout import Layout
from tools.snippets import NODE_MAJOR_MIN, homing, javascript, options, python

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

    def line(self, text: str, strong: bool = False) -> None:
        file = sys.stderr if self.as_json else sys.stdout
        with contextlib.suppress(OSError, ValueError):
            is_screen = file.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            print(f"\033[1m{text}\033[0m" if strong and is_screen else text, file=file, flush=True)

    def object(self, event: str, **fields: object) -> None:
        if self.as_json:
            with contextlib.suppress(OSError, ValueError):
                print(json.dumps({"schema": SCHEMA, "event": event, **fields}), flush=True)


def guide(layout: Layout, seconds: float, demo: Demo | None = None) -> list[str]:
    """What is printed once the cluster is ready: what to do now, and where everything is. At most 80 columns, where paths are short."""
    lines = [f"Homing is ready: {contents(layout)}, in {seconds:.1f} s.", ""]
    if demo is not None:
        lines += [*_demo(layout, demo), ""]
    return [*lines, *_places(layout, demo is not None), "", "Ctrl-C stops all of it."]


def contents(layout: Layout) -> str:
    """What a cluster consists of."""
    workers = "a storage worker" if layout.workers == 1 else f"{layout.workers} storage workers"
    return f"a directory, {workers} and {'1 node' if layout.nodes == 1 else f'{layout.nodes} nodes'}"


def _demo(layout: Layout, demo: Demo) -> list[str]:
    lines = ["Two people in a chat, side by side in your browser:", "", f"  {demo.link}", ""]
    lines += ["Write to them from another terminal. Three lines of Python:", "", *python(layout, demo.left, demo.right), ""]
    script = javascript(layout, demo.right, demo.left)
    if script is None:
        return [*lines, f"Three lines of JavaScript would need node {NODE_MAJOR_MIN} or newer, which is not here."]
    return [*lines, "Three lines of JavaScript:", "", *script]


def _places(layout: Layout, has_demo: bool) -> list[str]:
    nodes = [part for part in layout.parts() if part.role == "node"]
    command, extra, url = homing(), options(layout), nodes[0].url
    ports = [str(node.http_port) for node in nodes[1:]]
    others = f"   (the other nodes: {', '.join(ports) if len(ports) < 4 else f'{ports[0]} to {ports[-1]}'})" if ports else ""
    rows = [
        ("web client", f"{url}/{others}"),
        ("in a terminal", f"{command} chat --as alice{extra}"),
        ("real chats", f"{command} replay FILE{extra}"),
        ("for programs", f"{url.replace('http', 'ws', 1)}/v1/ws   {url}/docs"),
        ("see inside", f"{command} status --watch{extra}"),
        ("who is where", f"{layout.directory.url}/v1/cluster"),
        ("data and logs", str(layout.data)),
    ]
    if has_demo:
        rows.insert(0, ("a new link", f"{command} demo{extra}   (a link opens once, within {LIFETIME_S // 60} minutes)"))
    return [f"  {name:<15}{place}" for name, place in rows]
