"""The store interface: rows, queries, outcomes. The contract that every store keeps (``design.md`` §2, §5, §7).

Laws:
    * A row is written whole under its key with a timestamp of its own; of two versions of a row the higher timestamp wins, and where a
      row's columns say so (``IndexRow``, ``UserRow``) each column keeps its own maximum. Writing the same row twice changes nothing.
    * A write ends as ``STORED`` (durable), ``UNKNOWN`` (it may be, or may yet land: write the same row again) or ``FENCED`` (the writer
      was not among the live incarnations of the cell row when that was read, *after* the write was durable). It never ends as "failed".
    * ``EntryRow`` and ``LogRow`` are fenced rows: for them, and only for them, the cell row is looked at.
    * Deletes do not exist.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta, Struct

BUCKET_ENTRIES = 8_192
ACTIVATION_ENTRIES = 64
READ_ENTRIES_MAX = 256
READ_BYTES_MAX = 1 << 20
TERMS_MAX = 256
ANSWER_BYTES_MAX = 64 << 20
"""Of an answer in parts; far above what a conversation with a hundred thousand former members makes."""

# What decoders look at in a frame of another process; that an id is hexadecimal is looked at where it is looked up.
Id: TypeAlias = Annotated[str, Meta(min_length=32, max_length=32)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
ClientTime: TypeAlias = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class Outcome(IntEnum):
    STORED = 0
    UNKNOWN = 1
    FENCED = 2


class _Row(Struct, array_like=True, frozen=True, gc=False, tag_field="row"):
    """Base of all rows: msgpack arrays, told apart by their tag."""


# ---------------------------------------------------------------- fenced rows


class EntryRow(_Row, tag=1, frozen=True):
    """``log_entries``: key (conversation, bucket = seq // 8192, seq DESC, term); never written with other values under the same key."""

    conversation: Id
    seq: Number
    term: Number
    sender: Id
    client_message_id: str
    type: str
    body: str
    created_at: Number
    """Cluster time, ms; also the row's timestamp."""
    ordinal: Number
    sent_ts: ClientTime = 0


class LogRow(_Row, tag=2, frozen=True):
    """``logs``: key conversation; timestamp = the last term. ``terms`` = [(term, first seq)], ascending, the latest 256."""

    conversation: Id
    terms: tuple[tuple[Number, Number], ...]


# ---------------------------------------------------------------- unfenced rows


class MemberRow(_Row, tag=3, frozen=True):
    """``members``: key (conversation, user); timestamp = ``seq``, the entry it is derived from."""

    conversation: Id
    user: str
    seq: Number
    role: str
    """owner, admin, member; empty once the membership has ended."""
    from_seq: Number
    until_seq: Number
    """The first seq that the member may not see any more; 0 while he is one."""
    title: str = ""
    blocks: bool = False
    """Of a direct conversation: this member has blocked the other one."""


class ReceiptsRow(_Row, tag=4, frozen=True):
    """``receipts``: key conversation; timestamp = (term, count). ``marks``: (user, delivered, read, read_ordinal) of every member
    with any."""

    conversation: Id
    term: Number
    count: Number
    marks: tuple[tuple[Id, Number, Number, Number], ...]


class IndexRow(_Row, tag=5, frozen=True):
    """``sync_index``: key (user, conversation); each time column keeps its maximum, ``always`` stays once set."""

    user: Id
    conversation: str
    active_at: Number
    receipts_at: Number = 0
    always: bool = False


FORGOTTEN = ""
"""Among the revoked devices of a user: no device, but up to when they are forgotten."""


class UserRow(_Row, tag=6, frozen=True):
    """In the user's partition of ``sync_index``: last_seen keeps its maximum; revoked devices (id, revoked at) are united, less those
    that were revoked no later than the highest time under the id FORGOTTEN; of two names that are not empty the one with the higher
    ``named_at`` stays."""

    user: Id
    last_seen: Number
    revoked: tuple[tuple[str, Number], ...] = ()
    name: str = ""
    """What the user's own token calls him; empty: this version does not say."""
    named_at: Number = 0
    """Cluster time, ms, of the name. Its own, for who only says that the user was seen says nothing of names."""


class CellRow(_Row, tag=7, frozen=True):
    """``cell``: the one row; timestamp = epoch."""

    epoch: Number
    live: tuple[str, ...]
    """The incarnations that may write."""


FencedRow: TypeAlias = EntryRow | LogRow
Row: TypeAlias = EntryRow | LogRow | MemberRow | ReceiptsRow | IndexRow | UserRow | CellRow

# ---------------------------------------------------------------- queries and their answers


class _Query(Struct, array_like=True, frozen=True, gc=False):
    """Base of all queries."""


class LoadLog(_Query, tag=1, frozen=True):
    """What an activation needs: log row, the last ``ACTIVATION_ENTRIES`` seqs (all terms) without bodies (but ``group.*``
    entries keep theirs: the roster follows from them), members, receipts."""

    conversation: Id


class ReadEntries(_Query, tag=2, frozen=True):
    """All rows (every term) with from_seq <= seq <= to_seq, ascending, at most ``limit`` rows and READ_BYTES_MAX of bodies, cut at the
    low end if ``newest`` else at the high end. ``bodies`` False leaves body empty."""

    conversation: Id
    from_seq: Number
    to_seq: Number
    limit: Number = READ_ENTRIES_MAX
    newest: bool = True
    bodies: bool = True


class LoadIndex(_Query, tag=3, frozen=True):
    """A user's partition of the sync index with the user row."""

    user: Id


class LoadCell(_Query, tag=4, frozen=True):
    pass


class LoadUser(_Query, tag=5, frozen=True):
    """The user row alone: whoever asks about somebody need not read his index."""

    user: Id


Query: TypeAlias = LoadLog | ReadEntries | LoadIndex | LoadCell | LoadUser


class LogLoaded(Struct, array_like=True, tag=1):
    log: LogRow | None
    entries: list[EntryRow]
    """Ascending by (seq, term)."""
    members: list[MemberRow]
    receipts: ReceiptsRow | None


class EntriesRead(Struct, array_like=True, tag=2):
    entries: list[EntryRow]
    cut: bool
    """Whether limit or bytes cut the range."""


class IndexLoaded(Struct, array_like=True, tag=3):
    rows: list[IndexRow]
    user: UserRow | None


class CellLoaded(Struct, array_like=True, tag=4):
    cell: CellRow | None


class UserLoaded(Struct, array_like=True, tag=6):
    user: UserRow | None


class ReadFailed(Struct, array_like=True, tag=5):
    """The store did not answer; ask again."""

    reason: str


ANSWERS: dict[type, type] = {
    LoadLog: LogLoaded,
    ReadEntries: EntriesRead,
    LoadIndex: IndexLoaded,
    LoadCell: CellLoaded,
    LoadUser: UserLoaded,
}
"""What answers what; ``ReadFailed`` answers everything."""
Answer: TypeAlias = LogLoaded | EntriesRead | IndexLoaded | CellLoaded | UserLoaded | ReadFailed


class Write(Struct, array_like=True, frozen=True, gc=False):
    """A row and who writes it."""

    writer: str
    """The incarnation whose right to write is looked at for fenced rows."""
    row: Row


class Store(Protocol):
    """A store as the storage worker drives it; blocking (a worker gives reads a thread and a connection of their own)."""

    def commit(self, writes: list[Write]) -> list[Outcome]:
        """Writes all rows durably, then looks at the cell row; one outcome for each. Never raises for what the engine does."""

    def read(self, query: Query) -> Answer:
        """Answers from what is committed; ``ReadFailed`` when the engine does not answer."""

    def close(self) -> None: ...
