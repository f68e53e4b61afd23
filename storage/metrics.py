"""What a storage worker shows of itself at ``/metrics``. Reads counters that are kept anyway, at the time of a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from storage.service import StorageService

COMMIT_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2.0)


class StorageMetrics(Collector):
    """Counters and gauges of the worker.

    Args:
        service: gives the present worker; None before the store is open.
        rejected: gives the rows that the store could not hold.
    """

    def __init__(self, registry: CollectorRegistry, service: Callable[[], StorageService | None], rejected: Callable[[], int]) -> None:
        self._service = service
        self._rejected = rejected
        self._commit_s = Histogram("homing_storage_commit_seconds", "Time of one commit", buckets=COMMIT_S, registry=registry)
        registry.register(self)

    def on_commit(self, seconds: float, rows: int) -> None:
        self._commit_s.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        if (service := self._service()) is None:
            return
        core = service.core
        counters = {
            "rows": ("Rows with an outcome STORED or FENCED", core.rows_written),
            "unknown": ("Rows answered UNKNOWN", service.unknown),
            "rounds": ("Commits", core.rounds),
            "reads": ("Queries given to the store", core.reads),
            "refused": ("Writes and reads refused because a queue was full", core.refused),
            "rejected": ("Rows that no column can hold: a bug of their writer", self._rejected()),
            "bad_frames": ("Frames that were not understood", service.bad_frames + service.membership.bad_frames),
            "answers_dropped": ("Answers dropped because their reader's link took nothing", service.held.dropped),
        }
        gauges = {
            "queue_rows": ("Rows that wait for a commit", len(core.rows)),
            "queue_bytes": ("Their bytes", core.bytes),
            "asks": ("Reads waiting or under way", len(core.asks) + core.asks_under_way),
            "failed": ("1 while the store has failed", int(service.failed)),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"homing_storage_{name}", text, value=value)
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"homing_storage_{name}", text, value=value)
