"""How people come in: built-in accounts and their REST interface, put together for one node. Wiring only."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from homing.codes import Code
from prometheus_client import CollectorRegistry

from node.accounts.blocks import Blocks
from node.accounts.config import AccountsConfig
from node.accounts.profiles import Profiles
from node.accounts.revoked import RevokedDevices
from node.accounts.service import Accounts
from node.accounts.shown import ShownReader
from node.accounts.signer import Signer
from node.edge.tokens import TokenChecker
from node.gateway import Gateway
from node.poll_limits import PollLimits
from node.polls import Polls
from node.refusal import Refused
from node.rest.chat import Chat
from node.rest.connect_routes import homes_of
from node.rest.limiters import LimiterConfig, Limiters
from node.rest.metrics import DoorMetrics, RestMetrics
from node.rest.server import RestServer, Surroundings
from node.rest.table import all_routes

WARM_UP_LOOK_S = 0.25
"""How often a node that starts is asked whether it serves: its start must not wait for what the door loads."""


class Keys(NamedTuple):
    """Where the keys that sign tokens lie, and the cluster's name, which tokens bear."""

    directory: Path
    cluster: str


class Clocks(NamedTuple):
    now: Callable[[], float]
    """Monotonic seconds."""
    time_ms: Callable[[], int]
    """Cluster time."""
    is_ready: Callable[[], bool]
    """Whether cluster time is known."""


class Door:
    """Accounts and routes of one node.

    Args:
        config: ``[accounts]``.
        limiters: ``[limiters]``.
        keys: those of tokens.
        checker: the node's own.
        clocks: see ``Clocks``.
        origins: web origins that may ask, beside the node's own host.
        revoke: closes a device's sessions in the whole cluster; None: done.
        gateway: the way to the node's core.
        polls: the section of its name.
    """

    def __init__(
        self,
        config: AccountsConfig,
        limiters: LimiterConfig,
        keys: Keys,
        checker: TokenChecker,
        clocks: Clocks,
        origins: frozenset[str],
        revoke: Callable[[str, str], Awaitable[Code | None]],
        gateway: Gateway,
        polls: PollLimits,
    ) -> None:
        async def revoke_here(user: str, device: str) -> Code | None:
            self.revoked.forget(user, device)
            return await revoke(user, device)

        signer = Signer(keys.directory, keys.cluster, config)
        self.accounts = Accounts(config, signer, clocks.time_ms, revoke_here)
        self.revoked = RevokedDevices(self.accounts.is_revoked, clocks.now)
        self.shown = ShownReader(self.accounts.database, gateway.told_privacy)
        gateway.on_privacy_wanted = self.shown.want
        privacies = gateway.core.live.privacies
        privacies.open_to_all = False

        def announce(user: str) -> None:
            gateway.do(lambda: privacies.announce(user))

        profiles = Profiles(config, self.accounts.database, clocks.time_ms, announce)
        self.blocks = Blocks(self.accounts.database, clocks.time_ms, announce)
        gateway.on_block = self.blocks.want
        self.polls = Polls(gateway, polls, gateway.clock, lambda: secrets.token_hex(8))
        routes = all_routes(self.accounts, profiles, self.blocks, Chat(gateway), self.polls, homes_of(gateway.core))
        around = Surroundings(checker, clocks.now, clocks.time_ms, clocks.is_ready, self.revoked)
        self.server = RestServer(routes, around, Limiters(limiters), origins)
        self._clocks = clocks
        self._timer: asyncio.TimerHandle | None = None
        self._warm_up: asyncio.Task[None] | None = None

    async def end_renewals(self, user: str, device: str) -> None:
        """An operator revokes a device: REST refuses it, and if it signed in here, its refresh token ends too. Raises Refused: the database
        does not do it."""
        now_ms = self._clocks.time_ms()
        await self.accounts.database.call(lambda rows: rows.revoke_any_device(user, device, now_ms))
        self.revoked.forget(user, device)

    def add_to(self, app: web.Application, registry: CollectorRegistry) -> None:
        self.server.add_to(app)
        registry.register(RestMetrics(self.server))
        registry.register(DoorMetrics(self.accounts, self.blocks, self.polls))

    def start(self) -> None:
        """Loads what it needs before the first person comes, once the node serves."""
        if self._clocks.is_ready():
            self._warm_up = asyncio.ensure_future(self._load())
        else:
            self._timer = asyncio.get_running_loop().call_later(WARM_UP_LOOK_S, self.start)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._warm_up is not None:
            self._warm_up.cancel()
        await self.shown.close()
        await self.blocks.close()
        await self.accounts.close()

    async def _load(self) -> None:
        try:
            await self.accounts.warm_up()
        except Refused:
            return  # the first request tries again
