"""`homing services up|down|status|install`: brings the engines of the cluster profile up on this machine, for tests and for a first try.

Exit codes: 0 as asked; 1 it could not be done; 2 usage; 7 (``status`` only) something that was asked for does not run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from tools.errors import UNREACHABLE, USAGE, CommandError
from tools.layout import default_data
from tools.services import state
from tools.services.cassandra import Cassandra
from tools.services.postgres import Postgres
from tools.services.redis import Redis
from tools.services.service import Options, Service, Status

SCHEMA = "homing.services/1"
KINDS: dict[str, Callable[[Path], Service]] = {"cassandra": Cassandra, "postgres": Postgres, "redis": Redis}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Options()
    parser.add_argument("action", choices=["up", "down", "status", "install"], help="install: only what `up` needs")
    parser.add_argument("services", nargs="*", default=["all"], metavar="SERVICE", help=f"{', '.join(KINDS)} or all (all)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where all lies: DIR/services ($HOMING_DATA, or data/)")
    parser.add_argument("--port", type=int, default=None, metavar="P", help="where clients connect; 0: any free one (of one service)")
    parser.add_argument("--nodes", type=int, default=defaults.nodes, metavar="N", help="nodes of Cassandra, 1 or 3 (1)")
    parser.add_argument("--load", action="store_true", help="Cassandra for load: a larger heap, all of the compiler, a slower start")
    parser.add_argument("--json", action="store_true", help="print one JSON object; progress goes to standard error")
    parser.add_argument(
        "--start-timeout", type=float, default=defaults.start_timeout_s, metavar="S", help="give up when not ready after S seconds (90)"
    )


def run(args: argparse.Namespace) -> int:
    names = list(KINDS) if "all" in args.services else list(dict.fromkeys(args.services))
    if unknown := [name for name in names if name not in KINDS]:
        raise CommandError(f"there is no service {unknown[0]!r}: {', '.join(KINDS)} or all", USAGE)
    if args.port is not None and (args.action != "up" or (args.port and len(names) != 1) or not 0 <= args.port <= 65_535):
        raise CommandError("--port P is for `up` of one service, and P is 0 to 65535", USAGE)
    directory = (args.data or default_data()).resolve() / "services"
    options = Options(args.nodes, args.port, args.load, args.start_timeout)
    found = [_one(args.action, KINDS[name](directory / name), directory / name, options, args.json) for name in names]
    if args.json:
        print(json.dumps({"schema": SCHEMA, "services": [msgspec.to_builtins(status) for status in found]}, indent=1))
    else:
        for status in found:
            print(_line(status))
    return UNREACHABLE if args.action == "status" and any(status.state != "running" for status in found) else 0


def _one(action: str, service: Service, directory: Path, options: Options, as_json: bool) -> Status:
    def say(text: str) -> None:
        print(f"{service.name}: {text}", file=sys.stderr if as_json else sys.stdout, flush=True)

    try:
        if action == "install":
            return service.install(say)
        if action == "status" or (action == "down" and not directory.exists()):
            return service.status()
        with state.only_one(directory):
            return service.up(options, say) if action == "up" else service.down(say)
    except CommandError as error:
        raise CommandError(f"{service.name}: {error}", error.code) from error
    except OSError as error:
        raise CommandError(f"{service.name}: {error.filename or directory}: {error.strerror or error}") from error


def _line(status: Status) -> str:
    pids = f"  pid {', '.join(map(str, status.pids.values()))}" if status.pids else ""
    return f"{status.name:<10} {status.version:<7} {status.state:<8} {' '.join(status.endpoints)}{pids}"
