"""The rows of accounts on a real SQLite file: several processes' worth of engines on it, refresh tokens, devices."""

from __future__ import annotations

import hmac
import sqlite3
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

import storage.relational
from node.core.revocations import REVOKED_KEPT_MS
from storage.relational.accounts import TOKENLESS_AFTER_MS, AccountRows
from storage.relational.models import HEAD, VERSION_TABLE, Base
from storage.relational.records import BlockRow, ContactRow, DeviceRow, NewToken, PrivacyRow, Renewed, Reused, UserRow

ALICE = UserRow("a" * 32, "alice", "Alice", "", 1)
DAY_MS = 86_400_000
SALT, FIRST, FAMILY = b"s" * 32, b"f" * 32, b"F" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.db"


def open_rows(path: Path) -> AccountRows:
    return AccountRows(f"sqlite:///{path}", 5.0, 2)


@pytest.fixture
def rows(path: Path) -> Iterator[AccountRows]:
    rows = open_rows(path)
    rows.migrate()
    yield rows
    rows.close()


@pytest.fixture
def signed_in(rows: AccountRows) -> AccountRows:
    assert rows.add_user(ALICE, "hash")
    assert add_device(rows, "phone") == []
    return rows


def add_device(rows: AccountRows, device: str, now_ms: int = 10, devices_max: int = 3, password: str = "hash") -> list[str] | None:
    family = sha256(device.encode()).digest() if device != "phone" else FAMILY
    token = NewToken(family, SALT, sha256(FIRST).digest(), now_ms + DAY_MS)
    return rows.add_device(ALICE.id, DeviceRow(device, device.title(), now_ms, now_ms), token, devices_max, password)


def renew(rows: AccountRows, secret: bytes, now_ms: int) -> Renewed | Reused | None:
    return rows.renew(FAMILY, secret, now_ms, DAY_MS, leeway_ms=1_000)


def secret_of(answer: Renewed | Reused | None) -> bytes:
    assert isinstance(answer, Renewed)
    return answer.secret


def test_the_migrations_lead_to_what_the_models_say(rows: AccountRows, path: Path) -> None:
    rows.migrate()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    scripts = ScriptDirectory(str(Path(storage.relational.__path__[0]) / "migrations"))
    assert scripts.get_current_head() == HEAD


def test_a_schema_of_a_newer_release_is_an_error(rows: AccountRows, path: Path) -> None:
    with sqlite3.connect(path) as newer:
        newer.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    newer.close()
    with pytest.raises(Exception, match="9999"):
        open_rows(path).migrate()


def test_many_that_start_at_once_on_a_new_database_make_one_schema_and_one_alice(path: Path) -> None:
    added: list[bool] = []
    errors: list[Exception] = []

    def start() -> None:
        rows = open_rows(path)
        try:
            for _ in range(20):
                try:
                    rows.migrate()
                    break
                except Exception as error:  # a first opener holds the whole file: processes try again, and so does this test
                    last = error
            else:
                raise last
            added.append(rows.add_user(ALICE, None))
        except Exception as error:
            errors.append(error)
        finally:
            rows.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(added) == [False] * 5 + [True]


def test_a_handle_is_taken_once_and_found(signed_in: AccountRows) -> None:
    assert not signed_in.add_user(UserRow("b" * 32, "alice", "Other", "", 2), None)
    assert signed_in.user_by_handle("alice") == signed_in.user(ALICE.id) == ALICE
    assert signed_in.user_by_handle("nobody") is None
    found = signed_in.credentials("alice")
    assert found is not None
    assert found.password_hash == "hash"
    changed = signed_in.change_user(ALICE.id, {"about": "hi"})
    assert changed is not None
    assert (changed.name, changed.about) == ("Alice", "hi")


def test_a_refresh_token_leads_to_its_successor_and_counts_once(signed_in: AccountRows) -> None:
    second = secret_of(renew(signed_in, FIRST, 5_000))
    assert second == hmac.digest(SALT, FIRST, "sha256")
    third = secret_of(renew(signed_in, second, 10_000))
    assert third not in (FIRST, second)
    assert signed_in.devices(ALICE.id) == [DeviceRow("phone", "Phone", 10, 10_000)]


def test_a_renewal_whose_answer_was_lost_may_be_repeated_for_a_moment(signed_in: AccountRows) -> None:
    second = secret_of(renew(signed_in, FIRST, 5_000))
    assert secret_of(renew(signed_in, FIRST, 6_000)) == second
    assert secret_of(renew(signed_in, second, 7_000)) != second


@pytest.mark.parametrize(("again_ms", "between"), [(6_001, False), (5_001, True)], ids=["later", "after its successor was used"])
def test_an_old_refresh_token_revokes_the_device_and_all_its_tokens(signed_in: AccountRows, again_ms: int, between: bool) -> None:
    newest = secret_of(renew(signed_in, FIRST, 5_000))
    if between:
        newest = secret_of(renew(signed_in, newest, 5_000))
    assert renew(signed_in, FIRST, again_ms) == Reused(ALICE.id, "phone")
    assert renew(signed_in, newest, again_ms) is None
    assert signed_in.is_revoked(ALICE.id, "phone")
    assert signed_in.devices(ALICE.id) == []


def test_a_made_up_secret_of_a_known_family_is_reuse_and_an_unknown_family_is_nothing(signed_in: AccountRows) -> None:
    assert signed_in.renew(b"G" * 32, FIRST, 20, DAY_MS, 0) is None
    assert not signed_in.is_revoked(ALICE.id, "phone")
    assert renew(signed_in, b"?" * 32, 20) == Reused(ALICE.id, "phone")


def test_a_refresh_token_ends_with_its_time(signed_in: AccountRows) -> None:
    assert renew(signed_in, FIRST, 10 + DAY_MS) is None
    assert isinstance(renew(signed_in, FIRST, 9 + DAY_MS), Renewed)


def test_a_device_too_many_replaces_the_one_that_was_not_seen_for_longest(signed_in: AccountRows) -> None:
    assert add_device(signed_in, "desk", 20) == []
    assert add_device(signed_in, "tablet", 30) == []
    renew(signed_in, FIRST, 40)
    assert add_device(signed_in, "watch", 50) == ["desk"]
    assert [device.id for device in signed_in.devices(ALICE.id)] == ["watch", "phone", "tablet"]


def test_a_revoked_device_can_be_revoked_again_until_its_row_is_forgotten(signed_in: AccountRows) -> None:
    assert signed_in.revoke_device(ALICE.id, "phone", 20)
    assert signed_in.revoke_device(ALICE.id, "phone", 21)
    assert not signed_in.revoke_device("b" * 32, "phone", 21)
    assert renew(signed_in, FIRST, 22) is None
    assert signed_in.rename_device(ALICE.id, "phone", "new") is None
    add_device(signed_in, "desk", 30 + DAY_MS)
    assert not signed_in.revoke_device(ALICE.id, "phone", 40 + DAY_MS)


def test_only_the_owner_renames_a_device(signed_in: AccountRows) -> None:
    assert signed_in.rename_device("b" * 32, "phone", "mine") is None
    assert signed_in.rename_device(ALICE.id, "phone", "mine") == DeviceRow("phone", "mine", 10, 10)


def test_contacts_are_kept_in_pages_and_bounded(signed_in: AccountRows) -> None:
    people = [ContactRow(digit * 32, digit, 5) for digit in "321"]
    for person in people:
        assert signed_in.put_contact(ALICE.id, person, contacts_max=3) == person
    assert signed_in.put_contact(ALICE.id, ContactRow("4" * 32, "4", 5), contacts_max=3) is None
    assert signed_in.put_contact(ALICE.id, ContactRow("3" * 32, "three", 9), contacts_max=3) == ContactRow("3" * 32, "three", 5)
    assert [row.name for row in signed_in.contacts(ALICE.id, "1" * 32, 1)] == ["2"]
    assert signed_in.delete_contact(ALICE.id, "2" * 32)
    assert not signed_in.delete_contact(ALICE.id, "2" * 32)
    assert [row.name for row in signed_in.contacts(ALICE.id, "", 10)] == ["1", "three"]


def test_rows_of_somebody_without_an_account_are_refused(rows: AccountRows) -> None:
    with pytest.raises(IntegrityError):
        rows.put_contact(ALICE.id, ContactRow("3" * 32, "3", 5), 3)
    with pytest.raises(IntegrityError):
        rows.set_privacy(ALICE.id, {}, PrivacyRow("everyone", "everyone"))


def test_privacy_is_set_in_part(signed_in: AccountRows) -> None:
    everyone = PrivacyRow("everyone", "everyone")
    assert signed_in.privacy(ALICE.id) is None
    assert signed_in.set_privacy(ALICE.id, {"online": "nobody"}, everyone) == PrivacyRow("everyone", "nobody")
    assert signed_in.set_privacy(ALICE.id, {"last_seen": "contacts"}, everyone) == PrivacyRow("contacts", "nobody")
    assert signed_in.privacy(ALICE.id) == PrivacyRow("contacts", "nobody")


# ---------------------------------------------------------------- blocks

BOB, CAROL = "b" * 32, "c" * 32


def test_of_two_decisions_the_one_with_the_higher_seq_stands_whenever_it_comes(rows: AccountRows) -> None:
    rows.note_blocks([BlockRow(ALICE.id, BOB, 5, True, 50), BlockRow(ALICE.id, CAROL, 2, True, 51), BlockRow(BOB, ALICE.id, 6, True, 52)])
    assert rows.blocked_by(ALICE.id, "", 10) == [BlockRow(ALICE.id, BOB, 5, True, 50), BlockRow(ALICE.id, CAROL, 2, True, 51)]
    rows.note_blocks([BlockRow(ALICE.id, BOB, 9, False, 60), BlockRow(ALICE.id, BOB, 5, True, 70), BlockRow(ALICE.id, CAROL, 2, True, 71)])
    assert rows.blocked_by(ALICE.id, "", 10) == [BlockRow(ALICE.id, CAROL, 2, True, 51)]
    rows.note_blocks([BlockRow(ALICE.id, BOB, 8, True, 80)])
    assert [row.peer for row in rows.blocked_by(ALICE.id, "", 10)] == [CAROL]


def test_whom_somebody_blocks_comes_in_pages(rows: AccountRows) -> None:
    peers = [f"{i:032x}" for i in range(5)]
    rows.note_blocks([BlockRow(ALICE.id, peer, 1, True, 1) for peer in peers])
    assert [row.peer for row in rows.blocked_by(ALICE.id, "", 3)] == peers[:3]
    assert [row.peer for row in rows.blocked_by(ALICE.id, peers[2], 3)] == peers[3:]


def test_what_somebody_shows_says_whom_he_blocks_account_or_not(rows: AccountRows) -> None:
    rows.note_blocks([BlockRow(ALICE.id, BOB, 1, True, 1), BlockRow(ALICE.id, CAROL, 1, True, 1), BlockRow(ALICE.id, CAROL, 2, False, 2)])
    shown = rows.shown([ALICE.id, BOB])
    assert (shown[ALICE.id].blocked, shown[BOB].blocked) == (frozenset({BOB}), frozenset())


def test_a_database_of_the_version_before_keeps_its_people_and_takes_blocks(path: Path) -> None:
    rows = open_rows(path)
    rows.migrate()
    rows.add_user(ALICE, "hash")
    rows.close()
    with sqlite3.connect(path) as before:
        before.execute("DROP TABLE blocks")
        before.execute("DROP TABLE revoked_devices")
        before.execute(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    before.close()
    rows = open_rows(path)
    rows.migrate()
    rows.note_blocks([BlockRow(ALICE.id, BOB, 1, True, 1)])
    assert rows.user(ALICE.id) == ALICE and [row.peer for row in rows.blocked_by(ALICE.id, "", 9)] == [BOB]
    rows.close()


def test_an_operator_revokes_what_never_signed_in_here_for_as_long_as_a_token_lives(signed_in: AccountRows) -> None:
    rows = signed_in
    assert not rows.is_revoked(BOB, "cli")
    rows.revoke_any_device(BOB, "cli", 1_000)
    rows.revoke_any_device(BOB, "cli", 2_000)
    assert rows.is_revoked(BOB, "cli") and not rows.is_revoked(BOB, "other") and not rows.is_revoked(CAROL, "cli")
    rows.revoke_any_device(CAROL, "cli", 2_000 + TOKENLESS_AFTER_MS)
    assert rows.is_revoked(BOB, "cli")
    rows.revoke_any_device(CAROL, "phone", 2_001 + TOKENLESS_AFTER_MS)
    assert not rows.is_revoked(BOB, "cli") and rows.is_revoked(CAROL, "cli")
    assert TOKENLESS_AFTER_MS == REVOKED_KEPT_MS, "the home and the database forget alike"


def test_a_password_is_set_only_in_place_of_the_one_that_was_verified(signed_in: AccountRows) -> None:
    assert not signed_in.set_password_hash(ALICE.id, "another", "new")
    assert signed_in.change_password(ALICE.id, "another", "new", "phone", 20, 0) is None
    assert signed_in.devices(ALICE.id)
    found = signed_in.credentials_of(ALICE.id)
    assert found is not None and found.password_hash == "hash"
    assert signed_in.set_password_hash(ALICE.id, "hash", "new")
    assert add_device(signed_in, "desk", password="hash") is None, "it signed in with a password that is no more"
    assert [device.id for device in signed_in.devices(ALICE.id)] == ["phone"]
    assert signed_in.credentials_of("f" * 32) is None


def test_another_password_revokes_the_other_devices_and_names_those_revoked_lately(signed_in: AccountRows) -> None:
    for number, device in enumerate(("desk", "tablet"), 1):
        assert add_device(signed_in, device, 10 * number) == []
    signed_in.revoke_device(ALICE.id, "desk", 50)
    assert signed_in.change_password(ALICE.id, "hash", "new", "phone", 100, 60) == ["tablet"]
    assert [device.id for device in signed_in.devices(ALICE.id)] == ["phone"]
    assert signed_in.change_password(ALICE.id, "new", "new", "phone", 110, 40) == ["desk", "tablet"], "the same again"
    assert renew(signed_in, FIRST, 120) is not None
