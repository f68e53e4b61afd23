"""A conversation as a program uses it: events, history, members, and what one can do in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from homing import ids
from homing.handles import Handle
from homing.protocol import Entry, GroupAdd, GroupLeave, GroupRemove, GroupRename, GroupRole, MemberInfo, TypingKind
from homing.state import ConversationState
from homing.streams import EventStream

if TYPE_CHECKING:
    from homing.client import Client


class Conversation:
    """A direct chat or a group; made by `Client.conversation`. Holds no state of its own."""

    def __init__(self, client: Client, id_: str, peer: str = "") -> None:
        self._client = client
        self.id = id_
        self._peer = peer

    @property
    def state(self) -> ConversationState:
        """What this device knows of it; all zero for one that nobody has written to yet."""
        return self._client.core.conversations.get(self.id) or ConversationState(self.id)

    @property
    def is_group(self) -> bool:
        return ids.kind_of(self.id) == ids.GROUP

    @property
    def title(self) -> str:
        """A group's title; for a direct chat the other's name as far as it is known."""
        return self.state.title if self.is_group else self._client.name_of(self.peer)

    @property
    def peer(self) -> str:
        """The other member of a direct chat, "" if not known."""
        return self._peer or self.state.peer

    @property
    def unread(self) -> int:
        """Messages after the own read mark; none when the last word was one's own."""
        last = self.state.last
        return 0 if last is not None and last.sender == self._client.user else self.state.unread

    @property
    def marks(self) -> dict[str, tuple[int, int]]:
        """member -> (delivered, read), of the others."""
        return self._client.core.marks.others.get(self.id, {})

    @property
    def typists(self) -> dict[str, TypingKind]:
        """user -> "typing" or "recording", of the others who do so now."""
        return self._client.core.typists.of(self.id)

    def typing(self, activity: TypingKind = "typing") -> None:
        """The user writes, or is "recording": to be called at each key, or once for a recording. It ends by itself five seconds after the
        last key, by what is sent here, or by "stopped"."""
        self._client._type(self._peer or self.id, activity)

    def events(self) -> EventStream:
        """What happens in it from now on."""
        return self._client._stream(self.id)

    async def history(self, before: int | None = None, limit: int | None = None) -> AsyncIterator[Entry]:
        """Entries below seq `before` (None: from the newest), newest first, from the local store as far as it goes.

        Raises:
            HistoryUnavailable: what lies further back cannot be fetched now.
        """
        async for entry in self._client._history(self.id, before, limit):
            yield entry

    async def send(self, body: str, type: str = "text") -> Handle:
        """Queues a message; returns once it is safe in the outbox. See `Client.send`."""
        return await self._client.send(self._peer or self.id, body, type)

    async def read(self, seq: int | None = None, ordinal: int | None = None) -> None:
        """The user has seen everything up to `seq` (None: all there is)."""
        state = self.state
        if seq is None:
            seq, ordinal = state.contig, state.ordinal
        self._client._read(self.id, seq, ordinal)

    async def members(self) -> list[MemberInfo]:
        """Who is in it (ids and roles), asked anew.

        Raises:
            HistoryUnavailable: no answer came in time.
            RequestRefused: one is not (any more) a member.
        """
        return await self._client._members(self.id)

    async def add(self, *users: str) -> Handle:
        """Adds members (ids or names) to a group. As with all that follows: queued like a message, awaited and refused at the handle."""
        return await self._client._request(GroupAdd(id=self._client._new_id(), conversation=self.id, members=self._users(users)))

    async def remove(self, *users: str) -> Handle:
        """Takes members (ids or names) out of a group."""
        return await self._client._request(GroupRemove(id=self._client._new_id(), conversation=self.id, members=self._users(users)))

    async def leave(self) -> Handle:
        """Leaves a group; its history up to here stays."""
        return await self._client._request(GroupLeave(id=self._client._new_id(), conversation=self.id))

    async def rename(self, title: str) -> Handle:
        """Gives a group another title."""
        return await self._client._request(GroupRename(id=self._client._new_id(), conversation=self.id, title=title))

    async def set_role(self, user: str, role: str) -> Handle:
        """Makes a member "admin" or "member"."""
        frame = GroupRole(id=self._client._new_id(), conversation=self.id, user=self._client.user_of(user), role=role)
        return await self._client._request(frame)

    def _users(self, users: Sequence[str]) -> list[str]:
        return [self._client.user_of(u) for u in users]
