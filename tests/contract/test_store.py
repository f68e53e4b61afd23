"""The contract of ``storage/store.py``: one suite for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from homing import ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.cassandra.store import CassandraStore
from storage.memory import MemoryStore
from storage.rows import INDEX_ROWS_MAX
from storage.sqlite import SqliteStore
from storage.store import (
    ACTIVATION_ENTRIES,
    BUCKET_ENTRIES,
    FORGOTTEN,
    READ_BYTES_MAX,
    READ_ENTRIES_MAX,
    CellLoaded,
    CellRow,
    EntriesRead,
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
    Store,
    UserLoaded,
    UserRow,
    Write,
)
from tests.cassandra_rig import Scratch

A, B = "node-1:aaaaaaaa", "node-2:bbbbbbbb"
ALICE, BOB = ids.user_id("alice"), ids.user_id("bob")
CONV, OTHER = ids.direct_id(ALICE, BOB), ids.group_id(b"0123456789abcdef")


class Backend(NamedTuple):
    """A kind of store: ``open`` opens the same rows again, ``fresh`` is one without rows; a store that forgets opens but once."""

    name: str
    open: Callable[[], Store]
    keeps: bool


@pytest.fixture(params=["memory", "sqlite", "cassandra"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    match request.param:
        case "memory":
            return Backend("memory", MemoryStore, keeps=False)
        case "cassandra":
            scratch: Scratch = request.getfixturevalue("scratch")
            scratch.empty()
            return Backend("cassandra", lambda: CassandraStore(scratch.config), keeps=True)
        case _:
            return Backend("sqlite", lambda: SqliteStore(tmp_path / "store.db"), keeps=True)


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    store = backend.open()
    put(store, CellRow(1, (A, B)))
    yield store
    store.close()


def put(store: Store, *rows: Row, writer: str = A) -> list[Outcome]:
    return store.commit([Write(writer, row) for row in rows])


def entry(seq: int, term: int = 1, body: str = "hi", conversation: str = CONV, type_: str = "text") -> EntryRow:
    return EntryRow(conversation, seq, term, ALICE, f"c{seq}", type_, body, 1_700_000_000_000 + seq, seq, 5)


def read(store: Store, first: int, last: int, limit: int = READ_ENTRIES_MAX, newest: bool = True, bodies: bool = True) -> EntriesRead:
    answer = store.read(ReadEntries(CONV, first, last, limit, newest, bodies))
    assert isinstance(answer, EntriesRead)
    return answer


def load(store: Store, conversation: str = CONV) -> LogLoaded:
    answer = store.read(LoadLog(conversation))
    assert isinstance(answer, LogLoaded)
    return answer


def index(store: Store, user: str = ALICE) -> IndexLoaded:
    answer = store.read(LoadIndex(user))
    assert isinstance(answer, IndexLoaded)
    return answer


def places(answer: EntriesRead) -> list[tuple[int, int]]:
    return [(row.seq, row.term) for row in answer.entries]


# ---------------------------------------------------------------- nothing there


def test_an_empty_store_answers_every_query_with_nothing(backend: Backend) -> None:
    store = backend.open()
    assert store.read(LoadCell()) == CellLoaded(None)
    assert load(store) == LogLoaded(None, [], [], None)
    assert read(store, 1, 100) == EntriesRead([], False)
    assert index(store) == IndexLoaded([], None)
    assert store.read(LoadUser(ALICE)) == UserLoaded(None)
    assert store.commit([]) == []
    store.close()


# ---------------------------------------------------------------- rows and their versions


def test_every_row_comes_back_as_it_was_written(store: Store) -> None:
    member = MemberRow(CONV, BOB, 3, "admin", 3, 0, "Bob — строит ☃", True)
    log, receipts = LogRow(CONV, ((1, 1), (4, 7))), ReceiptsRow(CONV, 4, 2, ((ALICE, 3, 2, 1), (BOB, 2, 1, 0)))
    rows = IndexRow(ALICE, CONV, 10, 20, True), IndexRow(ALICE, OTHER, 1)
    user = UserRow(ALICE, 99, (("phone", 5), ("tablet", 6)), "Аля ☃", 98)
    assert put(store, entry(1), log, member, receipts, *rows, user) == [Outcome.STORED] * 7
    assert load(store) == LogLoaded(log, [msgspec.structs.replace(entry(1), body="")], [member], receipts)
    assert read(store, 1, 1).entries == [entry(1)]
    assert sorted(index(store).rows, key=lambda row: row.conversation) == sorted(rows, key=lambda row: row.conversation)
    assert index(store).user == user
    assert store.read(LoadUser(ALICE)) == UserLoaded(user)


@pytest.mark.parametrize("id_", [CONV, "c1", "", "AB" * 16, "ab" * 15, " " + "ab" * 16, "ünïcødé", "00" * 16])
def test_an_id_of_any_form_comes_back_as_it_was(store: Store, id_: str) -> None:
    row = EntryRow(id_, 1, 1, id_, id_, "text", "", 1, 1)
    put(store, row, IndexRow(id_, id_, 1), MemberRow(id_, id_, 1, "member", 1, 0))
    assert load(store, id_).entries == [row]
    assert load(store, id_).members == [MemberRow(id_, id_, 1, "member", 1, 0)]
    assert index(store, id_).rows == [IndexRow(id_, id_, 1)]


@pytest.mark.parametrize(
    "body", ["", "\x00", "a\x00b", "👩‍👩‍👧‍👦 ﷽ \u202e\u2066", "\ufeff\U0010ffff", "'; DROP TABLE log_entries; --", "x" * 100_000]
)
def test_a_body_of_any_text_comes_back_as_it_was(store: Store, body: str) -> None:
    put(store, entry(1, body=body))
    assert read(store, 1, 1).entries == [entry(1, body=body)]


def test_writing_the_same_rows_again_changes_nothing(store: Store) -> None:
    rows: list[Row] = [
        entry(1),
        LogRow(CONV, ((1, 1),)),
        MemberRow(CONV, ALICE, 1, "owner", 1, 0),
        ReceiptsRow(CONV, 1, 1, ((ALICE, 1, 1, 1),)),
        IndexRow(ALICE, CONV, 10, 5, True),
        UserRow(ALICE, 7, (("phone", 1),), "Alice", 6),
    ]
    put(store, *rows)
    before = load(store), read(store, 1, 9), index(store)
    assert put(store, *rows, *rows) == [Outcome.STORED] * 12
    assert (load(store), read(store, 1, 9), index(store)) == before


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_of_two_versions_the_one_with_the_higher_timestamp_stays(store: Store, together: bool, backwards: bool) -> None:
    pairs: list[tuple[Row, Row]] = [
        (LogRow(CONV, ((1, 1),)), LogRow(CONV, ((1, 1), (2, 5)))),
        (MemberRow(CONV, BOB, 4, "member", 4, 0), MemberRow(CONV, BOB, 9, "", 4, 9)),
        (ReceiptsRow(CONV, 1, 900, ((BOB, 9, 9, 9),)), ReceiptsRow(CONV, 2, 1, ((BOB, 8, 8, 8),))),
        (ReceiptsRow(OTHER, 2, 1, ()), ReceiptsRow(OTHER, 2, 2, ((BOB, 1, 1, 1),))),
        (CellRow(2, (A, B)), CellRow(3, (A,))),
        (MemberRow(OTHER, ALICE, 4, "member", 1, 0, "", True), MemberRow(OTHER, ALICE, 5, "member", 1, 0)),
    ]
    order = [pair[::-1] if backwards else pair for pair in pairs]
    rounds = [[row for pair in order for row in pair]] if together else [[pair[i] for pair in order] for i in (0, 1)]
    for rows in rounds:
        put(store, *rows)
    loaded = load(store)
    assert [loaded.log, loaded.members, loaded.receipts] == [pairs[0][1], [pairs[1][1]], pairs[2][1]]
    assert load(store, OTHER).receipts == pairs[3][1]
    assert load(store, OTHER).members == [pairs[5][1]]
    assert store.read(LoadCell()) == CellLoaded(CellRow(3, (A,)))


def test_each_column_of_the_index_keeps_its_own_maximum(store: Store) -> None:
    put(store, IndexRow(ALICE, CONV, 10, 500, False), UserRow(ALICE, 10, (("tablet", 5),)))
    put(store, IndexRow(ALICE, CONV, 20, 400, True), UserRow(ALICE, 20))
    put(store, IndexRow(ALICE, CONV, 15, 0, False), UserRow(ALICE, 15, (("tablet", 4), ("phone", 1))))
    assert index(store) == IndexLoaded([IndexRow(ALICE, CONV, 20, 500, True)], UserRow(ALICE, 20, (("phone", 1), ("tablet", 5))))


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_name_said_last_stays_whoever_is_seen_later_without_one(store: Store, order: tuple[int, ...]) -> None:
    rows = [UserRow(ALICE, 10, (), "alice", 10), UserRow(ALICE, 20, (), "Alice", 20), UserRow(ALICE, 15), UserRow(ALICE, 30, (), "", 30)]
    put(store, *(rows[n] for n in order))
    assert store.read(LoadUser(ALICE)) == UserLoaded(UserRow(ALICE, 30, (), "Alice", 20))


def test_revoked_devices_that_are_forgotten_do_not_come_back_from_another_version_of_the_row(store: Store) -> None:
    old = UserRow(ALICE, 1, (("phone", 10), ("tablet", 20), ("watch", 30)))
    forgets = UserRow(ALICE, 2, ((FORGOTTEN, 20), ("car", 40)))
    for rows in permutations([old, forgets, UserRow(ALICE, 3, ((FORGOTTEN, 15), ("phone", 10)))]):
        put(store, *rows)
        assert store.read(LoadUser(ALICE)) == UserLoaded(UserRow(ALICE, 3, ((FORGOTTEN, 20), ("car", 40), ("watch", 30))))
    put(store, UserRow(ALICE, 4, (("phone", 50),)))
    answer = store.read(LoadUser(ALICE))
    assert isinstance(answer, UserLoaded) and answer.user is not None and ("phone", 50) in answer.user.revoked, "revoked anew"


def test_the_highest_numbers_are_kept(store: Store) -> None:
    top = (1 << 63) - 1
    put(store, EntryRow(CONV, top, top, ALICE, "c", "text", "b", top, top, top), IndexRow(ALICE, CONV, top, top))
    assert places(read(store, 0, 1 << 64)) == [(top, top)]
    assert index(store).rows == [IndexRow(ALICE, CONV, top, top)]


# ---------------------------------------------------------------- the fence


def test_without_a_cell_row_nobody_may_write(backend: Backend) -> None:
    store = backend.open()
    assert put(store, entry(1), LogRow(CONV, ((1, 1),))) == [Outcome.FENCED] * 2
    store.close()


def test_only_fenced_rows_look_at_the_cell_row(store: Store) -> None:
    rows: list[Row] = [
        entry(1),
        LogRow(CONV, ((1, 1),)),
        ReceiptsRow(CONV, 1, 1, ()),
        MemberRow(CONV, ALICE, 1, "owner", 1, 0),
        IndexRow(ALICE, CONV, 1),
        UserRow(ALICE, 1),
        CellRow(1, (A, B)),
    ]
    assert put(store, *rows, writer="node-3:stranger") == [Outcome.FENCED] * 3 + [Outcome.STORED] * 4


def test_the_fence_is_judged_per_writer_of_one_round(store: Store) -> None:
    writes = [Write(A, entry(1)), Write("node-1:older", entry(2)), Write(B, entry(3))]
    assert store.commit(writes) == [Outcome.STORED, Outcome.FENCED, Outcome.STORED]


@pytest.mark.parametrize("cell_first", [True, False])
def test_the_cell_row_is_read_after_the_writes_of_its_round(store: Store, cell_first: bool) -> None:
    rows: list[Row] = [CellRow(2, (B,)), entry(1)]
    outcomes = put(store, *(rows if cell_first else rows[::-1]))
    assert outcomes[1 if cell_first else 0] is Outcome.FENCED


def test_an_older_cell_row_lets_nobody_back_in(store: Store) -> None:
    put(store, CellRow(5, (B,)))
    put(store, CellRow(4, (A, B)))
    assert put(store, entry(1)) == [Outcome.FENCED]
    put(store, CellRow(6, (A, B)))
    assert put(store, entry(1)) == [Outcome.STORED]


def test_a_row_of_a_fenced_writer_harms_no_row_of_another_term(store: Store) -> None:
    put(store, entry(1, term=2))
    put(store, CellRow(2, (A,)))
    assert put(store, entry(1, term=1, body="late"), writer=B) == [Outcome.FENCED]
    assert entry(1, term=2) in read(store, 1, 1).entries


# ---------------------------------------------------------------- entries


def test_terms_of_one_seq_lie_side_by_side(store: Store) -> None:
    put(store, entry(1, 3, "c"), entry(1, 1, "a"), entry(2, 1, "x"), entry(1, 2, "b"))
    assert [(row.seq, row.term, row.body) for row in read(store, 1, 2).entries] == [(1, 1, "a"), (1, 2, "b"), (1, 3, "c"), (2, 1, "x")]


def test_an_entry_keeps_its_first_value(store: Store) -> None:
    put(store, entry(1, body="first"))
    put(store, entry(1, body="first"))
    assert read(store, 1, 1).entries == [entry(1, body="first")]


def test_a_range_reaches_across_the_border_of_buckets(store: Store) -> None:
    put(store, *(entry(seq) for seq in range(BUCKET_ENTRIES - 3, BUCKET_ENTRIES + 3)))
    assert [seq for seq, _ in places(read(store, BUCKET_ENTRIES - 1, BUCKET_ENTRIES))] == [BUCKET_ENTRIES - 1, BUCKET_ENTRIES]
    assert [seq for seq, _ in places(read(store, 1, 1 << 40, limit=4))] == list(range(BUCKET_ENTRIES - 1, BUCKET_ENTRIES + 3))
    assert len(load(store).entries) == 6


def test_a_conversation_sees_only_its_own_rows(store: Store) -> None:
    put(store, entry(1), entry(1, conversation=OTHER), MemberRow(OTHER, BOB, 1, "owner", 1, 0), IndexRow(BOB, OTHER, 1))
    assert read(store, 0, 9).entries == [entry(1)]
    assert load(store).members == []
    assert index(store).rows == []


@pytest.mark.parametrize(("newest", "expected"), [(True, [8, 9, 10]), (False, [1, 2, 3])])
def test_the_limit_cuts_at_the_end_that_was_asked_for(store: Store, newest: bool, expected: list[int]) -> None:
    put(store, *(entry(seq) for seq in range(1, 11)))
    answer = read(store, 1, 10, limit=3, newest=newest)
    assert ([seq for seq, _ in places(answer)], answer.cut) == (expected, True)


def test_a_range_of_just_the_limit_is_not_cut(store: Store) -> None:
    put(store, *(entry(seq) for seq in range(1, 6)))
    assert not read(store, 1, 5, limit=5).cut
    assert not read(store, 3, 900, limit=3, newest=False).cut


@pytest.mark.parametrize("range_", [(5, 4), (-9, 0), (11, 20), (0, -1), (1 << 63, 1 << 64)])
def test_an_empty_range_has_no_entries(store: Store, range_: tuple[int, int]) -> None:
    put(store, *(entry(seq) for seq in range(1, 11)))
    assert read(store, *range_) == EntriesRead([], False)


def test_no_page_has_more_rows_than_the_bound_whatever_is_asked(store: Store) -> None:
    put(store, *(entry(seq) for seq in range(1, READ_ENTRIES_MAX + 20)))
    assert len(read(store, 1, 1_000, limit=1_000_000).entries) == READ_ENTRIES_MAX
    assert len(read(store, 1, 1_000, limit=0).entries) == 1
    assert len(read(store, 1, 1_000, limit=1_000, bodies=False).entries) == READ_ENTRIES_MAX + 19


@pytest.mark.parametrize("newest", [True, False])
def test_bytes_of_bodies_cut_a_page(store: Store, newest: bool) -> None:
    third = "é" * (READ_BYTES_MAX // 6 - 1)  # two bytes each
    put(store, *(entry(seq, body=third) for seq in range(1, 6)))
    answer = read(store, 1, 5, newest=newest)
    assert ([seq for seq, _ in places(answer)], answer.cut) == ([3, 4, 5] if newest else [1, 2, 3], True)
    assert not read(store, 1, 5, bodies=False).cut


def test_a_body_above_the_bound_still_comes_alone(store: Store) -> None:
    put(store, entry(1), entry(2, body="x" * (READ_BYTES_MAX + 1)))
    assert places(read(store, 1, 2)) == [(2, 1)]
    assert read(store, 1, 2).cut


def test_without_bodies_all_else_comes(store: Store) -> None:
    put(store, entry(1), entry(2, type_="group.add"))
    assert read(store, 1, 2, bodies=False).entries == [msgspec.structs.replace(e, body="") for e in (entry(1), entry(2, type_="group.add"))]


@pytest.mark.parametrize("newest", [True, False])
def test_a_page_never_parts_the_rows_of_one_seq(store: Store, newest: bool) -> None:
    put(store, *(entry(seq, term) for seq in (1, 2, 3) for term in (1, 2, 3)))
    answer = read(store, 1, 3, limit=5, newest=newest)
    assert (places(answer), answer.cut) == ([(3 if newest else 1, term) for term in (1, 2, 3)], True)
    assert places(read(store, 1, 3, limit=1, newest=newest)) == places(answer)


def test_loading_a_log_gives_the_last_seqs_with_all_their_terms(store: Store) -> None:
    last = ACTIVATION_ENTRIES + 20
    put(store, *(entry(seq) for seq in range(1, last + 1)), *(entry(seq, term=2) for seq in (1, 21, last)))
    found = load(store).entries
    expected = sorted([(seq, 1) for seq in range(21, last + 1)] + [(21, 2), (last, 2)])
    assert [(row.seq, row.term) for row in found] == expected
    assert {row.body for row in found} == {""}


def test_loading_a_log_keeps_the_bodies_of_group_entries(store: Store) -> None:
    put(store, entry(1, body="create", type_="group.create"), entry(2), entry(3, body="no", type_="groupie"))
    assert [row.body for row in load(store).entries] == ["create", "", ""]


# ---------------------------------------------------------------- sizes


def test_a_conversation_of_1024_members_loads_whole(store: Store) -> None:
    members = [MemberRow(OTHER, ids.user_id(f"user {i}"), 1, "member", 1, 0) for i in range(1_024)]
    put(store, *members, ReceiptsRow(OTHER, 1, 1, tuple((m.user, 1, 1, 1) for m in members)))
    loaded = load(store, OTHER)
    assert sorted(m.user for m in loaded.members) == sorted(m.user for m in members)
    assert loaded.receipts is not None and len(loaded.receipts.marks) == 1_024


def test_5000_rows_of_all_kinds_fit_in_one_commit(store: Store) -> None:
    rows: list[Row] = []
    for i in range(1_250):
        rows += [entry(i + 1), IndexRow(ALICE, f"{i:032x}", i), MemberRow(CONV, f"{i:032x}", i, "member", 1, 0), UserRow(f"{i:032x}", i)]
    assert put(store, *rows) == [Outcome.STORED] * 5_000
    assert len(index(store).rows) == 1_250
    assert len(load(store).members) == 1_250
    assert places(read(store, 1, 5_000, limit=5_000, bodies=False)) == [(i + 1, 1) for i in range(1_250)]


def test_of_very_many_conversations_the_newest_and_those_marked_always_are_loaded(store: Store) -> None:
    rows = [IndexRow(ALICE, f"{i:032x}", i, always=i < 5) for i in range(INDEX_ROWS_MAX + 10)]
    put(store, *rows)
    assert {row.active_at for row in index(store).rows} == {*range(5), *range(15, INDEX_ROWS_MAX + 10)}


def test_opening_again_finds_everything(backend: Backend) -> None:
    if not backend.keeps:
        pytest.skip("this store keeps nothing")
    first = backend.open()
    put(first, CellRow(1, (A,)), entry(1), LogRow(CONV, ((1, 1),)), MemberRow(CONV, ALICE, 1, "owner", 1, 0))
    put(first, ReceiptsRow(CONV, 1, 1, ((ALICE, 1, 1, 1),)), IndexRow(ALICE, CONV, 9), UserRow(ALICE, 8, (("phone", 2),)))
    before = load(first), read(first, 1, 1), index(first), first.read(LoadCell())
    first.close()
    second = backend.open()
    assert (load(second), read(second, 1, 1), index(second), second.read(LoadCell())) == before
    assert put(second, entry(2)) == [Outcome.STORED]
    second.close()


# ---------------------------------------------------------------- against the model

few = st.integers(0, 6)
users = st.sampled_from([ALICE, BOB, "u"])
conversations = st.sampled_from([CONV, OTHER])


def _terms(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple((term, term * 2 + 1) for term in sorted(set(numbers)))


rows_ = st.one_of(
    st.builds(lambda c, s, t, g: entry(s, t, f"{c}{s}{t}", c, "group.x" if (s + t) % 3 == 0 else "text"), conversations, few, few, few),
    # One value per key and timestamp: what is in the row follows from its key and its timestamp.
    st.builds(lambda c, n: LogRow(c, _terms(list(range(n + 1)))), conversations, few),
    st.builds(lambda c, u, s: MemberRow(c, u, s, "member" if s % 2 else "", s, s * 2, str(s), s % 3 == 0), conversations, users, few),
    st.builds(lambda c, t, n: ReceiptsRow(c, t, n, ((ALICE, t, n, t),)), conversations, few, few),
    st.builds(IndexRow, users, conversations, few, few, st.booleans()),
    st.builds(
        UserRow,
        users,
        few,
        st.lists(st.tuples(st.sampled_from(["p", "q", "r", FORGOTTEN]), few), max_size=3).map(tuple),
        st.sampled_from(["", "A", "a", "é"]),
        few,
    ),
    st.builds(lambda n: CellRow(n, ((A,), (A, B), (B,), ())[n % 4]), few),
)
rounds_ = st.lists(st.lists(st.builds(Write, st.sampled_from([A, B]), rows_), max_size=12), max_size=8)
queries: list[Query] = [LoadCell()]
queries += [LoadLog(c) for c in (CONV, OTHER)]
queries += [query for u in (ALICE, BOB, "u") for query in (LoadIndex(u), LoadUser(u))]
queries += [ReadEntries(CONV, 1, 5, limit, newest, bodies) for limit in (1, 3, 99) for newest in (True, False) for bodies in (True, False)]


def _ordered(answer: object) -> object:
    """Partitions of members and of the index come in the order of the engine."""
    match answer:
        case LogLoaded(log, entries, members, receipts):
            return log, entries, sorted(members, key=lambda m: m.user), receipts
        case IndexLoaded(rows, user):
            return sorted(rows, key=lambda r: r.conversation), user
    return answer


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=rounds_)
def test_any_rounds_leave_what_the_model_says(tmp_path_factory: pytest.TempPathFactory, rounds: list[list[Write]]) -> None:
    model, store = MemoryStore(), SqliteStore(tmp_path_factory.mktemp("model") / "store.db")
    try:
        for writes in rounds:
            assert store.commit(writes) == model.commit(writes)
            for query in queries:
                assert _ordered(store.read(query)) == _ordered(model.read(query))
    finally:
        store.close()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(rows_, max_size=12), data=st.data())
def test_the_order_of_writes_does_not_matter(rows: list[Row], data: st.DataObject) -> None:
    first, second = MemoryStore(), MemoryStore()
    put(first, *rows)
    for row in data.draw(st.permutations(rows + rows[:3])):
        put(second, row)
    for query in queries:
        assert first.read(query) == second.read(query)
