"""What aiohttp's servers of this process log: requests that are no HTTP are counted, not told, for anybody at a port can send any number.

aiohttp answers each with 400 and logs it with a traceback. Everything else it has to say, a handler's error above all, goes its usual way.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class ServerLog(logging.Logger, Collector):
    """The logger to hand to a server, and the metric ``homing_http_malformed_total``."""

    def __init__(self) -> None:
        super().__init__("aiohttp.server")
        self.parent = logging.getLogger("aiohttp")
        self.malformed = 0

    def handle(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            self.malformed += 1
        else:
            super().handle(record)

    def collect(self) -> list[Metric]:
        return [CounterMetricFamily("homing_http_malformed", "Requests that are no HTTP, answered 400", value=self.malformed)]


SERVER_LOG = ServerLog()
"""All servers of a process have one."""
