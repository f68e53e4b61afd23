"""``python -m tests.relays.edge_relay --edge picows|aiohttp --port N``: the relay on the node's edge, to compare libraries."""

from __future__ import annotations

from aiohttp import web

from node.edge.aiohttp_edge import AiohttpEdge
from node.edge.picows_edge import PicowsEdge
from node.edge.websocket import Connection, EdgeLimits
from tools.bench.relays import serve
from tools.bench.relays.relay import Relay


class RelayHandler:
    """The node's place, taken by a relay."""

    def __init__(self) -> None:
        self._relay: Relay[Connection] = Relay()

    def on_open(self, c: Connection) -> None:
        pass

    def on_message(self, c: Connection, data: bytes) -> None:
        for member, frame in self._relay.on_frame(c, data):
            member.send(frame)

    def on_close(self, c: Connection, code: int) -> None:
        self._relay.on_gone(c)


async def start_picows(host: str, port: int) -> int:
    return await PicowsEdge(RelayHandler(), web.Application(), EdgeLimits()).start(host, port)


async def start_aiohttp(host: str, port: int) -> int:
    return await AiohttpEdge(RelayHandler(), web.Application(), EdgeLimits()).start(host, port)


if __name__ == "__main__":
    serve.main("tests.relays.edge_relay", start_picows, {"picows": start_picows, "aiohttp": start_aiohttp})
