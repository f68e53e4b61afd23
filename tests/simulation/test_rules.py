"""Each rule of the design, taken out, is found out: a checker that has never gone red proves nothing."""

from __future__ import annotations

import os

import pytest

from tools.simulate import results
from tools.simulation.checkers import Checkers
from tools.simulation.cluster import RULES
from tools.simulation.profiles import BY_NAME, of_seed

JOBS = min(2, os.cpu_count() or 1)
SEEDS_MAX = 2_000
STRESSED_BY = {
    "fence": ("split",),
    "log-row": ("orphans",),
    "in-order": ("late", "two-workers"),
    "dedup": ("late", "devices", "crashes"),
    "readdress": ("silence",),
    "attach-first": ("leaders", "crashes", "devices", "pauses"),
    "said-law": ("outage", "late", "pauses"),
    "cluster-time": ("clocks",),
    "resend": ("network", "windows"),
    "in-hand": ("silence", "undelivered"),
    "durable": ("crashes", "late"),
    "mark-max": ("mixed", "devices"),
    "stale-deliver": ("silence",),
    "blocks": ("blocks",),
    **dict.fromkeys(
        ("presence-silence", "presence-privacy", "watch-again", "reciprocal", "last-seen-durable", "typing-members"), ("presence",)
    ),
    "asked-number": ("polls",),
    "poll-keep": ("polls",),
}
"""The profiles that stress a rule: of the first 2,000 seeds only theirs are run, to save time. `homing simulate --break RULE` runs all. Of
a profile that no seed picks all are run."""
PROMISES = {
    "fence": {"P1", "P3", "P4"},
    "log-row": {"P1", "P3", "P4"},
    "in-order": {"P1", "P3"},
    "dedup": {"P4"},
    # P1 too: what is excused is not said again, so `sent` comes while the rows have only the age at which it was said.
    "readdress": {"P1", "P2"},
    # P5 too: ticks that come between the heads and the attachment reach the session as little as entries do.
    "attach-first": {"P2", "P5"},
    "said-law": {"P1", "P2"},
    "cluster-time": {"P1", "P2", "P3", "P4", "P5"},
    "resend": {"P1", "P2", "P4", "P5"},
    "in-hand": {"P2"},
    "durable": {"P1"},
    "mark-max": {"P5"},
    # P1 too: a delivery that counts after minutes is not said again, and the rows that lead to it are older than the law allows by then.
    "stale-deliver": {"P1", "P2"},
    "blocks": {"P8"},
    "presence-silence": {"presence"},
    "presence-privacy": {"P8"},
    "watch-again": {"presence"},
    "reciprocal": {"P8"},
    "last-seen-durable": {"presence"},
    "typing-members": {"P8"},
    # P3 and P5 too: the answer to one question is taken for that to another, whatever it was.
    "asked-number": {"P3", "P4", "P5", "crash"},
    "poll-keep": {"P2", "P5"},
}
"""What is broken without the rule."""


def test_every_rule_has_its_test() -> None:
    assert set(RULES) == set(STRESSED_BY) == set(PROMISES)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_taken_out_breaks_its_promise(rule: str) -> None:
    by_name = next((profile.name for profile in BY_NAME if profile.name in STRESSED_BY[rule]), "")
    seeds = [seed for seed in range(SEEDS_MAX) if by_name or of_seed(seed).name in STRESSED_BY[rule]]
    found = next((result for result in results(seeds, rule, JOBS, by_name) if result.promise), None)
    assert found is not None, f"{len(seeds)} histories without the rule {rule} broke no promise"
    assert found.promise in PROMISES[rule], f"seed {found.seed}: {found.promise}: {found.text}"


@pytest.mark.parametrize("rule", ["readdress", "stale-deliver"])
def test_what_no_new_row_leads_to_is_missed_in_the_end(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index rows are looked at when something is sent, long before the device that needs them misses it: so here they are not."""
    monkeypatch.setattr(Checkers, "_check_index", lambda checkers, key, entry: None)
    seeds = [seed for seed in range(SEEDS_MAX) if of_seed(seed).name in STRESSED_BY[rule]]
    found = next((result for result in results(seeds, rule, 1) if result.promise), None)
    assert found is not None and found.promise == "P2", found
