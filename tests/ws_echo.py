"""``python -m tests.ws_echo --port N``: sends every message back, through exactly the node's WebSocket edge.

For conformance clients, so it takes any sub-protocol or none, text and binary on one connection, at any path. ``--edge`` chooses the
library to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

import uvloop
from aiohttp import web

from node.edge.picows_edge import PicowsEdge
from node.edge.websocket import Connection, Edge, EdgeLimits


class Echo:
    """The handler: what comes in goes out."""

    def on_open(self, c: Connection) -> None:
        pass

    def on_message(self, c: Connection, data: bytes) -> None:
        c.send(data)

    def on_close(self, c: Connection, code: int) -> None:
        pass


async def healthz(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def make_edge(limits: EdgeLimits, strict: bool = False, library: str = "picows") -> Edge:
    """``strict``: demand one of our sub-protocols, as a node does."""
    app = web.Application()
    app.router.add_get("/healthz", healthz)
    if library == "aiohttp":
        from node.edge.aiohttp_edge import AiohttpEdge

        return AiohttpEdge(Echo(), app, limits, subprotocol_required=strict, accept_both_kinds=not strict)
    return PicowsEdge(Echo(), app, limits, subprotocol_required=strict, accept_both_kinds=not strict, any_path=not strict)


async def serve(args: argparse.Namespace) -> None:
    limits = EdgeLimits(frame_bytes_max=args.frame_bytes_max, buffered_bytes_max=max(args.frame_bytes_max * 4, 1 << 20))
    edge = make_edge(limits, args.strict, args.edge)
    port = await edge.start(args.host, args.port)
    print(f"echo on ws://{args.host}:{port}/v1/ws", flush=True)
    done = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    await done.wait()
    await edge.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ws_echo", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--frame-bytes-max", type=int, default=EdgeLimits().frame_bytes_max, help="Autobahn's group 9 wants 16777216")
    parser.add_argument("--strict", action="store_true", help="demand one of the node's sub-protocols")
    parser.add_argument("--edge", choices=("picows", "aiohttp"), default="picows")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
