"""The codes of the demo's links: whoever shows one gets the sessions of the demo's people, once.

Owns the file of the codes that are still good; it is shared by the nodes of this machine and whoever prints a link. It must not know HTTP.

Laws:
    * The file holds digests, no codes, and is its owner's alone.
    * A code opens once, and only until its time is over. Of two who show it at the same moment one gets in: the file is locked meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

LIFETIME_S = 1_800
"""Half an hour: the link lies in a terminal, and is opened when somebody reads what stands there. `homing demo` prints another one."""
LINKS_MAX = 8
"""Codes that are good at the same time; one more, and the oldest is not."""
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without letters and digits that look alike."""
GROUPS, GROUP_CHARS = 3, 4
"""60 bits."""


def make(directory: Path, now: float) -> str:
    """A new code, ``XXXX-XXXX-XXXX``, good for ``LIFETIME_S`` from ``now`` (seconds since 1970). Raises OSError."""
    code = "-".join("".join(secrets.choice(ALPHABET) for _ in range(GROUP_CHARS)) for _ in range(GROUPS))
    put(directory, code, now)
    return code


def put(directory: Path, code: str, now: float) -> None:
    """From ``now`` on the code opens, once: a new one, or one whose holder got nothing for it. Raises OSError."""
    with _opened(directory, now) as good:
        good[_digest(code)] = now + LIFETIME_S
        while len(good) > LINKS_MAX:
            del good[min(good, key=lambda digest: good[digest])]


def take(directory: Path, code: str, now: float) -> bool:
    """Whether the code opens; from then on it does not. Raises OSError."""
    with _opened(directory, now) as good:
        return good.pop(_digest(code), None) is not None


def _digest(code: str) -> str:
    """Of what was meant: a code is also typed."""
    return hashlib.sha256("".join(code.split()).replace("-", "").upper().encode("utf-8", "replace")).hexdigest()


@contextlib.contextmanager
def _opened(directory: Path, now: float) -> Iterator[dict[str, float]]:
    """Digest → until when, of those whose time is not over; what is changed is kept."""
    descriptor = os.open(directory / "links.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(descriptor, "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            found = json.loads(file.read() or "{}")
        except ValueError:  # cut off by a full disk: the links that were in it are lost, new ones can be made
            found = {}
        good = {digest: until for digest, until in found.items() if now < until <= now + LIFETIME_S}
        yield good
        file.seek(0)
        file.truncate()
        json.dump(good, file)
