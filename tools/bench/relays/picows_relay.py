"""``python -m tools.bench.relays.picows_relay --port N``: the relay on bare picows, as its documentation shows it."""

from __future__ import annotations

import logging

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from tools.bench.relays import serve
from tools.bench.relays.relay import Relay

relay: Relay[WSTransport] = Relay()


class Client(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
        elif kind == WSMsgType.TEXT:
            for member, data in relay.on_frame(transport, frame.get_payload_as_bytes()):
                member.send(WSMsgType.TEXT, data)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        relay.on_gone(transport)


async def start(host: str, port: int) -> int:
    logging.getLogger("picows").setLevel(logging.ERROR)

    def listener(_: WSUpgradeRequest) -> Client:
        return Client()

    server = await ws_create_server(listener, host, port, backlog=4096)
    _keep.append(server)
    bound: int = server.sockets[0].getsockname()[1]
    return bound


_keep: list[object] = []

if __name__ == "__main__":
    serve.main("tools.bench.relays.picows_relay", start)
