"""What a row costs on Cassandra: ``python -m tests.bench_cassandra [--rows N] [--nodes N]``. Not a test; prints CPU and wall.

Brings a Cassandra up as `homing services up cassandra --load` does, warms it up, and commits chat traffic (``tests/bench_storage.py``) in
rounds of 1, 8, 64 and 512 rows, spread over few and many conversations, with small partitions sharing a batch and not. "server" is the
CPU of all Cassandra processes. SQLite beside it, for the ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from storage.cassandra.store import CassandraStore
from storage.sqlite import SqliteStore
from storage.store import CellRow, EntryRow, LoadLog, Outcome, ReadEntries, Store, Write
from tests.bench_storage import ME, rows
from tests.cassandra_rig import CassandraServer, server

SIZES = (1, 8, 64, 512)
WARM_ROWS = 60_000


class Meter:
    """CPU of this process and of the servers."""

    def __init__(self, pids: list[int]) -> None:
        self._servers = [psutil.Process(pid) for pid in pids]

    def _now(self) -> tuple[float, float, float]:
        times = [process.cpu_times() for process in self._servers]
        return time.process_time(), sum(t.user + t.system for t in times), time.perf_counter()

    def measure(self, count: int, run: Callable[[], object]) -> str:
        before = self._now()
        run()
        mine, theirs, wall = ((after - then) / count * 1e6 for after, then in zip(self._now(), before, strict=True))
        return f"{mine:7.1f} µs CPU  {theirs:7.1f} µs server  {wall:7.1f} µs wall"


def commit_all(store: Store, writes: list[Write], size: int) -> None:
    for start in range(0, len(writes), size):
        outcomes = store.commit(writes[start : start + size])
        assert set(outcomes) == {Outcome.STORED}, outcomes


def commits(name: str, store: Store, meter: Meter, count: int, conversations: int, seed: int) -> None:
    for size in SIZES:
        seed += 1
        writes = rows(max(size, count // (40 if size == 1 else 4 if size == 8 else 1)), conversations, seed)
        print(
            f"  {name:<22}{size:4} rows a commit  {meter.measure(len(writes), partial(commit_all, store, writes, size))}  a row", flush=True
        )


def reads(name: str, store: Store, meter: Meter, conversations: int) -> None:
    chats = sorted({w.row.conversation for w in rows(conversations * 3, conversations, 1) if isinstance(w.row, EntryRow)})[:500]
    cost = meter.measure(len(chats), lambda: [store.read(LoadLog(chat)) for chat in chats])
    print(f"  {name:<22}activation        {cost}  a read")
    pages = [ReadEntries(chat, 0, 1 << 62, 50) for chat in chats]
    print(f"  {name:<22}page of 50        {meter.measure(len(chats), lambda: [store.read(page) for page in pages])}  a read")


def on_cassandra(cassandra: CassandraServer, count: int) -> None:
    meter = Meter(list(cassandra.pids.values()))
    for mixed in (4, 1):
        store = CassandraStore(cassandra.new_keyspace(mixed_partitions_max=mixed))
        store.commit([Write(ME, CellRow(1, (ME,)))])
        if mixed == 4:
            commit_all(store, rows(WARM_ROWS, 2_000, 99), 256)
        for conversations in (1, 20_000):
            print(f"{conversations} conversations, {mixed} partitions a batch")
            commits("cassandra", store, meter, count, conversations, conversations)
            if mixed == 4:
                reads("cassandra", store, meter, conversations)
        store.close()


def on_sqlite(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "bench.db")
        store.commit([Write(ME, CellRow(1, (ME,)))])
        for conversations in (1, 20_000):
            print(f"{conversations} conversations")
            commits("sqlite", store, Meter([]), count, conversations, conversations)
            reads("sqlite", store, Meter([]), conversations)
        store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--nodes", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, server(Path(directory), args.nodes, "--load") as cassandra:
        on_cassandra(cassandra, args.rows)
    on_sqlite(args.rows)


if __name__ == "__main__":
    main()
