"""What every service can do, and what `homing services` tells of it. Knows no engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from tools.errors import CommandError
from tools.ports import holder, is_free

Say = Callable[[str], None]
"""Takes a line of progress for people."""
FREE_PORTS = range(20_000, 32_000)
"""Where ports are looked for: below those that the system hands out by itself."""
FREE_PORT_TRIES = 200


class Options(Struct, frozen=True):
    """How a service is to be started."""

    nodes: int = 1
    port: int | None = None
    """Where clients connect; None: the one of the last time, else the usual one, else any that is free; 0: any that is free."""
    load: bool = False
    """Made ready for load instead of for a quick start."""
    start_timeout_s: float = 90.0


class Status(Struct, frozen=True):
    """What there is of a service. ``state``: absent (never started here), stopped, partial (some of its processes run, or one does not
    answer), running."""

    name: str
    state: Literal["absent", "stopped", "partial", "running"]
    endpoints: list[str]
    pids: dict[str, int]
    data: str
    version: str


class Service(Protocol):
    """An engine on this machine; all of it lies in one directory."""

    name: str

    def install(self, say: Say) -> Status:
        """Sees to it that ``up`` finds all it needs.

        Raises:
            CommandError: something cannot be had.
        """

    def up(self, options: Options, say: Say) -> Status:
        """Starts what does not run, and waits until it answers.

        Raises:
            CommandError: it cannot be started.
        """

    def down(self, say: Say) -> Status:
        """Stops what runs; the data stay."""

    def status(self) -> Status: ...


def choose_port(given: int | None, before: int | None, usual: int, hosts: Iterable[str]) -> int:
    """The port for clients (see ``Options.port``).

    Raises:
        CommandError: the one that it must be is somebody else's.
    """
    must = given or (before if given is None else None)
    if must:
        if not all(is_free(must, host) for host in hosts):
            raise CommandError(f"port {must} is in use by {holder(must)}; take another one with --port")
        return must
    if given is None and all(is_free(usual, host) for host in hosts):
        return usual
    return free_ports(1, hosts)[0]


def free_ports(count: int, hosts: Iterable[str]) -> list[int]:
    """Ports in a row that are free on all ``hosts``."""
    hosts = list(hosts)
    chance = random.SystemRandom()
    for _ in range(FREE_PORT_TRIES):
        first = chance.randrange(FREE_PORTS.start, FREE_PORTS.stop - count)
        ports = list(range(first, first + count))
        if all(is_free(port, host) for port in ports for host in hosts):
            return ports
    raise CommandError("found no free ports")


def tail(path: Path, lines: int = 8) -> str:
    """The end of a log, for an error message."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(f"\n  {line}" for line in text.splitlines()[-lines:])
