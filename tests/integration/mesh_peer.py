"""A process for the mesh tests: handles every frame by appending it to a file, as one line, then acknowledges it.

``python -m tests.integration.mesh_peer KEYS NAME LIFE ENDPOINT FILE [SLOW_S]``; prints its endpoint when it listens.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from router.config import MeshConfig
from router.events import Event, FrameIn, Peer
from router.keys import KeyRing, load
from router.mesh import Mesh
from router.pump import Pump
from router.zmq_transport import ZmqTransport


async def main(keys: str, name: str, life: str, endpoint: str, file: str, slow_s: str = "0") -> None:
    config = MeshConfig()
    transport = ZmqTransport(endpoint, load(Path(keys), name), KeyRing(Path(keys)), config)
    bound = transport.bind()
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, FrameIn):
                os.write(out, event.frame + b"\n")  # in the kernel's hands: it survives kill -9
                if float(slow_s):
                    time.sleep(float(slow_s))  # a busy process

    pump = Pump(Mesh(Peer(name, f"{name}:{life}", bound), config, asyncio.get_running_loop().time()), transport, handle)
    await pump.start()
    print(bound, flush=True)
    await pump.failed()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
