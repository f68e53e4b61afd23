"""`homing up`: a whole cluster on this machine: a directory, a storage worker and some nodes, watched and started again when they end.

The supervisor may itself be killed: the processes go on, and the next `homing up` on the same data directory takes them over without a
pause (one that was started with another configuration is replaced first). Ctrl-C or SIGTERM stops everything in order, twice at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tools import cassandra_storage
from tools.cluster import Cluster
from tools.errors import USAGE, CommandError
from tools.layout import BASE_PORT, NODES_MAX, PORTS_LAST, Layout, default_data
from tools.report import Reporter

START_TIMEOUT_S = 60.0
"""A cluster on one machine is ready within a few seconds; a very slow one within this."""
WORKERS_MAX = 16
BASE_PORT_MAX = 65_535 - PORTS_LAST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    ports = f"the directory's HTTP on P, node k on P + k, the others up to P + {PORTS_LAST} ({BASE_PORT})"
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help=f"how many nodes, 1 to {NODES_MAX} (3)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where all data lies ($HOMING_DATA, or data/)")
    parser.add_argument("--base-port", type=int, default=BASE_PORT, metavar="P", help=ports)
    parser.add_argument("--demo", action="store_true", help="make a demo: two people in a browser, side by side, and print its link")
    parser.add_argument("--storage", choices=["sqlite", "cassandra"], default="sqlite", help="where rows are kept (sqlite)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help=f"storage workers on Cassandra, 1 to {WORKERS_MAX} (2)")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object per event on standard output, lines for people on standard error"
    )
    parser.add_argument(
        "--start-timeout", type=float, default=START_TIMEOUT_S, metavar="S", help="give up when not ready after S seconds (60)"
    )


def run(args: argparse.Namespace) -> int:
    if not 1 <= args.nodes <= NODES_MAX:
        raise CommandError(f"--nodes must be 1 to {NODES_MAX}", USAGE)
    if not 1 <= args.base_port <= BASE_PORT_MAX:
        raise CommandError(f"--base-port must be 1 to {BASE_PORT_MAX}", USAGE)
    workers = args.workers if args.storage == "cassandra" else 1
    if not 1 <= workers <= WORKERS_MAX or args.nodes + workers > NODES_MAX + 1:
        raise CommandError(f"--workers must be 1 to {WORKERS_MAX}, with --nodes together at most {NODES_MAX + 1}", USAGE)
    layout = Layout((args.data or default_data()).resolve(), args.base_port, args.nodes, args.demo, workers)
    try:
        layout.make()
        with only_one(layout):
            reporter = Reporter(args.json)
            if args.storage == "sqlite":
                return asyncio.run(Cluster(layout, reporter, args.start_timeout).main())
            with cassandra_storage.running(layout, reporter.line) as found:
                return asyncio.run(Cluster(found, reporter, args.start_timeout).main())
    except OSError as error:
        raise CommandError(f"cannot work in {layout.data}: {error.strerror or error}") from error


@contextlib.contextmanager
def only_one(layout: Layout) -> Iterator[None]:
    """Holds the data directory's lock.

    Raises:
        CommandError: another `homing up` holds it; says which.
    """
    with (layout.run_dir / "up.lock").open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise CommandError(f"a cluster already runs on {layout.data}: `homing up` with pid {pid} holds it") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
        lock.truncate(0)
