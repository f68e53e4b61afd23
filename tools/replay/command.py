"""`homing replay FILE`: reads an exported chat and plays it over a running cluster, or prints what it reads.

Exit codes: 0 every participant's history is the file; 1 some are not, or the cluster did not do its part; 2 the file or an option
cannot be used; 7 the cluster cannot be reached; 130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from datetime import date
from pathlib import Path

from tools.errors import FAILED, USAGE, CommandError
from tools.layout import Layout, default_data
from tools.replay.chat import FILE_BYTES_MAX, Chat, ChatError
from tools.replay.churn import make_plan
from tools.replay.dates import Order
from tools.replay.detect import read_chat
from tools.replay.player import ReplayError, Report
from tools.replay.progress import Display
from tools.replay.script import Script, make_script
from tools.token import issue

CHURN = 0.2
SCHEMA = "homing.replay/1"
DIFFERENCES_SHOWN = 5
_TITLE_CHARS_MAX = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="WhatsApp's exported chat (text or zip, Android or iOS) or an IRC log")
    parser.add_argument(
        "--speed", type=_speed, default=None, metavar="X|max", help="X times the file's own pace; max: as fast as it goes (max)"
    )
    parser.add_argument("--split-nodes", action="store_true", help="connect every person to another node than the home node")
    parser.add_argument("--parse-only", action="store_true", help="only read the file and tell what is in it")
    parser.add_argument("--json", action="store_true", help="print objects: with --parse-only one a line of the chat, else the result")
    parser.add_argument("--url", default=None, metavar="URL", help="the directory's HTTP address (that of the cluster in --data)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument(
        "--churn", type=_fraction, default=CHURN, metavar="F", help=f"share of the people who disconnect and return ({CHURN})"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="chooses who does so, and when (1)")
    parser.add_argument(
        "--date", type=date.fromisoformat, default=None, metavar="YYYY-MM-DD", help="the date of an IRC log (that in its name)"
    )
    parser.add_argument(
        "--date-order", choices=("dmy", "mdy", "ymd"), default=None, help="order of day, month and year (what the file tells)"
    )


def run(args: argparse.Namespace) -> int:
    chat = _read(args.file, args.date_order, args.date)
    if args.parse_only:
        _print_chat(chat, args.json)
        return 0
    try:
        script = make_script(chat, args.file.stem[:_TITLE_CHARS_MAX] or "chat")
    except ChatError as error:
        raise CommandError(str(error), USAGE) from None
    report = _play(script, args)
    _print_report(report, args.json)
    return FAILED if report.differences else 0


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number above 0 nor max")
    return speed


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = -1.0
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return fraction


def _read(path: Path, order: str | None, day: date | None) -> Chat:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise CommandError(f"{path}: larger than {FILE_BYTES_MAX >> 20} MiB", USAGE)
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}", USAGE) from None
    try:
        return read_chat(data, path.name, _order(order), day)
    except ChatError as error:
        raise CommandError(str(error), USAGE) from None


def _order(name: str | None) -> Order | None:
    return None if name is None else "dmy" if name == "dmy" else "mdy" if name == "mdy" else "ymd"


def _print_chat(chat: Chat, as_json: bool) -> None:
    if as_json:
        for line in chat.lines:
            print(line.to_json())
        return
    counts = chat.counts
    first, last = min(line.at for line in chat.lines), max(line.at for line in chat.lines)
    print(f"{chat.format}: {counts.messages} messages of {len(chat.senders)} people, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}")
    print(
        f"{counts.lines} lines: {counts.messages} messages, {counts.continuations} continuation lines, {counts.events} service lines, "
        f"{counts.blank} blank, {counts.unparsed} unparsed"
    )
    for note in chat.notes:
        print(note)


def _play(script: Script, args: argparse.Namespace) -> Report:
    """Plays it on real devices."""
    import uvloop

    from tools.replay.devices import DEVICE, play

    data = args.data or default_data()
    issue(data, script.people[0].name, DEVICE)  # whether there is a cluster here is better said at once
    rng = random.Random(args.seed)
    plan = make_plan(len(script.people), [cue.person for cue in script.cues], args.churn, rng)
    with Display(sys.stderr) as display:
        messages, people, movers = len(script.cues), len(script.people), len(plan.movers)
        display.note(f"{messages} messages of {people} people, {movers} of whom disconnect and return (seed {args.seed})")
        try:
            return uvloop.run(
                play(script, plan, args.url or _directory_url(data), data, args.speed, args.split_nodes, rng, display.progress)
            )
        except ReplayError as error:
            raise CommandError(str(error)) from None


def _directory_url(data: Path) -> str:
    """Where the directory of the cluster in ``data`` answers, as `homing up` noted it."""
    layout = Layout.at(data)
    try:
        url = json.loads(layout.state_file.read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return layout.directory.url
    return str(url)


def _print_report(report: Report, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_object(report), ensure_ascii=False))
        return
    print(f"{report.messages} messages of {report.people} people in {report.seconds:.1f} s: {_rate(report):.0f} messages/s")
    print(f"{report.absences} absences, {report.breaks} connections cut in the middle of a message")
    if not report.differences:
        print(f"Every history is the file: {report.people} people, live and fetched, the same messages in the same order, nothing twice.")
        return
    print(f"{len(report.differences)} of {2 * report.people} histories differ from the file:")
    for difference in report.differences[:DIFFERENCES_SHOWN]:
        print(f"  {difference.person} ({difference.view}): {difference.text}")
    if len(report.differences) > DIFFERENCES_SHOWN:
        print(f"  and {len(report.differences) - DIFFERENCES_SHOWN} more")


def _as_object(report: Report) -> dict[str, object]:
    differences = [
        {"person": person, "view": view, "fault": m.fault, "place": m.place, "line": m.line, "text": text}
        for person, view, m, text in report.differences
    ]
    return {
        "schema": SCHEMA,
        "equal": not report.differences,
        "people": report.people,
        "messages": report.messages,
        "seconds": round(report.seconds, 3),
        "messages_per_s": round(_rate(report), 1),
        "absences": report.absences,
        "breaks": report.breaks,
        "reconnects": report.absences + report.breaks,
        "differences": differences,
    }


def _rate(report: Report) -> float:
    return report.messages / max(report.seconds, 1e-9)
