"""The `homing bench` command: scenarios, their servers and loads, and the figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from homing import ids
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from node.edge.tokens import TokenAuthority
from tools.bench import presence
from tools.bench.driver import Figures, figures, measure
from tools.bench.load import Person, Plan
from tools.bench.servers import RELAYS, Running, own_cluster, relay
from tools.errors import USAGE, CommandError
from tools.layout import Layout

SCHEMA = "homing.bench/1"
SCENARIOS = ("pair", "group", "idle")
"""Those that have floors; ``presence`` and ``resume`` are measured by themselves."""
PAIRS, GROUP, IDLE = 200, 100, 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", choices=(*SCENARIOS, "all", "presence", "resume"), default="pair", help="who talks to whom (pair)")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument("--rate", type=float, default=0.0, metavar="N", help="N messages a second (2000 for pairs, 50 for a group)")
    speed.add_argument("--saturate", action="store_true", help="as fast as it goes, one message in flight for each writer")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="measured time of each load (10)")
    parser.add_argument("--warm", type=float, default=1.0, metavar="S", help="time under load before it is measured (1)")
    parser.add_argument("--pairs", type=int, default=PAIRS, metavar="N", help="pairs of people (200)")
    parser.add_argument("--peers", type=int, default=1, metavar="N", help="people whom each of a pair's writers writes to in turn (1)")
    parser.add_argument("--members", type=int, default=GROUP, metavar="N", help="members of the group (100)")
    parser.add_argument("--connections", type=int, default=IDLE, metavar="N", help="connections of idle and presence (10000)")
    parser.add_argument(
        "--flap", type=float, default=presence.FLAP_PER_S, metavar="N", help="presence: people a second who go and come back (20)"
    )
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often servers and floors take turns (1)")
    parser.add_argument("--no-floors", action="store_true", help="measure the cluster alone")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="use the cluster that runs on DIR instead of starting one")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the figures to FILE")


class Result(Struct):
    """One scenario under one load."""

    scenario: str
    load: str
    homing: Figures
    floors: dict[str, Figures] = {}
    ratio: dict[str, float] = {}
    """The cluster's CPU per message (per delivered copy in a group) by each floor's."""


def run(args: argparse.Namespace) -> int:
    if args.seconds <= 0 or args.pairs < 1 or args.members < 2 or args.connections < 1 or args.rounds < 1:
        raise CommandError("--seconds, --pairs, --connections and --rounds must be at least 1, --members at least 2", USAGE)
    if args.scenario == "presence":
        return run_presence(args)
    results: list[Result] = []
    for scenario in SCENARIOS if args.scenario == "all" else (args.scenario,):
        for rate in loads_of(scenario, args):
            results.append(one(scenario, rate, args))
            show(results[-1])
    if args.json is not None:
        args.json.write_text(json.dumps({"schema": SCHEMA, "results": [as_json(r) for r in results]}, indent=2), encoding="utf-8")
    return 0


def run_presence(args: argparse.Namespace) -> int:
    with ExitStack() as stack:
        running = Running(Layout.at(args.data)) if args.data else stack.enter_context(own_cluster(3))
        count = args.connections
        steps = [1 + n * 37 for n in range(presence.WATCHED)]
        plan = Plan([Person("", f"bench-{n}", to=[f"bench-{(n + step) % count}" for step in steps]) for n in range(count)])
        place(plan, running)
        found = presence.measure(running, plan.people, args.seconds, args.flap)
    show_presence(found)
    if args.json is not None:
        args.json.write_text(json.dumps({"schema": SCHEMA, "presence": msgspec.to_builtins(found)}, indent=2), encoding="utf-8")
    return 0


def show_presence(found: presence.PresenceFigures) -> None:
    title = f"presence, {found.connections:,} connections, each watches {found.watched}, {found.flap_per_s:g}/s go and come back"
    table = Table(title=title, title_justify="left")
    for name in ("", "% of a core", "in nodes", "mesh frames/s", "rows/s", "told/s"):
        table.add_column(name, justify="right" if name else "left")
    for s in found.phases:
        numbers = (s.frames_per_s, s.rows_per_s, s.told_per_s)
        table.add_row(s.name, f"{s.percent:.1f}", f"{s.nodes_percent:.1f}", *(f"{number:.0f}" for number in numbers))
    table.add_row("watching adds at rest", f"{found.at_rest_percent:.1f}")
    table.add_row("watching adds while they come and go", f"{found.moving_percent:.1f}")
    if found.lost:
        table.add_row("sockets that were lost", f"{found.lost}")
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110).print(table)


def loads_of(scenario: str, args: argparse.Namespace) -> Sequence[float]:
    """The rates to run; 0 is as fast as it goes."""
    if scenario == "idle" or args.saturate or (scenario == "resume" and not args.rate):
        return (0.0,)
    if args.rate:
        return (args.rate,)
    usual = 2_000.0 if scenario == "pair" else 50.0
    return (usual, 0.0) if args.scenario == "all" else (usual,)


def one(scenario: str, rate: float, args: argparse.Namespace) -> Result:
    """Runs one scenario against the cluster and, under the same load, against the floors, in turn."""
    mine: list[Figures] = []
    floors: dict[str, list[Figures]] = {}
    for _ in range(args.rounds):
        mine.append(on_cluster(scenario, rate, args))
        for kind in () if args.no_floors or scenario not in SCENARIOS else RELAYS:
            floors.setdefault(kind, []).append(on_relay(kind, scenario, rate, args))
    median = sorted(mine, key=lambda f: f.cpu_us_per_message)[len(mine) // 2]
    middle = {kind: sorted(all_, key=lambda f: f.cpu_us_per_message)[len(all_) // 2] for kind, all_ in floors.items()}
    load = "idle" if scenario == "idle" else f"{rate:.0f}/s" if rate else "saturated"
    result = Result(scenario, load, median, middle)
    for kind, floor in middle.items():
        if scenario == "idle":
            result.ratio[kind] = median.kib_per_connection / floor.kib_per_connection if floor.kib_per_connection > 0 else 0.0
        elif scenario == "group":
            result.ratio[kind] = median.cpu_us_per_copy / floor.cpu_us_per_copy
        else:
            result.ratio[kind] = median.cpu_us_per_message / floor.cpu_us_per_message
    return result


def on_cluster(scenario: str, rate: float, args: argparse.Namespace) -> Figures:
    with ExitStack() as stack:
        nodes = 2 if scenario in ("pair", "resume") else 3
        running = Running(Layout.at(args.data)) if args.data else stack.enter_context(own_cluster(nodes))
        plan = make_plan(scenario, rate, args)
        place(plan, running)
        return figures(measure(running, plan))


def on_relay(kind: str, scenario: str, rate: float, args: argparse.Namespace) -> Figures:
    with relay(kind) as (url, server):
        plan = make_plan(scenario, rate, args)
        for person in plan.people:
            person.url = url
        return figures(measure(server, plan))


def make_plan(scenario: str, rate: float, args: argparse.Namespace) -> Plan:
    """Who takes part; where they connect comes later."""
    if scenario == "pair":
        count = 2 * args.pairs
        people = [Person("", f"bench-{n}", to=[f"bench-{(n ^ 1) ^ (2 * k)}" for k in range(args.peers)]) for n in range(count)]
        for person in people:
            person.to = [name for name in person.to if int(name[6:]) < count]
        return Plan(people, rate=rate, warm_s=args.warm, run_s=args.seconds)
    if scenario == "resume":
        people = [Person("", f"bench-{n}", to=[f"bench-{n ^ 1}"]) for n in range(2 * args.pairs)]
        return Plan(people, rate=rate, warm_s=args.warm, run_s=args.seconds, resume=True)
    if scenario == "group":
        people = [Person("", f"bench-{n}", to=["bench"]) for n in range(args.members)]
        return Plan(people, group="bench", rate=rate, warm_s=args.warm, run_s=args.seconds)
    return Plan([Person("", f"bench-{n}", to=[f"bench-{n ^ 1}"]) for n in range(args.connections)], idle=True, run_s=args.seconds)


def place(plan: Plan, running: Running) -> None:
    """Gives everybody a token and the address of his home node, as a client learns it from discovery."""
    authority = TokenAuthority(running.layout.token_keys_dir, running.layout.cluster_name())
    homes = running.slots()
    now = _now()
    if plan.group:
        plan.group = ids.group_id(ids.user_id("bench-group").encode()[:16])
    for person in plan.people:
        person.user = ids.user_id(person.name)
        person.url = homes[ids.slot_of(person.user)]
        person.token = authority.sign(person.user, "bench", person.name, now, 86_400)
        person.to = [plan.group] if plan.group else [ids.user_id(name) for name in person.to]


def _now() -> float:
    import time

    return time.time()


def as_json(result: Result) -> dict[str, object]:
    return {
        "scenario": result.scenario,
        "load": result.load,
        **result.homing.as_json(),
        "floors": {kind: floor.as_json() for kind, floor in result.floors.items()},
        "ratio": {kind: round(value, 3) for kind, value in result.ratio.items()},
    }


def show(result: Result) -> None:
    """The figures as a table, cluster and floors side by side."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 110)
    table = Table(title=f"{result.scenario}, {result.load}", title_justify="left")
    table.add_column("")
    columns = {"homing": result.homing, **result.floors}
    for name in columns:
        table.add_column(name if name == "homing" else f"bare {name}", justify="right")
    for label, cell in result.homing.rows(result.scenario):
        others = [dict(f.rows(result.scenario)).get(label, "") for f in result.floors.values()]
        table.add_row(label, cell, *others)
    if result.ratio:
        table.add_row("ratio to this floor", "", *(f"{result.ratio[kind]:.2f}" for kind in result.floors))
    console.print(table)
