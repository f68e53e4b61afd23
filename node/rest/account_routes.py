"""The routes of accounts: who asks what of ``node.accounts``."""

from __future__ import annotations

from homing import codes, rest

from node.accounts.names import folded
from node.accounts.profiles import Profiles
from node.accounts.service import Accounts
from node.rest.route import Call, Route, body_of, id_of, query_of

REFRESH_FAMILY_CHARS = 20
"""The part of a refresh token's text that all tokens of one device share."""


def account_routes(accounts: Accounts, profiles: Profiles) -> list[Route]:
    """The table."""
    return [*_sessions(accounts), *_devices(accounts), *_people(accounts, profiles), *_contacts(profiles), *_privacy(profiles)]


def _sessions(accounts: Accounts) -> list[Route]:
    async def register(call: Call) -> rest.Session:
        return await accounts.register(body_of(call, rest.Register))

    async def sign_in(call: Call) -> rest.Session:
        return await accounts.sign_in(body_of(call, rest.SignIn))

    async def renew(call: Call) -> rest.Session:
        return await accounts.renew(body_of(call, rest.Renew))

    async def sign_out(call: Call) -> None:
        await accounts.revoke_device(call.who, call.who.device)

    async def ticket(call: Call) -> rest.Ticket:
        return accounts.ticket(call.who)

    return [
        Route(
            name="register", method="POST", path="/v1/accounts", summary="Make an account and sign its first device in",
            handle=register, limiter="register", body=rest.Register, answer=rest.Session, status=201, errors=(codes.CONFLICT,),
            needs_token=False, limited_by=lambda call: folded(body_of(call, rest.Register).handle),
        ),
        Route(
            name="sign_in", method="POST", path="/v1/sessions", summary="Sign a new device in",
            handle=sign_in, limiter="sign_in", body=rest.SignIn, answer=rest.Session, status=201, errors=(codes.WRONG_CREDENTIALS,),
            needs_token=False, limited_by=lambda call: folded(body_of(call, rest.SignIn).handle),
        ),
        Route(
            name="renew", method="POST", path="/v1/sessions/refresh",
            summary="Take a refresh token for new tokens; one that was used before signs its device out",
            handle=renew, limiter="refresh", body=rest.Renew, answer=rest.Session, errors=(codes.TOKEN_INVALID, codes.DEVICE_REVOKED),
            needs_token=False, limited_by=lambda call: body_of(call, rest.Renew).refresh_token[:REFRESH_FAMILY_CHARS],
        ),
        Route(
            name="sign_out", method="DELETE", path="/v1/sessions/current",
            summary="Sign this device out; its sessions are closed in the whole cluster",
            handle=sign_out, limiter="changes", errors=(codes.NOT_FOUND,), revoked_may=True,
        ),
        Route(
            name="ticket", method="POST", path="/v1/tickets", summary="Get what a browser's hello carries instead of the access token",
            handle=ticket, limiter="tickets", answer=rest.Ticket, status=201,
        ),
    ]  # fmt: skip


def _devices(accounts: Accounts) -> list[Route]:
    async def devices(call: Call) -> rest.Devices:
        return await accounts.devices(call.who)

    async def rename(call: Call) -> rest.Device:
        return await accounts.rename_device(call.who, call.path["device"], body_of(call, rest.DeviceChange))

    async def revoke(call: Call) -> None:
        await accounts.revoke_device(call.who, call.path["device"])

    return [
        Route(
            name="devices", method="GET", path="/v1/devices", summary="The devices that are signed in, last seen first",
            handle=devices, limiter="reads", answer=rest.Devices,
        ),
        Route(
            name="rename_device", method="PATCH", path="/v1/devices/{device}", summary="Rename a device",
            handle=rename, limiter="changes", body=rest.DeviceChange, answer=rest.Device, errors=(codes.NOT_FOUND,),
        ),
        Route(
            name="revoke_device", method="DELETE", path="/v1/devices/{device}",
            summary="Sign a device out; answered when its sessions are closed in the whole cluster",
            handle=revoke, limiter="changes", errors=(codes.NOT_FOUND,),
        ),
    ]  # fmt: skip


def _people(accounts: Accounts, profiles: Profiles) -> list[Route]:
    async def me(call: Call) -> rest.Me:
        return await profiles.me(call.who)

    async def password(call: Call) -> None:
        await accounts.change_password(call.who, body_of(call, rest.PasswordChange))

    async def change_me(call: Call) -> rest.Me:
        return await profiles.change_me(call.who, body_of(call, rest.MeChange))

    async def by_handle(call: Call) -> rest.Person:
        return await profiles.by_handle(query_of(call, rest.UserQuery).handle)

    async def by_id(call: Call) -> rest.Person:
        return await profiles.by_id(id_of(call, "user"))

    return [
        Route(
            name="me", method="GET", path="/v1/me", summary="The caller's account",
            handle=me, limiter="reads", answer=rest.Me, errors=(codes.NOT_FOUND,),
        ),
        Route(
            name="change_me", method="PATCH", path="/v1/me", summary="Change the caller's profile",
            handle=change_me, limiter="changes", body=rest.MeChange, answer=rest.Me, errors=(codes.NOT_FOUND,),
        ),
        Route(
            name="change_password", method="PUT", path="/v1/me/password",
            summary="Set another password; the other devices are signed out. Answered when their sessions are closed in the whole cluster",
            handle=password, limiter="sign_in", body=rest.PasswordChange, errors=(codes.WRONG_CREDENTIALS, codes.NOT_FOUND),
        ),
        Route(
            name="find_user", method="GET", path="/v1/users", summary="Find an account by its handle",
            handle=by_handle, limiter="people", query=rest.UserQuery, answer=rest.Person, errors=(codes.NOT_FOUND,),
        ),
        Route(
            name="user", method="GET", path="/v1/users/{user}", summary="An account by its id",
            handle=by_id, limiter="people", answer=rest.Person, errors=(codes.NOT_FOUND,),
        ),
    ]  # fmt: skip


def _contacts(profiles: Profiles) -> list[Route]:
    async def contacts(call: Call) -> rest.Contacts:
        return await profiles.contacts(call.who, query_of(call, rest.ContactsQuery))

    async def put(call: Call) -> rest.Contact:
        return await profiles.put_contact(call.who, id_of(call, "user"), body_of(call, rest.ContactChange))

    async def delete(call: Call) -> None:
        await profiles.delete_contact(call.who, id_of(call, "user"))

    return [
        Route(
            name="contacts", method="GET", path="/v1/contacts", summary="The caller's address book, in pages",
            handle=contacts, limiter="reads", query=rest.ContactsQuery, answer=rest.Contacts,
        ),
        Route(
            name="put_contact", method="PUT", path="/v1/contacts/{user}", summary="Add somebody to the address book, or rename him",
            handle=put, limiter="changes", body=rest.ContactChange, answer=rest.Contact, errors=(codes.NOT_FOUND, codes.CONFLICT),
        ),
        Route(
            name="delete_contact", method="DELETE", path="/v1/contacts/{user}", summary="Take somebody out of the address book",
            handle=delete, limiter="changes", errors=(codes.NOT_FOUND,),
        ),
    ]  # fmt: skip


def _privacy(profiles: Profiles) -> list[Route]:
    async def privacy(call: Call) -> rest.Privacy:
        return await profiles.privacy(call.who)

    async def change(call: Call) -> rest.Privacy:
        return await profiles.change_privacy(call.who, body_of(call, rest.PrivacyChange))

    return [
        Route(
            name="privacy", method="GET", path="/v1/privacy", summary="Who may see when the caller is here",
            handle=privacy, limiter="reads", answer=rest.Privacy,
        ),
        Route(
            name="change_privacy", method="PATCH", path="/v1/privacy", summary="Change who may see when the caller is here",
            handle=change, limiter="changes", body=rest.PrivacyChange, answer=rest.Privacy, errors=(codes.NOT_FOUND,),
        ),
    ]  # fmt: skip
