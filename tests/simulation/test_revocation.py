"""Devices that are revoked among crashes, drains and slow writes: they get nothing more, and the checker sees it if they do."""

from __future__ import annotations

import pytest

from node.core import revocations
from node.core.mailbox import Mailbox
from tools.simulation.history import History

SEEDS = range(24)


def test_a_revoked_device_gets_nothing_more() -> None:
    done = 0
    for seed in SEEDS:
        history = History(seed, profile="revoked")
        result = history.run()
        assert not result.promise, f"seed {seed}: {result.promise}: {result.text}"
        done += len(history.cluster.revocations.by_name)
    assert done > len(SEEDS), "the histories revoke next to nothing"


def test_a_home_that_leaves_the_sessions_open_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mailbox, "revoke", lambda mailbox, device, now_ms: mailbox.revoked.update({device: now_ms}))
    found = next((r for r in (History(seed, profile="revoked").run() for seed in SEEDS) if r.promise), None)
    assert found is not None and found.promise == "P8", found


def test_a_home_that_forgets_a_device_whose_tokens_are_still_valid_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token of a simulated device ends: whatever is forgotten lets one in again."""
    monkeypatch.setattr(revocations, "REVOKED_MAX", 1)
    monkeypatch.setattr(revocations, "REVOKED_KEPT_MS", 0)
    found = next((r for r in (History(seed, profile="revoked").run() for seed in SEEDS) if r.promise), None)
    assert found is not None and found.promise == "P8", found
