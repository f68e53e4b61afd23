"""The web client in a real browser: two people on two nodes chat while a node dies, offline, from the keyboard, with long histories."""

from __future__ import annotations

import os
import signal
import time

import pytest
from homing import ids
from playwright.sync_api import Browser, expect

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device
from tests.integration.web_rig import PASSWORD, Sitter, browser, chromium

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.timeout(300)
LONG = 240
ROWS_MAX = 60


def settled(sitter: Sitter, wanted: list[str], timeout_s: float = 40.0) -> None:
    """Waits until the open chat says this, then looks again: nothing may come twice."""
    until = time.monotonic() + timeout_s
    while sitter.bodies() != wanted:
        assert time.monotonic() < until, f"{sitter.name} sees {sitter.bodies()}, not {wanted}"
        time.sleep(0.1)
    time.sleep(0.5)
    assert sitter.bodies() == wanted


def test_two_browsers_on_two_nodes_go_on_while_a_node_is_killed(cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, cluster, 0, "Alice Moreau") as alice, Sitter(browser, cluster, 1, "Bob Tanaka") as bob:
        alice.register()
        bob.register()
        alice.open_chat(bob)
        alice.say("are you there?")
        alice.ticks("are you there?", "Delivered")
        bob.page.get_by_role("link", name="Alice Moreau").click()
        alice.ticks("are you there?", "Read")
        bob.say("here")
        settled(alice, ["are you there?", "here"])
        said = ["are you there?", "here"]
        for name in ("node-1", "node-2"):
            old = cluster.kill(name, signal.SIGKILL)
            for number in range(4):  # while nothing is there to take it, too
                for sitter in (alice, bob):
                    sitter.say(f"{sitter.name} {number} without {name}")
                time.sleep(0.2)
            cluster.wait_restarted(name, old)
            for sitter in (alice, bob):
                mine = [f"{sitter.name} {number} without {name}" for number in range(4)]
                for text in mine:
                    sitter.ticks(text, "Read")
                said += mine
        both = [alice.bodies(), bob.bodies()]
        assert both[0] == both[1], "one order on both screens"
        assert sorted(both[0]) == sorted(said), "nothing is lost or doubled"
        for sitter in (alice, bob):
            mine = [text for text in both[0] if text.startswith(sitter.name)]
            assert mine == [text for text in said if text.startswith(sitter.name)], "own messages keep their order"
            expect(sitter.page.locator(".banner")).to_have_count(0)
            sitter.page.reload()
            settled(sitter, both[0])
            assert sitter.trouble == []


def test_the_outbox_survives_a_reload_and_the_history_is_read_without_a_network(cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, cluster, 0, "Alice Moreau") as alice, Sitter(browser, cluster, 1, "Bob Tanaka") as bob:
        alice.register()
        bob.register()
        alice.open_chat(bob)
        alice.say("before")
        alice.ticks("before", "Delivered")
        alice.page.evaluate("navigator.serviceWorker.ready.then(() => caches.keys())")
        alice.context.set_offline(True)
        for pid in (cluster.up.pid if cluster.up else 0, cluster.pids["node-1"]):
            os.kill(pid, signal.SIGSTOP)  # nobody answers, and nobody starts it again
        try:
            alice.say("while nobody answers")
            alice.ticks("while nobody answers", "Waiting to be sent")
            alice.composer.fill("half a sen")
            time.sleep(1)
            alice.page.reload()
            settled(alice, ["before", "while nobody answers"])
            alice.ticks("while nobody answers", "Waiting to be sent")
            expect(alice.composer).to_have_value("half a sen")
            expect(alice.page.locator(".banner").first).to_be_visible()
        finally:
            for pid in (cluster.up.pid if cluster.up else 0, cluster.pids["node-1"]):
                os.kill(pid, signal.SIGCONT)
        alice.context.set_offline(False)
        alice.ticks("while nobody answers", "Delivered")
        bob.page.get_by_role("link", name="Alice Moreau").click()
        settled(bob, ["before", "while nobody answers"])
        expect(alice.page.locator(".banner")).to_have_count(0)


def test_the_whole_journey_from_the_keyboard(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        bob.register()
        page, press = alice.page, alice.page.keyboard.press

        def tab_to(name: str) -> None:
            for _ in range(12):
                press("Tab")
                if page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent").startswith(name):
                    return
            raise AssertionError(f"Tab does not lead to {name}")

        page.goto(alice.url)
        page.get_by_role("heading", name="Welcome back").wait_for()
        tab_to("Create an account")
        press("Enter")
        press("Shift+Tab")
        press("Shift+Tab")  # the password; the way back is as good as the way forward
        page.keyboard.type(PASSWORD)
        press("Shift+Tab")
        page.keyboard.type(alice.name)
        press("Shift+Tab")
        page.keyboard.type(alice.handle)
        press("Enter")
        page.get_by_role("heading", name="Chats").wait_for()
        press("Control+k")
        page.keyboard.type(bob.handle)
        expect(page.get_by_role("option", name=f"@{bob.handle}")).to_be_visible()
        press("Enter")
        expect(alice.composer).to_be_focused()
        page.keyboard.type("typed")
        press("Shift+Enter")
        page.keyboard.type("in two lines")
        press("Enter")
        alice.ticks("typed\nin two lines", "Delivered")
        press("Escape")
        expect(page.get_by_role("link", name="Bob Tanaka")).to_be_focused()
        press("Enter")
        expect(alice.composer).to_be_focused()
        press("Shift+Tab")
        expect(page.get_by_role("log")).to_be_focused()
        press("Control+k")
        press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("log")).to_be_focused()
        tab_to("")
        assert alice.trouble == bob.trouble == []


def write_history(cluster: ClusterProcess, bob: Sitter, alice_user: str, count: int) -> None:
    """Bob, from another device, says so much."""
    with Device(cluster, 2, bob.handle, "desk") as desk:
        for number in range(count):
            desk.say(alice_user, f"line {number}")


def test_a_long_history_opens_at_the_first_unread_and_stays_put_when_older_lines_come(
    shared_cluster: ClusterProcess, browser: Browser
) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        alice.register()
        bob.register()
        page = alice.page
        write_history(shared_cluster, bob, ids.user_id(alice.handle), LONG)
        expect(page.locator(".badge")).to_have_text(str(LONG))
        page.get_by_role("link").first.click()
        expect(page.get_by_role("separator", name="Unread messages")).to_be_in_viewport()
        expect(alice.bubble("line 0")).to_be_in_viewport()
        page.get_by_role("button", name="Jump to the latest message").click()
        expect(alice.bubble(f"line {LONG - 1}")).to_be_in_viewport()
        page.reload()
        expect(alice.bubble(f"line {LONG - 1}")).to_be_in_viewport()
        assert page.get_by_role("separator", name="Unread messages").count() == 0, "all was seen"
        seen: set[str] = set()
        page.get_by_role("log").hover()
        for _ in range(400):
            count = page.locator("[data-key]").count()
            assert count <= ROWS_MAX
            seen.update(alice.bodies())
            if "line 0" in seen:
                break
            moved = page.evaluate(SCROLL_UP)
            assert abs(moved) <= 2, f"a line jumped by {moved} pixels"
        assert seen == {f"line {number}" for number in range(LONG)}
        bodies = alice.bodies()
        assert bodies == [f"line {number}" for number in range(len(bodies))], "in order, each once"
        assert alice.trouble == []


SCROLL_UP = """async () => {
  const log = document.querySelector('.log'), frame = () => new Promise(requestAnimationFrame);
  const edge = log.getBoundingClientRect();
  const rows = [...document.querySelectorAll('[data-key]')];
  const at = rows.find((row) => row.getBoundingClientRect().bottom > edge.top + 40);
  const step = Math.min(200, log.scrollTop), key = at.dataset.key, before = at.getBoundingClientRect().top;
  log.scrollTop -= step;
  for (let i = 0; i < 6; i++) await frame();
  await new Promise((done) => setTimeout(done, 60));
  const now = document.querySelector(`[data-key="${key}"]`);
  return now ? now.getBoundingClientRect().top - before - step : 1e6;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_nothing(shared_cluster: ClusterProcess, browser: Browser, scheme: str, size: tuple[int, int]) -> None:
    look = {"color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}, "reduced_motion": "reduce"}
    with Sitter(browser, shared_cluster, 0, "Alice Moreau", **look) as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        bob.register()
        found: dict[str, list[str]] = {}
        page = alice.page
        page.goto(alice.url)
        page.get_by_role("heading", name="Welcome back").wait_for()
        found["the door"] = alice.violations()
        alice.register()
        found["no chats"] = alice.violations()
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill(bob.handle)
        page.get_by_role("option").first.wait_for()
        found["find"] = alice.violations()
        page.keyboard.press("Escape")
        alice.open_chat(bob)
        alice.say("see https://example.org/x")
        alice.ticks("see https://example.org/x", "Delivered")
        bob.page.get_by_role("link", name="Alice Moreau").click()
        bob.say("مرحبا")
        expect(alice.bubble("مرحبا")).to_be_visible()
        found["a chat"] = alice.violations()
        alice.page.keyboard.press("Escape")
        page.get_by_role("button", name="New group").click()
        found["new group"] = alice.violations()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Menu").click()
        found["menu"] = alice.violations()
        assert {where: wrong for where, wrong in found.items() if wrong} == {}
        assert alice.trouble == []


def test_the_browser_is_there() -> None:
    assert os.access(chromium(), os.X_OK)
