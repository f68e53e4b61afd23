"""`homing status`: what is unknown is not zero, rates are of one incarnation, and JSON holds all that the table shows."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from rich.console import Console

from router.ops import OpsServer
from tools import cli
from tools.http import session
from tools.layout import Layout
from tools.observe import Observer, ProcessStatus, Status, parse_metrics
from tools.status import COLUMNS, render, where

INFO = 'homing_process_info{{incarnation="{0}",process="node-1",role="node"}} 1.0\n'


class Fake:
    """A directory and a node on one port; what they answer can be changed."""

    def __init__(self) -> None:
        self.cluster: dict[str, object] | None = {
            "schema": 1,
            "epoch": 7,
            "directory": "directory-1",
            "settled": True,
            "moves_in_flight": 0,
            "members": [{"name": "node-1", "role": "node", "slots": 16_384, "in_table": True, "sessions": 3, "storage_ok": True}],
        }
        self.metrics = ""
        self.ready: tuple[int, dict[str, object]] = (200, {"ready": True})
        app = web.Application()
        app.router.add_get("/v1/cluster", self._cluster)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self.server = OpsServer(app, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def _cluster(self, request: web.Request) -> web.Response:
        return web.json_response(self.cluster) if self.cluster is not None else web.Response(status=500, text="no")

    async def _readyz(self, request: web.Request) -> web.Response:
        return web.json_response(self.ready[1], status=self.ready[0])

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self.metrics)


@pytest.fixture
async def fake() -> AsyncIterator[Fake]:
    made = Fake()
    await made.server.start()
    yield made
    await made.server.stop()


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with session() as opened:
        yield opened


def node(status: Status) -> ProcessStatus:
    return next(p for p in status.processes if p.name == "node-1")


def table(status: Status, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    with console.capture() as shown:
        console.print(render(status, width))
    return shown.get()


async def test_what_a_process_does_not_say_is_unknown(fake: Fake, http: ClientSession) -> None:
    fake.metrics = INFO.format("node-1:a")
    found = node(await Observer(http, fake.url, {"node-1": fake.url}).look(0, 0))
    assert (found.conversations, found.queue, found.memory_bytes, found.started_at) == (None, None, None, None)
    assert (found.reachable, found.ready, found.slots, found.sessions) == (True, True, 16_384, 3)


async def test_a_process_whose_address_is_not_known_is_neither_reachable_nor_unreachable(fake: Fake, http: ClientSession) -> None:
    status = await Observer(http, fake.url, {}).look(0, 0)
    assert node(status).reachable is None and node(status).ready is None
    assert "?" in table(status) and "does not answer" not in table(status)


async def test_a_process_that_does_not_answer_is_shown_with_what_the_directory_knows(fake: Fake, http: ClientSession) -> None:
    status = await Observer(http, fake.url, {"node-1": "http://127.0.0.1:1"}).look(0, 0)
    assert node(status).reachable is False and node(status).slots == 16_384
    assert "does not answer" in table(status)


async def test_without_the_directory_what_else_is_known_is_shown(fake: Fake, http: ClientSession) -> None:
    fake.cluster, fake.metrics = None, INFO.format("node-1:a") + "homing_node_sessions 5.0\n"
    status = await Observer(http, fake.url, {"node-1": fake.url}).look(0, 0)
    assert not status.directory_reachable and status.epoch is None and status.settled is None
    assert node(status).sessions == 5 and node(status).in_table is None
    assert "the directory does not answer" in table(status)


async def test_rates_are_the_growth_between_two_looks_summed_over_labels(fake: Fake, http: ClientSession) -> None:
    observer = Observer(http, fake.url, {"node-1": fake.url})
    text = 'homing_mesh_frames_sent_total{{peer="a"}} {}\nhoming_mesh_frames_sent_total{{peer="b"}} {}\n'
    fake.metrics = INFO.format("node-1:a") + text.format(10, 0)
    assert node(await observer.look(0, 100.0)).rates == {"mesh_frames": None}
    fake.metrics = INFO.format("node-1:a") + text.format(20, 30)
    assert node(await observer.look(0, 104.0)).rates == {"mesh_frames": 10.0}
    fake.metrics = INFO.format("node-1:b") + text.format(90, 90)
    assert node(await observer.look(0, 105.0)).rates == {"mesh_frames": None}, "another incarnation counts from nothing"


async def test_a_process_that_is_not_ready_says_why(fake: Fake, http: ClientSession) -> None:
    fake.ready, fake.metrics = (503, {"ready": False, "reason": "no storage worker"}), INFO.format("node-1:a")
    status = await Observer(http, fake.url, {"node-1": fake.url}).look(0, 0)
    assert node(status).ready is False and node(status).unready_reason == "no storage worker"
    assert "not ready: no storage worker" in table(status)


async def test_garbage_for_metrics_is_no_answer(fake: Fake, http: ClientSession) -> None:
    fake.metrics = "<html>\n{{{"
    assert node(await Observer(http, fake.url, {"node-1": fake.url}).look(0, 0)).reachable is False


def full() -> Status:
    """A status in which every number is another one."""
    rates: dict[str, float | None] = {"frames_in": 1101, "frames_out": 1102, "mesh_frames": 1103, "cpu": 0.17}
    n = ProcessStatus(
        "node-1", "node", "http://h:1", "node-1:a", True, True, True, None, True, 1201, 1202, 1203, 1204, 5, 900, 1205 << 20, rates
    )
    s = ProcessStatus("storage-1", "storage", queue=1301, rates={"rows": 1302, "commits": 1303}, ready=True)
    return Status(1_000, "http://h:0", True, 1401, False, 1402, [n, s])


def test_the_table_shows_every_number_and_json_holds_them_all() -> None:
    numbers = ("1101", "1102", "1103", "17", "1201", "1202", "1203", "1204", "1205", "1301", "1302", "1303", "1401", "1402")
    shown, held = table(full()), json.dumps(full().json())
    for number in numbers:
        assert number in shown
        assert number in held or number in {"17", "1205"}, "CPU is held as a share, memory in bytes"
    assert full().json()["schema"] == "homing.status/1"
    assert {field.name for field in fields(ProcessStatus)} == set(json.loads(held)["processes"][0])


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_table_fits_the_terminal(width: int) -> None:
    lines = table(full(), width).splitlines()
    assert max(map(len, lines)) <= width and "1101" in "".join(lines) and "…" not in "".join(lines)
    assert [c.width_min for c in COLUMNS if c.heading in {"process", "state", "slots", "sessions"}] == [0] * 4


def test_metrics_are_summed_over_labels() -> None:
    text = INFO.format("n:1") + 'a_total{x="1"} 2.0\na_total{x="2"} 3.0\n'
    assert parse_metrics(text) == ("n:1", {"homing_process_info": 1.0, "a_total": 5.0})


def test_the_url_comes_from_the_option_else_from_the_data_directory_else_it_is_the_default(tmp_path: Path) -> None:
    assert where(None, tmp_path) == ("http://127.0.0.1:7400", {})
    layout = Layout.at(tmp_path)
    layout.make()
    layout.state_file.write_text(
        json.dumps({"url": "http://127.0.0.1:9000", "processes": [{"name": "node-1", "url": "http://127.0.0.1:9001"}]})
    )
    noted = ("http://127.0.0.1:9000", {"node-1": "http://127.0.0.1:9001"})
    assert where(None, tmp_path) == noted and where("http://127.0.0.1:9000/", tmp_path) == noted
    assert where("http://other", tmp_path) == ("http://other", {})
    layout.state_file.write_text("[]")
    assert where(None, tmp_path) == ("http://127.0.0.1:7400", {})


def test_where_nothing_answers_it_says_so_with_exit_code_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--url", "http://127.0.0.1:1", "--data", str(tmp_path)]) == 7
    assert "http://127.0.0.1:1" in capsys.readouterr().err
