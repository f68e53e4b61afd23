"""Every dialog of the web client: from the keyboard alone, under axe in both colours on desktop and phone, and from right to left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.conftest import ClusterProcess
from tests.integration.web_rig import Sitter, browser

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.timeout(300)
TABS_MAX = 25


class Keys:
    """Somebody without a mouse."""

    def __init__(self, sitter: Sitter) -> None:
        self.page = sitter.page
        self.press = sitter.page.keyboard.press
        self.type = sitter.page.keyboard.type

    def focused(self) -> str:
        """What a screen reader would call what has the focus."""
        at = "document.activeElement"
        return str(self.page.evaluate(f"{at}.ariaLabel ?? {at}.labels?.[0]?.textContent ?? {at}.textContent")).strip()

    def tab_to(self, name: str) -> None:
        """Tab, until that has the focus."""
        for _ in range(TABS_MAX):
            if self.focused() == name:
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not lead to {name!r}, the last was {self.focused()!r}")

    def do(self, name: str) -> None:
        self.tab_to(name)
        self.press("Enter")

    def dialog(self, name: str) -> None:
        expect(self.page.get_by_role("dialog", name=name)).to_be_visible()


def test_every_dialog_is_gone_through_without_a_mouse(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        alice.register()
        bob.register()
        page, keys = alice.page, Keys(alice)
        keys.press("Control+k")
        keys.type(bob.handle)
        expect(page.get_by_role("option", name=f"@{bob.handle}")).to_be_visible()
        keys.press("Enter")
        keys.type("hello")
        keys.press("Enter")
        alice.ticks("hello", "Delivered")

        keys.press("Control+k")
        keys.type("bob tan")
        expect(page.get_by_role("option", name="Bob Tanaka")).to_be_visible()
        keys.press("Escape")
        expect(page.get_by_role("option")).to_have_count(0)
        keys.press("ArrowDown")
        assert "Bob Tanaka" in keys.focused(), "the arrow leads into the list"
        keys.press("Control+k")
        keys.press("Escape")
        assert "Bob Tanaka" in keys.focused(), "Escape leads back to where one was"

        keys.do("Bob Tanaka")  # his name above the chat
        keys.dialog("Bob Tanaka")
        keys.do("Add to contacts")
        keys.type("Bobby")
        keys.press("Escape")
        keys.dialog("Bob Tanaka")
        assert keys.focused() == "Add to contacts", "Escape leaves the field only"
        keys.press("Enter")
        keys.type("Bobby")
        keys.press("Enter")
        keys.dialog("Bobby")
        expect(page.get_by_role("button", name="Rename contact")).to_be_focused()
        keys.do("Block …")
        assert keys.focused() == "Block"
        keys.press("Enter")
        expect(page.get_by_role("dialog").get_by_role("button", name="Unblock")).to_be_focused()
        keys.press("Enter")
        expect(page.get_by_role("button", name="Block …")).to_be_visible()
        keys.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert keys.focused() == "Bobby", "the focus is back at what opened the dialog"

        keys.do("New group")
        keys.tab_to("Name of the group")
        keys.type("Pigeons")
        keys.tab_to("Add people")
        keys.type("bobb")
        keys.press("Enter")
        keys.do("Create group")
        expect(alice.composer).to_be_focused()
        keys.press("Shift+Tab")
        keys.press("Shift+Tab")
        keys.do("Pigeons")
        keys.dialog("Group")
        keys.do("Rename the group")
        keys.type("Doves")
        keys.press("Enter")
        expect(page.get_by_role("button", name="Rename the group")).to_be_focused()
        keys.do("What to do with Bobby")
        keys.do("Make admin")
        expect(page.get_by_role("button", name="Take admin role")).to_be_visible()
        keys.do("Leave the group …")
        keys.do("Stay")
        expect(page.get_by_role("button", name="Leave the group …")).to_be_focused()
        keys.press("Escape")

        keys.do("Menu")
        for name in ("Profile", "Contacts", "Privacy", "Devices", "Password"):
            keys.dialog("You")
            keys.do(name)
            keys.dialog(name)
            keys.do("Back")
        keys.do("Privacy")
        online = page.get_by_role("group", name="Who sees when I am online")
        expect(online.get_by_role("radio", name="Everybody")).to_be_checked()
        keys.tab_to("Everybody")
        keys.press("ArrowRight")
        expect(online.get_by_role("radio", name="My contacts")).to_be_checked()
        keys.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert keys.focused() == "Menu"
        assert alice.trouble == bob.trouble == []


def dialogs(alice: Sitter, bob: Sitter, is_phone: bool) -> Iterator[str]:
    """Opens each dialog and says which; two people know each other, and are in a group."""
    page = alice.page
    alice.register()
    bob.register()
    alice.open_chat(bob)
    alice.say("hello")
    alice.ticks("hello", "Delivered")
    bob.page.get_by_role("link", name="Alice Moreau").click()
    bob.composer.press_sequentially("t")
    expect(page.locator(".chat-head .activity")).to_be_visible()
    yield "somebody types"

    def button(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    button("Bob Tanaka")
    expect(page.get_by_role("dialog")).to_contain_text(f"@{bob.handle}")
    yield "somebody"
    button("Add to contacts")
    yield "somebody, a name"
    button("Save")
    expect(page.get_by_role("button", name="Remove from contacts")).to_be_visible()
    button("Block …")
    yield "somebody, sure to block"
    button("Block")
    expect(page.get_by_role("dialog").get_by_role("button", name="Unblock")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("group", name="Blocked")).to_be_visible()
    yield "a blocked chat"
    if is_phone:
        button("Back to the chats")
    button("Menu")
    for name in ("Privacy", "Contacts", "Devices", "Profile", "Password"):
        button(name)
        ready = {
            "Privacy": "Nobody",
            "Contacts": "Bob Tanaka",
            "Devices": "This device",
            "Profile": f"@{alice.handle}",
            "Password": "New password",
        }
        expect(page.get_by_role("dialog").get_by_text(ready[name]).first).to_be_visible()
        yield name
        if name == "Contacts":
            button("Remove Bob Tanaka")
            yield "Contacts, sure to remove"
        button("Back")
    button("Sign out …")
    yield "sure to sign out"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New group").click()
    page.get_by_label("Name of the group").fill("Pigeons")
    page.get_by_role("combobox", name="Add people").fill("Bob")
    page.get_by_role("option").first.click()
    page.get_by_role("combobox", name="Add people").fill(bob.handle[:2])
    yield "a new group"
    button("Create group")
    expect(alice.composer).to_be_visible()
    button("Pigeons")
    page.get_by_role("button", name="What to do with Bob Tanaka").click()
    button("Add people")
    yield "a group"
    button("Leave the group …")
    yield "sure to leave"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_nothing_in_any_dialog(shared_cluster: ClusterProcess, browser: Browser, scheme: str, size: tuple[int, int]) -> None:
    look = {"color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}, "reduced_motion": "reduce"}
    with Sitter(browser, shared_cluster, 0, "Alice Moreau", **look) as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        found = {where: alice.violations() for where in dialogs(alice, bob, size[0] < 760)}
        assert {where: wrong for where, wrong in found.items() if wrong} == {}
        assert len(found) >= 12
        assert alice.trouble == []


OVERHANG = """() => [...document.querySelectorAll('body *')].filter((e) => {
  const r = e.getBoundingClientRect(), shown = r.width > 1 && e.checkVisibility({visibilityProperty: true});
  return shown && (r.left < -1 || r.right > innerWidth + 1) && !e.closest('svg, .hidden');
}).map((e) => e.outerHTML.slice(0, 120))"""


def test_nothing_hangs_over_the_edge_of_a_phone_from_right_to_left(shared_cluster: ClusterProcess, browser: Browser) -> None:
    look = {"viewport": {"width": 360, "height": 700}, "reduced_motion": "reduce"}
    with Sitter(browser, shared_cluster, 0, "Alice Moreau", **look) as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        alice.context.add_init_script("addEventListener('DOMContentLoaded', () => (document.documentElement.dir = 'rtl'))")
        over = {where: alice.page.evaluate(OVERHANG) for where in dialogs(alice, bob, is_phone=True)}
        assert {where: what for where, what in over.items() if what} == {}
        assert alice.page.evaluate("getComputedStyle(document.querySelector('.app')).direction") == "rtl"
