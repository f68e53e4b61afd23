"""`homing simulate`: histories of a whole cluster in virtual time, each from one seed, with the promises of the design as checkers.

Exit code 0: all held; 1: some did not, the seeds are named, with the command that replays one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tools.errors import FAILED, CommandError
from tools.simulation.cluster import RULES
from tools.simulation.history import History, Result
from tools.simulation.history import run as run_history
from tools.simulation.profiles import BY_NAME, PROFILES
from tools.simulation.story import Story, Subject
from tools.snippets import homing

SCHEMA = "homing.simulate/1"
CHUNK = 4
SHOWN_MAX = 10
"""Failing seeds that are described; all are counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=None, metavar="N", help="how many histories (200; 2000 with --break)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="S", help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes that share the work (1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="run this one seed and tell what happened")
    parser.add_argument(
        "--story", default=None, metavar="MESSAGE_ID", help="with --seed: tell one message's story, by message or client id"
    )
    parser.add_argument("--profile", default="", metavar="NAME", help="only histories of this kind; `list` lists them")
    parser.add_argument("--break", dest="broken", default="", metavar="RULE", help="take a rule out; `list` lists them")


def run(args: argparse.Namespace) -> int:
    if args.broken == "list":
        print("\n".join(RULES))
        return 0
    if args.profile == "list":
        print("\n".join(profile.name for profile in (*PROFILES, *BY_NAME)))
        return 0
    if args.profile and args.profile not in {profile.name for profile in (*PROFILES, *BY_NAME)}:
        raise CommandError(f"there is no profile {args.profile!r}; `--profile list` lists them", 2)
    if args.broken and args.broken not in RULES:
        raise CommandError(f"there is no rule {args.broken!r}; `--break list` lists them", 2)
    if args.seed is not None:
        return _one(args)
    if args.story is not None:
        raise CommandError("--story needs --seed", 2)
    count = args.seeds if args.seeds is not None else 2_000 if args.broken else 200
    if count < 1 or args.jobs < 1:
        raise CommandError("--seeds and --jobs must be at least 1", 2)
    return _many(args, count)


# ---------------------------------------------------------------- many


def _many(args: argparse.Namespace, count: int) -> int:
    began = time.monotonic()
    bar = Bar(count, quiet=args.json)
    failed: list[Result] = []
    done = 0
    for result in results(range(args.first, args.first + count), args.broken, args.jobs, args.profile):
        done += 1
        if result.promise:
            failed.append(result)
            if args.broken:
                break  # A rule taken out is to be found once.
        bar.show(done, len(failed), time.monotonic() - began)
    bar.close()
    _report(args, done, failed, time.monotonic() - began)
    return FAILED if failed else 0


def results(seeds: Sequence[int], broken: str, jobs: int, profile: str = "") -> Iterator[Result]:
    """What each history came to, in the order of the seeds."""
    one = partial(run_history, broken=broken, profile=profile)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(one, seeds, chunksize=CHUNK)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _report(args: argparse.Namespace, done: int, failed: list[Result], seconds: float) -> None:
    if args.json:
        violations = [{**_as_dict(result), "command": command(result, args)} for result in failed]
        figures = {"histories": done, "seconds": round(seconds, 2), "histories_per_minute": round(done / max(seconds, 1e-9) * 60)}
        print(json.dumps({"schema": SCHEMA, "from": args.first, "broken": args.broken, **figures, "violations": violations}))
        return
    for result in failed[:SHOWN_MAX]:
        print(f"seed {result.seed} ({result.profile}, {result.seconds} s): {result.promise}: {result.text}")
    if len(failed) > SHOWN_MAX:
        print(f"and {len(failed) - SHOWN_MAX} more: {', '.join(str(r.seed) for r in failed[SHOWN_MAX:])}")
    rule = f" with the rule {args.broken} taken out" if args.broken else ""
    print(
        f"{done} histories{rule} in {seconds:.1f} s ({done / max(seconds, 1e-9) * 60:.0f} a minute): "
        f"{len(failed) or 'none'} broke a promise."
    )
    if failed:
        print(f"To see one again: {command(failed[0], args)}")


def _as_dict(result: Result) -> dict[str, object]:
    return {name: getattr(result, name) for name in result.__struct_fields__}


def command(result: Result, args: argparse.Namespace | None = None) -> str:
    """How to replay a history."""
    profile = f" --profile {args.profile}" if args is not None and args.profile else ""
    rule = f" --break {args.broken}" if args is not None and args.broken else ""
    return f"{homing()} simulate --seed {result.seed}{profile}{rule}"


# ---------------------------------------------------------------- one


def _one(args: argparse.Namespace) -> int:
    history = History(args.seed, args.broken, args.profile)
    story = Story(history, Subject.of(args.story or ""), args.broken) if args.story else None
    result = history.run()
    if args.json:
        lines = [] if story is None else [line._asdict() for line in story.tell()]
        print(json.dumps({"schema": SCHEMA, "broken": args.broken, **_as_dict(result), "story": lines}))
        return FAILED if result.promise else 0
    if story is not None:
        for line in story.tell():
            print(f"{line.at:9.4f}  {line.who:<14} {line.text}")
    else:
        for at, text in history.nemesis.done:
            print(f"{at:9.4f}  {text}")
    size = history.cluster.size
    print(f"profile {result.profile}: {size.nodes} nodes, {size.directories} directories, {size.workers} storage workers, ", end="")
    print(
        f"{len(history.cluster.devices)} devices, {result.said} entries said, {result.events} events in {result.seconds} s of virtual time"
    )
    print(f"{result.promise}: {result.text}" if result.promise else "all promises held")
    return FAILED if result.promise else 0


class Bar:
    """Progress on a terminal, at most ten times a second; nothing elsewhere."""

    WIDTH = 30

    def __init__(self, count: int, quiet: bool) -> None:
        self.count = count
        self.shown = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.next_at = 0.0

    def show(self, done: int, failed: int, seconds: float) -> None:
        if not self.shown or (seconds < self.next_at and done < self.count):
            return
        self.next_at = seconds + 0.1
        full = done * self.WIDTH // self.count
        rate = done / max(seconds, 1e-9)
        text = f"\r[{'#' * full}{'.' * (self.WIDTH - full)}] {done}/{self.count}  {rate:.1f} seeds/s  {failed} failed "
        print(text, end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
