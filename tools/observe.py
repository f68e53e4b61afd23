"""What a running cluster tells of itself: the directory's ``/v1/cluster`` and every process's ``/metrics``, as one value.

Law: what was not answered is None, never 0 or False. Rates come from two looks at the counters of the same incarnation.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tools.http import get

SCHEMA = "homing.status/1"
RATES = {
    "frames_in": "homing_node_frames_in_total",
    "frames_out": "homing_node_frames_out_total",
    "mesh_frames": "homing_mesh_frames_sent_total",
    "rows": "homing_storage_rows_total",
    "commits": "homing_storage_rounds_total",
    "cpu": "process_cpu_seconds_total",
}
"""Name in the status → counter; the status holds its increase in one second."""
QUEUES = ("homing_node_storage_pending", "homing_node_unsaid_entries", "homing_storage_queue_rows", "homing_storage_asks")
"""What waits in a process: writes and reads without an answer, entries not yet said, rows and reads in the storage worker."""

Metrics = dict[str, float]
"""Sample name → sum over its labels."""


@dataclass(frozen=True)
class ProcessStatus:
    """One process; None: unknown."""

    name: str
    role: str
    url: str | None = None
    """Its HTTP, as far as known."""
    incarnation: str | None = None
    reachable: bool | None = None
    """Whether its HTTP answered; None when it was not asked, for its address is not known."""
    in_table: bool | None = None
    ready: bool | None = None
    unready_reason: str | None = None
    storage_ok: bool | None = None
    slots: int | None = None
    sessions: int | None = None
    conversations: int | None = None
    queue: int | None = None
    epoch: int | None = None
    started_at: float | None = None
    """Seconds since 1970."""
    memory_bytes: int | None = None
    rates: dict[str, float | None] = field(default_factory=dict)
    """Per second; ``cpu`` is seconds of CPU per second."""


@dataclass(frozen=True)
class Status:
    """The cluster at one moment."""

    at: float
    """Seconds since 1970."""
    url: str
    directory_reachable: bool
    epoch: int | None
    settled: bool | None
    """Whether every slot is where it should be."""
    moves_in_flight: int | None
    processes: list[ProcessStatus]

    def json(self) -> dict[str, object]:
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class Look:
    """What one look found, for the rates of the next one."""

    at: float
    """Monotonic."""
    metrics: dict[str, tuple[str, Metrics]]
    """Process name → (incarnation, samples)."""


def parse_metrics(text: str) -> tuple[str, Metrics]:
    """The incarnation and the samples in a process's ``/metrics``.

    Raises:
        ValueError: it is not Prometheus' text form.
    """
    samples: Metrics = {}
    incarnation = ""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "homing_process_info":
                incarnation = sample.labels.get("incarnation", "")
            samples[sample.name] = samples.get(sample.name, 0.0) + sample.value
    return incarnation, samples


class Observer:
    """Looks at a cluster again and again.

    Args:
        http: a session of tools.http.
        url: the directory's HTTP.
        known: name → URL of processes whose address is known otherwise (from ``run/up.json``).
    """

    def __init__(self, http: aiohttp.ClientSession, url: str, known: dict[str, str]) -> None:
        self._http, self._url, self._known = http, url.rstrip("/"), known
        self._before: Look | None = None

    async def look(self, at: float, now: float) -> Status:
        """One look; ``at`` is the wall clock, ``now`` monotonic."""
        cluster = await self._cluster()
        members = {str(m.get("name")): m for m in _dicts(cluster.get("members"))} if cluster is not None else {}
        urls = {name: _http_url(str(m.get("public_url") or "")) for name, m in members.items()}
        if cluster is not None:  # whoever answers there is the directory of that name
            urls[str(cluster.get("directory"))] = self._url
        urls = {name: self._known.get(name) or urls.get(name) for name in (*self._known, *urls)}
        names = sorted(urls, key=_order)
        answers = await asyncio.gather(*(self._ask(urls[name]) for name in names))
        look = Look(now, {})
        processes: list[ProcessStatus] = []
        for name, (reason, metrics) in zip(names, answers, strict=True):
            if metrics is not None:
                look.metrics[name] = metrics
            processes.append(self._process(name, urls[name], members.get(name, {}), reason, look))
        self._before = look
        known = cluster or {}
        return Status(
            at,
            self._url,
            cluster is not None,
            _int(known.get("epoch")),
            _bool(known.get("settled")),
            _int(known.get("moves_in_flight")),
            processes,
        )

    async def _cluster(self) -> dict[str, object] | None:
        try:
            reply = await get(self._http, f"{self._url}/v1/cluster")
            value = reply.json() if reply.status == 200 else None
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    async def _ask(self, url: str | None) -> tuple[str | None, tuple[str, Metrics] | None]:
        """Why the process is not ready ("" when it is, None when unknown), and its metrics."""
        if url is None:
            return None, None
        try:
            ready, metrics = await asyncio.gather(get(self._http, f"{url}/readyz"), get(self._http, f"{url}/metrics"))
            value = ready.json()
            reason = str(value.get("reason", "")) if isinstance(value, dict) else ""
            return ("" if ready.status == 200 else reason or f"answers {ready.status}"), parse_metrics(metrics.body.decode())
        except (OSError, ValueError):
            return None, None

    def _process(self, name: str, url: str | None, member: dict[str, object], reason: str | None, look: Look) -> ProcessStatus:
        incarnation, metrics = look.metrics.get(name, (None, {}))
        queues = [metrics[q] for q in QUEUES if q in metrics]
        sessions, slots = metrics.get("homing_node_sessions"), metrics.get("homing_node_slots")
        return ProcessStatus(
            name=name,
            role=str(member.get("role") or name.rpartition("-")[0]),
            url=url,
            incarnation=incarnation or _str(member.get("incarnation")),
            reachable=None if url is None else name in look.metrics,
            in_table=_bool(member.get("in_table")),
            ready=_bool(member.get("ready")) if reason is None else reason == "",
            unready_reason=reason or None,
            storage_ok=_bool(member.get("storage_ok")),
            slots=_int(slots) if slots is not None else _int(member.get("slots")),
            sessions=_int(sessions) if sessions is not None else _int(member.get("sessions")),
            conversations=_int(metrics.get("homing_node_conversations")),
            queue=_int(sum(queues)) if queues else None,
            epoch=_int(metrics.get("homing_node_table_epoch", metrics.get("homing_directory_epoch", member.get("epoch")))),
            started_at=metrics.get("process_start_time_seconds"),
            memory_bytes=_int(metrics.get("process_resident_memory_bytes")),
            rates=self._rates(name, look),
        )

    def _rates(self, name: str, look: Look) -> dict[str, float | None]:
        incarnation, after = look.metrics.get(name, ("", {}))
        before = self._before.metrics.get(name) if self._before is not None else None
        if self._before is None or before is None or before[0] != incarnation or look.at <= self._before.at:
            return {rate: None for rate, counter in RATES.items() if counter in after}
        seconds = look.at - self._before.at
        grown = {rate: (after[counter], before[1].get(counter)) for rate, counter in RATES.items() if counter in after}
        return {rate: None if b is None or a < b else round((a - b) / seconds, 3) for rate, (a, b) in grown.items()}


def _http_url(public_url: str) -> str | None:
    """``ws://host:port`` as ``http://host:port``."""
    for ws, http in (("ws://", "http://"), ("wss://", "https://")):
        if public_url.startswith(ws):
            return http + public_url.removeprefix(ws).rstrip("/")
    return None


def _order(name: str) -> tuple[int, str, int]:
    """The directory first, then storage, then nodes by number."""
    role, _, number = name.rpartition("-")
    rank = {"directory": 0, "storage": 1}.get(role, 2)
    return rank, role, int(number) if number.isdecimal() else 0


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _str(value: object) -> str | None:
    return value if isinstance(value, str) else None
