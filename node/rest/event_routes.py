"""The route of long polling: what waits for a device, for who cannot hold a WebSocket open."""

from __future__ import annotations

from homing import codes, ids, rest
from msgspec import Raw, Struct

from node.core.pigeonhole import parse_cursor
from node.polls import Polls
from node.refusal import Refused
from node.rest.chat import Chat
from node.rest.route import Call, Route, body_of, query_of


class RawEvents(Struct):
    """``rest.Events``, of frames that are encoded already."""

    events: list[Raw]
    cursor: str


def event_routes(polls: Polls, chat: Chat) -> list[Route]:
    """The table."""

    async def events(call: Call) -> RawEvents:
        query = query_of(call, rest.EventsQuery)
        try:
            cursor = parse_cursor(query.cursor) if query.cursor is not None else None
        except ValueError as error:
            raise Refused(codes.INVALID, str(error), "cursor", status=400) from None
        watch = tuple(query.watch.split(",")) if query.watch else ()
        if len(watch) > rest.WATCH_MAX or not all(ids.is_id(user) and ids.kind_of(user) == ids.USER for user in watch):
            raise Refused(codes.INVALID, f"watch is at most {rest.WATCH_MAX} users' ids with commas between", "watch", status=400)
        batch = await polls.next(call.who, cursor, query.timeout, call.is_gone, watch)
        return RawEvents([Raw(frame) for frame in batch.frames], batch.cursor.text())

    async def typing(call: Call) -> None:
        said = body_of(call, rest.TypingNow)
        if not ids.is_id(said.conversation) or ids.kind_of(said.conversation) not in (ids.USER, ids.DIRECT, ids.GROUP):
            raise Refused(codes.INVALID, "this is neither a user's nor a conversation's id", "conversation")
        chat.typing(call.who, said)

    return [
        Route(
            name="events", method="GET", path="/v1/events", summary="What a WebSocket would bring, as soon as there is something",
            handle=events, limiter="events", query=rest.EventsQuery, answer=rest.Events, errors=(codes.SESSION_REPLACED,),
        ),
        Route(
            name="typing", method="POST", path="/v1/typing", summary="Say that one is writing or recording; it is never kept",
            handle=typing, limiter="typing", body=rest.TypingNow,
        ),
    ]  # fmt: skip
