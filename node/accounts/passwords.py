"""Passwords: argon2id in threads of their own.

Law: an account that does not exist costs as much time as a wrong password.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from typing import TYPE_CHECKING

from homing import codes
from homing.rest import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from msgspec import Struct

from node.accounts.config import AccountsConfig
from node.accounts.pool import Pool
from node.refusal import Refused

if TYPE_CHECKING:
    from argon2 import PasswordHasher


class Verdict(Struct, frozen=True):
    good: bool
    new_hash: str | None = None
    """The good password's hash with today's settings, where the old one had others."""


class Passwords:
    """Hashes and verifies."""

    def __init__(self, config: AccountsConfig) -> None:
        self._config = config
        self.pool = Pool("password", config.password_threads, config.password_waiting_max)
        self._lock = threading.Lock()
        self._made: tuple[PasswordHasher, str] | None = None

    async def hash(self, password: str) -> str:
        """Raises Refused: too many wait."""
        return await self.pool.run(self._hash, password)

    async def verify(self, password_hash: str | None, password: str) -> Verdict:
        """Whether it is the password of that hash; None, for an account that does not exist, takes as long and is never good.

        Raises:
            Refused: too many wait.
        """
        return await self.pool.run(self._verify, password_hash, password)

    async def warm_up(self) -> None:
        """Loads the library and makes what everybody needs, before somebody waits for it."""
        await self.pool.run(self._hasher)

    # -------------------------------------------------------------- in the threads

    def _hasher(self) -> tuple[PasswordHasher, str]:
        with self._lock:
            if self._made is None:
                from argon2 import PasswordHasher

                config = self._config
                hasher = PasswordHasher(time_cost=config.password_passes, memory_cost=config.password_memory_kib, parallelism=1)
                self._made = hasher, hasher.hash(secrets.token_urlsafe())
            return self._made

    def _hash(self, password: str) -> str:
        return self._hasher()[0].hash(_normal(password))

    def _verify(self, password_hash: str | None, password: str) -> Verdict:
        hasher, nobody = self._hasher()
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            hasher.verify(nobody if password_hash is None else password_hash, _normal(password))
        except (VerificationError, InvalidHashError):
            return Verdict(False)
        if password_hash is None:
            return Verdict(False)
        return Verdict(True, hasher.hash(_normal(password)) if hasher.check_needs_rehash(password_hash) else None)


def check(password: str, handle: str, field: str = "password") -> None:
    """Raises Refused: it may not be the password of a new account."""
    normal = _normal(password)
    if min(len(password), len(normal)) < PASSWORD_CHARS_MIN:  # either form may be the longer one
        raise Refused(codes.INVALID, f"a password has at least {PASSWORD_CHARS_MIN} characters", field)
    if len(normal) > PASSWORD_CHARS_MAX:
        raise Refused(codes.INVALID, f"a password has at most {PASSWORD_CHARS_MAX} characters", field)
    if normal.casefold() == handle or len(set(normal)) == 1:
        raise Refused(codes.INVALID, "this password is the first that anybody would try", field)


def _normal(password: str) -> str:
    """The same characters typed on different keyboards are the same password (NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password)
