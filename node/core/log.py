"""A conversation's log as rows tell it: which entry counts at each seq, and how far the unbroken run goes (``design.md`` §5).

At each seq only the entry of one term counts: that of the last pair of the log row's ``terms`` whose first seq is not above it. What lands
late under an old term does not count.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from storage.store import ACTIVATION_ENTRIES, TERMS_MAX, EntryRow

Terms = tuple[tuple[int, int], ...]


def _first(pair: tuple[int, int]) -> int:
    return pair[1]


def counting_term(terms: Terms, seq: int) -> int | None:
    """The term whose entry counts at ``seq``; None below the oldest known pair. First seqs ascend with their terms."""
    at = bisect_right(terms, seq, key=_first)
    return terms[at - 1][0] if at else None


def counting(rows: Iterable[EntryRow], terms: Terms, up_to: int | None = None) -> list[EntryRow]:
    """The entries among ``rows`` that count, ascending by seq, one for each seq, none above ``up_to``.

    Below the oldest pair of a log row that was cut to its latest 256 the highest term counts; without a log row nothing does.
    """
    if not terms:
        return []
    best: dict[int, EntryRow] = {}
    for row in rows:
        if up_to is not None and row.seq > up_to:
            continue
        term = counting_term(terms, row.seq)
        if term is None:
            if row.seq not in best or best[row.seq].term < row.term:
                best[row.seq] = row
        elif row.term == term:
            best[row.seq] = row
    return [best[seq] for seq in sorted(best)]


def unbroken(rows: list[EntryRow]) -> list[EntryRow]:
    """The longest run of neighbouring seqs that ``rows`` (ascending, counting) starts with."""
    for i, row in enumerate(rows):
        if row.seq != rows[0].seq + i:
            return rows[:i]
    return rows


def run_of(rows: list[EntryRow], terms: Terms) -> tuple[list[EntryRow], int]:
    """The unbroken counting run among the last rows of a log, and its head.

    Args:
        rows: every row (all terms) of the last 64 seqs that have any, ascending. Fewer are the whole log, which begins at seq 1 or has
            no entry that was ever said: of what begins later the first entry never landed. (A time after which entries are dropped has to
            leave the last 64.)
        terms: the log row's.

    Returns:
        The run and its last seq; the head is 0 for a log in which nothing counts.
    """
    if not rows:
        return [], 0
    lowest = rows[0].seq
    if lowest > 1 and len({row.seq for row in rows}) < ACTIVATION_ENTRIES:
        return [], 0
    found = counting(rows, terms)
    if not found or found[0].seq != lowest:
        return [], lowest - 1
    run = unbroken(found)
    return run, run[-1].seq


def with_term(terms: Terms, term: int, first_seq: int) -> Terms:
    """``terms`` as a new owner leaves them: pairs that begin above what it kept are gone, its own is last, the latest 256 remain."""
    kept = [pair for pair in terms if pair[1] < first_seq and pair[0] != term]
    return tuple([*kept, (term, first_seq)][-TERMS_MAX:])


def seq_index(rows: list[EntryRow], seq: int) -> int:
    """Where ``seq`` lies in ascending ``rows``: the number of rows at or below it."""
    return bisect_right(rows, seq, key=lambda row: row.seq)


def highest_terms(rows: Iterable[EntryRow]) -> Terms:
    """The terms that let the highest term count at each seq: only with the rule ``log_row`` taken out."""
    found: dict[int, int] = {}
    for row in rows:
        found[row.seq] = max(found.get(row.seq, 0), row.term)
    return tuple((term, seq) for seq, term in sorted(found.items()))
