"""What a row costs: ``python -m tests.bench_storage [--rows N] [--dir DIR]``. Not a test; prints CPU and wall time.

Measures the SQLite store alone at 1, 8 and 64 rows a commit (nine of ten rows entries, one an index row, as in active chats), with the
commit on the calling thread and handed to a second thread from an event loop, and reads.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import uvloop
from homing import ids

from storage.sqlite import SqliteStore
from storage.store import CellRow, EntryRow, IndexRow, LoadLog, ReadEntries, Row, Write

ME = "node-1:aaaaaaaa"


def rows(count: int, conversations: int, seed: int) -> list[Write]:
    """Chat traffic over ``conversations`` conversations."""
    randomness = random.Random(seed)
    chats = [ids.group_id(randomness.randbytes(16)) for _ in range(conversations)]
    users = [ids.user_id(f"user {i}") for i in range(conversations)]
    seqs = [seed << 32] * conversations
    made: list[Write] = []
    for i in range(count):
        at = randomness.randrange(conversations)
        seqs[at] += 1
        row: Row = EntryRow(chats[at], seqs[at], 1, users[at], f"m{i:012x}", "text", "x" * randomness.randrange(20, 120), i, seqs[at])
        if i % 10 == 9:
            row = IndexRow(users[at], chats[at], i)
        made.append(Write(ME, row))
    return made


def measure(count: int, run: Callable[[], object]) -> str:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return f"{cpu / count * 1e6:8.1f} µs CPU  {wall / count * 1e6:8.1f} µs wall"


def on_the_caller(store: SqliteStore, writes: list[Write], size: int) -> None:
    for start in range(0, len(writes), size):
        store.commit(writes[start : start + size])


def in_an_executor(store: SqliteStore, writes: list[Write], size: int) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            for start in range(0, len(writes), size):
                await loop.run_in_executor(pool, store.commit, writes[start : start + size])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def reads(store: SqliteStore, writes: list[Write]) -> None:
    chats = sorted({w.row.conversation for w in writes if isinstance(w.row, EntryRow)})[:500]
    print(f"  activation      {measure(len(chats), lambda: [store.read(LoadLog(c)) for c in chats])}")
    last = 1 << 62
    print(f"  page of 50      {measure(len(chats), lambda: [store.read(ReadEntries(c, 0, last, 50)) for c in chats])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dir", type=Path, default=None)
    args = parser.parse_args()
    for conversations in (200, 20_000):
        with tempfile.TemporaryDirectory(dir=args.dir) as directory:
            store = SqliteStore(Path(directory) / "bench.db")
            store.commit([Write(ME, CellRow(1, (ME,)))])
            print(f"{conversations} conversations")
            commits(store, args.rows, conversations)
            store.close()


def commits(store: SqliteStore, count: int, conversations: int) -> None:
    seed, writes = 0, list[Write]()
    for where, run in (("the caller", on_the_caller), ("2nd thread", in_an_executor)):
        for size in (1, 8, 64):
            seed += 1
            writes = rows(count if size > 1 else count // 4, conversations, seed)
            print(f"  {size:2} rows a commit, {where}  {measure(len(writes), partial(run, store, writes, size))}  a row")
    reads(store, writes)


if __name__ == "__main__":
    main()
