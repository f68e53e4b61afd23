"""Conversations over HTTP: what one request asks of the homes, by ``node.core.asking``.

Owns how a page is put together and what a refusal of a home is over HTTP. It must not know the mesh or a socket.

Law: a request is answered as a session's would be, by any node; a message under the same id is one message (P4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from homing import codes, ids, rest
from homing import protocol as p

from node.core.asking import Answer, Asking, Done
from node.core.frames import AskedSent, EntriesAnswer, HeadAnswer, HeadsOut, MarkStored, MembersAnswer, Refusal
from node.core.live_frames import TypingFrom
from node.core.questions import place_of
from node.core.views import entry_of, head_of
from node.edge.codec import wrong_field
from node.edge.tokens import Claims
from node.gateway import Gateway
from node.refusal import Refused
from storage.store import EntryRow

A = TypeVar("A", bound=Answer)

QUERY = "query"
"""The id of a request whose answer is found by its number alone."""


class Chat:
    """Asks through one node's gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.asking: Asking = gateway.core.asking
        self.timeout_s = 2 * gateway.core.limits.request_timeout_s
        """The core answers far earlier, unless this incarnation has ended."""

    async def send(self, who: Claims, m: rest.Message) -> rest.Sent:
        """Raises Refused: INVALID, NOT_A_MEMBER, NOT_FOUND, BLOCKED, RESYNC, RATE_LIMITED, OVERLOADED, UNAVAILABLE."""
        frame = p.Send(id=m.id, to=m.to, body=m.body, type=m.type, ts=m.ts, after=m.after)
        self._check(who, frame)
        answer = await self.ask(AskedSent, lambda done: self.asking.request(who.user, frame, done))
        return rest.Sent(entry=entry_of(answer.row))

    async def conversations(self, who: Claims, query: rest.ConversationsQuery) -> rest.Conversations:
        """Raises Refused: OVERLOADED, UNAVAILABLE."""
        frame = p.FetchHeads(id=QUERY, before=query.before or None, limit=query.limit)
        answer = await self.ask(HeadsOut, lambda done: self.asking.request(who.user, frame, done))
        return rest.Conversations(conversations=[head_of(head) for head in answer.heads], more=answer.more or None)

    async def members(self, who: Claims, conversation: str) -> rest.Members:
        """Raises Refused: NOT_A_MEMBER, OVERLOADED, UNAVAILABLE."""
        frame = p.FetchMembers(id=QUERY, conversation=conversation)
        answer = await self.ask(MembersAnswer, lambda done: self.asking.request(who.user, frame, done))
        return rest.Members(members=[p.MemberInfo(user=user, role=role) for user, role in answer.members], title=answer.title)

    async def messages(self, who: Claims, conversation: str, query: rest.MessagesQuery) -> rest.Messages:
        """Raises Refused: INVALID, NOT_A_MEMBER, OVERLOADED, UNAVAILABLE."""
        given = [name for name in ("before", "after", "since", "until") if getattr(query, name) is not None]
        if len(given) > 1:
            raise Refused(codes.INVALID, f"only one of {' and '.join(given)}", given[1], status=400)
        history = _History(self, who, conversation)
        if query.after is not None:
            return await history.above(query.after, query.limit)
        if query.since is not None:
            return await history.above(await history.first_at(query.since) - 1, query.limit)
        if query.until is not None:
            return await history.below(await history.first_at(query.until), query.limit)
        return await history.below(query.before, query.limit)

    async def change(self, who: Claims, frame: p.GroupOp | p.BlockOp) -> rest.Sent:
        """Changes a group, or blocks somebody.

        Raises:
            Refused: INVALID, NOT_A_MEMBER, NOT_FOUND, FORBIDDEN, GROUP_FULL, CONFLICT, RESYNC, RATE_LIMITED, OVERLOADED, UNAVAILABLE.
        """
        self._check(who, frame)
        answer = await self.ask(AskedSent, lambda done: self.asking.request(who.user, frame, done))
        return rest.Sent(entry=entry_of(answer.row))

    def typing(self, who: Claims, said: rest.TypingNow) -> None:
        """Tells the conversation's home, if it can be told now: nobody waits for it, and who still writes says it again."""
        core = self.gateway.core
        _, conversation = place_of(who.user, said.conversation)

        def tell() -> None:
            home = core.owner_of(conversation)
            if home:
                core.send(home, TypingFrom(conversation, who.user, said.kind))

        self.gateway.do(tell)

    async def receipts(self, who: Claims, message: ids.MessageId) -> rest.MessageReceipts:
        """Raises Refused: NOT_A_MEMBER, NOT_FOUND, OVERLOADED, UNAVAILABLE."""
        conversation, seq, _ = message
        rows = (await self.range(who, conversation, seq, seq, 1)).rows
        message_id = ids.message_id(*message)
        if not rows or entry_of(rows[0]).message_id != message_id:
            raise Refused(codes.NOT_FOUND, "there is no such message")
        head = await self.ask(HeadAnswer, lambda done: self.asking.head(who.user, conversation, done))
        sender = rows[0].sender
        marks = [*head.marks, (who.user, head.delivered, head.read)]
        return rest.MessageReceipts(
            message_id=message_id,
            delivered=sorted(user for user, delivered, _ in marks if delivered >= seq and user != sender),
            read=sorted(user for user, _, read in marks if read >= seq and user != sender),
        )

    async def mark(self, who: Claims, conversation: str, seq: int, status: str) -> None:
        """Returns when the mark is durable.

        Raises:
            Refused: NOT_A_MEMBER, INVALID (nothing is there yet), OVERLOADED, UNAVAILABLE.
        """
        head = await self.ask(HeadAnswer, lambda done: self.asking.head(who.user, conversation, done))
        if not head.seq:
            raise Refused(codes.NOT_A_MEMBER, "you are not a member of this conversation", "conversation")
        if not 0 < seq <= head.seq:
            raise Refused(codes.INVALID, f"the conversation goes from 1 to {head.seq}", "seq")
        read = seq if status == "read" else 0
        await self.ask(MarkStored, lambda done: self.asking.mark(who.user, conversation, seq, read, done))

    def _check(self, who: Claims, frame: p.Send | p.GroupOp | p.BlockOp) -> None:
        """Raises Refused: a field is of the wrong form, or the user says too much."""
        field = wrong_field(frame)
        if field is not None:
            raise Refused(codes.INVALID, f"{field} is not of the form that the documents give", field)
        wait_s = self.gateway.users.take(who.user, self.gateway.clock.time())
        if wait_s:
            raise Refused(codes.RATE_LIMITED, "too many messages in too short a time", retry_after_s=wait_s)

    async def ask(self, kind: type[A], start: Callable[[Done], None]) -> A:
        heard: asyncio.Future[Answer | Refusal] = asyncio.get_running_loop().create_future()

        def done(answer: Answer | Refusal) -> None:
            if not heard.done():
                heard.set_result(answer)

        self.gateway.do(lambda: start(done))
        try:
            answer = await asyncio.wait_for(heard, self.timeout_s)
        except TimeoutError:
            raise Refused(codes.UNAVAILABLE, "this node is going away", retry_after_s=1.0) from None
        if isinstance(answer, kind):
            return answer
        assert isinstance(answer, Refusal), "homes answer what they were asked"
        code = codes.CODES.get(answer.code, codes.UNAVAILABLE)
        retry_s = answer.retry_after_ms / 1_000 if answer.retry_after_ms else None
        raise Refused(code, answer.message, answer.field or None, retry_s)

    async def range(self, who: Claims, conversation: str, from_seq: int, to_seq: int | None, limit: int) -> EntriesAnswer:
        """The newest entries of a range; may be cut at its low end."""
        frame = p.Fetch(id=QUERY, conversation=conversation, from_seq=from_seq, to_seq=to_seq, limit=limit)
        return await self.ask(EntriesAnswer, lambda done: self.asking.request(who.user, frame, done))


class _History:
    """One reader of one conversation."""

    def __init__(self, chat: Chat, who: Claims, conversation: str) -> None:
        self._range: Callable[[int, int | None, int], Awaitable[EntriesAnswer]]
        self._range = lambda low, high, limit: chat.range(who, conversation, low, high, limit)

    async def below(self, seq: int | None, limit: int) -> rest.Messages:
        """The newest entries below ``seq``; None: of all."""
        answer = await self._range(1, None if seq is None else seq - 1, limit) if seq != 1 else await self._range(1, 0, 1)
        return _page(answer.rows, answer.head)

    async def above(self, seq: int, limit: int) -> rest.Messages:
        """The oldest entries above ``seq``. A home cuts a long range at its low end: what was cut is asked for until nothing is missing."""
        answer = await self._range(seq + 1, seq + limit, limit)
        rows, head = answer.rows, answer.head
        while rows and rows[0].seq > seq + 1:
            answer = await self._range(seq + 1, rows[0].seq - 1, limit)
            if not answer.rows:
                break  # the reader was no member yet
            rows = answer.rows + rows
        return _page(rows, head)

    async def first_at(self, time_ms: int) -> int:
        """The seq of the first entry at ``time_ms`` or later; one above the head without one. Times never fall in a conversation."""
        low, high = 1, (await self._range(1, 0, 1)).head + 1
        while low < high:
            middle = (low + high) // 2
            rows = (await self._range(middle, middle, 1)).rows
            if rows and rows[0].created_at >= time_ms:
                high = middle
            else:  # older, or from before the reader was a member
                low = middle + 1
        return low


def _page(rows: tuple[EntryRow, ...], head: int) -> rest.Messages:
    return rest.Messages(entries=[entry_of(row) for row in rows], head=head)
