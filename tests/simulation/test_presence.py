"""Histories in which people watch each other and type: what they are shown is true, or nothing."""

from __future__ import annotations

import os

import pytest

from tools.simulate import command, results
from tools.simulation.history import History
from tools.simulation.presence import There

JOBS = min(2, os.cpu_count() or 1)
SEEDS = 40


def test_forty_histories_show_nobody_what_is_not_true() -> None:
    failed = [result for result in results(range(SEEDS), "", JOBS, "presence") if result.promise]
    assert not failed, "\n".join(f"{command(r)}  # {r.promise}: {r.text}" for r in failed)


def test_these_histories_tell_and_show_much() -> None:
    histories = [History(seed, profile="presence") for seed in range(5)]
    for history in histories:
        assert not history.run().promise
    presences = [history.cluster.presences for history in histories]
    assert sum(each.told for each in presences) > 100 and sum(each.typed for each in presences) > 50
    assert any(there.past for each in presences for there in each.there.values()), "somebody was away"
    shown = {view[0] for each in presences for views in each.shown.values() for view in views.values()}
    assert {"online", "unknown"} <= shown


@pytest.mark.parametrize(
    ("first", "last", "was"), [(0.5, 0.9, False), (0.5, 1.0, True), (2.5, 2.9, False), (2.5, 4.0, True), (5.0, 6.0, True)]
)
def test_who_was_there_when(first: float, last: float, was: bool) -> None:
    assert There(since=3.0, past=[(1.0, 2.0)]).was_within(first, last) is was
