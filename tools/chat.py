"""`homing chat`: chat from the terminal, full screen or (with --plain, or in a pipe) line by line."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

from homing import Client, SignInStopped, StoreFailed, ids
from homing.connection import websocket_url

from tools.errors import INTERRUPTED, USAGE, CommandError
from tools.layout import BASE_PORT, HOST, Layout, default_data

DEVICE = "terminal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as", dest="name", required=True, metavar="NAME", help="your account")
    parser.add_argument("--to", metavar="NAME", default=None, help="open the chat with somebody at once")
    parser.add_argument("--url", action="append", metavar="URL", help="a node's address, or several (those of the cluster in --data)")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="the cluster's data directory ($HOMING_DATA, or data/)")
    parser.add_argument("--token-file", type=Path, default=None, metavar="FILE", help="your token, instead of the cluster's keys")
    parser.add_argument("--store", type=Path, default=None, metavar="FILE", help="your messages on this machine (DIR/chat/...)")
    parser.add_argument("--device", default=DEVICE, metavar="D", help=f"another name for a second terminal ({DEVICE})")
    parser.add_argument("--plain", action="store_true", help="read lines, print lines: for pipes")


def run(args: argparse.Namespace) -> int:
    if not args.name.strip():
        raise CommandError("--as must not be empty", USAGE)
    data = args.data or default_data()
    is_plain = args.plain or not (sys.stdin.isatty() and sys.stdout.isatty())
    logging.getLogger("homing").propagate = False  # the screen is ours; states and reasons are shown
    logging.getLogger("homing").addHandler(logging.NullHandler())
    return asyncio.run(_chat(args, data, is_plain))


async def _chat(args: argparse.Namespace, data: Path, is_plain: bool) -> int:
    name = args.name.strip()
    store = args.store or data / "chat" / f"{ids.user_id(name)}-{_file_name(args.device)}.db"

    async def get_token() -> str:
        try:
            return _token(args, data, name)
        except CommandError as error:
            raise SignInStopped(str(error)) from error

    _token(args, data, name)  # what cannot work is said before the screen changes
    client = Client(_urls(args.url, data), get_token, store, user=name)
    try:
        await client.open()
    except StoreFailed as error:
        hint = " (already chatting on another terminal? --device NAME makes a second one)" if "locked" in str(error) else ""
        raise CommandError(f"{error}{hint}") from error
    try:
        return await _interruptible(client, args.to, name, is_plain)
    finally:
        await client.close()


async def _interruptible(client: Client, to: str | None, name: str, is_plain: bool) -> int:
    """Runs the chat; Ctrl-C and SIGTERM end it, and the client says good-bye."""
    if not is_plain:
        from tools.terminal.screen import Screen

        await Screen(client, name).run(to)
        return 0
    from tools.terminal import plain

    chat = asyncio.create_task(plain.run(client, to))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, chat.cancel)
    try:
        return await chat
    except asyncio.CancelledError:
        return INTERRUPTED


def _token(args: argparse.Namespace, data: Path, name: str) -> str:
    if args.token_file is not None:
        try:
            return str(args.token_file.read_text(encoding="ascii")).strip()
        except (OSError, UnicodeError) as error:
            raise CommandError(f"cannot read the token in {args.token_file}: {error}") from error
    from tools.token import issue

    return issue(data, name, args.device)


def _urls(given: list[str] | None, data: Path) -> list[str]:
    """The addresses to try in turn: those given, else the nodes of the cluster in `data`, else where the first node would be."""
    if given:
        return [websocket_url(url) for url in given]
    try:
        state = json.loads(Layout.at(data).state_file.read_text(encoding="utf-8"))
        urls = [str(p["url"]) for p in state["processes"] if p["role"] == "node"]
    except (OSError, ValueError, LookupError, TypeError):
        urls = []
    return [websocket_url(url) for url in urls or [f"http://{HOST}:{BASE_PORT + 1}"]]


def _file_name(device: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in device)[:40]
