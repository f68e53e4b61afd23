"""Which statements go together in one request. Pure.

Laws:
    * Rows of one partition go as one batch (one mutation, atomic), bounded in statements and bytes.
    * Of several partitions only few share a batch, and only small ones: with a synced commit log each waits for a sync of its own, and a
      server warns of larger ones.
    * A request's fate is that of all its rows. What is repeated in it is harmless: timestamps decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from storage.cassandra.statements import Bound, Partition, Upsert
from storage.config import CassandraConfig


class Request(NamedTuple):
    """One request: its statements, and for each the number of the row that it writes."""

    rows: list[int]
    statements: list[Bound]


class _Open:
    """A request that is being filled."""

    __slots__ = ("bytes", "partitions", "request")

    def __init__(self) -> None:
        self.request = Request([], [])
        self.bytes = 0
        self.partitions = 0

    def add(self, row: int, upsert: Upsert) -> None:
        self.request.rows.extend([row] * len(upsert.statements))
        self.request.statements.extend(upsert.statements)
        self.bytes += upsert.bytes

    def join(self, other: _Open) -> None:
        self.request.rows.extend(other.request.rows)
        self.request.statements.extend(other.request.statements)
        self.bytes += other.bytes
        self.partitions += 1


def plan(upserts: Iterable[tuple[int, Upsert]], config: CassandraConfig) -> list[Request]:
    """Puts what is to be written into requests.

    Args:
        upserts: the number of the row that it is for, and what to write; a row may have several.
    """
    groups: dict[Partition, list[_Open]] = {}
    for row, upsert in upserts:
        opened = groups.setdefault(upsert.partition, [_Open()])
        last = opened[-1]
        count = len(last.request.statements)
        if count and (count + len(upsert.statements) > config.batch_statements_max or last.bytes + upsert.bytes > config.batch_bytes_max):
            opened.append(last := _Open())
        last.add(row, upsert)
    parts = [part for opened in groups.values() for part in opened]
    return list(_mix(parts, config)) if len(parts) >= config.mixed_from else [part.request for part in parts]


def _mix(parts: list[_Open], config: CassandraConfig) -> Iterable[Request]:
    """Puts small requests of different partitions together, as many as the bounds allow."""
    mixed = _Open()
    for part in parts:
        if part.bytes > config.mixed_bytes_max // 2:
            yield part.request
            continue
        if mixed.partitions and (mixed.partitions >= config.mixed_partitions_max or mixed.bytes + part.bytes > config.mixed_bytes_max):
            yield mixed.request
            mixed = _Open()
        mixed.join(part)
    if mixed.partitions:
        yield mixed.request
