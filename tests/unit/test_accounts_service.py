"""Registering, signing in, renewing and signing out, on a real database with a clock that the test turns."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from homing import codes, ids, rest
from homing.codes import Code
from msgspec import structs

from node.accounts.signer import RELOAD_S
from node.edge.tokens import TokenError, rotate
from node.refusal import Refused
from tests.unit.accounts_rig import CHEAP, PASSWORD, Rig, rig


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as made:
        yield made


async def refused(code: Code, field: str | None, attempt: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await attempt  # type: ignore[misc]  # any of the service's coroutines
    assert (caught.value.code, caught.value.field) == (code, field)
    return caught.value


async def test_who_registers_is_signed_in_as_homing_token_would_sign_him_in(accounts: Rig) -> None:
    session = await accounts.register(" Alice ", device_name="Phone")
    claims = accounts.claims(session)
    assert (session.user, session.handle, session.name) == (ids.user_id("ALICE"), "alice", "Alice")
    assert (claims.user, claims.device, claims.name) == (session.user, session.device, "Alice")
    assert claims.exp == accounts.now_ms // 1_000 + 600
    assert accounts.accounts.counts["registered"] == 1


@pytest.mark.parametrize("handle", ["alice", "ALICE", "ａｌｉｃｅ"])
async def test_a_handle_is_one_account_however_it_is_typed(accounts: Rig, handle: str) -> None:
    first = await accounts.register("alice")
    await refused(codes.CONFLICT, "handle", accounts.register(handle))
    assert (await accounts.sign_in(handle)).user == first.user


@pytest.mark.parametrize("handle", ["", "al", "a" * 33, "al ice", "al/ice", "älice", "al\0ice", "al\nice"])
async def test_a_handle_that_cannot_be_one_is_refused(accounts: Rig, handle: str) -> None:
    await refused(codes.INVALID, "handle", accounts.register(handle))


@pytest.mark.parametrize("password", ["", "1234567", "aaaaaaaaaaaa", "aliceinchains"])
async def test_a_password_that_anybody_would_guess_is_refused(accounts: Rig, password: str) -> None:
    wanted = rest.Register(handle="AliceInChains", password=password)
    await refused(codes.INVALID, "password", accounts.accounts.register(wanted))


@pytest.mark.parametrize("name", ["a\0b", "a\x1bb", "a\nb", "\ud800"])
async def test_a_name_that_cannot_be_shown_is_refused(accounts: Rig, name: str) -> None:
    await refused(codes.INVALID, "name", accounts.register(name=name))
    await refused(codes.INVALID, "device_name", accounts.register(device_name=name))


async def test_two_who_want_the_same_handle_at_once_do_not_both_get_it(accounts: Rig) -> None:
    results = await asyncio.gather(*(accounts.register() for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, rest.Session) for result in results) == 1
    assert sum(isinstance(result, Refused) and result.code == codes.CONFLICT for result in results) == 4


async def test_each_sign_in_is_a_device_of_its_own(accounts: Rig) -> None:
    first = await accounts.register(device_name="Phone")
    accounts.now_ms += 1
    second = await accounts.sign_in(device_name="Desk")
    who = accounts.claims(second)
    listed = (await accounts.accounts.devices(who)).devices
    assert [(d.device, d.name, d.current) for d in listed] == [(second.device, "Desk", True), (first.device, "Phone", False)]
    renamed = await accounts.accounts.rename_device(who, first.device, rest.DeviceChange(name="Old phone"))
    assert renamed.name == "Old phone"
    await refused(codes.NOT_FOUND, None, accounts.accounts.rename_device(who, "0" * 24, rest.DeviceChange(name="x")))
    await refused(codes.INVALID, "name", accounts.accounts.rename_device(who, first.device, rest.DeviceChange(name=" ")))


async def test_a_wrong_password_and_an_unknown_account_are_refused_in_the_same_words(accounts: Rig) -> None:
    await accounts.register()
    wrong = await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in(password="wrong horse"))
    unknown = await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in("nobody"))
    impossible = await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in("no/body"))
    assert wrong.message == unknown.message == impossible.message
    assert accounts.accounts.counts["wrong_credentials"] == 3


async def test_an_unknown_account_costs_as_many_hashes_as_a_wrong_password(accounts: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    import argon2

    await accounts.register()
    hashes: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, hash: str, password: str) -> bool:
        hashes.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    for handle in ("alice", "nobody"):
        await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in(handle, "wrong horse"))
    assert len(hashes) == 2
    assert hashes[0].split("$")[:4] == hashes[1].split("$")[:4], "same settings"


async def test_a_password_is_the_same_however_its_characters_are_composed(accounts: Rig) -> None:
    await accounts.accounts.register(rest.Register(handle="alice", password="pa\u0308sswort"))
    assert await accounts.sign_in(password="p\u00e4sswort")


async def test_a_hash_of_older_settings_is_made_anew_at_the_next_sign_in(tmp_path: Path) -> None:
    async with rig(tmp_path) as old:
        await old.register()
    async with rig(tmp_path, structs.replace(CHEAP, password_passes=2)) as new:
        assert await new.sign_in()
        found = await new.accounts.database.call(lambda rows: rows.credentials("alice"))
        assert found is not None
        assert "t=2" in (found.password_hash or "")
        assert await new.sign_in()


async def test_a_renewal_gives_new_tokens_of_the_same_device_and_the_present_name(accounts: Rig) -> None:
    first = await accounts.register()
    await accounts.profiles.change_me(accounts.claims(first), rest.MeChange(name="Al"))
    accounts.now_ms += 300_000
    second = await accounts.renew(first.refresh_token)
    assert second.device == first.device
    assert second.refresh_token != first.refresh_token
    assert accounts.claims(second).name == second.name == "Al"


async def test_an_old_refresh_token_signs_the_device_out_and_closes_its_sessions(accounts: Rig) -> None:
    first = await accounts.register()
    second = await accounts.renew(first.refresh_token)
    assert (await accounts.renew(first.refresh_token)).refresh_token == second.refresh_token, "its answer was lost"
    accounts.now_ms += 10_001
    await refused(codes.DEVICE_REVOKED, "refresh_token", accounts.renew(first.refresh_token))
    await refused(codes.TOKEN_INVALID, "refresh_token", accounts.renew(second.refresh_token))
    await asyncio.sleep(0)
    assert accounts.revoked == [(first.user, first.device)]
    assert await accounts.accounts.is_revoked(first.user, first.device)
    assert accounts.accounts.counts["reused_tokens"] == 1


@pytest.mark.parametrize("token", ["", "x", "ä", "A" * 64, "A" * 63 + "=", base64.urlsafe_b64encode(b"x" * 48).decode()])
async def test_what_is_no_refresh_token_is_refused(accounts: Rig, token: str) -> None:
    await refused(codes.TOKEN_INVALID, "refresh_token", accounts.renew(token))


async def test_a_refresh_token_ends_with_its_time(accounts: Rig) -> None:
    session = await accounts.register()
    accounts.now_ms += accounts.config.refresh_s * 1_000
    await refused(codes.TOKEN_INVALID, "refresh_token", accounts.renew(session.refresh_token))


async def test_a_device_that_is_signed_out_renews_nothing_and_its_sessions_are_closed(accounts: Rig) -> None:
    session = await accounts.register()
    who = accounts.claims(session)
    accounts.revoke_answers = [codes.UNAVAILABLE]
    again = await refused(codes.UNAVAILABLE, None, accounts.accounts.revoke_device(who, who.device))
    assert again.retry_after_s is not None
    await refused(codes.TOKEN_INVALID, "refresh_token", accounts.renew(session.refresh_token))
    await accounts.accounts.revoke_device(who, who.device)
    assert accounts.revoked == [(who.user, who.device)] * 2
    assert (await accounts.accounts.devices(who)).devices == []


async def test_nobody_signs_out_the_device_of_somebody_else(accounts: Rig) -> None:
    alice, bob = await accounts.register(), await accounts.register("bob")
    await refused(codes.NOT_FOUND, None, accounts.accounts.revoke_device(accounts.claims(bob), alice.device))
    assert accounts.revoked == []
    assert await accounts.renew(alice.refresh_token)


async def test_a_device_too_many_signs_out_the_one_not_seen_for_longest(accounts: Rig) -> None:
    first = await accounts.register()
    for _ in range(CHEAP.devices_max):
        accounts.now_ms += 1
        last = await accounts.sign_in()
    await asyncio.sleep(0)
    assert accounts.revoked == [(first.user, first.device)]
    assert len((await accounts.accounts.devices(accounts.claims(last))).devices) == CHEAP.devices_max


async def test_a_ticket_opens_a_web_socket_and_nothing_else(accounts: Rig) -> None:
    session = await accounts.register()
    ticket = accounts.accounts.ticket(accounts.claims(session)).ticket
    now = accounts.now_ms / 1_000
    claims = accounts.checker.check(ticket, now, ticket=True)
    assert (claims.user, claims.device, claims.exp) == (session.user, session.device, int(now) + 60)
    for _ in range(2):  # from the signature and from the cache
        with pytest.raises(TokenError, match="ticket"):
            accounts.checker.check(ticket, now)
    assert not accounts.claims(session).is_ticket


async def test_after_a_rotation_the_new_key_signs(accounts: Rig) -> None:
    session = await accounts.register()
    rotate(accounts.keys)
    accounts.now_ms += int(RELOAD_S * 1_000)
    renewed = await accounts.renew(session.refresh_token)
    header = base64.urlsafe_b64decode(renewed.access_token.partition(".")[0] + "==")
    assert b'"kid":"2"' in header
    assert accounts.claims(renewed).user == accounts.claims(session).user


async def test_without_a_private_key_nobody_is_signed_in_and_none_is_made(accounts: Rig) -> None:
    for key in accounts.keys.glob("*.key.pem"):
        key.unlink()
    await refused(codes.UNAVAILABLE, None, accounts.register())
    assert list(accounts.keys.glob("*.key.pem")) == []


async def test_a_database_that_cannot_be_opened_is_tried_again_by_the_next_request(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    async with rig(tmp_path) as accounts:
        broken = structs.replace(accounts.config, database=f"sqlite:///{folder / 'accounts.db'}")
        accounts.accounts.database._config = broken
        again = await refused(codes.UNAVAILABLE, None, accounts.sign_in())
        assert again.retry_after_s is not None
        assert accounts.accounts.database.failures == 1
        folder.mkdir()
        assert await accounts.register()


async def test_profiles_are_seen_by_others_by_id_and_handle(accounts: Rig) -> None:
    alice = accounts.claims(await accounts.register())
    changed = await accounts.profiles.change_me(alice, rest.MeChange(about="two\nlines"))
    assert (changed.name, changed.about, changed.handle) == ("alice", "two\nlines", "alice")
    assert changed == await accounts.profiles.me(alice)
    person = await accounts.profiles.by_handle("ALICE")
    assert (
        person
        == await accounts.profiles.by_id(alice.user)
        == rest.Person(user=alice.user, handle="alice", name="alice", about="two\nlines")
    )
    await refused(codes.NOT_FOUND, None, accounts.profiles.by_handle("nobody"))
    await refused(codes.INVALID, "about", accounts.profiles.change_me(alice, rest.MeChange(about="\0")))
    await refused(codes.INVALID, "name", accounts.profiles.change_me(alice, rest.MeChange(name="  ")))


async def test_contacts_come_in_pages_and_are_bounded(accounts: Rig) -> None:
    alice = accounts.claims(await accounts.register())
    people = sorted(ids.user_id(name) for name in ("bob", "carol", "dave"))
    for person in people[:2]:
        await accounts.profiles.put_contact(alice, person, rest.ContactChange(name="friend"))
    await refused(codes.CONFLICT, None, accounts.profiles.put_contact(alice, people[2], rest.ContactChange()))
    await refused(codes.CONFLICT, "user", accounts.profiles.put_contact(alice, alice.user, rest.ContactChange()))
    page = await accounts.profiles.contacts(alice, rest.ContactsQuery(limit=1))
    assert ([c.user for c in page.contacts], page.next) == ([people[0]], people[0])
    page = await accounts.profiles.contacts(alice, rest.ContactsQuery(after=people[0], limit=1))
    assert ([c.user for c in page.contacts], page.next) == ([people[1]], None)
    await accounts.profiles.delete_contact(alice, people[1])
    await refused(codes.NOT_FOUND, None, accounts.profiles.delete_contact(alice, people[1]))


async def test_privacy_is_open_until_it_is_changed(accounts: Rig) -> None:
    alice = accounts.claims(await accounts.register())
    assert await accounts.profiles.privacy(alice) == rest.Privacy(last_seen="everyone", online="everyone")
    changed = await accounts.profiles.change_privacy(alice, rest.PrivacyChange(online="contacts"))
    assert changed == await accounts.profiles.privacy(alice) == rest.Privacy(last_seen="everyone", online="contacts")


async def test_whose_token_comes_from_elsewhere_has_no_account_to_change(accounts: Rig) -> None:
    stranger = structs.replace(accounts.claims(await accounts.register()), user=ids.user_id("stranger"))
    await refused(codes.NOT_FOUND, None, accounts.profiles.me(stranger))
    await refused(codes.NOT_FOUND, None, accounts.profiles.change_privacy(stranger, rest.PrivacyChange(online="nobody")))
    await refused(codes.NOT_FOUND, None, accounts.profiles.put_contact(stranger, ids.user_id("bob"), rest.ContactChange()))
    assert not await accounts.accounts.is_revoked(stranger.user, "cli")


async def change(accounts: Rig, session: rest.Session, current: str, new: str, keep_devices: bool = False) -> None:
    wanted = rest.PasswordChange(current=current, new=new, keep_devices=keep_devices)
    await accounts.accounts.change_password(accounts.claims(session), wanted)


async def test_another_password_signs_the_other_devices_out_and_the_same_again_is_done(accounts: Rig) -> None:
    phone, desk = await accounts.register(), await accounts.sign_in()
    accounts.revoke_answers = [codes.UNAVAILABLE]
    await refused(codes.UNAVAILABLE, None, change(accounts, phone, PASSWORD, "battery staple"))
    await change(accounts, phone, PASSWORD, "battery staple")
    assert (phone.user, desk.device) in accounts.revoked
    assert (phone.user, phone.device) not in accounts.revoked
    assert [device.device for device in (await accounts.accounts.devices(accounts.claims(phone))).devices] == [phone.device]
    await refused(codes.TOKEN_INVALID, "refresh_token", accounts.renew(desk.refresh_token))
    await accounts.renew(phone.refresh_token)
    await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in())
    assert (await accounts.sign_in(password="battery staple")).user == phone.user


async def test_another_password_leaves_the_other_devices_if_asked(accounts: Rig) -> None:
    phone, desk = await accounts.register(), await accounts.sign_in()
    await change(accounts, phone, PASSWORD, "battery staple", keep_devices=True)
    await accounts.renew(desk.refresh_token)
    assert accounts.revoked == []
    await refused(codes.WRONG_CREDENTIALS, None, accounts.sign_in())


async def test_a_password_is_not_changed_by_who_does_not_know_it_or_to_a_bad_one(accounts: Rig) -> None:
    phone = await accounts.register()
    await refused(codes.WRONG_CREDENTIALS, "current", change(accounts, phone, "correct house", "battery staple"))
    await refused(codes.INVALID, "new", change(accounts, phone, PASSWORD, "alice"))
    await accounts.sign_in()
    somebody = structs.replace(accounts.claims(phone), user=ids.user_id("somebody"))
    unknown = rest.PasswordChange(current=PASSWORD, new="battery staple")
    await refused(codes.NOT_FOUND, None, accounts.accounts.change_password(somebody, unknown))


async def test_who_signs_in_while_the_password_changes_does_not_stay_with_the_old_one(accounts: Rig) -> None:
    phone = await accounts.register()
    answers = await asyncio.gather(
        *(accounts.sign_in() for _ in range(2)), change(accounts, phone, PASSWORD, "battery staple"), return_exceptions=True
    )
    assert all(answer is None or isinstance(answer, rest.Session | Refused) for answer in answers), answers
    left = (await accounts.accounts.devices(accounts.claims(phone))).devices
    assert [device.device for device in left] == [phone.device]
