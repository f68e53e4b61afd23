"""What reads bytes of others, with a ten-thousandth of the nightly run's inputs (``python -m tests.fuzz``): no crash, no leak."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from tests.fuzz.targets import Target, make_targets, run

COUNT = 3_000
OBJECTS_MAX = 500
"""What pytest and caches of the standard library may keep meanwhile."""
TARGETS = make_targets()


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused_and_nothing_is_kept(name: str) -> None:
    target = TARGETS[name]
    run(target, COUNT // 3, "first")  # fills what is cached
    before = objects()
    run(target, COUNT - COUNT // 3, "then")
    assert objects() - before < OBJECTS_MAX


def _raises_on(byte: int) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        assert byte not in data

    return read


def test_a_target_that_fails_is_seen_with_its_input() -> None:
    with pytest.raises(AssertionError) as caught:
        run(Target(lambda _: [b"a" * 20], _raises_on(0x7F)), 100_000, 1)
    assert "the input was" in caught.value.__notes__[0]


def test_one_that_keeps_its_inputs_is_seen() -> None:
    kept: list[list[bytes]] = []
    before = objects()
    run(Target(lambda _: [b"a" * 20], lambda data: kept.append([data])), COUNT, 1)
    assert objects() - before > OBJECTS_MAX
