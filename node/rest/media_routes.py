"""The route of pictures and files, which no release takes yet: who asks is told so by a code that stays."""

from __future__ import annotations

from homing import codes

from node.refusal import Refused
from node.rest.route import Call, Route


def media_routes() -> list[Route]:
    """The table."""

    async def upload(_: Call) -> None:
        raise Refused(codes.NOT_IMPLEMENTED, "this service takes no media yet")

    return [
        Route(
            name="media", method="POST", path="/v1/media", summary="Upload a picture or file; not there yet",
            handle=upload, limiter="changes", is_planned=True, errors=(codes.NOT_IMPLEMENTED,),
        ),
    ]  # fmt: skip
