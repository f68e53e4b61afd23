"""What `send` gives back: a handle on which to await what becomes of a message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING

from homing.protocol import Entry, Error

if TYPE_CHECKING:
    from homing.client import Client


class RequestRefused(Exception):
    """The cluster refused a request for good; `code` and `name` are those of `homing.codes`."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.name} ({error.code}): {error.message}")
        self.error = error
        self.code, self.name = error.code, error.name


class ClientClosed(Exception):
    """The client was closed before an answer came. A queued request is still in the outbox."""


class Handle:
    """A queued request. It resends itself; these only wait.

    Attributes:
        id: the client message id.
        conversation: the conversation's id.
        entry: its entry once it is stored, else None.
    """

    def __init__(self, client: Client, id_: str, conversation: str) -> None:
        self._client = client
        self.id, self.conversation = id_, conversation
        self.entry: Entry | None = None
        self._error: Exception | None = None
        self._answered = asyncio.Event()

    @property
    def stored(self) -> Awaitable[Entry]:
        """The entry, once the cluster has it for good (one tick).

        Raises (when awaited):
            RequestRefused, ClientClosed
        """
        return self._stored()

    @property
    def delivered(self) -> Coroutine[None, None, None]:
        """Done once every other member's device has it (two ticks)."""
        return self._marked(0)

    @property
    def read(self) -> Coroutine[None, None, None]:
        """Done once every other member has read it."""
        return self._marked(1)

    async def _stored(self) -> Entry:
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        assert self.entry is not None
        return self.entry

    async def _marked(self, which: int) -> None:
        entry = await self._stored()
        while not await self._client._all_marked(self.conversation, entry.seq, which):
            await self._client._marks_move(self.conversation)

    def _settle(self, entry: Entry | None, error: Exception | None = None) -> None:
        self.entry, self._error = entry, error
        self._answered.set()
