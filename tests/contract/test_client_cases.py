"""The cases that the client cores of all languages must pass, on the Python one; client_cases/README.md says what a case is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec
import pytest
from homing.core import ClientCore
from homing.effects import Effect
from homing.limits import Limits
from homing.protocol import ServerFrame
from homing.questions import Question
from homing.requests import RequestInvalid
from homing.state import CoreState, Request

CASES = Path(__file__).parent / "client_cases"
REQUESTS: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in get_args(Request)}
Step: TypeAlias = dict[str, Any]  # JSON, looked at field by field


class Device:
    """A core that carries a case's steps out."""

    def __init__(self, case: Step, state: CoreState | None = None) -> None:
        self.case = case
        limits = msgspec.convert(case.get("limits", {}), Limits)
        self.core = ClientCore(case["user"], "d", lambda: float(case["random"]), state, limits)

    def do(self, step: Step) -> list[Effect]:
        core, now = self.core, step["at"]
        effects: list[Effect] = []
        match step["call"]:
            case "start":
                return core.start(now)
            case "tick":
                return core.tick(now)
            case "connected":
                return core.connected(now, step["token"])
            case "disconnected":
                return core.disconnected(now, step["code"], step["reason"])
            case "close":
                return core.close(now)
            case "restart":
                self.core = Device(self.case, msgspec.json.decode(msgspec.json.encode(core.export()), type=CoreState)).core
                return []
            case "frames":
                for frame in step["frames"]:
                    effects += core.frame(msgspec.convert(frame, ServerFrame), now)
            case "request":
                fields = dict(step["frame"])
                effects += core.request(REQUESTS[fields.pop("op")](**fields), now)  # as a program makes it: not checked yet
            case "read":
                effects += core.read(step["conversation"], step["seq"], now)
            case "watch":
                effects += core.watch(step["users"])
            case "typing":
                effects += core.type(step["to"], step["activity"], now)
            case "ask":
                effects += core.ask(msgspec.convert(step["frame"], Question), now)
            case other:
                raise AssertionError(f"there is no call {other!r}")
        return effects if step.get("flush") is False else effects + core.flush(now)


def plain(effects: list[Effect]) -> list[Step]:
    """Effects as a case names them."""
    return [{"kind": type(e).__name__, **msgspec.to_builtins(e)} for e in effects]


def cases() -> list[Any]:
    found = [(path.stem, case) for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text(encoding="utf-8"))]
    return [pytest.param(case, id=f"{stem}: {case['name']}") for stem, case in found]


@pytest.mark.parametrize("case", cases())
def test_case(case: Step) -> None:
    device = Device(case)
    for number, step in enumerate(case["steps"]):
        where = f"step {number}: {step['call']} at {step['at']}"
        if step.get("invalid"):
            with pytest.raises(RequestInvalid):
                device.do(step)
        else:
            assert plain(device.do(step)) == step["expect"], where
        device.core.check()
        deadline = device.core.next_deadline()
        assert (deadline is None) == (step["deadline"] is None), where
        assert deadline is None or deadline == pytest.approx(step["deadline"]), where


def test_every_case_says_something() -> None:
    assert len(cases()) >= 20
    assert all(any(step.get("expect") for step in param.values[0]["steps"]) for param in cases())
