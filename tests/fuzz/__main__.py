"""``make nightly``, or ``python -m tests.fuzz [--total N] [--seed S]``: all that is fuzzed, ten million inputs unless told otherwise.

Half of them go to what reads bytes, in process under atheris (``--plain``: without it, changed blindly), target by target; the other half
to a running cluster's ports (``test_bad_fuzz.py``): sessions in both formats, framing, HTTP, requests, mesh. Then Schemathesis asks each
operation well and badly. Exit code 0: no crash, no leak, no answer outside of the documents.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import Target, make_targets

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ROOT / ".nightly"
"""Where ``make nightly`` puts atheris, which nothing else needs."""
PORTS_SHARE = 0.5
INPUTS_PER_FRAME = 2 + 1 + 3 * 1 + 1 / 5 + 3 / 10 + 3 / 20
"""Inputs of ``test_bad_fuzz.py`` for one of ``HOMING_FUZZ_FRAMES``: two formats, framing, three mesh ports, requests, HTTP, strangers."""
PLAIN = "from tests.fuzz.targets import make_targets, run; import sys; run(make_targets()[sys.argv[1]], int(sys.argv[2]), sys.argv[3])"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--total", type=int, default=10_000_000, help="inputs in all (10000000)")
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86_400, help="which ones (the day's number)")
    parser.add_argument("--only", choices=("readers", "ports"), help="one half")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was done to FILE")
    args = parser.parse_args()
    done: list[dict[str, object]] = []
    if args.only != "ports":
        done += readers(int(args.total * (1 - PORTS_SHARE)), args.seed, args.plain)
    if args.only != "readers":
        done.append(ports(int(args.total * PORTS_SHARE), args.seed))
        done.append(documents(max(15, args.total // 50_000)))
    inputs = sum(int(str(each["inputs"])) for each in done)
    failed = [str(each["name"]) for each in done if each["code"]]
    if args.json is not None:
        args.json.write_text(json.dumps({"schema": "homing.fuzz/1", "seed": args.seed, "inputs": inputs, "done": done}, indent=2))
    print(f"{inputs:,} inputs, seed {args.seed}: {'FAILED: ' + ', '.join(failed) if failed else 'no crash, no leak, nothing undocumented'}")
    return 1 if failed else 0


def readers(total: int, seed: int, plain: bool) -> list[dict[str, object]]:
    targets: dict[str, Target] = make_targets()
    shares = sum(target.share for target in targets.values())
    return [reader(name, total * target.share // shares, seed, plain) for name, target in targets.items()]


def reader(name: str, count: int, seed: int, plain: bool) -> dict[str, object]:
    command = ["-c", PLAIN] if plain else ["-m", "tests.fuzz.guided"]
    path = os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH", ""))))
    began = time.monotonic()
    log = ROOT / "build" / f"fuzz-{name}.txt"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        code = subprocess.call(
            [sys.executable, *command, name, str(count), str(seed)], cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdout=out, stderr=out
        )
    took = time.monotonic() - began
    print(f"{name:16} {count:>10,} inputs {took:7.1f} s  {'ok' if not code else f'FAILED, see {log}'}", flush=True)
    return {"name": name, "inputs": count, "seconds": round(took, 1), "code": code}


def ports(total: int, seed: int) -> dict[str, object]:
    frames = int(total / INPUTS_PER_FRAME)
    began = time.monotonic()
    env = os.environ | {"HOMING_FUZZ_FRAMES": str(frames), "HOMING_FUZZ_SEED": str(seed)}
    test = "tests/integration/test_bad_fuzz.py"
    code = subprocess.call([sys.executable, "-m", "pytest", "-v", "-s", "--durations=0", test], cwd=ROOT, env=env)
    return {"name": "ports", "inputs": int(frames * INPUTS_PER_FRAME), "seconds": round(time.monotonic() - began, 1), "code": code}


def documents(examples: int) -> dict[str, object]:
    """Schemathesis: each operation asked well and badly, from its document; each example counts as one input, what it makes of it besides
    does not."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "--timeout=0", "tests/integration/test_openapi_answers.py"]
    code = subprocess.call(command, cwd=ROOT, env=os.environ | {"HOMING_OPENAPI_EXAMPLES": str(examples)})
    from tests.integration.test_openapi_answers import KINDS

    return {"name": "documents", "inputs": len(KINDS) * examples, "seconds": round(time.monotonic() - began, 1), "code": code}


if __name__ == "__main__":
    sys.exit(main())
