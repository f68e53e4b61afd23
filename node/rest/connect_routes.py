"""The route of service discovery: which node is a user's home. The one that needs no accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from homing import rest

from node.core.node import NodeCore
from node.rest.route import Call, Route

HomeOf: TypeAlias = Callable[[str], rest.Home]


def connect_routes(home_of: HomeOf) -> list[Route]:
    """The table."""

    async def connect(call: Call) -> rest.Home:
        return home_of(call.who.user)

    return [
        Route(
            name="connect", method="GET", path="/v1/connect", summary="The caller's home node and its address",
            handle=connect, limiter="reads", answer=rest.Home,
        ),
    ]  # fmt: skip


def homes_of(core: NodeCore) -> HomeOf:
    """What one node knows of everybody's home: its slot table."""

    def home_of(user: str) -> rest.Home:
        table = core.directory.table
        member = table.by_incarnation.get(core.owner_of(user))
        return rest.Home(user=user, url=member.public_url if member else None, nodes=[m.public_url for m in table.role("node")])

    return home_of
