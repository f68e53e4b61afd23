"""Every example of the protocol's page is a frame, and every frame has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from homing import protocol as p

from node.edge.codec import decode

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
CLIENT = {t.__struct_config__.tag: t for t in get_args(p.ClientFrame)}
SERVER = {t.__struct_config__.tag: t for t in get_args(p.ServerFrame)}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_frame_and_has_no_field_that_the_frame_does_not_know(example: str) -> None:
    op = msgspec.json.decode(example)["op"]
    if op in CLIENT:
        frame = decode(example.encode(), binary=False)
        assert type(frame) is CLIENT[op]
    else:
        frame = msgspec.json.decode(example, type=SERVER[op])
    assert set(msgspec.json.decode(example)) - {"op"} <= set(frame.__struct_fields__)


def test_every_frame_has_an_example() -> None:
    assert {msgspec.json.decode(example)["op"] for example in EXAMPLES} == CLIENT.keys() | SERVER.keys()
