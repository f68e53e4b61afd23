"""Signs access tokens and tickets with the cluster's newest key.

Law: after a rotation the new key signs within ``RELOAD_S``; a key that is gone or damaged makes requests wait, not the node end.
"""

from __future__ import annotations

from pathlib import Path

from homing import codes

from node.accounts.config import AccountsConfig
from node.edge.tokens import TICKET_AUDIENCE, TokenAuthority
from node.refusal import Refused
from router import logs

RELOAD_S = 30.0
RETRY_AFTER_S = 5.0
log = logs.get("node.accounts")


class Signer:
    """The keys in ``keys_dir``, which ``homing keys`` rotates."""

    def __init__(self, keys_dir: Path, cluster: str, config: AccountsConfig) -> None:
        self._keys_dir, self._cluster, self._config = keys_dir, cluster, config
        self._authority: TokenAuthority | None = None
        self._read_at = float("-inf")

    def access(self, user: str, device: str, name: str, now: float) -> str:
        """An access token, from ``now`` (seconds since 1970). Raises Refused: there is no key."""
        return self._key(now).sign(user, device, name, now, self._config.access_s)

    def ticket(self, user: str, device: str, name: str, now: float) -> str:
        """A browser's ticket. Raises Refused: there is no key."""
        return self._key(now).sign(user, device, name, now, self._config.ticket_s, TICKET_AUDIENCE)

    def _key(self, now: float) -> TokenAuthority:
        if self._authority is None or not 0 <= now - self._read_at < RELOAD_S:
            try:
                if not any(self._keys_dir.glob("*.key.pem")):  # a node makes none: the others would not know it
                    raise FileNotFoundError(f"no private key in {self._keys_dir}")
                self._authority = TokenAuthority(self._keys_dir, self._cluster)
                self._read_at = now
            except (OSError, ValueError) as error:
                log.error("no_key_to_sign_with", reason=str(error))
                if self._authority is None:
                    raise Refused(codes.UNAVAILABLE, "nobody can be signed in now", retry_after_s=RETRY_AFTER_S) from error
        return self._authority
