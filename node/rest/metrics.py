"""What ``/metrics`` tells of the REST interface and of accounts; read at each scrape. No user and no address is ever a label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.rest.server import RestServer

if TYPE_CHECKING:
    from node.accounts.blocks import Blocks
    from node.accounts.service import Accounts
    from node.polls import Polls


class RestMetrics(Collector):
    """The interface itself, which is there without accounts as well."""

    def __init__(self, server: RestServer) -> None:
        self.server = server

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily("homing_rest_requests", "Answers by operation and status", labels=["operation", "status"])
        for (operation, status), count in self.server.answers.items():
            answers.add_metric([operation, str(status)], count)
        yield answers
        limited = CounterMetricFamily("homing_rest_limited", "Requests that a limiter refused", labels=["limiter", "by"])
        for name, limiter in self.server.limiters.by_name.items():
            for by, count in limiter.refused.items():
                limited.add_metric([name, by], count)
        yield limited


class DoorMetrics(Collector):
    """Accounts and polls."""

    def __init__(self, accounts: Accounts, blocks: Blocks, polls: Polls) -> None:
        self.accounts, self.blocks, self.polls = accounts, blocks, polls

    def collect(self) -> Iterator[Metric]:
        yield from self._accounts()
        yield from self._polls()

    def _polls(self) -> Iterator[Metric]:
        polls = self.polls
        yield GaugeMetricFamily("homing_polls_sessions", "Devices that poll", len(polls.by_device))
        yield GaugeMetricFamily("homing_polls_open", "Polls that wait for something", len(polls.waiting))
        yield GaugeMetricFamily("homing_polls_bytes", "Bytes that wait for devices that poll", polls.bytes)
        for name, count in polls.counts.items():
            yield CounterMetricFamily(f"homing_polls_{name}", f"Polls: {name.replace('_', ' ')}", count)

    def _accounts(self) -> Iterator[Metric]:
        accounts = self.accounts
        for name, count in accounts.counts.items():
            yield CounterMetricFamily(f"homing_accounts_{name}", f"Accounts: {name.replace('_', ' ')}", count)
        yield CounterMetricFamily("homing_accounts_database_failures", "Calls that the database did not do", accounts.database.failures)
        yield GaugeMetricFamily("homing_blocks_waiting", "Decisions that the database does not have yet", len(self.blocks.waiting))
        yield CounterMetricFamily("homing_blocks_left_out", "Decisions that found no room; told again later", self.blocks.left_out)
        busy = GaugeMetricFamily("homing_accounts_pool_calls", "Calls that run or wait in a pool of threads", labels=["pool"])
        refused = CounterMetricFamily("homing_accounts_pool_refused", "Calls that found the pool full", labels=["pool"])
        for name, pool in (("password", accounts.passwords.pool), ("database", accounts.database.pool)):
            busy.add_metric([name], pool.busy)
            refused.add_metric([name], pool.refused)
        yield busy
        yield refused
