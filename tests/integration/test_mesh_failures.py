"""The mesh over real sockets and processes: kill -9, cut connections, busy peers. What was acknowledged was handled, once and in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from router.keys import create
from tests.integration.mesh_rig import Owner, Proxy, running

ROOT = Path(__file__).resolve().parent.parent.parent


@asynccontextmanager
async def peer(
    keys: Path, life: str, endpoint: str, file: Path, slow_s: float = 0.0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A process named b that listens at ``endpoint``; killed at the end."""
    arguments = ("-m", "tests.integration.mesh_peer", str(keys), "b", life, endpoint, str(file), str(slow_s))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        bound = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        assert bound, "the peer did not start"
        yield process, bound
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().split(b"\n")[:-1] if file.exists() else []


async def test_after_kill_9_what_was_acknowledged_was_handled_and_the_rest_goes_to_the_next_incarnation(tmp_path: Path) -> None:
    keys, first, second = tmp_path / "keys", tmp_path / "first", tmp_path / "second"
    create(keys, "b")
    a = Owner(keys, "a")
    frames = [b"%d" % n for n in range(3000)]
    async with running(a), peer(keys, "1", "tcp://127.0.0.1:0", first, slow_s=0.0005) as (process, bound):
        a.connect("b", bound)
        await a.until(lambda: a.up("b:1"))
        assert all(a.send("b:1", frame) for frame in frames[:300])
        await a.until(lambda: a.acked("b:1") == 300)
        assert all(a.send("b:1", frame) for frame in frames[300:])
        await a.until(lambda: len(lines(first)) > 500)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        acked = a.acked("b:1")
        assert 300 <= acked < 3000
        handled = lines(first)
        assert handled[:acked] == frames[:acked] and handled == frames[: len(handled)]
        async with peer(keys, "2", bound, second):
            await a.until(lambda: a.up("b:2"))
            assert a.down("b:1") and a.mesh.send("b:1", b"x", a.now()) == 0
            assert all(a.send("b:2", frame) for frame in frames[acked:])
            await a.until(lambda: a.acked("b:2") == 3000 - acked)
            assert lines(second) == frames[acked:]


async def test_a_paused_peer_gets_everything_when_it_wakes_up(tmp_path: Path) -> None:
    keys, file = tmp_path / "keys", tmp_path / "file"
    create(keys, "b")
    a = Owner(keys, "a")
    async with running(a), peer(keys, "1", "tcp://127.0.0.1:0", file) as (process, bound):
        a.connect("b", bound)
        await a.until(lambda: a.up("b:1"))
        os.kill(process.pid, signal.SIGSTOP)
        assert all(a.send("b:1", b"%d" % n) for n in range(2000))
        await a.until(lambda: a.mesh.stats()["b:1"].stalled)
        assert a.acked("b:1") == 0
        os.kill(process.pid, signal.SIGCONT)
        await a.until(lambda: a.acked("b:1") == 2000)
        assert lines(file) == [b"%d" % n for n in range(2000)] and a.mesh.peer_named("b") is not None


async def test_frames_survive_connections_that_are_cut_again_and_again(tmp_path: Path) -> None:
    proxy_a, proxy_b = Proxy(), Proxy()
    a = Owner(tmp_path, "a", advertise=await proxy_a.start())
    b = Owner(tmp_path, "b", advertise=await proxy_b.start())
    proxy_a.aim(a.bound)
    proxy_b.aim(b.bound)
    async with running(a, b):
        a.connect("b", b.mesh.me.endpoint)
        await a.until(lambda: a.up("b:1"))
        await b.until(lambda: b.up("a:1"))
        there, back = [], []
        for n in range(1500):
            there.append(b"there %d " % n + bytes(2000))
            back.append(b"back %d " % n + bytes(200))
            while not a.send("b:1", there[-1]):
                await a.until(lambda: a.mesh.stats()["b:1"].window_bytes < 2_000_000)
            assert b.send("a:1", back[-1])
            if n % 10 == 9:
                await asyncio.sleep(0.001)
            if n % 250 == 249:
                (proxy_b if n % 500 == 249 else proxy_a).cut()
        await a.until(lambda: a.acked("b:1") == 1500)
        await b.until(lambda: b.acked("a:1") == 1500)
        assert b.frames("a:1") == there and a.frames("b:1") == back
        assert proxy_a.connections + proxy_b.connections > 4
        assert a.mesh.stats()["b:1"].bad_acks == b.mesh.stats()["a:1"].bad_acks == 0
    for proxy in (proxy_a, proxy_b):
        await proxy.stop()
