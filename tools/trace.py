"""`homing trace MESSAGE_ID`: one message's story across processes, as the nodes of a running cluster remember it.

A node keeps its latest steps in memory, so the story of an old message may have gaps or be gone; `homing trace` then says so.
Exit code 0: there are steps; 1: nobody remembers the message; 7: the cluster does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import aiohttp
from homing import ids
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from tools.errors import UNREACHABLE, USAGE, CommandError
from tools.layout import default_data
from tools.status import nodes_and_key

SCHEMA = "homing.trace/1"
TIMEOUT_S = 5.0
ORDER = ("asked", "appended", "stored", "unknown", "said", "delivered", "in hand", "sent", "delivered mark", "read mark")


class Told(Struct):
    """One step, with the process that told it."""

    at_ms: float
    process: str
    what: str
    detail: str
    cause: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("message", metavar="MESSAGE_ID", help="conversation.seq.term, as clients and `homing chat` show it")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    try:
        ids.parse_message_id(args.message)
    except ValueError as error:
        raise CommandError(f"{error}; it has the form conversation.seq.term", USAGE) from error
    nodes, key = nodes_and_key(args.data or default_data())
    steps = asyncio.run(collect(nodes, args.message, key))
    steps.sort(key=_order)
    if args.json:
        print(json.dumps({"schema": SCHEMA, "message": args.message, "steps": [_plain(step) for step in steps]}, indent=1))
    elif steps:
        show(args.message, steps)
    else:
        print("no node remembers this message: it is too old, or its nodes were started again")
    return 0 if steps else 1


async def collect(nodes: dict[str, str], message: str, key: str) -> list[Told]:
    """Asks every node; those that do not answer are left out, unless it is all of them."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Authorization": f"Bearer {key}"}) as session:
        answers = await asyncio.gather(*(_ask(session, url, message) for url in nodes.values()), return_exceptions=True)
    good = [answer for answer in answers if not isinstance(answer, BaseException)]
    if not good:
        raise CommandError("no node answers", UNREACHABLE)
    return [step for answer in good for step in answer]


async def _ask(session: aiohttp.ClientSession, url: str, message: str) -> list[Told]:
    async with session.get(f"{url}/debug/trace", params={"message": message}) as answer:
        answer.raise_for_status()
        value = await answer.json()
    return [Told(s["at_ms"], value["process"], s["what"], s["detail"], s["cause"]) for s in value["steps"]]


def _order(step: Told) -> tuple[float, int]:
    return step.at_ms, ORDER.index(step.what) if step.what in ORDER else len(ORDER)


def _plain(step: Told) -> dict[str, object]:
    return {"at_ms": step.at_ms, "process": step.process, "what": step.what, "detail": step.detail, "cause": step.cause}


def show(message: str, steps: list[Told]) -> None:
    table = Table(title=f"message {message}", title_justify="left")
    for column, justify in (("ms", "right"), ("process", "left"), ("what", "left"), ("detail", "left")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]  # a literal in a tuple
    for step in steps:
        table.add_row(f"+{step.at_ms - steps[0].at_ms:.1f}", step.process, step.what, step.detail)
    Console().print(table)
