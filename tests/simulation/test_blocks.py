"""People who block each other while homes move, die and are slow; and that the checkers see what could go wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.core import derived
from node.core.derived import Derived
from tools.simulation.history import History, Result

SEEDS = range(40)
SEEDS_MAX = 400
"""Of histories in which a mistake is to be found."""


def first_violation() -> Result | None:
    return next((r for r in (History(seed, profile="blocks").run() for seed in range(SEEDS_MAX)) if r.promise), None)


def test_while_one_has_blocked_nobody_says_anything_whatever_becomes_of_homes() -> None:
    blocked = 0
    for seed in SEEDS:
        history = History(seed, profile="blocks")
        result = history.run()
        assert not result.promise, f"seed {seed}: {result.promise}: {result.text}"
        blocked += sum(name == "blocked" for name in history.checkers.refused.values())
    assert blocked > 10 * len(SEEDS), "the histories block next to nothing"


def not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation looks at group entries only, and at what is in the rows."""
    monkeypatch.setattr(derived, "HOME_TYPES", ("group.",))


def not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dying node had not repeated elsewhere nobody repeats."""
    load = Derived.load
    monkeypatch.setattr(Derived, "load", lambda derived, members, run: load(derived, [], run))
    monkeypatch.setattr(Derived, "open", lambda derived: derived.again.clear())


@pytest.mark.parametrize("mistake", [not_applied, not_told_again])
def test_a_home_that_forgets_is_found_out(mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    found = first_violation()
    assert found is not None and found.promise == "P8", found
