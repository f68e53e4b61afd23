"""The routes of blocks: the home of the two people's conversation decides, the list is what is repeated of that."""

from __future__ import annotations

import secrets

from homing import codes, rest
from homing import protocol as p

from node.accounts.blocks import Blocks
from node.refusal import Refused
from node.rest.chat import Chat
from node.rest.route import Call, Route, id_of, query_of


def block_routes(blocks: Blocks, chat: Chat) -> list[Route]:
    """The table."""

    async def put(call: Call) -> rest.Sent:
        return await chat.change(call.who, p.Block(id=_new_id(), user=_other(call)))

    async def delete(call: Call) -> rest.Sent:
        return await chat.change(call.who, p.Unblock(id=_new_id(), user=_other(call)))

    async def page(call: Call) -> rest.Blocks:
        return await blocks.page(call.who, query_of(call, rest.BlocksQuery))

    path = "/v1/blocks/{user}"
    return [
        Route(
            name="blocks", method="GET", path="/v1/blocks", summary="Whom the caller blocks, in pages",
            handle=page, limiter="reads", query=rest.BlocksQuery, answer=rest.Blocks,
        ),
        Route(
            name="block", method="PUT", path=path, summary="Block somebody: from then on neither of the two can say anything to the other",
            handle=put, limiter="changes", answer=rest.Sent, errors=(codes.NOT_FOUND, codes.FORBIDDEN),
        ),
        Route(
            name="unblock", method="DELETE", path=path, summary="Take one's own block back",
            handle=delete, limiter="changes", answer=rest.Sent, errors=(codes.NOT_FOUND, codes.FORBIDDEN),
        ),
    ]  # fmt: skip


def _other(call: Call) -> str:
    user = id_of(call, "user")
    if user == call.who.user:
        raise Refused(codes.FORBIDDEN, "nobody blocks himself")
    return user


def _new_id() -> str:
    """Each request is an entry: done twice it is done."""
    return secrets.token_hex(16)
