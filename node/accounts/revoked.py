"""Which devices were signed out, remembered for a moment: every REST request asks.

Law: a device that is signed out anywhere in the cluster is refused by every node ``FRESH_S`` later at the latest (5 s are promised).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

FRESH_S = 2.0
"""How old an answer may be."""
ENTRIES_MAX = 20_000
"""Devices that are remembered: as many as ask within ``FRESH_S`` on a busy node; some 200 bytes each."""


class RevokedDevices:
    """Answers of the database, kept."""

    def __init__(self, ask: Callable[[str, str], Awaitable[bool]], now: Callable[[], float]) -> None:
        self._ask, self._now = ask, now
        self._known: OrderedDict[tuple[str, str], tuple[float, bool]] = OrderedDict()

    async def __call__(self, user: str, device: str) -> bool:
        """Whether it was signed out. Raises Refused as the database does."""
        key, now = (user, device), self._now()
        at, revoked = self._known.get(key, (float("-inf"), False))
        if now - at < FRESH_S:
            return revoked
        revoked = await self._ask(user, device)
        self._known.pop(key, None)
        self._known[key] = now, revoked
        while len(self._known) > ENTRIES_MAX:
            self._known.popitem(last=False)
        return revoked

    def forget(self, user: str, device: str) -> None:
        """Something was done to it here: the next request asks again."""
        self._known.pop((user, device), None)
