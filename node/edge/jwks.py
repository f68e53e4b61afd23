"""Fetches the keys of other issuers, now and then, and when a token names one that is not known.

Owns the fetching: how often, how long, how much. It must not know what a key is for.

Laws:
    * An issuer that cannot be reached costs nobody anything while its last keys count (``jwks_stale_s``).
    * One issuer is asked at most once in ``jwks_retry_s``, whatever tokens say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import aiohttp
import msgspec

from node.edge.issuers import Issuer, Issuers, TokensConfig

log = logging.getLogger("homing.edge")

DOCUMENT_BYTES_MAX = 256 * 1024


class KeyFetcher:
    """One task for each issuer.

    Args:
        config: ``[tokens]``.
        on_change: called when an issuer's keys are others: what was verified by the old ones counts no more.
    """

    def __init__(self, config: TokensConfig, on_change: Callable[[], None]) -> None:
        self.config = config
        self.issuers = Issuers(config, self.want)
        self.on_change = on_change
        self.failures = 0
        self.fetches = 0
        self._wanted = {name: asyncio.Event() for name in self.issuers.by_name}
        self._tasks: list[asyncio.Task[None]] = []

    def want(self, issuer: str) -> None:
        """Has an issuer's keys fetched soon."""
        self._wanted[issuer].set()

    def start(self) -> None:
        self._tasks = [asyncio.ensure_future(self._keep(issuer)) for issuer in self.issuers.by_name.values()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, issuer: Issuer) -> None:
        loop, config = asyncio.get_running_loop(), self.config
        wanted, good_at = self._wanted[issuer.config.issuer], loop.time()
        while True:
            wanted.clear()
            is_good = await self._fetch(issuer)
            if is_good:
                good_at = loop.time()
            elif issuer.keys and loop.time() - good_at > config.jwks_stale_s:
                log.error("the keys of an issuer are too old to be trusted", extra={"issuer": issuer.config.issuer})
                issuer.set_keys({"keys": []})
                self.on_change()
            await asyncio.sleep(config.jwks_retry_s)
            if is_good:
                try:
                    await asyncio.wait_for(wanted.wait(), config.jwks_refresh_s - config.jwks_retry_s)
                except TimeoutError:
                    continue

    async def _fetch(self, issuer: Issuer) -> bool:
        self.fetches += 1
        try:
            if issuer.set_keys(msgspec.json.decode(await self._read(issuer.config.jwks_url))):
                self.on_change()
            return True
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            self.failures += 1
            log.warning("the keys of an issuer could not be fetched", extra={"issuer": issuer.config.issuer, "reason": str(error)[:200]})
            return False

    async def _read(self, url: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=self.config.jwks_timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            data = bytearray()
            async for chunk in answer.content.iter_any():
                data += chunk
                if len(data) > DOCUMENT_BYTES_MAX:
                    raise ValueError(f"more than {DOCUMENT_BYTES_MAX} bytes")
            return bytes(data)
