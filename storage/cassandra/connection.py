"""How the driver is set up: one session, its policies, its prepared statements, bursts of requests. The one module that sets options of
cassandra-driver.

    * TCP_NODELAY: without it a request waits 40 ms for the acknowledgement of the one before.
    * No time-out and no refusal is retried by the driver, for only the caller knows that the same row is written again; a request whose
      connection broke goes to the next node once, since every statement can be done twice.
    * No timestamps of the driver's or the server's clock: each statement brings its own.
    * Protocol version 4: the frames of version 5 have checksums that the driver computes in Python.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import BoundedSemaphore, Event, Lock
from typing import Any

from cassandra import ConsistencyLevel, DriverException, InvalidRequest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import ConstantReconnectionPolicy, DCAwareRoundRobinPolicy, RetryPolicy, TokenAwarePolicy
from cassandra.query import BatchStatement, BatchType, tuple_factory

from storage.cassandra.requests import Request
from storage.cassandra.statements import Select, Statement, Value
from storage.config import CassandraConfig

CONNECT_TIMEOUT_S = 5.0
QUERY_TIMEOUT_S = 30.0
"""A table is made once all nodes agree on it: seconds, where they are busy."""
HEARTBEAT_S = 4.0
"""On a connection on which nothing comes in: a server that hangs is left after twice this, and till then its share of requests is lost."""
RECONNECT_S = 0.5
"""Between two tries to reach a node that is down: back within a second, at hardly any cost."""
BURST_SLACK_S = 2.0
"""How much longer than its time-out a request is waited for before it is taken as unknown: the driver's own timer comes first."""

for _noisy in ("cassandra.pool", "cassandra.connection"):  # a line for each try to reach a node that is down; that it is, another one says
    logging.getLogger(_noisy).setLevel(logging.ERROR)
_TABLE = re.compile(r"\b(INTO|UPDATE|FROM) (\w+)")
Columns = tuple[Any, ...]
ENGINE_ERRORS = (DriverException, NoHostAvailable, OSError)


class StoreUnreachable(OSError):
    """No server answers now; later one may."""


class _Retry(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """See the module's docstring."""

    def on_read_timeout(self, *args: Any, **kwargs: Any) -> tuple[int, Any]:
        return self.RETHROW, None

    def on_write_timeout(self, *args: Any, **kwargs: Any) -> tuple[int, Any]:
        return self.RETHROW, None

    def on_unavailable(self, *args: Any, **kwargs: Any) -> tuple[int, Any]:
        return self.RETHROW, None

    def on_request_error(self, query: Any, consistency: Any, error: Any, retry_num: int) -> tuple[int, Any]:
        return (self.RETRY_NEXT_HOST, None) if retry_num == 0 else (self.RETHROW, None)


class Connection:
    """A session with a cluster.

    Raises:
        StoreUnreachable: no node answers, or it does not let us in.
    """

    def __init__(self, config: CassandraConfig) -> None:
        self.config = config
        profile = ExecutionProfile(
            load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(config.datacenter)),
            retry_policy=_Retry(),
            consistency_level=ConsistencyLevel.LOCAL_QUORUM,
            request_timeout=config.request_timeout_ms / 1_000,
            row_factory=tuple_factory,
        )
        self.cluster = Cluster(
            list(config.contact_points),
            port=config.port,
            auth_provider=_credentials(config),
            protocol_version=4,
            compression=False,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reconnection_policy=ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
            sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            idle_heartbeat_interval=HEARTBEAT_S,
            idle_heartbeat_timeout=HEARTBEAT_S,
            connect_timeout=CONNECT_TIMEOUT_S,
            control_connection_timeout=CONNECT_TIMEOUT_S,
        )
        self._slots = BoundedSemaphore(config.in_flight_max)
        self._prepared: dict[str, Any] = {}
        try:
            self.session: Session = self.cluster.connect()
        except ENGINE_ERRORS as error:
            self.cluster.shutdown()
            raise StoreUnreachable(f"Cassandra at {', '.join(config.contact_points)}: {describe(error)}") from error
        self.session.use_client_timestamp = False

    def close(self) -> None:
        self.cluster.shutdown()

    # ------------------------------------------------------------ statements

    def prepare(self) -> None:
        """Prepares every statement.

        Raises:
            StoreUnreachable: the servers do not answer, or do not know the tables.
        """
        try:
            for statement in (*Statement, *Select):
                text = _TABLE.sub(rf"\1 {self.config.keyspace}.\2", statement.value)
                self._prepared[statement] = self.session.prepare(text)
        except ENGINE_ERRORS as error:
            raise StoreUnreachable(f"statements cannot be prepared: {describe(error)}") from error

    def bind(self, request: Request) -> Any:
        """The driver's statement for a request.

        Raises:
            ValueError, TypeError, OverflowError: a value that its column cannot hold.
        """
        if len(request.statements) == 1:
            statement, params = request.statements[0]
            return self._prepared[statement].bind(params)
        batch = BatchStatement(BatchType.UNLOGGED)
        for statement, params in request.statements:
            batch.add(self._prepared[statement].bind(params))
        return batch

    # ------------------------------------------------------------ requests

    def burst(self, statements: Sequence[Any]) -> list[BaseException | None]:
        """Sends all of them, a bounded number at a time, and waits for the end of each; None: it succeeded."""
        burst = _Burst(len(statements), self._slots.release)
        wait_s = self.config.request_timeout_ms / 1_000 + BURST_SLACK_S
        for number, statement in enumerate(statements):
            self._slots.acquire()
            try:
                future = self.session.execute_async(statement)
            except Exception as error:  # the session is closed, or no connection takes it: as unknown as any other end
                burst.on_end(number, error)
                continue
            future.add_callbacks(burst.on_result, burst.on_error, callback_args=(number,), errback_args=(number,))
        return burst.wait(wait_s)

    def ask(self, select: Select, params: Sequence[Value], fetch_size: int) -> Any:
        """Starts a read; its rows come from ``rows``."""
        bound = self._prepared[select].bind(params)
        bound.fetch_size = fetch_size
        return self.session.execute_async(bound)

    def query(self, text: str, host: Any = None) -> list[Columns]:
        """A simple question, of one node if it is named, or a change of the schema; has more time than a row's request.

        Raises:
            StoreUnreachable: it is not answered.
        """
        try:
            return list(self.session.execute(text, host=host, timeout=QUERY_TIMEOUT_S))
        except InvalidRequest:
            raise
        except ENGINE_ERRORS as error:
            raise StoreUnreachable(describe(error)) from error


def rows(asked: Any) -> Iterator[Columns]:
    """The rows of a read, page by page as they are taken."""
    return iter(asked.result())


class _Burst:
    """Counts the ends of requests, in whatever thread they come, and wakes its waiter once."""

    def __init__(self, count: int, release: Callable[[], None]) -> None:
        self._lock = Lock()
        self._release = release
        self._left = count
        self._errors: list[BaseException | None] = [None] * count
        self._ended = [False] * count
        self._all = Event()
        if not count:
            self._all.set()

    def on_result(self, _rows: Any, number: int) -> None:
        self.on_end(number, None)

    def on_error(self, error: BaseException, number: int) -> None:
        self.on_end(number, error)

    def on_end(self, number: int, error: BaseException | None) -> None:
        with self._lock:
            if self._ended[number]:
                return
            self._ended[number] = True
            self._errors[number] = error
            self._left -= 1
            is_last = not self._left
        self._release()
        if is_last:
            self._all.set()

    def wait(self, seconds: float) -> list[BaseException | None]:
        if not self._all.wait(seconds):
            for number in range(len(self._errors)):
                self.on_end(number, TimeoutError("no answer"))
        return list(self._errors)


def _credentials(config: CassandraConfig) -> Any:
    if not config.username:
        return None
    try:
        password = Path(config.password_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreUnreachable(f"{config.password_file}: {error.strerror}") from error
    return PlainTextAuthProvider(config.username, password)


def describe(error: BaseException) -> str:
    """One line; the driver's errors of several nodes are long."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
