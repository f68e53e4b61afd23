"""A service of accounts for tests: a real database in a folder, real keys, cheap passwords, a clock that tests turn."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from homing import rest
from homing.codes import Code
from msgspec import structs

from node.accounts.config import AccountsConfig
from node.accounts.profiles import Profiles
from node.accounts.service import Accounts
from node.accounts.signer import Signer
from node.edge.tokens import Claims, TokenAuthority, TokenChecker

CLUSTER = "cell-1"
START_MS = 1_700_000_000_000
CHEAP = AccountsConfig(enabled=True, password_memory_kib=8, password_passes=1, devices_max=3, contacts_max=2)
PASSWORD = "correct horse"


class Rig:
    """See the module.

    Attributes:
        now_ms: cluster time.
        revoked: devices whose sessions were closed.
        revoke_answers: what closing sessions answers next; nothing: that it is done.
    """

    def __init__(self, folder: Path, config: AccountsConfig = CHEAP) -> None:
        self.keys = folder / "keys"
        TokenAuthority(self.keys, CLUSTER)  # makes the first key
        self.config = structs.replace(config, database=f"sqlite:///{folder / 'accounts.db'}")
        self.now_ms = START_MS
        self.revoked: list[tuple[str, str]] = []
        self.revoke_answers: list[Code | None] = []
        self.checker = TokenChecker(self.keys, CLUSTER)
        self.accounts = Accounts(self.config, Signer(self.keys, CLUSTER, self.config), self.time_ms, self.revoke)
        self.profiles = Profiles(self.config, self.accounts.database, self.time_ms)

    def time_ms(self) -> int:
        return self.now_ms

    async def revoke(self, user: str, device: str) -> Code | None:
        self.revoked.append((user, device))
        return self.revoke_answers.pop(0) if self.revoke_answers else None

    def claims(self, session: rest.Session) -> Claims:
        """What the session's token says, checked."""
        return self.checker.check(session.access_token, self.now_ms / 1_000)

    async def register(self, handle: str = "alice", **more: str) -> rest.Session:
        return await self.accounts.register(rest.Register(handle=handle, password=PASSWORD, **more))

    async def sign_in(self, handle: str = "alice", password: str = PASSWORD, device_name: str = "") -> rest.Session:
        return await self.accounts.sign_in(rest.SignIn(handle=handle, password=password, device_name=device_name))

    async def renew(self, token: str) -> rest.Session:
        return await self.accounts.renew(rest.Renew(refresh_token=token))


@contextlib.asynccontextmanager
async def rig(folder: Path, config: AccountsConfig = CHEAP) -> AsyncIterator[Rig]:
    made = Rig(folder, config)
    yield made
    await made.accounts.close()
