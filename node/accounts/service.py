"""Accounts: who there is, on which devices (``design.md`` §2: the relational store).

Owns what register, sign-in, renewal and sign-out mean. It must not know HTTP, sockets or SQL; ``homing.rest`` has what goes in and out.

Laws:
    * Nothing here waits on the event loop: passwords and the database have threads of their own, with bounds (P7).
    * A user's id follows from his handle (``homing.ids.user_id``), so ``homing token`` and accounts agree on who is who.
    * A device that is signed out, replaced or caught with an old refresh token gets no new token from the moment of the answer on, and its
      sessions are closed through its user's home, in the whole cluster.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

from homing import codes, ids, rest
from homing.codes import Code

from node.accounts import names, passwords
from node.accounts.config import AccountsConfig
from node.accounts.database import Database
from node.accounts.passwords import Passwords
from node.accounts.signer import Signer
from node.edge.tokens import Claims
from node.refusal import Refused
from router import logs
from storage.relational.records import DeviceRow, NewToken, Renewed, Reused, UserRow

FAMILY_BYTES = 16
SECRET_BYTES = 32
DEVICE_BYTES = 12
EVICTIONS_MAX = 64
"""Devices whose sessions are being closed while nobody waits for it."""
EVICTION_TRIES = 5
RETRY_AFTER_S = 1.0
log = logs.get("node.accounts")

Revoke = Callable[[str, str], Awaitable[Code | None]]
"""Closes a device's sessions in the cluster and lets none in again; None: done."""


class Accounts:
    """The service of one node.

    Args:
        config: its section.
        signer: signs access tokens and tickets.
        time_ms: cluster time.
        revoke: see ``Revoke``.
    """

    def __init__(self, config: AccountsConfig, signer: Signer, time_ms: Callable[[], int], revoke: Revoke) -> None:
        self.config = config
        self.signer = signer
        self.time_ms = time_ms
        self._revoke = revoke
        self.passwords = Passwords(config)
        self.database = Database(config)
        self._evictions: set[asyncio.Task[None]] = set()
        self.counts = {"registered": 0, "signed_in": 0, "wrong_credentials": 0, "renewed": 0, "reused_tokens": 0, "signed_out": 0}

    async def warm_up(self) -> None:
        """Opens the database and loads the libraries. Raises Refused: it cannot be opened now; a request will try again."""
        await self.passwords.warm_up()
        await self.database.call(lambda _: None)

    async def close(self) -> None:
        for task in self._evictions:
            task.cancel()
        await self.passwords.pool.close()
        await self.database.close()

    # -------------------------------------------------------------- signing in

    async def register(self, wanted: rest.Register) -> rest.Session:
        """Makes an account and signs its first device in.

        Raises:
            Refused: CONFLICT the handle is taken; INVALID a field; OVERLOADED or UNAVAILABLE.
        """
        handle = names.new_handle(wanted.handle)
        name = names.name(wanted.name, otherwise=wanted.handle.strip())
        device_name = names.name(wanted.device_name, "device_name", "")
        passwords.check(wanted.password, handle)
        if await self.database.call(lambda rows: rows.user_by_handle(handle)) is not None:
            raise _taken()
        password_hash = await self.passwords.hash(wanted.password)
        user = UserRow(ids.user_id(handle), handle, name, "", self.time_ms())
        if not await self.database.call(lambda rows: rows.add_user(user, password_hash)):
            raise _taken()
        self.counts["registered"] += 1
        return await self._sign_in(user, device_name, password_hash)

    async def sign_in(self, given: rest.SignIn) -> rest.Session:
        """Signs a new device in.

        Raises:
            Refused: WRONG_CREDENTIALS, in the same time whether there is such an account or not; INVALID; OVERLOADED or UNAVAILABLE.
        """
        handle = names.folded(given.handle)
        device_name = names.name(given.device_name, "device_name", "")
        found = await self.database.call(lambda rows: rows.credentials(handle))
        verdict = await self.passwords.verify(found.password_hash if found is not None else None, given.password)
        if found is None or not verdict.good:
            self.counts["wrong_credentials"] += 1
            raise _wrong_credentials()
        user, password_hash, new_hash = found.user, found.password_hash, verdict.new_hash
        assert password_hash is not None, "without one no password is good"
        old_hash = password_hash
        if new_hash is not None and await self.database.call(lambda rows: rows.set_password_hash(user.id, old_hash, new_hash)):
            password_hash = new_hash
        self.counts["signed_in"] += 1
        return await self._sign_in(user, device_name, password_hash)

    async def change_password(self, who: Claims, change: rest.PasswordChange) -> None:
        """Sets another password and, unless asked otherwise, signs every other device out; answered when their sessions are closed. The
        same again is done already, and sees to the devices once more.

        Raises:
            Refused: WRONG_CREDENTIALS it is not the present password; INVALID; NOT_FOUND no account, or none with a password; OVERLOADED
                or UNAVAILABLE: it may be done in part, repeat it.
        """
        found = await self.database.call(lambda rows: rows.credentials_of(who.user))
        before = found.password_hash if found is not None else None
        if found is None or before is None:
            raise Refused(codes.NOT_FOUND, "there is no such account, or it has no password")
        passwords.check(change.new, found.user.handle, "new")
        if (await self.passwords.verify(before, change.current)).good:
            after = await self.passwords.hash(change.new)
        elif (await self.passwords.verify(before, change.new)).good:
            after = before  # a repeat: its answer was lost, or devices are left
        else:
            self.counts["wrong_credentials"] += 1
            raise _wrong_password()
        if change.keep_devices:
            if not await self.database.call(lambda rows: rows.set_password_hash(who.user, before, after)):
                raise _wrong_password()
            return
        now_ms, lived_ms = self.time_ms(), self.config.access_s * 1_000
        gone = await self.database.call(lambda rows: rows.change_password(who.user, before, after, who.device, now_ms, now_ms - lived_ms))
        if gone is None:
            raise _wrong_password()
        await self._close_all(who.user, gone)

    async def _close_all(self, user: str, devices: Sequence[str]) -> None:
        """Raises Refused: some sessions are not closed yet; they are seen to, with nobody waiting for it."""
        answers = await asyncio.gather(*(self._revoke(user, device) for device in devices))
        left = [device for device, code in zip(devices, answers, strict=True) if code is not None]
        self.counts["signed_out"] += len(devices)
        for device in left:
            self._evict(user, device)
        if left:
            raise Refused(codes.UNAVAILABLE, "some sessions could not be closed yet", retry_after_s=RETRY_AFTER_S)

    async def _sign_in(self, user: UserRow, device_name: str, password_hash: str) -> rest.Session:
        now_ms, device = self.time_ms(), os.urandom(DEVICE_BYTES).hex()
        family, secret = os.urandom(FAMILY_BYTES), os.urandom(SECRET_BYTES)
        row = DeviceRow(device, device_name, now_ms, now_ms)
        token = NewToken(sha256(family).digest(), os.urandom(SECRET_BYTES), sha256(secret).digest(), now_ms + self.config.refresh_s * 1_000)
        gone = await self.database.call(lambda rows: rows.add_device(user.id, row, token, self.config.devices_max, password_hash))
        if gone is None:
            raise _wrong_credentials()
        for each in gone:
            self._evict(user.id, each)
        return self._session(user, device, _text(family, secret))

    async def renew(self, given: rest.Renew) -> rest.Session:
        """Takes a refresh token for a new session.

        Raises:
            Refused: TOKEN_INVALID it is unknown or its time is over; DEVICE_REVOKED it was used before; OVERLOADED or UNAVAILABLE.
        """
        family, secret = _parts(given.refresh_token)
        config, now_ms = self.config, self.time_ms()
        lifetime_ms, leeway_ms = config.refresh_s * 1_000, int(config.refresh_leeway_s * 1_000)
        digest = sha256(family).digest()
        answer = await self.database.call(lambda rows: rows.renew(digest, secret, now_ms, lifetime_ms, leeway_ms))
        if isinstance(answer, Renewed):
            self.counts["renewed"] += 1
            return self._session(answer.user, answer.device, _text(family, answer.secret))
        if isinstance(answer, Reused):
            self.counts["reused_tokens"] += 1
            log.warning("refresh_token_reused", user=answer.user, device=answer.device)
            self._evict(answer.user, answer.device)
            raise Refused(codes.DEVICE_REVOKED, "this refresh token was used before: the device is signed out", "refresh_token")
        raise _no_token()

    def _session(self, user: UserRow, device: str, refresh_token: str) -> rest.Session:
        return rest.Session(
            user=user.id,
            handle=user.handle,
            name=user.name,
            device=device,
            access_token=self.signer.access(user.id, device, user.name, self.time_ms() / 1_000),
            access_expires_s=self.config.access_s,
            refresh_token=refresh_token,
            refresh_expires_s=self.config.refresh_s,
        )

    def ticket(self, who: Claims) -> rest.Ticket:
        """A ticket for the device that asks."""
        ticket = self.signer.ticket(who.user, who.device, who.name, self.time_ms() / 1_000)
        return rest.Ticket(ticket=ticket, expires_s=self.config.ticket_s)

    # -------------------------------------------------------------- devices

    async def is_revoked(self, user: str, device: str) -> bool:
        """Whether the device was signed out here; what signed in elsewhere was not."""
        return await self.database.call(lambda rows: rows.is_revoked(user, device))

    async def devices(self, who: Claims) -> rest.Devices:
        found = await self.database.call(lambda rows: rows.devices(who.user))
        return rest.Devices(devices=[_device(row, who) for row in found])

    async def rename_device(self, who: Claims, device: str, change: rest.DeviceChange) -> rest.Device:
        """Raises Refused: NOT_FOUND, INVALID, OVERLOADED or UNAVAILABLE."""
        name = names.name(change.name)
        row = await self.database.call(lambda rows: rows.rename_device(who.user, device, name))
        if row is None:
            raise Refused(codes.NOT_FOUND, "you have no such device")
        return _device(row, who)

    async def revoke_device(self, who: Claims, device: str) -> None:
        """Signs a device out, and returns when its sessions are closed in the whole cluster.

        Raises:
            Refused: NOT_FOUND; OVERLOADED or UNAVAILABLE: it may be done in part, repeat it.
        """
        now_ms = self.time_ms()
        known = await self.database.call(lambda rows: rows.revoke_device(who.user, device, now_ms))
        if not known:
            raise Refused(codes.NOT_FOUND, "you have no such device")
        self.counts["signed_out"] += 1
        code = await self._revoke(who.user, device)
        if code is not None:
            raise Refused(codes.UNAVAILABLE, "its sessions could not be closed yet", retry_after_s=RETRY_AFTER_S)

    def _evict(self, user: str, device: str) -> None:
        """Closes a device's sessions without making somebody else wait for it."""
        if len(self._evictions) >= EVICTIONS_MAX:  # it gets no new token all the same
            log.warning("sessions_not_closed", user=user, device=device)
            return
        task = asyncio.ensure_future(self._close_sessions(user, device))
        self._evictions.add(task)
        task.add_done_callback(self._evictions.discard)

    async def _close_sessions(self, user: str, device: str) -> None:
        for _ in range(EVICTION_TRIES):
            if await self._revoke(user, device) is None:
                return
            await asyncio.sleep(RETRY_AFTER_S)
        log.warning("sessions_not_closed", user=user, device=device)


def _device(row: DeviceRow, who: Claims) -> rest.Device:
    return rest.Device(device=row.id, name=row.name, created_ts=row.created_ms, seen_ts=row.seen_ms, current=row.id == who.device)


def _text(family: bytes, secret: bytes) -> str:
    """A refresh token as the client has it: opaque."""
    return base64.urlsafe_b64encode(family + secret).decode()


def _parts(text: str) -> tuple[bytes, bytes]:
    """Family and secret. Raises Refused: this was never a refresh token."""
    try:
        data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise _no_token() from None
    if len(data) != FAMILY_BYTES + SECRET_BYTES:
        raise _no_token()
    return data[:FAMILY_BYTES], data[FAMILY_BYTES:]


def _taken() -> Refused:
    return Refused(codes.CONFLICT, "this handle is taken", "handle")


def _wrong_credentials() -> Refused:
    return Refused(codes.WRONG_CREDENTIALS, "there is no such account, or it has another password")


def _wrong_password() -> Refused:
    return Refused(codes.WRONG_CREDENTIALS, "this is not the present password", "current")


def _no_token() -> Refused:
    return Refused(codes.TOKEN_INVALID, "this is no refresh token that is valid", "refresh_token")
