"""What a frame costs on the mesh: µs of CPU a frame and side, over CURVE, between two processes. Figures for docs and the simulator.

``python -m tests.bench_mesh [--frames N] [--bytes B]``. A frame crosses, is acknowledged, nothing else is done. Four cases: saturated (sent
as the window allows), paced at 2,000 and at 200 frames/s, and alone (each waits for the acknowledgement of the one before). CPU is that of
the whole process, libzmq's threads and encryption included.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from router.config import MeshConfig
from router.events import Acked, Event, FrameIn, Peer, PeerUp, WindowOpen
from router.keys import KeyRing, create, load
from router.mesh import Mesh
from router.pump import Pump
from router.zmq_transport import ZmqTransport


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class End:
    """One process of the two."""

    def __init__(self, keys: Path, name: str, eager: bool) -> None:
        config = MeshConfig(pace_s=1e-6, ack_delay_s=1e-6) if eager else MeshConfig()
        transport = ZmqTransport("tcp://127.0.0.1:0", load(keys, name), KeyRing(keys), config)
        self.loop = asyncio.get_running_loop()
        self.mesh = Mesh(Peer(name, f"{name}:1", transport.bind()), config, self.loop.time())
        self.pump = Pump(self.mesh, transport, self.handle)
        self.got = self.acked = 0
        self.changed = asyncio.Event()
        self.up = False

    def handle(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, FrameIn):
                self.got += 1
            elif isinstance(event, Acked):
                self.acked = event.number
                self.changed.set()
            elif isinstance(event, PeerUp | WindowOpen):
                self.up = True
                self.changed.set()

    async def wait(self) -> None:
        self.changed.clear()
        await self.changed.wait()


def receiver(keys: Path, pipe: Connection, eager: bool) -> None:
    async def run() -> None:
        end = End(keys, "b", eager)
        await end.pump.start()
        pipe.send(end.mesh.me.endpoint)
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def asked() -> None:
            if pipe.recv() == "end":
                done.set()
            else:
                stats = next(iter(end.mesh.stats().values()), None)
                pipe.send((cpu_s(), end.got, stats.packets_in if stats else 0))

        loop.add_reader(pipe.fileno(), asked)
        await done.wait()
        loop.remove_reader(pipe.fileno())
        await end.pump.stop()

    uvloop.run(run())


async def saturated(end: End, frame: bytes, frames: int) -> None:
    for _ in range(frames):
        while not end.mesh.send("b:1", frame, end.loop.time()):
            end.pump.flush()
            await end.wait()
    end.pump.flush()


async def alone(end: End, frame: bytes, frames: int) -> None:
    for _ in range(frames):
        number = end.mesh.send("b:1", frame, end.loop.time())
        end.pump.flush()
        while end.acked < number:
            await end.wait()


async def paced(end: End, frame: bytes, frames: int, per_s: float) -> None:
    start = end.loop.time()
    for n in range(frames):
        await asyncio.sleep(max(0.0, start + n / per_s - end.loop.time()))
        end.mesh.send("b:1", frame, end.loop.time())
        end.pump.flush()


async def measure(name: str, end: End, pipe: Connection, frame: bytes, frames: int, per_s: float) -> None:
    def ask() -> tuple[float, int, int]:
        pipe.send("cpu")
        cpu, got, packets = pipe.recv()
        return cpu, got, packets

    there, here, start, sent = ask(), cpu_s(), time.monotonic(), end.mesh.stats()["b:1"].frames_out
    if name == "saturated":
        await saturated(end, frame, frames)
    elif name == "alone":
        await alone(end, frame, frames)
    else:
        await paced(end, frame, frames, per_s)
    while end.acked < sent + frames:
        await end.wait()
    wall, used, after = time.monotonic() - start, cpu_s() - here, ask()
    got, packets = after[1] - there[1], after[2] - there[2]
    print(
        f"{name:>10}: {used / frames * 1e6:6.1f} µs sender, {(after[0] - there[0]) / frames * 1e6:6.1f} µs receiver, "
        f"{got / max(packets, 1):6.1f} frames a packet, {frames / wall:9.0f} frames/s"
    )


async def sender(keys: Path, pipe: Connection, frames: int, size: int, eager: bool) -> None:
    end = End(keys, "a", eager)
    await end.pump.start()
    end.mesh.connect("b", pipe.recv(), end.loop.time())
    end.pump.flush()
    while not end.up:
        await end.wait()
    frame = bytes(size)
    for name, share, per_s in (("saturated", 1.0, 0.0), ("2000/s", 0.05, 2000.0), ("200/s", 0.005, 200.0), ("alone", 0.01, 0.0)):
        await measure(name, end, pipe, frame, max(int(frames * share), 100), per_s)
    await end.pump.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument(
        "--eager", action="store_true", help="neither pace nor wait with acknowledgements: each frame is a packet, each packet is answered"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder)
        for name in ("a", "b"):
            create(keys, name)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=receiver, args=(keys, there, options.eager))
        process.start()
        try:
            uvloop.run(sender(keys, here, options.frames, options.bytes, options.eager))
        finally:
            here.send("end")
            process.join(10)


if __name__ == "__main__":
    main()
