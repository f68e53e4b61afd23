"""`homing token`: issues the token with which a person's device signs in, for whoever can read the cluster's keys."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path

from homing import ids

from tools.errors import USAGE, CommandError
from tools.layout import Layout, default_data

LIFETIME_S = 3_600
"""An hour: programs ask for a new one long before, and a lost one is of no use for long."""
LIFETIME_S_MAX = 31 * 86_400
DEVICE = "cli"
_DURATION = re.compile(r"([0-9]{1,8})([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def issue(data_dir: Path, user: str, device: str = DEVICE, lifetime_s: int = LIFETIME_S) -> str:
    """A token for ``device`` of the account ``user`` in the cluster whose data lies in ``data_dir``.

    Raises:
        CommandError: there is no cluster, or it may not be read, or the name is empty or too long.
    """
    from node.edge.tokens import TokenAuthority, TokenError

    layout = Layout.at(data_dir)
    if not user.strip():
        raise CommandError("the account's name must not be empty", USAGE)
    try:
        authority = TokenAuthority(layout.token_keys_dir, layout.cluster_name())
        return authority.sign(ids.user_id(user), device, user.strip(), time.time(), lifetime_s)
    except FileNotFoundError:
        raise CommandError(f"there is no cluster in {layout.data} (start one with homing up, or name another with --data)") from None
    except TokenError as error:
        raise CommandError(error.message, USAGE) from error
    except OSError as error:
        raise CommandError(f"cannot read the keys in {layout.token_keys_dir}: {error.strerror}") from error


def duration_s(text: str) -> int:
    """``600``, ``10m``, ``12h`` or ``7d`` in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none of these, or out of range.
    """
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
    if not 1 <= seconds <= LIFETIME_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time between 1s and {LIFETIME_S_MAX // 86_400}d (for instance 600, 10m, 12h, 7d)")
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("name", nargs="?", default=None, metavar="NAME", help="the account")
    who.add_argument("--user", default=None, metavar="NAME", help="the same")
    parser.add_argument("--device", default=DEVICE, metavar="D", help=f"the device ({DEVICE})")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--ttl", type=duration_s, default=LIFETIME_S, metavar="TIME", help="how long it is valid: 600, 10m, 12h, 7d (1h)")
    parser.add_argument("--json", action="store_true", help="print an object with the token, the user's id and the time limit")


def run(args: argparse.Namespace) -> int:
    user = args.name if args.user is None else args.user
    token = issue(args.data or default_data(), user, args.device, args.ttl)
    if args.json:
        fields = {"schema": "homing.token/1", "token": token, "user": ids.user_id(user), "device": args.device, "ttl_s": args.ttl}
        print(json.dumps(fields))
    else:
        print(token)
    return 0
