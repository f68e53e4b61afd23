"""`homing revoke --user NAME --device DEVICE`: a device that was lost or stolen is let in no more, and its sessions end.

Any node takes the request and sees to it at the user's home. It is for ever: who finds the device again signs in with another device name.
Exit code 0: done; 1: not known whether it is done, so ask again; 7: the cluster does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import aiohttp
from homing import ids

from tools.errors import UNREACHABLE, USAGE, CommandError
from tools.layout import default_data
from tools.status import nodes_and_key

TIMEOUT_S = 30.0
"""More than a node waits for the user's home."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", required=True, metavar="NAME", help="the account")
    parser.add_argument("--device", required=True, metavar="D", help="the device, as its tokens name it")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from node.edge.tokens import is_device

    if not args.user.strip() or not is_device(args.device):
        raise CommandError("--user is an account's name, --device the name of a device in its tokens", USAGE)
    nodes, key = nodes_and_key(args.data or default_data())
    done = asyncio.run(revoke(nodes.values(), key, args.user, args.device))
    print(json.dumps(done) if args.json else f"{args.device} of {args.user.strip()} is let in no more")
    return 0


async def revoke(nodes: Iterable[str], key: str, user: str, device: str) -> dict[str, object]:
    """Asks one node after the other until one has done it.

    Raises:
        CommandError: none has.
    """
    said = ""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Authorization": f"Bearer {key}"}) as session:
        for url in nodes:
            try:
                async with session.post(f"{url}/debug/revoke", params={"user": ids.user_id(user), "device": device}) as answer:
                    value = await answer.json(content_type=None)
                    if answer.status == 200:
                        return dict(value)
                    said = str(value.get("title", answer.status))
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
    if said:
        raise CommandError(f"the cluster has not said that it is done: {said}")
    raise CommandError("no node answers", UNREACHABLE)
