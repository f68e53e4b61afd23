"""Keeps the log files of a cluster on one machine bounded.

The processes append to their files directly, not through a pipe of their supervisor, so that they outlive it. A file that has grown past
the bound is copied aside and cut to nothing: who appends goes on at its new end. What is written between copy and cut is lost, some lines
at most; a log shipper that must have every line reads the processes' standard error instead (as journald does under systemd).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 16 << 20
"""Holds days of a quiet cluster and minutes of one that logs an error a millisecond."""
LOG_FILES_KEPT = 3
"""Older parts per process: NAME.log.1 is the newest."""


def rotate(log: Path, bytes_max: int = LOG_BYTES_MAX, kept: int = LOG_FILES_KEPT) -> bool:
    """Moves the content of ``log`` aside when it is larger than ``bytes_max``.

    Returns:
        Whether it was.

    Raises:
        OSError: the disk is full, say; the log is then left as it is.
    """
    try:
        if log.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    for n in range(kept, 1, -1):
        older = log.with_name(f"{log.name}.{n - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{n}"))
    part = log.with_name(f"{log.name}.1")
    try:
        shutil.copyfile(log, part)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    os.truncate(log, 0)
    return True


def tail(log: Path, lines: int = 12, bytes_max: int = 16_384) -> list[str]:
    """The last lines of a log, for a message that says why something did not start."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - bytes_max))
            return file.read().decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
