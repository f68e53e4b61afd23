"""What the directory shows at ``/metrics``. Owns names and meanings; reads the core when asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from directory.service import DirectoryService

NOTES = ("joined", "taken_out", "published", "taking_over", "stepped_down", "commit_refused", "row_unreachable", "move_taken_back")


class DirectoryMetrics(Collector):
    """Registers itself; ``service`` gives None before the service runs."""

    def __init__(self, registry: CollectorRegistry, service: Callable[[], DirectoryService | None]) -> None:
        self._service = service
        registry.register(self)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        service = self._service()
        if service is None:
            return
        core = service.core
        yield GaugeMetricFamily("homing_directory_epoch", "Epoch of the published table", core.published.epoch)
        yield GaugeMetricFamily("homing_directory_leading", "1 if this directory leads", int(core.leading))
        yield GaugeMetricFamily("homing_directory_moves", "Batches of slots under way", len(core.moves))
        members = GaugeMetricFamily("homing_directory_members", "Live processes by role", labels=["role"])
        for role, count in Counter(a.member.role for a in core.roll.alive.values()).items():
            members.add_metric([role], count)
        yield members
        slots = GaugeMetricFamily("homing_directory_slots", "Slots by node", labels=["node"])
        for member in core.published.role("node"):
            slots.add_metric([member.name], core.published.slots_of(member.incarnation))
        yield slots
        notes = CounterMetricFamily("homing_directory_notes", "What happened, by kind", labels=["kind"])
        for kind in NOTES:
            notes.add_metric([kind], service.counts[kind])
        yield notes
        yield CounterMetricFamily("homing_directory_bad_frames", "Frames that were not understood", service.counts["bad_frames"])
