"""Browsers for the tests of the web client: Debian's Chromium, driven by Playwright; people who sit at one each."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import fresh

PASSWORD = "correct horse"
PATIENCE_MS = 20_000
AXE = Path(__file__).resolve().parent.parent.parent / "client" / "web" / "node_modules" / "axe-core" / "axe.min.js"
expect.set_options(timeout=PATIENCE_MS)


def chromium() -> str:
    """The browser's path; fails with what would install it."""
    path = shutil.which("chromium")
    assert path is not None, "these tests need Debian's chromium: apt-get install chromium (./test does it)"
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield found
        found.close()


class Sitter:
    """A person before a page of a node of their own. ``trouble``: what the page complained about."""

    def __init__(self, browser: Browser, cluster: ClusterProcess, node: int, name: str, **options: object) -> None:
        self.name = name
        self.handle = fresh(name.split()[0].lower())
        self.url = cluster.node_urls[node].replace("ws://", "http://") + "/"
        self.context: BrowserContext = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})  # type: ignore[arg-type]
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        # A node that is killed cannot be reached, and a browser says so; a broken policy must not pass for that.
        if message.type == "error" and not re.search(r"Failed to load resource|WebSocket connection to|ERR_", message.text):
            self.trouble.append(message.text)

    def __enter__(self) -> Sitter:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def register(self) -> Sitter:
        page = self.page
        page.goto(self.url)
        page.get_by_role("button", name="Create an account").click()
        page.get_by_label("Handle").fill(self.handle)
        page.get_by_label("Name").fill(self.name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("heading", name="Chats")).to_be_visible()
        return self

    def sign_in(self) -> Sitter:
        """As a new device of the account."""
        page = self.page
        page.goto(self.url)
        page.get_by_label("Handle").fill(self.handle)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Chats")).to_be_visible()
        return self

    def make_group(self, title: str, *others: Sitter) -> None:
        """A group with these people, which is open then."""
        page = self.page
        page.get_by_role("button", name="New group").click()
        page.get_by_label("Name of the group").fill(title)
        for other in others:
            page.get_by_role("combobox", name="Add people").fill(other.handle)
            page.get_by_role("option", name=f"@{other.handle}").click()
        page.get_by_role("button", name="Create group").click()
        expect(self.composer).to_be_visible()

    def open_chat(self, other: Sitter) -> None:
        """Finds somebody by handle, and opens the chat with them."""
        page = self.page
        page.keyboard.press("Control+k")
        page.get_by_role("combobox").fill(other.handle)
        expect(page.get_by_role("option", name=f"@{other.handle}")).to_be_visible()
        page.keyboard.press("Enter")
        expect(self.composer).to_be_visible()

    @property
    def composer(self) -> Locator:
        return self.page.get_by_label("Message to")

    def say(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def bubble(self, text: str) -> Locator:
        return self.page.locator(".bubble", has=self.page.get_by_text(text, exact=True))

    def bodies(self) -> list[str]:
        """What is said in the open chat, from top to bottom."""
        return self.page.locator(".bubble .body").all_inner_texts()

    def ticks(self, text: str, state: str) -> None:
        """Waits until the message has come so far."""
        expect(self.bubble(text).get_by_role("img", name=state, exact=True)).to_be_visible()

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page as it is."""
        return violations(self.page)


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page, once nothing is fading in any more: half way its contrast is another one."""
    fading = "document.getAnimations().filter((a) => a.effect.getComputedTiming().endTime < 5000)"
    page.evaluate(f"Promise.all({fading}.map((a) => a.finished.catch(() => null)))")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{v['id']}: {n['target']} {n['failureSummary']}" for v in found["violations"] for n in v["nodes"]]
