"""A node's HTTP beside the WebSocket: health, metrics, and what operators look at and do (``/debug``, with their key)."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from aiohttp import web
from homing import codes, ids
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.documents import Documents
from node.edge.tokens import is_device
from node.refusal import Refused
from node.rest.problems import response
from node.web import WebClient
from router.ops import Ops, process_registry

if TYPE_CHECKING:
    from node.core.node import NodeCore
    from node.gateway import Gateway

STORAGE_STUCK_S = 2.0
"""Storage counts as unreachable when the same request has waited this long."""


class NodeMetrics(Collector):
    """What ``/metrics`` tells of a node; read at each scrape, nothing is counted twice."""

    def __init__(self, core: NodeCore, gateway: Gateway) -> None:
        self.core, self.gateway = core, gateway

    def collect(self) -> Iterator[Metric]:
        core, counts = self.core, self.gateway.counts
        gauges = {
            "sessions": ("Signed-in sessions", len(core.edge.sessions)),
            "mailboxes": ("Mailboxes in memory", len(core.mailboxes)),
            "conversations": ("Active conversations", len(core.conversations)),
            "storage_pending": ("Writes and reads without an answer", len(core.storage)),
            "unsaid_entries": ("Entries that are not said yet", sum(len(c.pending) for c in core.conversations.values())),
            "unsettled_entries": ("Entries not in every home's hand", sum(len(c.speech.unsettled) for c in core.conversations.values())),
            "watch_pairs": ("Pairs of watcher and watched, at the home of the watched", core.live.presence.pairs),
            "here": ("People at home here who are here, or were a moment ago", len(core.live.attendance.users)),
            "table_epoch": ("Epoch of the slot table", core.epoch),
            "slots": ("Slots owned", core.slots_owned),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"homing_node_{name}", text, value)
        for name in counts:
            yield CounterMetricFamily(f"homing_node_{name}", f"Client {name.replace('_', ' ')}", counts[name])
        for name, value in core.counts.items():
            yield CounterMetricFamily(f"homing_node_{name}", f"Node {name.replace('_', ' ')}", value)
        for name, value in core.mesh.counters.items():
            yield CounterMetricFamily(f"homing_mesh_dropped_{name}", f"Packets dropped: {name}", value)
        yield from self._links()

    def _links(self) -> Iterator[Metric]:
        stats = self.core.mesh.stats()
        sent = CounterMetricFamily("homing_mesh_frames_sent", "Frames given to links", labels=["peer"])
        window = GaugeMetricFamily("homing_mesh_window_frames", "Frames not acknowledged", labels=["peer"])
        for incarnation, link in stats.items():
            peer = incarnation.partition(":")[0]
            sent.add_metric([peer], link.frames_out)
            window.add_metric([peer], link.window_frames)
        yield sent
        yield window


class NodeHttp:
    """The routes of a node."""

    def __init__(self, core: NodeCore, gateway: Gateway, unready: Callable[[], str | None], ops_key: bytes) -> None:
        self.core, self.gateway = core, gateway
        self.ops_key = ops_key
        """What operators' tools show; empty: there is nothing to look at."""
        name = core.mesh.me.name
        registry = process_registry(name, "node", lambda: core.me)
        registry.register(NodeMetrics(core, gateway))
        self.before_revoke: Callable[[str, str], Awaitable[object]] | None = None
        """Where there are accounts: ends what renews a device's tokens. Raises Refused."""
        self.ops = Ops(registry, unready)
        self.documents = Documents()
        self.web = WebClient()

    def add_to(self, app: web.Application) -> None:
        self.ops.add_to(app)
        self.documents.add_to(app)
        self.web.add_to(app)
        if self.ops_key:
            app.router.add_get("/debug/trace", self.trace)
            app.router.add_post("/debug/revoke", self.revoke)

    @staticmethod
    def now() -> float:
        """The event loop's clock."""
        return time.monotonic()

    def storage_ok(self) -> bool:
        """What the renewals say of storage."""
        return bool(self.core.storage.workers)

    async def trace(self, request: web.Request) -> web.Response:
        """``GET /debug/trace?message=ID`` with the operators' key: the steps of one message that this node remembers."""
        if not self._is_operator(request):
            return response(Refused(codes.TOKEN_INVALID, "the operators' key is needed"))
        try:
            message = ids.parse_message_id(request.query.get("message", ""))
        except ValueError as error:
            return response(Refused(codes.INVALID, str(error), "message", status=400))
        now, now_ms = self.now(), self.core.directory.time_ms(self.now())
        steps = [
            {"at_ms": round(now_ms - (now - step.at) * 1_000, 3), "what": step.what, "cause": step.cause, "detail": step.detail}
            for step in self.core.trace.of(message.conversation, message.seq)
        ]
        return web.json_response({"schema": "homing.trace/1", "process": self.core.mesh.me.name, "steps": steps})

    async def revoke(self, request: web.Request) -> web.Response:
        """``POST /debug/revoke?user=ID&device=NAME`` with the operators' key: the device is not let in any more. 200: for ever."""
        if not self._is_operator(request):
            return response(Refused(codes.TOKEN_INVALID, "the operators' key is needed"))
        user, device = request.query.get("user", ""), request.query.get("device", "")
        if not ids.is_id(user) or ids.kind_of(user) != ids.USER or not is_device(device):
            text = "user is a user's id, device the name of a device in his tokens"
            return response(Refused(codes.INVALID, text, status=400))
        try:
            if self.before_revoke is not None:
                await self.before_revoke(user, device)
        except Refused as refused:
            return response(refused)
        code = await self.revoked(user, device)
        if code is not None:
            status = 400 if code.action == "fix" else 503
            return response(Refused(code, "it is not known whether this was done: ask again", retry_after_s=1.0, status=status))
        return web.json_response({"schema": "homing.revoked/1", "user": user, "device": device})

    async def revoked(self, user: str, device: str) -> codes.Code | None:
        """Revokes a device through its user's home. None: it is done; else why that is not known: it may be asked for again."""
        heard: asyncio.Future[codes.Code | None] = asyncio.get_running_loop().create_future()
        self.gateway.revoke(user, device, lambda code: None if heard.done() else heard.set_result(code))
        try:
            return await asyncio.wait_for(heard, 2 * self.core.limits.request_timeout_s)
        except TimeoutError:  # the incarnation has ended
            return codes.UNAVAILABLE

    def _is_operator(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.ops_key)
