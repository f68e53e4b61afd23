"""The small parts of `homing up`: ports, files, log rotation, readiness, its lock and its usage errors."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from aiohttp import web

from router.ops import OpsServer, ops_app, process_registry
from tools import cli
from tools.errors import CommandError
from tools.http import session
from tools.layout import NODES_MAX, PORTS_LAST, Layout, Part
from tools.ports import holder, is_free, taken
from tools.readiness import Readiness, unready_reason
from tools.report import Demo, guide
from tools.rotation import rotate, tail
from tools.snippets import node_is_there
from tools.up import only_one


def test_no_two_parts_share_a_port_or_a_name_and_none_lies_past_the_last() -> None:
    parts = Layout(Path("/d"), 7400, NODES_MAX).parts()
    ports = [port for part in parts for port in (part.http_port, part.mesh_port)]
    assert len(set(ports)) == len(ports) == 2 * (NODES_MAX + 2)
    assert min(ports) == 7400 and max(ports) == 7400 + PORTS_LAST
    assert len({part.name for part in parts}) == len(parts)


def test_the_directory_is_on_the_base_port_and_node_k_on_base_plus_k() -> None:
    by_name = {part.name: part for part in Layout(Path("/d"), 9000, 3).parts()}
    assert by_name["directory-1"].url == "http://127.0.0.1:9000"
    assert [by_name[f"node-{k}"].http_port for k in (1, 2, 3)] == [9001, 9002, 9003]


def test_a_port_with_a_listener_is_taken_and_its_holder_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert taken([port]) == [port]
        assert str(os.getpid()) in holder(port)
    assert is_free(port)


def test_only_one_supervisor_works_on_a_data_directory(tmp_path: Path) -> None:
    layout = Layout(tmp_path, 7400, 1)
    layout.make()
    with only_one(layout), pytest.raises(CommandError, match=f"pid {os.getpid()}"), only_one(layout):
        pass
    with only_one(layout):
        pass


@pytest.mark.parametrize("arguments", [["--nodes", "0"], ["--nodes", "99"], ["--base-port", "0"], ["--base-port", "65500"]])
def test_numbers_out_of_range_are_usage_errors_and_make_nothing(tmp_path: Path, arguments: list[str]) -> None:
    assert cli.main(["up", "--data", str(tmp_path / "d"), *arguments]) == 2
    assert not (tmp_path / "d").exists()


def test_a_data_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["up", "--data", str(tmp_path / "file" / "d")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(tmp_path / "file" / "d") in err


def test_a_log_past_its_bound_is_moved_aside_and_who_appends_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    with log.open("ab", buffering=0) as writer:
        for n in range(6):
            writer.write(f"line {n}\n".encode() * 10)
            assert rotate(log, bytes_max=50, kept=3)
        writer.write(b"last\n")
        assert not rotate(log, bytes_max=50)
    assert log.read_bytes() == b"last\n"
    assert [log.with_name(f"node-1.log.{n}").read_text()[:6] for n in (1, 2, 3)] == ["line 5", "line 4", "line 3"]
    assert len(list(tmp_path.iterdir())) == 4, "older parts are deleted"


def test_a_log_that_is_not_there_yet_is_neither_rotated_nor_read(tmp_path: Path) -> None:
    assert not rotate(tmp_path / "none.log")
    assert tail(tmp_path / "none.log") == []


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"\xff broken\n" + b"".join(b"%d\n" % n for n in range(5_000)))
    assert tail(log, lines=2) == ["4998", "4999"]


async def test_readiness_is_asked_until_it_is_there() -> None:
    reason: str | None = "no table yet"
    asked = 0

    def unready() -> str | None:
        nonlocal reason, asked
        asked += 1
        answer, reason = reason, None if asked >= 2 else reason
        return answer

    server = OpsServer(ops_app(process_registry("node-1", "node"), unready), "127.0.0.1", 0)
    await server.start()
    try:
        part = Part("node-1", "node", server.port, 1)
        ready: list[str] = []
        seen: list[str] = []
        readiness = Readiness({"node-1": part}, ready.append)
        readiness.expect("node-1")
        async with session() as http:
            while readiness.reasons:
                await readiness.ask(http, "node-1")
                seen.append(str(readiness))
        assert ready == ["node-1"] and seen == ["node-1 no table yet", "node-1 no table yet", ""]
    finally:
        await server.stop()


async def test_what_is_not_ready_is_told_in_words() -> None:
    async with session() as http:
        assert await unready_reason(http, Part("node-1", "node", 1, 1)) == "does not answer yet"
        server = OpsServer(web.Application(), "127.0.0.1", 0)
        await server.start()
        try:
            assert await unready_reason(http, Part("node-1", "node", server.port, 1)) == "answers 404"
        finally:
            await server.stop()


def test_the_guide_says_where_everything_is(tmp_path: Path) -> None:
    text = "\n".join(guide(Layout(tmp_path, 9000, 2), 1.0))
    for place in ("http://127.0.0.1:9000", "ws://127.0.0.1:9001/v1/ws", "http://127.0.0.1:9001/ ", "9002", str(tmp_path), "Ctrl-C"):
        assert place in text
    assert "demo" not in text, "where there is none"


def test_the_guide_to_a_demo_fits_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parent.parent.parent)
    monkeypatch.setattr("tools.snippets.ROOT", Path.cwd())
    monkeypatch.setattr("tools.snippets.node_is_there", lambda: True)
    demo = Demo("http://127.0.0.1:7401/demo#F7KM-2Q9D-XW4T", "maya", "theo")
    lines = guide(Layout(Path("/srv/homing/data"), 7400, 3, True), 1.9, demo)
    assert [line for line in lines if len(line) > 80 and "--data" not in line] == []
    assert f"  {demo.link}" in lines
    monkeypatch.setattr("tools.snippets.node_is_there", lambda: False)
    text = "\n".join(guide(Layout(Path("data").resolve(), 7400, 3, True), 1.9, demo))
    assert "--data" not in text and "node 20 or newer, which is not here" in text and "node --input-type" not in text


def test_the_readme_shows_the_guide_word_for_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the path of the data directory, which is where each one put it."""
    root = Path(__file__).resolve().parent.parent.parent
    monkeypatch.chdir(root)
    monkeypatch.delenv("HOMING_DATA", raising=False)
    monkeypatch.setattr("tools.snippets.sys.executable", str(root / ".venv" / "bin" / "python"))
    monkeypatch.setattr("tools.snippets.node_is_there", lambda: True)
    demo = Demo("http://127.0.0.1:7401/demo#F7KM-2Q9D-XW4T", "maya", "theo")
    printed = "\n".join(guide(Layout(root / "data", 7400, 3, True), 2.1, demo)).replace(str(root / "data"), "/home/you/homing/data")
    assert f"```text\n{printed}\n```" in (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("said", "usable"), [("v20.1.0", True), ("v18.20.4", False), ("v22.0.0", True), ("nonsense", False)])
def test_a_node_that_is_too_old_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, usable: bool) -> None:
    fake = tmp_path / "node"
    fake.write_text(f"#!/bin/sh\necho {said}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert node_is_there() == usable
    fake.unlink()
    assert not node_is_there()
