"""Profiles, contacts and privacy: what people tell about themselves and whom they know.

Owns their rules; must not know HTTP or SQL. The home of a user reads privacy where it needs it; here are the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from homing import codes, ids, rest
from msgspec import UNSET

from node.accounts import names
from node.accounts.config import AccountsConfig
from node.accounts.database import Database
from node.accounts.shown import privacy_of
from node.core.privacy import ALL
from node.edge.tokens import Claims
from node.refusal import Refused
from storage.relational.records import ContactRow, PrivacyRow, UserRow

if TYPE_CHECKING:
    from storage.relational.accounts import AccountRows

T = TypeVar("T")
EVERYONE = PrivacyRow("everyone", "everyone")
"""What holds for whoever never chose."""


class Profiles:
    """See the module. Every method raises Refused with OVERLOADED or UNAVAILABLE, and NOT_FOUND where there is no such account."""

    def __init__(
        self, config: AccountsConfig, database: Database, time_ms: Callable[[], int], changed: Callable[[str], None] = lambda user: None
    ) -> None:
        self.config, self.database, self.time_ms = config, database, time_ms
        self.changed = changed
        """Called when what somebody shows of his presence, or to whom, is another, and committed: his home must hear of it."""

    # -------------------------------------------------------------- profiles

    async def me(self, who: Claims) -> rest.Me:
        return _me(_found(await self.database.call(lambda rows: rows.user(who.user))))

    async def change_me(self, who: Claims, change: rest.MeChange) -> rest.Me:
        """Raises Refused: INVALID as well. A new name is in the tokens that are made from now on."""
        changes: dict[str, str] = {}
        if change.name is not UNSET:
            changes["name"] = names.name(change.name)
        if change.about is not UNSET:
            changes["about"] = names.about(change.about)
        return _me(_found(await self.database.call(lambda rows: rows.change_user(who.user, changes))))

    async def by_handle(self, handle: str) -> rest.Person:
        folded = names.folded(handle)
        return _person(_found(await self.database.call(lambda rows: rows.user_by_handle(folded))))

    async def by_id(self, user: str) -> rest.Person:
        return _person(_found(await self.database.call(lambda rows: rows.user(user))))

    # -------------------------------------------------------------- contacts

    async def contacts(self, who: Claims, query: rest.ContactsQuery) -> rest.Contacts:
        found = await self.database.call(lambda rows: rows.contacts(who.user, query.after, query.limit + 1))
        page = found[: query.limit]
        more = page[-1].contact_id if len(found) > len(page) else None
        return rest.Contacts(contacts=[_contact(row) for row in page], next=more)

    async def put_contact(self, who: Claims, contact: str, change: rest.ContactChange) -> rest.Contact:
        """Raises Refused: NOT_FOUND (no user's id), CONFLICT (oneself, or the address book is full) as well."""
        if not ids.is_id(contact) or ids.kind_of(contact) != ids.USER:
            raise Refused(codes.NOT_FOUND, "a contact is a user's id")
        if contact == who.user:
            raise Refused(codes.CONFLICT, "nobody is a contact of his own", "user")
        row = ContactRow(contact, names.name(change.name, otherwise=""), self.time_ms())
        put = await self._of_account(who.user, lambda rows: rows.put_contact(who.user, row, self.config.contacts_max))
        if put is None:
            raise Refused(codes.CONFLICT, f"an address book holds at most {self.config.contacts_max} people")
        self.changed(who.user)
        return _contact(put)

    async def delete_contact(self, who: Claims, contact: str) -> None:
        if not await self.database.call(lambda rows: rows.delete_contact(who.user, contact)):
            raise Refused(codes.NOT_FOUND, "this is none of your contacts")
        self.changed(who.user)

    # -------------------------------------------------------------- privacy

    async def privacy(self, who: Claims) -> rest.Privacy:
        found = await self.database.call(lambda rows: rows.privacy(who.user))
        return _privacy(found or EVERYONE)

    async def change_privacy(self, who: Claims, change: rest.PrivacyChange) -> rest.Privacy:
        wanted = {"last_seen": change.last_seen, "online": change.online}
        changes: dict[str, str] = {key: value for key, value in wanted.items() if value is not UNSET}
        chosen = await self._of_account(who.user, lambda rows: rows.set_privacy(who.user, changes, EVERYONE))
        self.changed(who.user)
        return _privacy(chosen)

    async def shows(self, who: Claims, other: str) -> int:
        """What he shows ``other`` of his presence: as much may he see of his (bits of ``node.core.privacy``)."""
        found = await self.database.call(lambda rows: rows.shown([who.user]))
        return ALL if other == who.user else privacy_of(found[who.user]).shows(other)

    async def _of_account(self, user: str, change: Callable[[AccountRows], T]) -> T:
        """A change of rows that hang on an account: whose token comes from elsewhere may have none."""

        def run(rows: AccountRows) -> T:
            _found(rows.user(user))
            return change(rows)

        return await self.database.call(run)


def _found(user: UserRow | None) -> UserRow:
    if user is None:
        raise Refused(codes.NOT_FOUND, "there is no such account")
    return user


def _me(user: UserRow) -> rest.Me:
    return rest.Me(user=user.id, handle=user.handle, name=user.name, about=user.about, created_ts=user.created_ms)


def _person(user: UserRow) -> rest.Person:
    return rest.Person(user=user.id, handle=user.handle, name=user.name, about=user.about)


def _contact(row: ContactRow) -> rest.Contact:
    return rest.Contact(user=row.contact_id, name=row.name, created_ts=row.created_ms)


def _privacy(row: PrivacyRow) -> rest.Privacy:
    return rest.Privacy(last_seen=cast(rest.Audience, row.last_seen), online=cast(rest.Audience, row.online))
