"""Reads and writes of accounts. Every call blocks and is one transaction: ``node/accounts`` runs them in threads.

Must not know what a password or a token looks like; it keeps what it is given, and compares.

Laws:
    * A refresh token counts once. Its successor follows from it, so a renewal whose answer was lost may be repeated for a moment; whoever
      shows any other token of the device, or the same one later, ends the device: one of two holders is a thief.
    * Nothing here is bound to SQLite.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Connection, RowMapping, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from storage.relational.engine import READS_ONLY, make_engine, migrate
from storage.relational.models import HEAD, VERSION_TABLE, Block, Contact, Device, Privacy, RefreshToken, RevokedDevice, User
from storage.relational.records import (
    BlockRow,
    ContactRow,
    Credentials,
    DeviceRow,
    NewToken,
    PrivacyRow,
    Renewed,
    Reused,
    ShownRow,
    UserRow,
)

REVOKED_KEPT_MS = 24 * 3_600_000
"""How long a revoked device's row stays: as long as somebody may still repeat the request that revoked it."""
TOKENLESS_AFTER_MS = 32 * 86_400_000
"""After this no token of a device is valid any more: a day more than the longest lifetime of one."""


class AccountRows:
    """The rows in one database.

    Args:
        url: SQLAlchemy's.
        timeout_s: how long a statement may wait for another's lock.
        connections_max: threads that call.
    """

    def __init__(self, url: str, timeout_s: float, connections_max: int) -> None:
        self._engine = make_engine(url, timeout_s, connections_max)
        self._reader = self._engine.execution_options(**{READS_ONLY: True})

    def migrate(self) -> None:
        """Brings the schema up to date. Errors as ``engine.migrate``."""
        migrate(self._engine, Path(__file__).parent / "migrations", VERSION_TABLE, HEAD)

    def close(self) -> None:
        self._engine.dispose()

    # -------------------------------------------------------------- users

    def add_user(self, user: UserRow, password_hash: str | None) -> bool:
        """False: the handle is taken."""
        values = {"id": user.id, "handle": user.handle, "name": user.name, "about": user.about, "created_ms": user.created_ms}
        try:
            with self._engine.begin() as db:
                db.execute(insert(User).values(password_hash=password_hash, **values))
        except IntegrityError:
            return False
        return True

    def user(self, user: str) -> UserRow | None:
        with self._reader.begin() as db:
            return _user(db, User.id == user)

    def user_by_handle(self, handle: str) -> UserRow | None:
        with self._reader.begin() as db:
            return _user(db, User.handle == handle)

    def credentials(self, handle: str) -> Credentials | None:
        with self._reader.begin() as db:
            row = db.execute(select(User.__table__).where(User.handle == handle)).mappings().first()
        return None if row is None else Credentials(_user_row(row), row["password_hash"])

    def credentials_of(self, user: str) -> Credentials | None:
        with self._reader.begin() as db:
            row = db.execute(select(User.__table__).where(User.id == user)).mappings().first()
        return None if row is None else Credentials(_user_row(row), row["password_hash"])

    def set_password_hash(self, user: str, before: str, after: str) -> bool:
        """False: it is not ``before`` any more."""
        with self._engine.begin() as db:
            return _set_password(db, user, before, after)

    def change_password(self, user: str, before: str, after: str, keep: str, now_ms: int, since_ms: int) -> list[str] | None:
        """Sets another password, and revokes every device but ``keep``; returns those, and those that were revoked after ``since_ms``,
        whose sessions may not be closed yet. None: the password is not ``before`` any more."""
        with self._engine.begin() as db:
            if not _set_password(db, user, before, after):
                return None
            present = Device.revoked_ms.is_(None)
            others = select(Device.id).where(Device.user_id == user, Device.id != keep, or_(present, Device.revoked_ms > since_ms))
            gone = [row[0] for row in db.execute(others.order_by(Device.id))]
            for device in gone:
                _revoke(db, device, now_ms)
        return gone

    def change_user(self, user: str, changes: dict[str, str]) -> UserRow | None:
        """Sets ``name`` and ``about`` as far as they are in ``changes``; None: there is no such user."""
        with self._engine.begin() as db:
            if changes:
                db.execute(update(User).where(User.id == user).values(**changes))
            return _user(db, User.id == user)

    # -------------------------------------------------------------- devices and their tokens

    def add_device(self, user: str, device: DeviceRow, token: NewToken, devices_max: int, password_hash: str | None) -> list[str] | None:
        """Adds a device with its first refresh token; returns those that were revoked to make room, longest unseen first. None: the
        password that it signed in with has been changed."""
        now_ms = device.created_ms
        with self._engine.begin() as db:
            owner = select(User.password_hash).where(User.id == user).with_for_update()
            if db.execute(owner).scalar_one_or_none() != password_hash:
                return None
            db.execute(delete(Device).where(Device.user_id == user, Device.revoked_ms < now_ms - REVOKED_KEPT_MS))
            present = select(Device.id).where(Device.user_id == user, Device.revoked_ms.is_(None)).order_by(Device.seen_ms, Device.id)
            ids = [row[0] for row in db.execute(present)]
            gone = ids[: max(0, len(ids) + 1 - devices_max)]
            for each in gone:
                _revoke(db, each, now_ms)
            values = {"id": device.id, "name": device.name, "created_ms": now_ms, "seen_ms": device.seen_ms}
            db.execute(insert(Device).values(user_id=user, revoked_ms=None, **values))
            first = {"salt": token.salt, "current_hash": token.secret_hash, "previous_hash": None, "expires_ms": token.expires_ms}
            db.execute(insert(RefreshToken).values(family_hash=token.family_hash, device_id=device.id, rotated_ms=now_ms, **first))
        return gone

    def renew(self, family_hash: bytes, secret: bytes, now_ms: int, lifetime_ms: int, leeway_ms: int) -> Renewed | Reused | None:
        """Takes a refresh token for its successor; None: there is no such family, or it has expired."""
        shown = sha256(secret).digest()
        with self._engine.begin() as db:
            found = select(RefreshToken.__table__).where(RefreshToken.family_hash == family_hash)
            row = db.execute(found.with_for_update()).mappings().first()
            if row is None or row["expires_ms"] <= now_ms:
                return None
            device = row["device_id"]
            owner = db.execute(select(Device.user_id).where(Device.id == device)).scalar_one()
            successor = hmac.digest(row["salt"], secret, "sha256")
            is_current = hmac.compare_digest(shown, row["current_hash"])
            is_repeat = row["previous_hash"] is not None and hmac.compare_digest(shown, row["previous_hash"])
            if is_current:
                changed = {"current_hash": sha256(successor).digest(), "previous_hash": shown, "rotated_ms": now_ms}
                db.execute(
                    update(RefreshToken)
                    .where(RefreshToken.family_hash == family_hash)
                    .values(expires_ms=now_ms + lifetime_ms, **changed)
                )  # fmt: skip
                db.execute(update(Device).where(Device.id == device).values(seen_ms=now_ms))
            elif not is_repeat or now_ms - row["rotated_ms"] > leeway_ms:
                _revoke(db, device, now_ms)
                return Reused(owner, device)
            user = _user(db, User.id == owner)
            assert user is not None, "a device's row has an owner"
            return Renewed(user, device, successor)

    def is_revoked(self, user: str, device: str) -> bool:
        """Whether this device was revoked; one that never signed in here may have been, by an operator."""
        with self._reader.begin() as db:
            row = db.execute(select(Device.revoked_ms).where(Device.id == device, Device.user_id == user)).first()
            if row is not None:
                return row[0] is not None
            found = select(RevokedDevice.device).where(RevokedDevice.user_id == user, RevokedDevice.device == device)
            return db.execute(found).first() is not None

    def devices(self, user: str) -> list[DeviceRow]:
        """Those that are signed in, last seen first."""
        columns = (Device.id, Device.name, Device.created_ms, Device.seen_ms)
        mine = select(*columns).where(Device.user_id == user, Device.revoked_ms.is_(None))
        with self._reader.begin() as db:
            return [DeviceRow(*row) for row in db.execute(mine.order_by(Device.seen_ms.desc(), Device.id))]

    def rename_device(self, user: str, device: str, name: str) -> DeviceRow | None:
        """None: the user has no such device."""
        mine = (Device.id == device, Device.user_id == user, Device.revoked_ms.is_(None))
        with self._engine.begin() as db:
            db.execute(update(Device).where(*mine).values(name=name))
            row = db.execute(select(Device.id, Device.name, Device.created_ms, Device.seen_ms).where(*mine)).first()
        return None if row is None else DeviceRow(*row)

    def revoke_device(self, user: str, device: str, now_ms: int) -> bool:
        """False: the user has no such device. One that is revoked already stays so."""
        with self._engine.begin() as db:
            if db.execute(select(Device.id).where(Device.id == device, Device.user_id == user)).first() is None:
                return False
            _revoke(db, device, now_ms)
        return True

    def revoke_any_device(self, user: str, device: str, now_ms: int) -> None:
        """The same for an operator: it need not have signed in here."""
        if self.revoke_device(user, device, now_ms):
            return
        with self._engine.begin() as db:
            db.execute(delete(RevokedDevice).where(RevokedDevice.revoked_ms < now_ms - TOKENLESS_AFTER_MS))
            mine = (RevokedDevice.user_id == user, RevokedDevice.device == device)
            if not db.execute(update(RevokedDevice).where(*mine).values(revoked_ms=now_ms)).rowcount:
                db.execute(insert(RevokedDevice).values(user_id=user, device=device, revoked_ms=now_ms))

    # -------------------------------------------------------------- contacts and privacy

    def contacts(self, user: str, after: str, limit: int) -> list[ContactRow]:
        """A page in the order of their ids."""
        columns = (Contact.contact_id, Contact.name, Contact.created_ms)
        page = select(*columns).where(Contact.user_id == user, Contact.contact_id > after).order_by(Contact.contact_id).limit(limit)
        with self._reader.begin() as db:
            return [ContactRow(*row) for row in db.execute(page)]

    def put_contact(self, user: str, contact: ContactRow, contacts_max: int) -> ContactRow | None:
        """Adds or renames; None: the address book is full. Raises IntegrityError: two did it at once, or the user has no account."""
        this = (Contact.user_id == user, Contact.contact_id == contact.contact_id)
        with self._engine.begin() as db:
            known = db.execute(select(Contact.created_ms).where(*this)).first()
            if known is not None:
                db.execute(update(Contact).where(*this).values(name=contact.name))
                return ContactRow(contact.contact_id, contact.name, known[0])
            if db.execute(select(func.count()).select_from(Contact).where(Contact.user_id == user)).scalar_one() >= contacts_max:
                return None
            values = {"contact_id": contact.contact_id, "name": contact.name, "created_ms": contact.created_ms}
            db.execute(insert(Contact).values(user_id=user, **values))
        return contact

    def delete_contact(self, user: str, contact: str) -> bool:
        """False: there is none."""
        with self._engine.begin() as db:
            return db.execute(delete(Contact).where(Contact.user_id == user, Contact.contact_id == contact)).rowcount == 1

    def privacy(self, user: str) -> PrivacyRow | None:
        """None: nothing was ever set."""
        with self._reader.begin() as db:
            return _privacy(db, user)

    def shown(self, users: Sequence[str]) -> dict[str, ShownRow]:
        """What each of them shows of his presence; who never chose, or has no account, shows all."""
        with self._reader.begin() as db:
            found = db.execute(select(Privacy.user_id, Privacy.online, Privacy.last_seen).where(Privacy.user_id.in_(users))).all()
            settings = {user: (online, last_seen) for user, online, last_seen in found}
            choosy = [user for user, chosen in settings.items() if "contacts" in chosen]
            contacts: dict[str, set[str]] = {}
            if choosy:
                for user, contact in db.execute(select(Contact.user_id, Contact.contact_id).where(Contact.user_id.in_(choosy))):
                    contacts.setdefault(user, set()).add(contact)
            blocked: dict[str, set[str]] = {}
            for user, peer in db.execute(select(Block.user_id, Block.peer_id).where(Block.user_id.in_(users), Block.is_blocked)):
                blocked.setdefault(user, set()).add(peer)
        everyone = ("everyone", "everyone")
        return {
            user: ShownRow(*settings.get(user, everyone), frozenset(contacts.get(user, ())), frozenset(blocked.get(user, ())))
            for user in users
        }

    def note_blocks(self, rows: Sequence[BlockRow]) -> None:
        """Repeats what homes decided; a decision that is older than what is here changes nothing. Raises IntegrityError: two noted the
        first one of the same pair at once; the same again notes it."""
        with self._engine.begin() as db:
            for row in rows:
                this = (Block.user_id == row.user, Block.peer_id == row.peer)
                values = {"seq": row.seq, "is_blocked": row.is_blocked, "noted_ms": row.noted_ms}
                if db.execute(update(Block).where(*this, Block.seq < row.seq).values(**values)).rowcount:
                    continue
                if db.execute(select(Block.seq).where(*this)).first() is None:
                    db.execute(insert(Block).values(user_id=row.user, peer_id=row.peer, **values))

    def blocked_by(self, user: str, after: str, limit: int) -> list[BlockRow]:
        """Whom ``user`` blocks, ascending by id, above ``after``."""
        columns = (Block.user_id, Block.peer_id, Block.seq, Block.is_blocked, Block.noted_ms)
        with self._reader.begin() as db:
            these = select(*columns).where(Block.user_id == user, Block.is_blocked, Block.peer_id > after)
            return [BlockRow(*row) for row in db.execute(these.order_by(Block.peer_id).limit(limit))]

    def set_privacy(self, user: str, changes: dict[str, str], otherwise: PrivacyRow) -> PrivacyRow:
        """Sets what is in ``changes``, the rest from ``otherwise`` where nothing was set. Raises IntegrityError as ``put_contact``."""
        with self._engine.begin() as db:
            present = _privacy(db, user)
            base = present or otherwise
            wanted = PrivacyRow(changes.get("last_seen", base.last_seen), changes.get("online", base.online))
            values = {"last_seen": wanted.last_seen, "online": wanted.online}
            if present is None:
                db.execute(insert(Privacy).values(user_id=user, **values))
            elif changes:
                db.execute(update(Privacy).where(Privacy.user_id == user).values(**values))
            return wanted


def _user(db: Connection, condition: object) -> UserRow | None:
    row = db.execute(select(User.__table__).where(condition)).mappings().first()  # type: ignore[arg-type]  # SQLAlchemy has no common type
    return None if row is None else _user_row(row)


def _user_row(row: RowMapping) -> UserRow:
    return UserRow(row["id"], row["handle"], row["name"], row["about"], row["created_ms"])


def _privacy(db: Connection, user: str) -> PrivacyRow | None:
    row = db.execute(select(Privacy.last_seen, Privacy.online).where(Privacy.user_id == user)).first()
    return None if row is None else PrivacyRow(*row)


def _set_password(db: Connection, user: str, before: str, after: str) -> bool:
    changed = update(User).where(User.id == user, User.password_hash == before).values(password_hash=after)
    return db.execute(changed).rowcount == 1


def _revoke(db: Connection, device: str, now_ms: int) -> None:
    """No token of it renews anything any more."""
    db.execute(delete(RefreshToken).where(RefreshToken.device_id == device))
    db.execute(update(Device).where(Device.id == device, Device.revoked_ms.is_(None)).values(revoked_ms=now_ms))
