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
FROM_CLIENT, FROM_SERVER = (re.findall(r"```json\n(.*?)\n```", part, re.DOTALL) for part in PAGE.split("## From the server"))
CLIENT = {t.__struct_config__.tag: t for t in get_args(p.ClientFrame)}
SERVER = {t.__struct_config__.tag: t for t in get_args(p.ServerFrame)}


@pytest.mark.parametrize("example", FROM_CLIENT)
def test_an_example_is_a_frame_and_has_no_field_that_the_frame_does_not_know(example: str) -> None:
    frame = decode(example.encode(), binary=False)
    assert type(frame) is CLIENT[op_of(example)]
    assert set(msgspec.json.decode(example)) - {"op"} <= set(frame.__struct_fields__)


@pytest.mark.parametrize("example", FROM_SERVER)
def test_an_example_of_the_server_is_one_too(example: str) -> None:
    frame = msgspec.json.decode(example, type=SERVER[op_of(example)])
    assert set(msgspec.json.decode(example)) - {"op"} <= set(frame.__struct_fields__)


def test_every_frame_has_an_example() -> None:
    assert set(map(op_of, FROM_CLIENT)) == CLIENT.keys()
    assert set(map(op_of, FROM_SERVER)) == SERVER.keys()


def op_of(example: str) -> str:
    return str(msgspec.json.decode(example)["op"])
