"""The directory's HTTP: who is in the cluster, who owns which slots, where a user should connect.

Owns the JSON documents; each has a ``schema``, raised when a reader of the old one would be wrong. Must not change anything.

* ``GET /v1/cluster``: members with role, health, slots and sessions; for operators and ``homing status``.
* ``GET /v1/slots``: the slot map, for load balancers; with an ETag, so that asking again is cheap.
* ``GET /v1/connect?user=ID``: the public URL of the user's home node and those of all nodes, for clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web
from homing.ids import is_id, slot_of

from directory.membership import MembershipCore
from directory.table import NOBODY

SCHEMA = 1


class Discovery:
    """The three documents.

    Args:
        core: read, never changed.
        now: the monotonic clock that drives it.
    """

    def __init__(self, core: MembershipCore, now: Callable[[], float]) -> None:
        self._core = core
        self._now = now

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/v1/cluster", self._cluster)
        app.router.add_get("/v1/slots", self._slots)
        app.router.add_get("/v1/connect", self._connect)

    # ------------------------------------------------------------ documents

    def cluster(self) -> dict[str, object]:
        core, now = self._core, self._now()
        table = core.published
        pending = [a.member for i, a in core.roll.alive.items() if i not in table.by_incarnation]
        return {
            "schema": SCHEMA,
            "epoch": table.epoch,
            "time": core.clock.time_ms(now),
            "directory": core.me.name,
            "leading": core.leading,
            "settled": core.settled,
            "moves_in_flight": len(core.moves),
            "members": [self._member(m.incarnation, now) for m in (*table.members, *pending)],
        }

    def _member(self, incarnation: str, now: float) -> dict[str, object]:
        core = self._core
        alive = core.roll.alive.get(incarnation)
        member = core.published.by_incarnation.get(incarnation) or (alive.member if alive else core.me)
        value: dict[str, object] = {
            "name": member.name,
            "incarnation": incarnation,
            "role": member.role,
            "endpoint": member.endpoint,
            "public_url": member.public_url,
            "weight": member.weight,
            "slots": core.published.slots_of(incarnation),
            "in_table": incarnation in core.published.by_incarnation,
        }
        if alive is not None:
            value |= {
                "sessions": alive.sessions,
                "storage_ok": alive.bad_since is None,
                "ready": alive.ready,
                "epoch": alive.epoch,
                "since": alive.joined_ms,
                "seen_ago_s": round(max(0.0, now - alive.seen_at), 3),
            }
        return value

    def slots(self) -> dict[str, object]:
        table = self._core.published
        runs: dict[str, list[tuple[int, int]]] = {m.incarnation: [] for m in table.role("node")}
        for first, count, owner, _ in table.runs():
            if owner != NOBODY:
                runs[table.members[owner].incarnation].append((first, count))
        nodes = [{"name": m.name, "public_url": m.public_url, "slots": runs[m.incarnation]} for m in table.role("node")]
        return {"schema": SCHEMA, "epoch": table.epoch, "nodes": nodes}

    def connect(self, user: str) -> dict[str, object]:
        """Raises:
        ValueError: ``user`` is no id.
        """
        if not is_id(user):
            raise ValueError("user must be an id: 32 hexadecimal digits")
        table, slot = self._core.published, slot_of(user)
        home = table.by_incarnation.get(table.owner(slot) or "")
        return {
            "schema": SCHEMA,
            "epoch": table.epoch,
            "slot": slot,
            "home": home.public_url if home else None,
            "nodes": [m.public_url for m in table.role("node")],
        }

    # ------------------------------------------------------------ routes

    async def _cluster(self, _request: web.Request) -> web.Response:
        return _json(self.cluster())

    async def _slots(self, request: web.Request) -> web.Response:
        etag = f'"{self._core.me.incarnation}-{self._core.published.epoch}"'
        if etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers={"ETag": etag})
        response = _json(self.slots())
        response.headers["ETag"] = etag
        return response

    async def _connect(self, request: web.Request) -> web.Response:
        try:
            found = self.connect(request.query.get("user", ""))
        except ValueError as error:
            return _json({"schema": SCHEMA, "error": str(error)}, 400)
        return _json(found) if found["nodes"] else _json({"schema": SCHEMA, "error": "no node is up"}, 503)


def _json(value: dict[str, object], status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache"}
    return web.Response(text=json.dumps(value), status=status, content_type="application/json", headers=headers)
