"""A store in memory: the model of the contract, for unit tests and as the measure of the other stores.

Rows of a fenced writer stay, as they would in Cassandra: terms decide what counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.rows import for_activation, index_page, is_fenced, last_seqs, merge, page, row_key, without_body
from storage.store import (
    Answer,
    CellLoaded,
    CellRow,
    EntryRow,
    IndexLoaded,
    IndexRow,
    LoadCell,
    LoadIndex,
    LoadLog,
    LoadUser,
    LogLoaded,
    LogRow,
    MemberRow,
    Outcome,
    Query,
    ReadEntries,
    ReceiptsRow,
    Row,
    UserLoaded,
    UserRow,
    Write,
)


class MemoryStore:
    """Implements ``Store``. Not for many rows: a partition is found by its key, a range within it by sorting."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[tuple[int, int], EntryRow]] = {}
        self._members: dict[str, dict[str, MemberRow]] = {}
        self._index: dict[str, dict[str, IndexRow]] = {}
        self._single: dict[tuple[str | int, ...], Row] = {}

    def commit(self, writes: list[Write]) -> list[Outcome]:
        for write in writes:
            self._put(write.row)
        cell = self._single.get(("cell",))
        live = frozenset(cell.live) if isinstance(cell, CellRow) else frozenset[str]()
        return [Outcome.FENCED if is_fenced(w.row) and w.writer not in live else Outcome.STORED for w in writes]

    def _put(self, row: Row) -> None:
        match row:
            case EntryRow():
                self._entries.setdefault(row.conversation, {}).setdefault((row.seq, row.term), row)
            case MemberRow():
                members = self._members.setdefault(row.conversation, {})
                merged = merge(members.get(row.user), row)
                if isinstance(merged, MemberRow):
                    members[row.user] = merged
            case IndexRow():
                index = self._index.setdefault(row.user, {})
                merged = merge(index.get(row.conversation), row)
                if isinstance(merged, IndexRow):
                    index[row.conversation] = merged
            case _:
                self._single[row_key(row)] = merge(self._single.get(row_key(row)), row)

    def read(self, query: Query) -> Answer:
        match query:
            case LoadLog():
                return self._load_log(query.conversation)
            case ReadEntries():
                return self._read_entries(query)
            case LoadIndex():
                user = self._single.get(("users", query.user))
                rows = self._index.get(query.user, {})
                return IndexLoaded(index_page([rows[key] for key in sorted(rows)]), user if isinstance(user, UserRow) else None)
            case LoadCell():
                cell = self._single.get(("cell",))
                return CellLoaded(cell if isinstance(cell, CellRow) else None)
            case LoadUser():
                row = self._single.get(("users", query.user))
                return UserLoaded(row if isinstance(row, UserRow) else None)

    def _load_log(self, conversation: str) -> LogLoaded:
        log = self._single.get(("logs", conversation))
        receipts = self._single.get(("receipts", conversation))
        members = self._members.get(conversation, {})
        return LogLoaded(
            log if isinstance(log, LogRow) else None,
            last_seqs(map(for_activation, self._descending(conversation))),
            [members[user] for user in sorted(members)],
            receipts if isinstance(receipts, ReceiptsRow) else None,
        )

    def _read_entries(self, query: ReadEntries) -> Answer:
        rows = [row for row in self._descending(query.conversation) if query.from_seq <= row.seq <= query.to_seq]
        if not query.newest:
            rows.reverse()
        return page(rows if query.bodies else map(without_body, rows), query)

    def _descending(self, conversation: str) -> Iterator[EntryRow]:
        rows = self._entries.get(conversation, {})
        return (rows[key] for key in sorted(rows, reverse=True))

    def close(self) -> None:
        """Nothing to let go of; the rows stay readable."""
