"""People in the web client: who is here, who types, contacts, blocks, groups, privacy, devices, as two or three people see them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device
from tests.integration.web_rig import PASSWORD, Sitter, browser

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.timeout(300)


def chat_link(sitter: Sitter, title: str) -> Locator:
    """A chat in the list, by how its name begins."""
    return sitter.page.get_by_role("link", name=re.compile(f"^{title}"))


def head(sitter: Sitter) -> Locator:
    return sitter.page.locator(".chat-head")


def acquainted(alice: Sitter, bob: Sitter) -> None:
    """Both have the chat of the two open."""
    alice.register()
    bob.register()
    alice.open_chat(bob)
    alice.say("hello")
    alice.ticks("hello", "Delivered")
    chat_link(bob, alice.name).click()
    alice.ticks("hello", "Read")


def test_two_people_see_each_other_come_type_and_go(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        acquainted(alice, bob)
        for sitter in (alice, bob):
            expect(head(sitter)).to_contain_text("online")
            expect(sitter.page.locator(".chat-head .here")).to_be_visible()
        expect(chat_link(alice, "Bob Tanaka online")).to_be_visible()
        bob.composer.press_sequentially("half a sen")
        expect(head(alice)).to_contain_text("typing…")
        expect(chat_link(alice, "Bob Tanaka")).to_contain_text("typing…")
        bob.composer.press("Enter")
        expect(alice.bubble("half a sen")).to_be_visible()
        expect(head(alice)).not_to_contain_text("typing…")
        bob.composer.press_sequentially("ano")
        expect(head(alice)).to_contain_text("typing…")
        expect(head(alice)).not_to_contain_text("typing…", timeout=9_000)  # no key for 5 s
        expect(head(alice)).to_contain_text("online")
        bob.context.close()
        expect(head(alice)).to_contain_text(re.compile(r"last seen today at \d"), timeout=45_000)
        expect(alice.page.locator(".here")).to_have_count(0)
        with Sitter(browser, shared_cluster, 2, "Bob Tanaka") as again:
            again.handle = bob.handle
            again.sign_in()
            expect(head(alice)).to_contain_text("online")
            assert alice.trouble == again.trouble == []


def test_a_group_shows_who_types_by_name(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with (
        Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice,
        Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob,
        Sitter(browser, shared_cluster, 2, "Carol Okafor") as carol,
    ):
        for sitter in (alice, bob, carol):
            sitter.register()
        alice.make_group("Pigeons", bob, carol)
        for sitter in (bob, carol):
            chat_link(sitter, "Pigeons").click()
            sitter.composer.press_sequentially("coo")
        expect(head(alice)).to_contain_text(re.compile("(Bob and Carol|Carol and Bob) are typing…"))
        carol.composer.fill("")
        expect(head(alice)).to_contain_text("Bob is typing…")
        bob.say("coo")
        expect(head(alice)).to_contain_text("3 members")
        group = alice.page.url.rpartition("/")[2]
        with Device(shared_cluster, 2, bob.handle, "desk") as desk:
            desk.put({"op": "typing", "conversation": group, "kind": "recording"})
            expect(head(alice)).to_contain_text("Bob is recording…")
            desk.put({"op": "typing", "conversation": group, "kind": "stopped"})
            expect(head(alice)).to_contain_text("3 members")
        assert alice.trouble == bob.trouble == carol.trouble == []


def test_who_blocks_and_who_is_blocked_see_it_and_cannot_write_until_it_is_taken_back(
    shared_cluster: ClusterProcess, browser: Browser
) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        acquainted(alice, bob)
        page = alice.page
        page.get_by_role("button", name="Bob Tanaka", exact=True).click()
        page.get_by_role("button", name="Block …").click()
        page.get_by_role("button", name="Block", exact=True).click()
        expect(page.get_by_role("dialog").get_by_role("button", name="Unblock")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("group", name="Blocked")).to_contain_text("You blocked Bob Tanaka")
        expect(bob.page.get_by_role("group", name="Blocked")).to_contain_text("Alice Moreau blocked this chat")
        for sitter in (alice, bob):
            expect(sitter.composer).to_have_count(0)
            expect(head(sitter)).not_to_contain_text("online")
            expect(sitter.page.locator(".badge")).to_have_count(0)
        bob.page.reload()
        expect(bob.page.get_by_role("group", name="Blocked")).to_be_visible()
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Privacy").click()
        page.get_by_role("button", name="Unblock Bob Tanaka").click()
        expect(page.get_by_role("button", name="Unblock Bob Tanaka")).to_have_count(0)
        page.keyboard.press("Escape")
        bob.say("may I?")
        expect(alice.bubble("may I?")).to_be_visible()
        for sitter in (alice, bob):
            expect(head(sitter)).to_contain_text("online")
        assert alice.trouble == bob.trouble == []


def test_a_group_is_run_by_its_owner_and_admins(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with (
        Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice,
        Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob,
        Sitter(browser, shared_cluster, 2, "Carol Okafor") as carol,
    ):
        for sitter in (alice, bob, carol):
            sitter.register()
        alice.make_group("Pigeons", bob)
        page, dialog = alice.page, alice.page.get_by_role("dialog")
        page.get_by_role("button", name="Pigeons", exact=True).click()
        expect(dialog.get_by_role("list", name="Members").get_by_role("listitem")).to_have_count(2)
        page.get_by_role("button", name="Rename the group").click()
        page.keyboard.type("Homing pigeons")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("Homing pigeons")
        page.get_by_role("button", name="Add people").click()
        page.get_by_role("combobox", name="People to add").fill(carol.handle)
        page.get_by_role("option", name=f"@{carol.handle}").click()
        page.get_by_role("button", name="Add", exact=True).click()
        member = dialog.get_by_role("listitem")
        expect(member.filter(has_text="Carol Okafor")).to_be_visible()
        page.get_by_role("button", name="What to do with Bob Tanaka").click()
        page.get_by_role("button", name="Make admin").click()
        expect(member.filter(has_text="Bob Tanaka")).to_contain_text("Admin")
        page.keyboard.press("Escape")

        chat_link(bob, "Homing pigeons").click()
        bob.page.get_by_role("button", name="Homing pigeons", exact=True).click()
        expect(bob.page.get_by_role("button", name="What to do with Alice Moreau")).to_have_count(0)  # nobody removes the owner
        bob.page.get_by_role("button", name="What to do with Carol Okafor").click()
        expect(bob.page.get_by_role("button", name="Make admin")).to_have_count(0)  # the owner does
        chat_link(carol, "Homing pigeons").click()
        expect(carol.composer).to_be_visible()
        bob.page.get_by_role("button", name="Remove from group").click()
        expect(carol.page.get_by_text("You are no longer in this group.")).to_be_visible()
        bob.page.get_by_role("button", name="Leave the group …").click()
        bob.page.get_by_role("button", name="Leave", exact=True).click()
        expect(bob.page.get_by_text("You are no longer in this group.")).to_be_visible()
        expect(head(alice)).to_contain_text("1 member")
        assert alice.trouble == bob.trouble == carol.trouble == []


def test_a_contact_has_the_name_that_the_owner_of_the_book_gives(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        acquainted(alice, bob)
        page = alice.page
        page.get_by_role("button", name="Bob Tanaka", exact=True).click()
        page.get_by_role("button", name="Add to contacts").click()
        page.keyboard.type("Bobby")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Remove from contacts")).to_be_visible()
        page.keyboard.press("Escape")
        expect(chat_link(alice, "Bobby")).to_be_visible()
        expect(head(alice).get_by_role("heading", name="Bobby")).to_be_visible()
        page.reload()
        expect(chat_link(alice, "Bobby")).to_be_visible()
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Contacts").click()
        page.get_by_role("button", name="Rename Bobby").click()
        page.keyboard.type("Roberto")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Rename Roberto")).to_be_focused()
        page.get_by_role("button", name="Remove Roberto").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("list", name="Contacts")).to_have_count(0)
        page.keyboard.press("Escape")
        expect(chat_link(alice, "Bob Tanaka")).to_be_visible()
        assert alice.trouble == bob.trouble == []


def test_who_hides_shows_nothing_and_sees_nothing(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        acquainted(alice, bob)
        for sitter in (alice, bob):
            expect(head(sitter)).to_contain_text("online")
        alice.page.get_by_role("button", name="Menu").click()
        alice.page.get_by_role("button", name="Privacy").click()
        online = alice.page.get_by_role("group", name="Who sees when I am online")
        online.get_by_role("radio", name="Nobody").check()
        for sitter in (alice, bob):
            expect(head(sitter)).not_to_contain_text(re.compile("online|last seen"))
        alice.page.reload()
        expect(head(bob)).not_to_contain_text(re.compile("online|last seen"))
        alice.page.get_by_role("button", name="Menu").click()
        alice.page.get_by_role("button", name="Privacy").click()
        expect(online.get_by_role("radio", name="Nobody")).to_be_checked()
        online.get_by_role("radio", name="Everybody").check()
        for sitter in (alice, bob):
            expect(head(sitter)).to_contain_text("online")


def test_a_profile_is_what_others_see(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        acquainted(alice, bob)
        page = alice.page
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Profile").click()
        page.get_by_label("About").fill("Pigeons, mostly.\nمرحبا")
        page.get_by_label("Name").fill("Alice M.")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("dialog", name="You")).to_contain_text("Alice M.")
        bob.page.get_by_role("button", name="Alice Moreau", exact=True).click()
        expect(bob.page.get_by_role("dialog")).to_contain_text("Pigeons, mostly.")
        expect(bob.page.get_by_role("dialog")).to_contain_text(f"@{alice.handle}")
        page.reload()
        expect(page.locator(".sidebar-foot")).to_contain_text("Alice M.")


def test_devices_are_renamed_and_signed_out_from_another(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Alice Moreau") as phone:
        alice.register()
        phone.handle = alice.handle
        phone.sign_in()
        page = alice.page
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Devices").click()
        rows = page.get_by_role("list", name="Devices").get_by_role("listitem")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text("This device")
        expect(rows.nth(0).get_by_role("button", name="Sign out")).to_have_count(0)
        expect(rows.nth(1)).not_to_contain_text("This device")
        rows.nth(1).get_by_role("button", name="Rename").click()
        page.keyboard.type("Old phone")
        page.keyboard.press("Enter")
        expect(rows.nth(1)).to_contain_text("Old phone")
        page.get_by_role("button", name="Sign out Old phone").click()
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(phone.page.get_by_role("heading", name="Welcome back")).to_be_visible()
        assert phone.page.evaluate("Object.keys(localStorage)") == [], "nothing of the address book stays"
        expect(page.get_by_role("list", name="Devices")).not_to_contain_text("Old phone")


def test_another_password_signs_the_other_devices_out(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Alice Moreau") as phone:
        alice.register()
        phone.handle = alice.handle
        phone.sign_in()
        page = alice.page
        page.get_by_role("button", name="Menu").click()
        page.get_by_role("button", name="Password").click()
        page.get_by_label("Present password").fill("not the one")
        page.get_by_label("New password").fill("another horse")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("alert")).to_contain_text("not the present password")
        page.get_by_label("Present password").fill(PASSWORD)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("dialog", name="You")).to_be_visible()
        expect(phone.page.get_by_role("heading", name="Welcome back")).to_be_visible()
        phone.page.get_by_label("Handle").fill(alice.handle)
        phone.page.get_by_label("Password").fill("another horse")
        phone.page.get_by_role("button", name="Sign in").click()
        expect(phone.page.get_by_role("heading", name="Chats")).to_be_visible()
