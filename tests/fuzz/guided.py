"""``python -m tests.fuzz.guided TARGET RUNS SEED``: one target under atheris, which changes inputs by what the code does with them.

A process of its own, for libFuzzer ends it. Exit code 0: all runs, no crash, no leak; else what it prints says which input it was.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(
    include=["node.edge", "node.core", "node.rest", "router", "directory", "storage", "homing", "tools.replay"]
):
    from tests.fuzz.targets import make_targets

RSS_MIB_MAX = 600
"""libFuzzer keeps its corpus in memory; the interpreter with all modules has 90 MiB."""
INPUT_BYTES_MAX = 16_384
OBJECTS_MAX = 5_000
"""Between the first thousand inputs and the last one, those of caches included."""
COUNT_AFTER = 1_000


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def main(name: str, runs: int, seed: str) -> None:
    target = make_targets()[name]
    n = before = 0

    def one(data: bytes) -> None:
        nonlocal n, before
        n += 1
        if n == COUNT_AFTER:
            before = objects()
        elif n == runs and before and objects() - before > OBJECTS_MAX:
            raise AssertionError(f"{objects() - before} objects were kept of {runs} inputs")
        target.read(data)

    with tempfile.TemporaryDirectory(prefix="homing-corpus-") as folder:
        for k, data in enumerate(target.seeds(Random(f"{seed} {name}"))):
            (Path(folder) / f"{k}").write_bytes(data)
        options = [f"-runs={runs}", f"-seed={seed}", f"-max_len={INPUT_BYTES_MAX}", f"-rss_limit_mb={RSS_MIB_MAX}", "-timeout=10"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={tempfile.gettempdir()}/homing-{name}-", folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
