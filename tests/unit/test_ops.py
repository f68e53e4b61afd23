"""What a process shows of itself: healthy, ready or why not, and its metrics."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from router.ops import Ops, OpsServer, ops_app, process_registry


def test_health_needs_no_readiness() -> None:
    ops = Ops(process_registry("node-1", "node"), lambda: "no table yet")
    healthy, unready = ops.answer("/healthz"), ops.answer("/readyz")
    assert healthy is not None and healthy.status == 200
    assert unready is not None and unready.status == 503
    assert json.loads(unready.body) == {"ready": False, "reason": "no table yet"}


def test_only_the_three_paths_are_answered() -> None:
    assert Ops(process_registry("node-1", "node"), lambda: None).answer("/metrics/") is None


def test_metrics_name_the_present_incarnation_and_hold_what_was_registered() -> None:
    incarnation = "node-1:old"
    registry = process_registry("node-1", "node", lambda: incarnation)
    Counter("homing_sends", "Sends", registry=registry).inc(3)
    incarnation = "node-1:new"
    answer = Ops(registry, lambda: None).answer("/metrics")
    assert answer is not None
    samples = {s.name: s for family in text_string_to_metric_families(answer.body.decode()) for s in family.samples}
    assert samples["homing_process_info"].labels == {"process": "node-1", "role": "node", "incarnation": "node-1:new"}
    assert samples["homing_sends_total"].value == 3
    assert samples["process_resident_memory_bytes"].value > 0


async def test_the_server_answers_over_http_and_says_when_its_port_is_taken() -> None:
    reason: str | None = "starting"
    server = OpsServer(ops_app(process_registry("storage-1", "storage"), lambda: reason), "127.0.0.1", 0)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            assert (await session.get("/readyz")).status == 503
            reason = None
            assert (await session.get("/readyz")).status == 200
            metrics = await session.get("/metrics")
            assert metrics.headers["Content-Type"].startswith("text/plain") and "homing_process_info" in await metrics.text()
            assert (await session.get("/secret")).status == 404
        second = OpsServer(ops_app(process_registry("storage-2", "storage"), lambda: None), "127.0.0.1", server.port)
        with pytest.raises(OSError, match="in use"):
            await second.start()
    finally:
        await server.stop()


async def test_a_request_that_is_no_http_is_counted_and_a_handlers_error_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: web.Request) -> web.Response:
        raise ZeroDivisionError

    registry = process_registry("storage-1", "storage")
    app = ops_app(registry, lambda: None)
    app.router.add_get("/broken", broken)
    server = OpsServer(app, "127.0.0.1", 0)
    await server.start()
    before = registry.get_sample_value("homing_http_malformed_total") or 0.0
    try:
        for line in (
            b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
            b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(line)
            status = (await reader.readline()).split()[1]
            assert status == (b"500" if b"broken" in line else b"400")
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()
    assert registry.get_sample_value("homing_http_malformed_total") == before + 2
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError
