"""Which entries of a log count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.core import log
from storage.store import EntryRow


def row(seq: int, term: int, id_: str = "x") -> EntryRow:
    return EntryRow("c", seq, term, "u", id_, "text", "", 0, seq)


def test_without_a_log_row_nothing_counts() -> None:
    assert log.run_of([row(1, 1)], ()) == ([], 0)


def test_what_landed_late_under_an_old_term_does_not_count() -> None:
    rows = [row(1, 1), row(2, 1, "late"), row(2, 5, "kept"), row(3, 1, "late")]
    run, head = log.run_of(rows, ((1, 1), (5, 2)))
    assert [(r.seq, r.term) for r in run] == [(1, 1), (2, 5)] and head == 2


def test_a_run_ends_at_the_first_hole() -> None:
    assert log.run_of([row(1, 1), row(3, 1)], ((1, 1),))[1] == 1


def test_a_short_log_without_its_first_entry_has_no_run() -> None:
    """Entries 2 and 3 have landed, 1 has not and may never: they were not said, and nothing may follow them."""
    assert log.run_of([row(2, 1), row(3, 1)], ((1, 1),)) == ([], 0)


def test_of_a_long_log_the_last_entries_are_read() -> None:
    rows = [row(seq, term) for seq in range(7, 71) for term in (1, 2)]
    assert log.run_of(rows, ((1, 1), (2, 70)))[1] == 70 and log.run_of(rows[2:], ((1, 1), (2, 70))) == ([], 0)


def test_a_log_whose_lowest_row_does_not_count_has_no_head_above_it() -> None:
    assert log.run_of([row(1, 1)], ((1, 1), (2, 1))) == ([], 0)


def test_a_new_owner_drops_the_pairs_that_began_above_what_it_kept() -> None:
    assert log.with_term(((1, 1), (4, 9)), 6, 7) == ((1, 1), (6, 7))
    assert log.with_term(((1, 1),), 6, 1) == ((6, 1),)


def test_only_the_latest_pairs_are_kept_and_the_highest_term_counts_below_them() -> None:
    terms: log.Terms = ()
    for n in range(1, 400):
        terms = log.with_term(terms, n, n)
    assert len(terms) == 256 and terms[-1] == (399, 399)
    assert [r.term for r in log.counting([row(2, 2), row(2, 1)], terms)] == [2]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 30)), max_size=12))
def test_first_seqs_ascend_whatever_owners_come(owners: list[tuple[int, int]]) -> None:
    terms: log.Terms = ()
    for n, (first, _) in enumerate(owners):
        terms = log.with_term(terms, n + 1, first)
        assert [f for _, f in terms] == sorted({f for _, f in terms})
        assert all(log.counting_term(terms, seq) == terms[-1][0] for seq in range(first, first + 3))
