"""The demo's people: ordinary accounts, whose random passwords lie in a file that is its owner's alone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

PEOPLE = 2
FILE = "people.json"


class DemoPerson(Struct, frozen=True):
    handle: str
    name: str
    password: str


class DemoPeople(Struct, frozen=True):
    """Those two, and whether they have said what they say at the start."""

    people: tuple[DemoPerson, DemoPerson]
    has_chat: bool = False


def read(directory: Path) -> DemoPeople | None:
    """None: there are none yet, or the file is damaged. Raises OSError."""
    try:
        return msgspec.json.decode((directory / FILE).read_bytes(), type=DemoPeople)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write(directory: Path, people: DemoPeople) -> None:
    """Whole or not at all. Raises OSError."""
    part = directory / f"{FILE}.new"
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(people)))
        file.flush()
        os.fsync(file.fileno())
    part.replace(directory / FILE)
