"""`homing demo`: prints a link that opens the web client with the demo's two people side by side, on a cluster that was started with it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from node.demo import links
from tools.errors import CommandError
from tools.http import get, session
from tools.layout import Layout, default_data
from tools.snippets import homing, options

SCHEMA = "homing.demo/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--json", action="store_true", help="print an object with the link and how long it is good")


def run(args: argparse.Namespace) -> int:
    layout = Layout.at(args.data or default_data())
    url = asyncio.run(first_ready(node_urls(layout)))
    if url is None:
        raise CommandError(f"no node of the cluster in {layout.data} answers (start one: {homing()} up --demo{options(layout)})")
    text = link(layout, url)
    if args.json:
        print(json.dumps({"schema": SCHEMA, "link": text, "lifetime_s": links.LIFETIME_S}))
    else:
        print(text)
    return 0


def link(layout: Layout, url: str) -> str:
    """A link to the demo on the node at ``url``. What it opens is behind the #: no browser sends that part, and no log has it.

    Raises:
        CommandError: the file of the links cannot be written.
    """
    try:
        return f"{url}/demo#{links.make(layout.demo_dir, time.time())}"
    except OSError as error:
        raise CommandError(f"cannot make a link in {layout.demo_dir}: {error.strerror}") from error


def node_urls(layout: Layout) -> list[str]:
    """The HTTP of the nodes that the supervisor runs now.

    Raises:
        CommandError: there is no supervisor, or it runs no demo.
    """
    try:
        state = json.loads(layout.state_file.read_text(encoding="utf-8"))
        if not state["demo"]:
            raise CommandError(f"the cluster in {layout.data} has no demo (homing up --demo, or ./run, makes one)")
        return [process["url"] for process in state["processes"] if process["role"] == "node" and process["pid"] is not None]
    except (OSError, ValueError, KeyError, TypeError):
        raise CommandError(f"no cluster runs in {layout.data} (start one with homing up, or name another with --data)") from None


async def first_ready(urls: list[str]) -> str | None:
    """The first node that serves; the others may be down."""
    async with session() as http:
        for url in urls:
            try:
                if (await get(http, f"{url}/readyz")).status == 200:
                    return url
            except OSError:
                continue
    return None
