"""The tables of accounts, typed: who there is, on which devices, with which contacts and privacy.

Owns the schema; ``migrations/`` makes it. Times are cluster time in ms since 1970, ids are those of ``homing.ids``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, ForeignKey, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION_TABLE = "accounts_schema"
"""Not Alembic's usual name: the directory keeps a schema of its own, in the same database if it is told so."""
HEAD = "0003"
"""The newest migration."""

ID_CHARS = 32
HANDLE_CHARS_MAX = 32
NAME_CHARS_MAX = 64
DEVICE_CHARS_MAX = 64
"""What a token may name a device."""
ABOUT_CHARS_MAX = 500


class Base(DeclarativeBase):
    pass


class User(Base):
    """An account."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    """It follows from the handle, which therefore never changes."""
    handle: Mapped[str] = mapped_column(String(HANDLE_CHARS_MAX), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS_MAX))
    about: Mapped[str] = mapped_column(String(ABOUT_CHARS_MAX))
    password_hash: Mapped[str | None] = mapped_column(String(256))
    """argon2id, in its usual text form with its parameters. None: nobody signs in here with a password."""
    created_ms: Mapped[int] = mapped_column(BigInteger)


class Device(Base):
    """A device that signed in. A revoked one stays for a while, so that revoking it can be repeated."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS_MAX))
    created_ms: Mapped[int] = mapped_column(BigInteger)
    seen_ms: Mapped[int] = mapped_column(BigInteger)
    """When it last got a token."""
    revoked_ms: Mapped[int | None] = mapped_column(BigInteger)


class RevokedDevice(Base):
    """A device without a row that an operator revoked: of a token that no account stands behind, another issuer's above all. It stays for
    as long as a token of it may be valid."""

    __tablename__ = "revoked_devices"

    user_id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    device: Mapped[str] = mapped_column(String(DEVICE_CHARS_MAX), primary_key=True)
    revoked_ms: Mapped[int] = mapped_column(BigInteger)


class RefreshToken(Base):
    """What a device renews its access with: one row a device, however often it does. A token has a part that all tokens of the device
    share and a secret that is new each time; of both only the SHA-256 is kept."""

    __tablename__ = "refresh_tokens"

    family_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), unique=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary(32))
    """The key by which a secret leads to its successor: who repeats a renewal whose answer was lost gets the same answer."""
    current_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    rotated_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)


class Contact(Base):
    """Somebody in a user's address book. He may have no row of his own: other issuers' users have none."""

    __tablename__ = "contacts"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    contact_id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS_MAX))
    created_ms: Mapped[int] = mapped_column(BigInteger)


class Privacy(Base):
    """Who may see what; without a row everyone may see everything."""

    __tablename__ = "privacy"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    last_seen: Mapped[str] = mapped_column(String(16))
    online: Mapped[str] = mapped_column(String(16))


class Block(Base):
    """Whether somebody blocks somebody, as the home of their direct conversation decided: repeated here, the conversation's log has it.
    Either may have no account. A block that was taken back keeps its row: of two decisions the one with the higher seq stands, however
    late the other one comes."""

    __tablename__ = "blocks"

    user_id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    peer_id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    """Of the entry."""
    is_blocked: Mapped[bool] = mapped_column(Boolean)
    noted_ms: Mapped[int] = mapped_column(BigInteger)
    """When it was first repeated here, at most moments after the entry, as long as the database can be reached."""
