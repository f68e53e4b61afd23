"""`homing status`: nodes, slots, sessions, queues, epoch and rates of a running cluster, as a table or as JSON.

Exit code 0: the directory answered; 7: it did not (what else is known is shown all the same).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tools.errors import UNREACHABLE, CommandError
from tools.http import session
from tools.layout import BASE_PORT, HOST, Layout, default_data
from tools.observe import Observer, ProcessStatus, Status

INTERVAL_S = 1.0
"""Between the two looks that rates come from, and between those of --watch."""
UNKNOWN = "?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="look again every --interval seconds until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch one object a line")
    parser.add_argument("--url", default=None, help=f"the directory's HTTP (as --data says, else http://{HOST}:{BASE_PORT})")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--interval", type=float, default=INTERVAL_S, metavar="S", help=f"seconds between two looks ({INTERVAL_S:g})")


def run(args: argparse.Namespace) -> int:
    url, known = where(args.url, args.data or default_data())
    console = Console()
    try:
        if args.watch:
            return asyncio.run(watch(url, known, args.interval, args.json, console))
        status = asyncio.run(once(url, known, args.interval))
    except KeyboardInterrupt:
        return 0 if args.watch else 130
    if not status.directory_reachable and not any(p.reachable for p in status.processes):
        raise CommandError(f"no cluster answers at {url} (is it running? another one: --url or --data)", UNREACHABLE)
    if args.json:
        print(json.dumps(status.json(), indent=1))
    else:
        console.print(render(status, console.width))
    return 0 if status.directory_reachable else UNREACHABLE


def where(url: str | None, data: Path) -> tuple[str, dict[str, str]]:
    """The directory's URL, and name → URL of the processes that `homing up` noted in ``data``."""
    try:
        state = json.loads(Layout.at(data).state_file.read_text(encoding="utf-8"))
        noted, known = str(state["url"]), {str(p["name"]): str(p["url"]) for p in state["processes"]}
    except (OSError, ValueError, LookupError, TypeError):
        return url or f"http://{HOST}:{BASE_PORT}", {}
    return (noted, known) if url is None or url.rstrip("/") == noted else (url, {})


def nodes_and_key(data: Path) -> tuple[dict[str, str], str]:
    """Name → URL of the nodes that `homing up` noted in ``data``, and the operators' key, which their ``/debug`` asks for.

    Raises:
        CommandError: there is no key.
    """
    try:
        key = Layout.at(data).ops_key_file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise CommandError(f"no operators' key in {data}: {error.strerror} (is this the cluster's data directory?)") from error
    return {name: url for name, url in where(None, data)[1].items() if name.startswith("node")}, key


async def looks(url: str, known: dict[str, str], interval_s: float) -> AsyncIterator[Status]:
    """One look after the other, each with the rates since the one before."""
    async with session() as http:
        observer = Observer(http, url, known)
        while True:
            yield await observer.look(time.time(), time.monotonic())
            await asyncio.sleep(interval_s)


async def once(url: str, known: dict[str, str], interval_s: float) -> Status:
    """Two looks; the second has rates."""
    iterator = looks(url, known, interval_s)
    first = await anext(iterator)
    found = await anext(iterator) if first.directory_reachable or any(p.reachable for p in first.processes) else first
    await iterator.aclose()  # type: ignore[attr-defined]  # an async generator has it
    return found


async def watch(url: str, known: dict[str, str], interval_s: float, as_json: bool, console: Console) -> int:
    if as_json or not console.is_terminal:
        async for status in looks(url, known, interval_s):
            print(json.dumps(status.json()) if as_json else "", flush=True)
            if not as_json:
                console.print(render(status, console.width))
    with Live(console=console, auto_refresh=False, screen=False) as live:
        async for status in looks(url, known, interval_s):
            live.update(render(status, console.width), refresh=True)
    return 0


def render(status: Status, width: int) -> Table:
    """The table for people, with fewer columns where there is less room."""
    epoch = f"epoch {_text(status.epoch)}" if status.directory_reachable else "the directory does not answer"
    moving = f", {status.moves_in_flight} moves under way" if status.moves_in_flight else ""
    unsettled = ", slots are not yet where they should be" if status.settled is False else ""
    table = Table(title=f"{status.url}   {epoch}{moving}{unsettled}", title_justify="left", box=None, pad_edge=False)
    columns = [column for column in COLUMNS if width >= column.width_min]
    for column in columns:
        table.add_column(
            column.heading, justify="left" if column.heading in {"process", "state"} else "right", no_wrap=column.heading != "state"
        )
    for process in status.processes:
        table.add_row(*(column.cell(process, status.at) for column in columns))
    return table


def _rate(name: str, role: str) -> Callable[[ProcessStatus, float], str]:
    return lambda p, at: _text(p.rates.get(name), p.role == role)


def _state(p: ProcessStatus) -> Text:
    if p.reachable is False:
        return Text("does not answer", "red")
    if p.ready is False:
        return Text(f"not ready: {p.unready_reason or UNKNOWN}", "yellow")
    if p.in_table is False:
        return Text("not in the table", "yellow")
    if p.storage_ok is False:
        return Text("cannot reach storage", "yellow")
    return Text("ready", "green") if p.ready else Text(UNKNOWN)


def _text(value: float | None, applies: bool = True) -> str:
    """A number for the table; nothing where it cannot be, a question mark where it is not known."""
    if value is None:
        return UNKNOWN if applies else ""
    return f"{value:.0f}" if applies else ""


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cpu(p: ProcessStatus, at: float) -> str:
    cpu = p.rates.get("cpu")
    return _text(None if cpu is None else 100 * cpu)


def _memory(p: ProcessStatus, at: float) -> str:
    return _text(None if p.memory_bytes is None else p.memory_bytes / (1 << 20))


class Column(NamedTuple):
    """A column of the table; ``width_min``: of the terminal, for it to be shown."""

    heading: str
    cell: Callable[[ProcessStatus, float], str | Text]
    width_min: int = 0


COLUMNS = (
    Column("process", lambda p, at: p.name),
    Column("state", lambda p, at: _state(p)),
    Column("slots", lambda p, at: _text(p.slots, p.role == "node")),
    Column("sessions", lambda p, at: _text(p.sessions, p.role == "node")),
    Column("chats", lambda p, at: _text(p.conversations, p.role == "node"), 100),
    Column("queue", lambda p, at: _text(p.queue, p.role in {"node", "storage"})),
    Column("in/s", _rate("frames_in", "node")),
    Column("out/s", _rate("frames_out", "node")),
    Column("mesh/s", _rate("mesh_frames", "node"), 110),
    Column("rows/s", _rate("rows", "storage"), 70),
    Column("commits/s", _rate("commits", "storage"), 120),
    Column("CPU %", _cpu, 70),
    Column("MiB", _memory, 90),
    Column("up", lambda p, at: UNKNOWN if p.started_at is None else _age(at - p.started_at), 90),
)
