"""Log lines: who wrote them, how they look, and that no secret is ever in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from router import logs

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def line(out: io.StringIO) -> dict[str, object]:
    value = json.loads(out.getvalue().splitlines()[-1])
    assert isinstance(value, dict)
    return value


def test_a_line_says_which_process_and_incarnation_wrote_it_and_why() -> None:
    out = io.StringIO()
    logs.configure("node-1", "node-1:abc", stream=out)
    logs.get("mesh").info("slots_moved", cause="a.1.2", slots=256)
    who = {"process": "node-1", "incarnation": "node-1:abc", "module": "mesh"}
    what = {"event": "slots_moved", "cause": "a.1.2", "slots": 256, "level": "info"}
    assert line(out).items() >= (who | what).items()


def test_a_new_incarnation_is_in_the_lines_of_loggers_made_before() -> None:
    out = io.StringIO()
    logs.configure("node-1", stream=out)
    log = logs.get()
    log.info("first")
    assert "incarnation" not in line(out)
    logs.identify("node-1", "node-1:new")
    log.info("second")
    assert line(out)["incarnation"] == "node-1:new"


def test_a_logger_that_a_module_made_before_logging_was_set_up_follows_it() -> None:
    log, out = logs.get("mesh"), io.StringIO()
    logs.configure("node-1", stream=out)
    log.info("x", token="planted")
    assert line(out).items() >= {"process": "node-1", "module": "mesh", "token": logs.REDACTED}.items()


def test_a_terminal_gets_readable_lines_and_a_file_gets_json() -> None:
    terminal, file = Terminal(), io.StringIO()
    logs.configure("node-1", stream=terminal)
    logs.get().warning("disk_full", free_bytes=0)
    assert "disk_full" in terminal.getvalue() and not terminal.getvalue().startswith("{")
    logs.configure("node-1", stream=file)
    logs.get().warning("disk_full")
    assert line(file)["event"] == "disk_full"


def test_lines_below_the_level_are_not_written_and_an_unknown_level_is_refused() -> None:
    out = io.StringIO()
    logs.configure("node-1", level="warning", stream=out)
    logs.get().info("quiet")
    assert out.getvalue() == ""
    with pytest.raises(ValueError, match="loud"):
        logs.configure("node-1", level="loud")


@pytest.mark.parametrize("name", ["token", "access_token", "secret_key", "key", "private", "Authorization", "ticket", "body", "token_hash"])
@pytest.mark.parametrize("value", ["planted-secret", b"planted-secret", ["planted-secret"], {"x": "planted-secret"}])
def test_fields_named_like_a_secret_are_replaced(name: str, value: object) -> None:
    out = io.StringIO()
    logs.configure("node-1", stream=out)
    logs.get().info("x", **{name: value})
    logs.get().info("x", request={"headers": [{name: value}]})
    assert "planted" not in out.getvalue() and out.getvalue().count(logs.REDACTED) == 2


def test_public_keys_and_counts_stay() -> None:
    out = io.StringIO()
    logs.configure("node-1", stream=out)
    logs.get().info("x", public_key="abc", token_ttl_s=600, ready=True, missing=None)
    assert line(out).items() >= {"public_key": "abc", "token_ttl_s": 600, "ready": True, "missing": None}.items()


@pytest.mark.parametrize("terminal", [True, False])
def test_tokens_and_keys_inside_texts_and_exceptions_are_replaced(terminal: bool) -> None:
    out = Terminal() if terminal else io.StringIO()
    logs.configure("node-1", stream=out)
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIplanted\n-----END PRIVATE KEY-----"
    logs.get().info(f"bad {JWT}", header=f"Bearer {JWT}", pem=pem, raw=JWT.encode(), deep=[[{"a": (JWT,)}]])
    try:
        raise ValueError(f"cannot parse {JWT}")
    except ValueError:
        logs.get().exception("broken")
        logging.getLogger("aiohttp").exception("broken too %s", JWT)
    text = out.getvalue()
    assert "eyJ" not in text and "planted" not in text and text.count("cannot parse [redacted]") == 2


def test_lines_of_the_standard_library_take_the_same_way() -> None:
    out = io.StringIO()
    logs.configure("storage-1", stream=out)
    logging.getLogger("asyncio").warning("slow %s", "callback", extra={"kid": 7, "token": "planted"})
    assert line(out).items() >= {"process": "storage-1", "event": "slow callback", "logger": "asyncio", "level": "warning"}.items()
    assert line(out).items() >= {"kid": 7, "token": logs.REDACTED}.items()


def test_what_is_nested_too_deep_is_not_dumped() -> None:
    out = io.StringIO()
    logs.configure("node-1", stream=out)
    value: list[object] = []
    value.append(value)
    logs.get().info("x", value=value)
    assert "…" in json.dumps(line(out), ensure_ascii=False)
