"""The configuration section ``[accounts]``: built-in accounts, for nodes."""

from __future__ import annotations

from msgspec import Struct

from node.edge.tokens import LIFETIME_S_MAX


class AccountsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The same on all nodes of a cluster, which share the database and the keys that sign tokens."""

    enabled: bool = False
    """Whether this node registers people and signs them in. It then needs the private key in ``process.tokens_dir``."""
    database: str = "sqlite:///accounts.db"
    """SQLAlchemy URL of the relational database that holds users, devices, contacts and privacy."""
    database_timeout_s: float = 5.0
    """How long a statement may wait for another's lock before the request is answered 503."""
    database_threads: int = 2
    """Threads that wait for the database: one reads while another's commit is synced."""
    database_waiting_max: int = 256
    """Calls that wait for one of them; more requests are answered 503."""
    password_threads: int = 1
    """Threads that hash passwords: one keeps a core busy with some fifty sign-ins a second, beside the event loop. They do not stand back
    (nice): one that has the interpreter and is not let run holds the loop up (measured: chat's p99 at 62 ms instead of 21)."""
    password_waiting_max: int = 32
    """Passwords that wait for one of them, somewhat above half a second's worth; more requests are answered 503."""
    password_memory_kib: int = 7_168
    """argon2id's memory, KiB. With ``password_passes`` one of OWASP's equally strong settings, the one that disturbs caches least; 14 ms of
    CPU."""
    password_passes: int = 5
    """argon2id's passes over it. Passwords of other settings are hashed anew when their owner signs in."""
    access_s: int = 600
    """How long an access token is valid: as long as a stolen one is of use. Sessions that are open stay open."""
    refresh_s: int = 30 * 86_400
    """How long a device that does not renew its access stays signed in: a long holiday."""
    refresh_leeway_s: float = 10.0
    """How long the refresh token that was just replaced may be shown again by a client that did not hear the answer; after that, or once
    its successor was used, showing it revokes the device. 0: never."""
    ticket_s: int = 60
    """How long a browser's ticket is valid: from asking for it to the hello."""
    devices_max: int = 16
    """Signed-in devices of an account; one more signs out the one that was not seen for longest."""
    contacts_max: int = 5_000
    """People in an address book."""

    def problems(self, path: str = "accounts") -> list[str]:
        positive = (
            "database_timeout_s", "database_threads", "database_waiting_max", "password_threads", "password_waiting_max", "access_s",
            "devices_max", "contacts_max",
        )  # fmt: skip
        rules = [(getattr(self, key) > 0, f"{key} must be more than 0") for key in positive]
        rules += [
            (self.access_s <= LIFETIME_S_MAX, f"access_s must be at most {LIFETIME_S_MAX}, the longest life of a token"),
            (self.refresh_s > self.access_s, f"refresh_s must be more than {path}.access_s"),
            (0 <= self.refresh_leeway_s < self.access_s, f"refresh_leeway_s must be from 0 to {path}.access_s"),
            (1 <= self.ticket_s <= 60, "ticket_s must be 1 to 60"),
            (8 <= self.password_memory_kib <= 1 << 20, "password_memory_kib must be 8 to 1048576"),
            (1 <= self.password_passes <= 100, "password_passes must be 1 to 100"),
        ]
        return [f"{path}.{text}" for holds, text in rules if not holds]
