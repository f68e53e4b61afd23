"""``python -m tests.relays.compare``: picows against aiohttp, as ratios of one run.

Measures the CPU of the server process only (user and system, per message), with the load in this process: the echo server with each library
behind the node's edge, and both bare relays; and the resident memory of idle connections. Rounds of all servers alternate, so that what
else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil
import uvloop
from homing.protocol import Ack, Send
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

BODY = "The quick brown fox jumps over the lazy dog. " * 2
SERVERS = {
    "echo: edge on picows": ["tests.ws_echo", "--edge", "picows", "--strict"],
    "echo: edge on aiohttp": ["tests.ws_echo", "--edge", "aiohttp", "--strict"],
    "relay: edge on picows": ["tests.relays.edge_relay", "--edge", "picows"],
    "relay: edge on aiohttp": ["tests.relays.edge_relay", "--edge", "aiohttp"],
    "relay: bare picows": ["tools.bench.relays.picows_relay"],
    "relay: bare aiohttp": ["tools.bench.relays.aiohttp_relay"],
}


class Server:
    """A server process on a free port."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", *command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        self._proc = psutil.Process(self.process.pid)

    def cpu_s(self) -> float:
        """Seconds on a processor, of all threads, in nanoseconds' resolution: ``times`` counts hundredths, too coarse for a short round."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(path.read_text().split()[0]) for path in threads) / 1e9

    def rss_bytes(self) -> int:
        return int(self._proc.memory_info().rss)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Load:
    """What one round sends, and how many messages came full circle."""

    def __init__(self) -> None:
        self.done = 0
        self.running = True


class EchoClient(WSListener):
    def __init__(self, load: Load, rate: bool) -> None:
        self.load, self.rate = load, rate
        self.payload = msgspec.json.encode(Send(id="m" * 22, to="0" * 32, body=BODY, ts=time.time_ns() // 1_000_000, after=1))
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def start(self) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, self.payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.load.done += 1
        if not self.rate and self.load.running:
            self.start()


class _Head(msgspec.Struct, tag_field="op", tag="message"):
    entry: _Seq


class _Seq(msgspec.Struct):
    conversation: str
    seq: int


class _Sent(msgspec.Struct, tag_field="op", tag="sent"):
    id: str


class _Receipts(msgspec.Struct, tag_field="op", tag="receipts"):
    conversation: str


class _Welcome(msgspec.Struct, tag_field="op", tag="welcome"):
    user: str


_decode = msgspec.json.Decoder(_Head | _Sent | _Receipts | _Welcome).decode
_encode = msgspec.json.Encoder().encode


class PairClient(WSListener):
    """One of two: acknowledges what comes; sends the next when its receipt has come (or at the rate)."""

    def __init__(self, load: Load, rate: bool, number: int) -> None:
        self.load, self.rate, self.number, self.count = load, rate, number, 0
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.send(WSMsgType.TEXT, _encode({"op": "hello", "name": f"u{self.number}", "peer": f"u{self.number ^ 1}"}))

    def start(self) -> None:
        assert self.transport is not None
        self.count += 1
        frame = Send(id=f"{self.number:08d}-{self.count:013d}", to="0" * 32, body=BODY, ts=time.time_ns() // 1_000_000, after=self.count)
        self.transport.send(WSMsgType.TEXT, _encode(frame))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        received = _decode(frame.get_payload_as_bytes())
        if isinstance(received, _Head):
            transport.send(WSMsgType.TEXT, _encode(Ack(conversation=received.entry.conversation, seq=received.entry.seq)))
        elif isinstance(received, _Receipts):
            self.load.done += 1
            if not self.rate and self.load.running:
                self.start()


@dataclass
class Result:
    """CPU µs a message of each round, by load."""

    us: dict[str, list[float]] = field(default_factory=dict)
    per_s: dict[str, list[float]] = field(default_factory=dict)
    kib_per_connection: float = 0.0


async def connect(url: str, clients: list[WSListener]) -> list[WSTransport]:
    header = {"Sec-WebSocket-Protocol": "homing.v1.json"}
    transports = []
    for n in range(0, len(clients), 50):
        part = [ws_connect(lambda c=c: c, url, extra_headers=header) for c in clients[n : n + 50]]
        transports += [transport for transport, _ in await asyncio.gather(*part)]
    return transports


async def round_(
    server: Server, make: Callable[[Load, bool, int], WSListener], count: int, rate: float, seconds: float
) -> tuple[float, float]:
    """CPU µs a message and messages a second; ``rate`` 0: as fast as it goes."""
    load = Load()
    clients = [make(load, rate > 0, n) for n in range(count)]
    transports = await connect(server.url, clients)
    await asyncio.sleep(0.2)
    senders = [c for c in clients if not isinstance(c, PairClient) or rate == 0 or not c.number & 1]
    begin, cpu, done = time.monotonic(), server.cpu_s(), load.done
    if rate:
        await at_rate(senders, rate, seconds)  # type: ignore[arg-type]  # both kinds have start()
    else:
        for client in senders:
            client.start()  # type: ignore[attr-defined]
        await asyncio.sleep(seconds)
    load.running = False
    await asyncio.sleep(0.1 if rate else 0)
    passed, used, messages = time.monotonic() - begin, server.cpu_s() - cpu, load.done - done
    for transport in transports:
        transport.disconnect()
    await asyncio.sleep(0.1)
    return used / messages * 1e6, messages / passed


async def at_rate(senders: list[EchoClient | PairClient], rate: float, seconds: float) -> None:
    begin, sent, total = time.monotonic(), 0, int(rate * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - begin) * rate))
        while sent < due:
            senders[sent % len(senders)].start()
            sent += 1
        await asyncio.sleep(0.0005)


async def memory(server: Server, count: int) -> float:
    """KiB of resident memory that each of ``count`` connections holds after one message and its answer."""
    load = Load()
    await round_(server, lambda load, _, __: EchoClient(load, True), 50, 100, 0.5)
    before = server.rss_bytes()
    clients: list[WSListener] = [EchoClient(load, True) for _ in range(count)]
    transports = await connect(server.url, clients)
    for client in clients:
        client.start()  # type: ignore[attr-defined]
    while load.done < count:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    kib = (server.rss_bytes() - before) / count / 1024
    for transport in transports:
        transport.disconnect()
    return kib


async def compare(args: argparse.Namespace) -> dict[str, Result]:
    servers = {name: command for name, command in SERVERS.items() if args.only in name}
    results = {name: Result() for name in servers}
    for _ in range(args.rounds):
        for name, command in servers.items():
            pair = name.startswith("relay")
            server = Server(command)
            try:
                for label, rate in ((f"{args.rate:.0f}/s", args.rate), ("saturated", 0.0)):
                    make: Callable[[Load, bool, int], WSListener] = PairClient if pair else lambda load, paced, _: EchoClient(load, paced)
                    us, per_s = await round_(server, make, args.connections, rate, args.seconds)
                    results[name].us.setdefault(label, []).append(us)
                    results[name].per_s.setdefault(label, []).append(per_s)
            finally:
                server.stop()
    for name, command in servers.items():
        if args.idle and name.startswith("echo"):
            server = Server(command)
            try:
                results[name].kib_per_connection = await memory(server, args.idle)
            finally:
                server.stop()
    return results


def show(results: dict[str, Result]) -> None:
    for kind in ("echo", "relay"):
        names = [name for name in results if name.startswith(kind)]
        if not names:
            continue
        for label in results[names[0]].us:
            us = [statistics.median(results[name].us[label]) for name in names]
            rates = [statistics.median(results[name].per_s[label]) for name in names]
            for name, one, rate in zip(names, us, rates, strict=True):
                print(f"{name:24} {label:10} {one:7.1f} us CPU a message {rate:8.0f}/s   {one / us[0]:5.2f} x {names[0]}")
    for name, result in results.items():
        if result.kib_per_connection:
            print(f"{name:24} idle       {result.kib_per_connection:7.1f} KiB a connection")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.relays.compare", description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2000.0, help="messages a second of the paced load")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--only", default="", help="part of the servers' names")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    results = uvloop.run(compare(args))
    if args.json:
        print(json.dumps({name: msgspec.to_builtins(result) for name, result in results.items()}))
    else:
        show(results)


if __name__ == "__main__":
    main()
