"""``python -m tools.bench.relays.aiohttp_relay --port N``: the relay on bare aiohttp, as its documentation shows it."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import WSMsgType, web
from homing.protocol import JSON_SUBPROTOCOL

from tools.bench.relays import serve
from tools.bench.relays.relay import Relay

relay: Relay[web.WebSocketResponse] = Relay()


async def client(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False, protocols=(JSON_SUBPROTOCOL,))
    await socket.prepare(request)
    try:
        async for message in socket:
            for member, data in relay.on_frame(socket, message.data):
                with suppress(ConnectionError):  # the peer may be going
                    await member.send_frame(data, WSMsgType.TEXT)
    finally:
        relay.on_gone(socket)
    return socket


async def start(host: str, port: int) -> int:
    app = web.Application()
    app.router.add_get("/v1/ws", client)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=4096).start()
    bound: int = runner.addresses[0][1]
    return bound


if __name__ == "__main__":
    serve.main("tools.bench.relays.aiohttp_relay", start)
