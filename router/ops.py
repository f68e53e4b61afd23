"""What every process shows of itself over HTTP: ``/healthz``, ``/readyz`` and ``/metrics``.

Owns the three answers and the small HTTP server that directory and storage give them from; a node gives the same answers from its own
port, by ``Ops.answer`` or ``Ops.add_to``. It must not know what makes a process ready: that is a function it is handed.

* ``/healthz``: 200 as long as the event loop runs; whoever gets no answer in time may kill the process.
* ``/readyz``: 200 when the process does its work for others, else 503 and the reason: load balancers and `homing up` ask here.
* ``/metrics``: Prometheus' text form. Names begin with ``homing_``; no user or conversation is ever a label.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from router.malformed import SERVER_LOG

PATHS = ("/healthz", "/readyz", "/metrics")
JSON_TYPE = "application/json; charset=utf-8"


class Answer(NamedTuple):
    """One HTTP answer, for whichever server gives it."""

    status: int
    content_type: str
    body: bytes


class _Identity(Collector):
    """``homing_process_info``: which process this is. The incarnation is asked at each scrape: a node gets a new one while it lives."""

    def __init__(self, process: str, role: str, incarnation: Callable[[], str]) -> None:
        self.process, self.role, self.incarnation = process, role, incarnation

    def collect(self) -> list[Metric]:
        labels = {"process": self.process, "role": self.role, "incarnation": self.incarnation()}
        return [InfoMetricFamily("homing_process", "Which process this is", value=labels)]


def process_registry(process: str, role: str, incarnation: Callable[[], str] = lambda: "") -> CollectorRegistry:
    """A registry that already holds the identity, memory, CPU and garbage-collection figures of this process, and its malformed requests.

    Args:
        process: its name, ``node-1``.
        role: node, directory or storage.
        incarnation: gives the present incarnation.
    """
    registry = CollectorRegistry()
    registry.register(_Identity(process, role, incarnation))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(SERVER_LOG)
    return registry


class Ops:
    """The three answers.

    Args:
        registry: what ``/metrics`` prints.
        unready: gives the reason why the process is not ready, or None when it is. Called at each request; must be cheap.
    """

    def __init__(self, registry: CollectorRegistry, unready: Callable[[], str | None]) -> None:
        self.registry = registry
        self.unready = unready

    def answer(self, path: str) -> Answer | None:
        """The answer to ``GET path``; None when the path is none of the three."""
        if path == "/healthz":
            return _json(200, {"ok": True})
        if path == "/readyz":
            reason = self.unready()
            return _json(200, {"ready": True}) if reason is None else _json(503, {"ready": False, "reason": reason})
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))
        return None

    def add_to(self, app: web.Application) -> None:
        """Adds the three paths to an aiohttp application."""
        for path in PATHS:
            app.router.add_get(path, self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        answer = self.answer(request.path)
        assert answer is not None, "only the three paths are routed here"
        headers = {"Content-Type": answer.content_type, "Cache-Control": "no-store"}
        return web.Response(status=answer.status, body=answer.body, headers=headers)


def _json(status: int, value: dict[str, object]) -> Answer:
    return Answer(status, JSON_TYPE, json.dumps(value).encode())


class OpsServer:
    """An HTTP server for an aiohttp application, usually one with nothing but the three paths.

    Args:
        app: what it serves.
        host: the address to listen at.
        port: the port; 0 takes a free one, see ``port`` after ``start``.
    """

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._runner = web.AppRunner(app, access_log=None, logger=SERVER_LOG, handle_signals=False, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Binds and serves.

        Raises:
            OSError: the port is taken.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        address = self._runner.addresses[0]
        self.port = int(address[1])

    async def stop(self) -> None:
        await self._runner.cleanup()


def ops_app(registry: CollectorRegistry, unready: Callable[[], str | None]) -> web.Application:
    """An aiohttp application with the three paths; more routes may be added before it is served."""
    app = web.Application(client_max_size=64 * 1024)
    Ops(registry, unready).add_to(app)
    return app
