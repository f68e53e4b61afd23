"""The demo's page in a real browser: two people side by side in one document, who share nothing but the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.integration.conftest import ClusterProcess
from tests.integration.web_rig import browser, violations
from tools.demo import link
from tools.demo_chat import DIRECT_CHAT, PEOPLE

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.timeout(300)
MAYA, THEO = (name for _, name in PEOPLE)
SAID = [body for _, body in DIRECT_CHAT]
SPOIL = """() => { for (const key of ["homing.demo.0", "homing.demo.1"]) {
  const other = { access_token: "x", access_until_ms: 0, refresh_token: "A".repeat(64) };
  localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage.getItem(key)), ...other }));
} }"""
"""The browser's sessions are now of another cluster."""
WIDE, PHONE = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    cluster = ClusterProcess(tmp_path_factory.mktemp("web-demo") / "data", 2)
    cluster.start("--demo")
    try:
        cluster.wait(lambda: "Ctrl-C stops all of it." in cluster.said(), 60, "the guide is not printed")
        yield cluster
    finally:
        left = cluster.clean_up()
        shutil.rmtree(cluster.data, ignore_errors=True)
    assert left == {}


class Viewer:
    """A browser of its own on the demo's page. ``trouble``: what the page complained about."""

    def __init__(self, browser: Browser, cluster: ClusterProcess, size: tuple[int, int] = WIDE, scheme: str = "light") -> None:
        look = {"color_scheme": scheme, "viewport": {"width": size[0], "height": size[1]}, "reduced_motion": "reduce"}
        self.cluster, self.context = cluster, browser.new_context(**look)  # type: ignore[arg-type]  # what Playwright takes
        self.context.set_default_timeout(20_000)
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def link(self, node: int = 0) -> str:
        return link(self.cluster.layout, self.cluster.node_urls[node].replace("ws://", "http://"))

    def open(self, address: str | None = None) -> Viewer:
        """Opens it, when its people may sign in: ten times at once, then every ten seconds (`limiters.sign_in`)."""
        self.page.goto(address or self.link())
        opened = self.page.get_by_role("heading", name="Two people, one chat")
        again = self.page.get_by_role("button", name="Try again")
        for _ in range(10):
            expect(opened.or_(again)).to_be_visible()
            if opened.is_visible():
                return self
            expect(self.page.get_by_role("heading", name="The demo was opened too often")).to_be_visible()
            self.page.wait_for_timeout(3_000)
            again.click()
            self.page.wait_for_timeout(500)
        raise AssertionError("the demo does not open")

    def side(self, name: str) -> Locator:
        return self.page.locator(".pane", has=self.page.locator(".pane-head", has_text=name))

    def composer(self, name: str) -> Locator:
        return self.side(name).get_by_label("Message to")

    def say(self, name: str, text: str) -> None:
        self.composer(name).fill(text)
        self.composer(name).press("Enter")

    def bodies(self, name: str) -> list[str]:
        return self.side(name).locator(".bubble .body").all_inner_texts()

    def shows(self, name: str, text: str) -> None:
        expect(self.side(name).locator(".bubble", has=self.page.get_by_text(text, exact=True))).to_be_visible()

    def ticks(self, name: str, text: str, state: str) -> None:
        bubble = self.side(name).locator(".bubble", has=self.page.get_by_text(text, exact=True))
        expect(bubble.get_by_role("img", name=state, exact=True)).to_be_visible()

    def violations(self) -> list[str]:
        return violations(self.page)

    def repeated_ids(self) -> list[str]:
        ids = self.page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        return sorted({one for one in ids if ids.count(one) > 1})


def test_two_people_talk_on_one_page_and_a_reload_goes_on(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as viewer:
        viewer.open()
        assert viewer.page.url.endswith("/demo"), "the code is taken out of the address"
        viewer.shows(MAYA, SAID[-1])
        viewer.shows(THEO, SAID[-1])
        assert viewer.bodies(MAYA)[: len(SAID)] == viewer.bodies(THEO)[: len(SAID)] == SAID
        viewer.say(MAYA, "from the left")
        viewer.ticks(MAYA, "from the left", "Read")
        viewer.say(THEO, "from the right")
        viewer.ticks(THEO, "from the right", "Read")
        expect(viewer.side(MAYA).locator(".bubble .body")).to_have_text([*viewer.bodies(THEO)])
        assert viewer.repeated_ids() == []
        kept = viewer.page.evaluate("Object.keys(localStorage)")
        assert {"homing.demo.0", "homing.demo.1"} <= set(kept) and "homing.session" not in kept
        viewer.page.reload()
        for name in (MAYA, THEO):
            viewer.shows(name, "from the right")
        viewer.say(THEO, "after the reload")
        viewer.ticks(THEO, "after the reload", "Read")
        assert viewer.trouble == []


def test_a_link_opens_once_and_the_page_says_how_to_get_another_one(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as first, Viewer(browser, demo) as second:
        address = first.link()
        first.open(address)
        first.shows(MAYA, SAID[-1])
        first.open(address)  # the same browser has its sessions
        first.shows(THEO, SAID[-1])
        second.page.goto(address)
        expect(second.page.get_by_role("heading", name="This link does not open any more")).to_be_visible()
        expect(second.page.get_by_text(".venv/bin/homing demo")).to_be_visible()
        assert second.violations() == []
        second.page.goto(address.partition("#")[0])
        expect(second.page.get_by_role("heading", name="A link opens the demo")).to_be_visible()
        second.page.goto(second.link())  # only what is behind the # is another: no new page is loaded
        second.shows(THEO, SAID[-1])
        assert first.trouble == second.trouble == []


def test_a_node_that_is_gone_is_said_and_the_same_link_opens_when_it_is_back(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as viewer:
        viewer.page.goto(viewer.link(1).partition("#")[0])
        pids = (demo.up.pid if demo.up else 0, demo.pids["node-2"])
        viewer.page.route("**/demo/sessions", lambda route: route.abort())
        viewer.page.goto(viewer.link(1))
        expect(viewer.page.get_by_role("heading", name="The node does not answer")).to_be_visible()
        viewer.page.unroute("**/demo/sessions")
        viewer.page.get_by_role("button", name="Try again").click()
        viewer.shows(MAYA, SAID[-1])
        os.kill(pids[1], signal.SIGKILL)
        demo.wait_restarted("node-2", pids[1])
        viewer.say(MAYA, "after the node")
        viewer.ticks(MAYA, "after the node", "Read")
        assert viewer.trouble == []


def test_sessions_of_a_cluster_that_is_no_more_give_way_to_a_fresh_link(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as viewer:
        viewer.open()
        viewer.shows(MAYA, SAID[-1])
        viewer.page.evaluate(SPOIL)
        viewer.page.goto("about:blank")
        viewer.page.goto(viewer.link())
        for name in (MAYA, THEO):
            viewer.shows(name, SAID[-1])
        viewer.say(MAYA, "new sessions")
        viewer.ticks(MAYA, "new sessions", "Read")
        sessions = [json.loads(viewer.page.evaluate(f"localStorage.getItem('homing.demo.{n}')")) for n in (0, 1)]
        assert all(session["access_token"] != "x" for session in sessions)
        assert viewer.trouble == []


def test_keys_belong_to_the_side_where_the_focus_is(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as viewer:
        viewer.open()
        press = viewer.page.keyboard.press
        for here, there in ((MAYA, THEO), (THEO, MAYA)):
            viewer.composer(here).focus()
            press("Control+k")
            finder = viewer.side(here).get_by_role("combobox")
            expect(finder).to_be_focused()
            expect(viewer.side(there).get_by_role("combobox")).not_to_be_visible()
            press("Escape")
            viewer.side(here).get_by_role("link", name=re.compile(f"^{there}")).click()
            expect(viewer.composer(here)).to_be_focused()
            press("Escape")
            expect(viewer.side(here).get_by_role("link", name=re.compile(f"^{there}"))).to_be_focused()
            expect(viewer.composer(there)).to_be_visible()
            press("Enter")
            expect(viewer.composer(here)).to_be_focused()
        assert viewer.trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE, (1920, 1000)], ids=["desktop", "phone", "wide"])
def test_axe_finds_nothing(demo: ClusterProcess, browser: Browser, scheme: str, size: tuple[int, int]) -> None:
    with Viewer(browser, demo, size, scheme) as viewer:
        viewer.open()
        viewer.shows(MAYA, SAID[-1])
        found = {"the chats": viewer.violations()}
        if size == PHONE:
            expect(viewer.composer(THEO)).not_to_be_visible()
            viewer.page.get_by_role("group", name="Whose side").get_by_role("button", name="Theo").click()
            viewer.shows(THEO, SAID[-1])
            expect(viewer.composer(MAYA)).not_to_be_visible()
            found["the other one"] = viewer.violations()
        else:
            viewer.composer(MAYA).focus()
            viewer.page.keyboard.press("Control+k")
            found["find"] = viewer.violations()
            viewer.side(MAYA).get_by_role("button", name="Menu").click()
            dialog = viewer.page.get_by_role("dialog")
            expect(dialog).to_be_visible()
            box = dialog.bounding_box()
            assert box and box["x"] + box["width"] <= size[0] / 2, "a dialog lies over its own side"
            found["menu"] = viewer.violations()
        assert {where: wrong for where, wrong in found.items() if wrong} == {}
        assert viewer.repeated_ids() == [] and viewer.trouble == []


def test_the_page_opens_without_a_network(demo: ClusterProcess, browser: Browser) -> None:
    with Viewer(browser, demo) as viewer:
        viewer.open()
        viewer.shows(THEO, SAID[-1])
        viewer.page.evaluate("navigator.serviceWorker.ready.then(() => caches.keys())")
        viewer.page.reload()  # now the service worker answers
        viewer.shows(THEO, SAID[-1])
        viewer.context.set_offline(True)
        viewer.page.reload()
        for name in (MAYA, THEO):
            viewer.shows(name, SAID[-1])
        assert re.search(r"/demo$", viewer.page.url) and viewer.trouble == []
