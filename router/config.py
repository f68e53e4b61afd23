"""Configuration: TOML sections into typed values, and the section ``[mesh]``.

Owns reading and checking. Law: what is wrong is said with its key path (``mesh.window_frames``), and nothing starts with a wrong value.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec import Struct

from router.limits import MeshLimits

S = TypeVar("S", bound=Struct)


class ConfigError(Exception):
    """One sentence for the operator, a line for each thing that is wrong."""


class MeshConfig(MeshLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of the core and those of the ZeroMQ transport."""

    may_be_zero: ClassVar[frozenset[str]] = frozenset({"turn_pace_s"})

    send_queue_packets: int = 256
    """ZMQ_SNDHWM of a DEALER: packets that wait for one peer's connection. Past it a packet is dropped here and the link resends it;
    the window bounds what that can be."""
    receive_queue_packets: int = 256
    """ZMQ_RCVHWM of the ROUTER, for each peer: past it TCP's own flow control holds the peer."""
    message_bytes_max: int = 4 * 1024 * 1024
    """ZMQ_MAXMSGSIZE: a larger message closes the connection before it is read. Holds the largest frame, packet or table."""
    turn_pace_s: float = 0.002
    """Least time between two turns of the event loop of a node or storage worker: what comes within it is handled together (measured at
    2,000 messages/s: a quarter of the CPU). It adds at most this to each of a message's five or six hops."""
    receive_turn_packets: int = 1000
    """Packets read in one turn of the event loop before others get theirs."""
    receive_turn_s: float = 0.005
    """The same in time."""
    reconnect_min_s: float = 0.02
    """First wait before connecting again: a restarted process should be reached while its clients are still reconnecting."""
    reconnect_max_s: float = 0.5
    """Longest wait before connecting again."""
    connect_timeout_s: float = 3.0
    """A TCP connection that is not made in this time is tried anew."""
    heartbeat_s: float = 2.0
    """ZMTP heartbeat: finds half-open connections that TCP would keep for minutes."""
    heartbeat_timeout_s: float = 6.0
    """No ZMTP answer for this time closes the connection, and it is made anew."""
    idle_close_s: float = 30.0
    """A DEALER that nothing was written to for this time is closed. Links that live send keepalives far more often."""
    endpoints_max: int = 4096
    """DEALERs of one process: each costs file descriptors and buffers."""
    known_connections_max: int = 8192
    """Routing ids of the ROUTER whose vouched name is remembered; older ones are looked up again."""

    def problems(self, path: str = "mesh") -> list[str]:
        rules = [
            (
                self.message_bytes_max >= self.frame_bytes_max + 65_536,
                f"{path}.message_bytes_max must be at least {path}.frame_bytes_max + 65536",
            ),
            (
                self.message_bytes_max >= self.packet_bytes_max + 65_536,
                f"{path}.message_bytes_max must be at least {path}.packet_bytes_max + 65536",
            ),
            (0 <= self.turn_pace_s <= 0.01, f"{path}.turn_pace_s must be from 0 to 0.01"),
            (self.reconnect_max_s >= self.reconnect_min_s, f"{path}.reconnect_max_s must be at least {path}.reconnect_min_s"),
            (self.heartbeat_timeout_s >= 2 * self.heartbeat_s, f"{path}.heartbeat_timeout_s must be at least 2 x {path}.heartbeat_s"),
            (self.idle_close_s >= 5 * self.keepalive_s, f"{path}.idle_close_s must be at least 5 x {path}.keepalive_s"),
        ]
        # super() without arguments does not work in a Struct with slots, which is made twice.
        return MeshLimits.problems(self, path) + [text for holds, text in rules if not holds]


@runtime_checkable
class Checked(Protocol):
    """A section that knows relations between its values."""

    def problems(self, path: str) -> list[str]: ...


def load(path: Path | None, section_types: Mapping[str, type[Struct]], overrides: Mapping[str, object] | None = None) -> dict[str, Struct]:
    """Reads and checks a configuration.

    Args:
        path: a TOML file; None = defaults only.
        section_types: the sections that may occur, and their types. A section that is missing has its defaults.
        overrides: from the command line: ``{"mesh.window_frames": "512"}`` or ``{"mesh": {"window_frames": 512}}``; texts are converted.

    Returns:
        A value for every section in ``section_types``.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, of a wrong type, missing, or does not go with another.
    """
    raw = _read(path) if path is not None else {}
    where = str(path) if path is not None else "the defaults"
    problems = [f"{name}: unknown section, known are {', '.join(sorted(section_types))}" for name in raw if name not in section_types]
    texts = _by_section(overrides or {}, problems)
    problems += [f"{name}: unknown section, known are {', '.join(sorted(section_types))}" for name in texts if name not in section_types]
    sections: dict[str, Struct] = {}
    for name, kind in section_types.items():
        try:
            section = _convert(raw.get(name, {}), texts.get(name, {}), kind)
        except msgspec.ValidationError as error:
            problems.append(_sentence(name, str(error)))
            continue
        sections[name] = section
        if isinstance(section, Checked):
            problems.extend(section.problems(name))
    if problems:
        raise ConfigError("\n".join([f"configuration ({where}) is wrong:", *(f"  {problem}" for problem in problems)]))
    return sections


def section(sections: Mapping[str, Struct], name: str, kind: type[S]) -> S:
    """One section of what ``load`` returned, with its type."""
    value = sections[name]
    if not isinstance(value, kind):
        raise TypeError(f"section {name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"configuration {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path} is not TOML: {error}") from error


def _by_section(overrides: Mapping[str, object], problems: list[str]) -> dict[str, dict[str, object]]:
    """The overrides by section, with dotted keys taken apart."""
    texts: dict[str, dict[str, object]] = {}
    for key, value in overrides.items():
        name, _, field = key.partition(".")
        values = {field: value} if field else value
        if not isinstance(values, Mapping):
            problems.append(f"{key}: an override needs a key, as in {key}.name")
            continue
        texts.setdefault(name, {}).update(values)
    return texts


def _convert(values: object, texts: dict[str, object], kind: type[Struct]) -> Struct:
    """A file alone is taken strictly; the command line's values are texts, so then conversion is allowed."""
    if not isinstance(values, dict):
        raise msgspec.ValidationError("Expected a section")
    return msgspec.convert({**values, **texts}, kind, strict=not texts)


def _sentence(name: str, message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.window_frames`" as "mesh.window_frames: Expected `int`, got `str`"."""
    text, _, at = message.partition(" - at `$")
    return f"{name}{at.rstrip('`')}: {text}"
