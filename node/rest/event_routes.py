"""The route of long polling: what waits for a device, for who cannot hold a WebSocket open."""

from __future__ import annotations

from homing import codes, rest
from msgspec import Raw, Struct

from node.core.pigeonhole import parse_cursor
from node.polls import Polls
from node.refusal import Refused
from node.rest.route import Call, Route, query_of


class RawEvents(Struct):
    """``rest.Events``, of frames that are encoded already."""

    events: list[Raw]
    cursor: str


def event_routes(polls: Polls) -> list[Route]:
    """The table."""

    async def events(call: Call) -> RawEvents:
        query = query_of(call, rest.EventsQuery)
        try:
            cursor = parse_cursor(query.cursor) if query.cursor is not None else None
        except ValueError as error:
            raise Refused(codes.INVALID, str(error), "cursor", status=400) from None
        batch = await polls.next(call.who, cursor, query.timeout, call.is_gone)
        return RawEvents([Raw(frame) for frame in batch.frames], batch.cursor.text())

    return [
        Route(
            name="events", method="GET", path="/v1/events", summary="What a WebSocket would bring, as soon as there is something",
            handle=events, limiter="events", query=rest.EventsQuery, answer=rest.Events, errors=(codes.SESSION_REPLACED,),
        ),
    ]  # fmt: skip
