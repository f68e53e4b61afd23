"""Runs a relay until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

import uvloop

Start = Callable[[str, int], Awaitable[int]]


def main(module: str, start: Start, others: Mapping[str, Start] | None = None) -> None:
    """``start(host, port)`` listens and returns the port; ``--edge`` chooses one of ``others``."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0: any free one; it is printed")
    if others:
        parser.add_argument("--edge", choices=sorted(others))
    args = parser.parse_args()
    chosen = others[args.edge] if others and args.edge else start

    async def serve() -> None:
        port = await chosen(args.host, args.port)
        print(f"relay on ws://{args.host}:{port}/v1/ws", flush=True)
        done = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, done.set)
        await done.wait()

    uvloop.run(serve())
