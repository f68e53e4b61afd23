"""The accounts' database behind a few threads, opened when it is first needed.

Law: whatever a driver raises, a request hears that it may try again; the log says what it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from homing import codes

from node.accounts.config import AccountsConfig
from node.accounts.pool import Pool
from node.refusal import Refused
from router import logs

if TYPE_CHECKING:
    from storage.relational.accounts import AccountRows

T = TypeVar("T")
RETRY_AFTER_S = 1.0
log = logs.get("node.accounts")


class Database:
    """Calls that block, off the event loop."""

    def __init__(self, config: AccountsConfig) -> None:
        self._config = config
        self.pool = Pool("accounts", config.database_threads, config.database_waiting_max)
        self._lock = threading.Lock()
        self._rows: AccountRows | None = None
        self.failures = 0

    async def call(self, what: Callable[[AccountRows], T]) -> T:
        """What ``what`` makes of the rows, in one of the threads.

        Raises:
            Refused: by ``what``; or too many wait; or the database does not do it.
        """
        try:
            return await self.pool.run(self._run, what)
        except Refused:
            raise
        except Exception as error:
            from storage.relational.engine import one_line

            self.failures += 1
            log.warning("accounts_database_failed", reason=one_line(error))
            raise Refused(codes.UNAVAILABLE, "the accounts cannot be reached now", retry_after_s=RETRY_AFTER_S) from error

    async def close(self) -> None:
        await self.pool.close()
        if self._rows is not None:
            self._rows.close()

    def _run(self, what: Callable[[AccountRows], T]) -> T:
        return what(self._open())

    def _open(self) -> AccountRows:
        with self._lock:
            if self._rows is None:
                from storage.relational.accounts import AccountRows

                config = self._config
                rows = AccountRows(config.database, config.database_timeout_s, config.database_threads)
                try:
                    rows.migrate()
                except BaseException:
                    rows.close()
                    raise
                self._rows = rows
            return self._rows
