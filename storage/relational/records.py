"""What the rows of accounts are to those who read and write them; importing this loads no database library."""

from __future__ import annotations

from msgspec import Struct


class UserRow(Struct, frozen=True):
    id: str
    handle: str
    name: str
    about: str
    created_ms: int


class DeviceRow(Struct, frozen=True):
    id: str
    name: str
    created_ms: int
    seen_ms: int


class ContactRow(Struct, frozen=True):
    contact_id: str
    name: str
    created_ms: int


class PrivacyRow(Struct, frozen=True):
    last_seen: str
    online: str


class BlockRow(Struct, frozen=True):
    """A decision of the home of two people's conversation."""

    user: str
    peer: str
    seq: int
    is_blocked: bool
    noted_ms: int


class ShownRow(Struct, frozen=True):
    """What somebody shows of his presence, and to whom."""

    online: str = "everyone"
    last_seen: str = "everyone"
    contacts: frozenset[str] = frozenset()
    """Only where a setting names them."""
    blocked: frozenset[str] = frozenset()


class Credentials(Struct, frozen=True):
    user: UserRow
    password_hash: str | None


class NewToken(Struct, frozen=True):
    """The first refresh token of a device."""

    family_hash: bytes
    salt: bytes
    secret_hash: bytes
    expires_ms: int


class Renewed(Struct, frozen=True):
    """A refresh token was good; ``secret`` is that of its successor."""

    user: UserRow
    device: str
    secret: bytes


class Reused(Struct, frozen=True):
    """A refresh token was shown that is not valid any more: the device is revoked."""

    user: str
    device: str
