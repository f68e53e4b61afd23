"""``POST /demo/sessions``: a link's code for a browser's sessions of the demo's people.

Laws:
    * Only this machine: the connection comes from a loopback address, through no proxy, and the page was asked for by a loopback name (so
      that no foreign name that leads here is believed).
    * Guessing is slow: every try counts for the limiter of signing in. A code is used up before anybody is signed in.
    * Nothing but signing in with the right passwords: the demo has no way of its own into an account.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web
from homing import codes, rest
from msgspec import Struct

from node.accounts.service import Accounts
from node.demo import links, people
from node.demo.config import is_loopback
from node.edge.upgrade import origin_allowed
from node.refusal import Refused
from node.rest.limiters import Limiters
from node.rest.problems import response
from node.rest.requests import read_body
from router import logs

PATH = "/demo/sessions"
DEVICE_NAME = "Demo in a browser"
BUCKET = "demo"
"""No handle: all tries share a bucket that no account has."""
RETRY_AFTER_S = 1.0
log = logs.get("node.demo")


class DemoCode(Struct):
    code: str


class DemoSessions(Struct):
    sessions: list[rest.Session]


class DemoDoor:
    """Args:
    directory: see ``DemoConfig``.
    accounts: those of the node.
    limiters: those of the node's REST interface.
    now: monotonic seconds.
    """

    def __init__(self, directory: Path, accounts: Accounts, limiters: Limiters, now: Callable[[], float]) -> None:
        self.directory, self.accounts, self.limiters, self.now = directory, accounts, limiters, now

    def add_to(self, app: web.Application) -> None:
        app.router.add_post(PATH, self.open)

    async def open(self, request: web.Request) -> web.Response:
        try:
            if not is_from_here(request):
                raise Refused(codes.FORBIDDEN, "the demo is for this machine alone")
            self._count(request.remote or "")
            code = (await read_body(request, DemoCode)).code
            sessions = await self._sessions(code)
        except Refused as refused:
            return response(refused)
        body = msgspec.json.encode(DemoSessions(sessions=sessions))
        return web.Response(status=201, body=body, content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-store"})

    def _count(self, address: str) -> None:
        limiter, now = self.limiters.by_name["sign_in"], self.now()
        wait_s = limiter.take_address(address, now) or limiter.take_user(BUCKET, address, now)
        if wait_s:
            raise Refused(codes.RATE_LIMITED, "too many tries", retry_after_s=wait_s)

    async def _sessions(self, code: str) -> list[rest.Session]:
        try:
            known = await asyncio.to_thread(people.read, self.directory)
            if known is None:
                raise Refused(codes.UNAVAILABLE, "the demo's people are not there yet", retry_after_s=RETRY_AFTER_S)
            if not await asyncio.to_thread(links.take, self.directory, code, time.time()):
                raise Refused(codes.WRONG_CREDENTIALS, "this link was opened before, or its time is over", "code")
            try:
                given = [rest.SignIn(handle=p.handle, password=p.password, device_name=DEVICE_NAME) for p in known.people]
                return [await self.accounts.sign_in(one) for one in given]
            except Refused:  # the database is busy: the link is as good as before
                await asyncio.to_thread(links.put, self.directory, code, time.time())
                raise
        except OSError as error:
            log.error("demo_files_failed", reason=str(error))
            raise Refused(codes.UNAVAILABLE, "the demo's files cannot be used now", retry_after_s=RETRY_AFTER_S) from error


def is_from_here(request: web.Request) -> bool:
    """Whether the request comes from a browser on this machine that speaks to the node by a loopback name, from the node's own page."""
    host = request.headers.get(hdrs.HOST, "")
    if not is_loopback(request.remote or "") or hdrs.X_FORWARDED_FOR in request.headers or hdrs.FORWARDED in request.headers:
        return False
    if not origin_allowed(request.headers.get(hdrs.ORIGIN), host, frozenset()):
        return False
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)
