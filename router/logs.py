"""Logging of every process: readable lines on a terminal, JSON lines otherwise, always on standard error.

Owns the processor chain and the two laws of every line: it says which process (and which incarnation of it) wrote it, and it holds no
secret. Fields whose names tell of a secret, message texts, and anything that looks like a token or a private key are replaced before a
line is rendered, in exceptions too. Lines of the standard library's ``logging`` (asyncio, aiohttp) take the same way.

Use: ``log = logs.get()``; ``log.info("slots_moved", cause=cause, slots=256)``. The event is a name, what varies is a field. By its
``cause`` the story of one message is told across processes.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED = "[redacted]"
DEPTH_MAX = 6
"""Nested values below this depth are not printed: a log line is no dump."""

_SECRET_NAME = re.compile(
    r"(^|_)(token|secret|password|passphrase|authorization|cookie|ticket|private|seed|body)(_|$)|(^|_)key$", re.IGNORECASE
)
_PUBLIC_NAME = re.compile(r"(^|_)public(_|$)", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JSON web token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=earer )[\w.~+/=-]{8,}",  # an HTTP credential
    re.DOTALL,
)

_identity: dict[str, str] = {}


def get(name: str = "") -> FilteringBoundLogger:
    """A logger; ``name`` goes into each line as ``module``."""
    # Lazy, so that a module's logger made before ``configure`` follows it; ``bind`` would fix today's settings.
    return cast(FilteringBoundLogger, structlog.get_logger(module=name) if name else structlog.get_logger())


def identify(process: str, incarnation: str = "") -> None:
    """Names this process (``node-1``) and, once it is known, its incarnation; they are in every line from now on."""
    _identity.clear()
    _identity["process"] = process
    if incarnation:
        _identity["incarnation"] = incarnation


def configure(process: str, incarnation: str = "", *, level: str = "info", json: bool | None = None, stream: TextIO | None = None) -> None:
    """Sets logging up for the whole process; may be called again.

    Args:
        process: the process's name.
        incarnation: this start of it, where already known.
        level: the least level that is written: debug, info, warning or error.
        json: JSON lines or not; None: JSON unless ``stream`` is a terminal.
        stream: where to; None: standard error.

    Raises:
        ValueError: there is no such level.
    """
    identify(process, incarnation)
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error")
    out = sys.stderr if stream is None else stream
    as_json = not out.isatty() if json is None else json
    structlog.configure(
        processors=[*_shared(), *_renderers(as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # a test, and a process that learns its incarnation late, configures again
    )
    _configure_standard_library(max(number, logging.WARNING), as_json, out)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_identity,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]


def _renderers(as_json: bool) -> list[Processor]:
    if as_json:
        return [structlog.processors.JSONRenderer(default=str)]
    return [structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24)]


def _configure_standard_library(number: int, as_json: bool, out: TextIO) -> None:
    handler = logging.StreamHandler(out)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_json)]
    chain: list[Processor] = [structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *_shared()]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=chain))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)


def _add_identity(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in _identity.items():
        event.setdefault(name, value)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replaces what no log may hold. A processor of structlog's chain; it comes after the exception was made a text."""
    return {name: _clean(name, value, DEPTH_MAX) for name, value in event.items()}


def _clean(name: str, value: object, depth: int) -> object:
    if value is not None and _SECRET_NAME.search(name) and not _PUBLIC_NAME.search(name) and not isinstance(value, bool | int | float):
        return REDACTED
    if isinstance(value, str):
        return _SECRET_TEXT.sub(REDACTED, value)
    if isinstance(value, dict | list | tuple | set | frozenset):
        if depth == 0:
            return "…"
        if isinstance(value, dict):
            return {str(key): _clean(str(key), item, depth - 1) for key, item in value.items()}
        return [_clean("", item, depth - 1) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if name.startswith("_"):  # structlog's own: the record that a line of the standard library came from
        return value
    return _SECRET_TEXT.sub(REDACTED, repr(value) if isinstance(value, bytes | bytearray) else str(value))
