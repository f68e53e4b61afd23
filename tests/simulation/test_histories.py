"""Histories of the whole cluster, all rules in force: no promise is broken, and each seed is the same history every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.simulate import command, results
from tools.simulation.history import run
from tools.simulation.profiles import PROFILES, of_seed

ROOT = Path(__file__).resolve().parents[2]
JOBS = min(2, os.cpu_count() or 1)

REGRESSIONS = {
    ("planned", 11): "a node that stops looked dead to edges elsewhere: sessions ended with home_lost (P6)",
    ("undelivered", 93): "a session whose new home was never reached stayed open and empty (P2)",
    ("late", 38): "a request that its first home had given a seq was refused as overloaded by its edge (P7)",
    ("late", 72): "the same",
    ("leaders", 1047): "a storage worker taken out while it was cut off never heard it, and no cell row could be written any more",
    ("two-workers", 2285): "a successor knew one of the two members of a direct conversation, and said things to him alone (P2)",
    ("devices", 12): "another history under another hash seed",
    ("all", 15): "another history under another hash seed",
    ("tight", 19): "an activation kept more entries than its bound",
    ("tight", 40): "a mark that found no room was dropped, and the cursor passed it (P5)",
    ("moves", 58): "ticks that were gathered when a conversation moved were told to nobody (P5)",
    ("undelivered", 4397): "a session that moved by plan was not complete for longer than a lease (P2)",
    ("undelivered", 3284): "a mark that its home did not take was reported to nobody any more (P5)",
    ("tight", 100011): "one index row stood for those of a whole group (P1)",
    ("late", 400069): "a log without its first entry was taken for one that has it: a repeat was appended again (P4)",
    ("moves", 400084): "a mark that came after a node's good-bye was stored and told to nobody (P5)",
}
"""Every history that has found a bug, with the bug. What happens when shifts with every change, so the bug has a unit test as well."""


def test_two_hundred_histories_keep_every_promise() -> None:
    failed = [result for result in results(range(200), "", JOBS) if result.promise]
    assert not failed, "\n".join(f"{command(r)}  # {r.promise}: {r.text}" for r in failed)


@pytest.mark.parametrize("profile, seed", REGRESSIONS)
def test_a_history_that_found_a_bug_finds_none(profile: str, seed: int) -> None:
    result = run(seed, profile=profile)
    assert not result.promise, f"{result.promise}: {result.text} (once: {REGRESSIONS[profile, seed]})"


def test_two_hundred_seeds_are_histories_of_every_kind() -> None:
    assert {of_seed(seed).name for seed in range(200)} == {profile.name for profile in PROFILES}


def test_a_history_is_the_same_whatever_the_hash_seed() -> None:
    """All profiles: what hangs on the order of a set of strings shows as another fingerprint."""
    program = "import json, msgspec\nfrom tools.simulation.history import run\n"
    program += f"print(json.dumps([msgspec.to_builtins(run(seed)) for seed in range({len(PROFILES)})]))"
    told = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        told.append(json.loads(done.stdout))
    assert told[0] == told[1]
    assert all(result["said"] for result in told[0] if result["profile"] != "silence")


def test_a_history_says_much_and_lets_much_go_wrong() -> None:
    """The checkers would be content with a cluster that does nothing: these histories do something."""
    found = [run(seed) for seed in range(20, 20 + len(PROFILES))]
    assert sum(result.said for result in found) > 15 * len(PROFILES)
    assert all(result.events > 1_000 for result in found)
