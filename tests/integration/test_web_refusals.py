"""What the web client shows when something is refused: a message, a name and password, the device itself; and when it is opened twice."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.integration.conftest import ClusterProcess
from tests.integration.rest_client import Person
from tests.integration.web_rig import PASSWORD, Sitter, browser

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.timeout(300)


def refuse(word: str, said: list[str]) -> object:
    """A line to the node on which a send that says ``word``, or a group that is called so, is refused for good, once."""

    def on_socket(page: WebSocketRoute) -> None:
        node = page.connect_to_server()

        def from_page(message: str | bytes) -> None:
            frame = json.loads(message)
            if word in (frame.get("body"), frame.get("title")) and not said:
                said.append(frame["id"])
                page.send(json.dumps({"op": "error", "code": 1007, "name": "forbidden", "message": "you were blocked", "id": frame["id"]}))
            else:
                node.send(message)

        page.on_message(from_page)

    return on_socket


def test_a_refused_message_stays_on_the_screen_over_a_reload_until_it_is_tried_again(
    shared_cluster: ClusterProcess, browser: Browser
) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        refused: list[str] = []
        alice.page.route_web_socket("**/v1/ws", refuse("no", refused))  # type: ignore[arg-type]  # a callable
        alice.register()
        bob.register()
        alice.open_chat(bob)
        alice.say("no")
        expect(alice.page.get_by_role("group", name="Not sent")).to_contain_text("you were blocked")
        alice.page.reload()
        failed = alice.page.get_by_role("group", name="Not sent")
        expect(failed).to_contain_text("you were blocked")
        failed.get_by_role("button", name="Try again").click()
        alice.ticks("no", "Delivered")
        expect(failed).to_have_count(0)
        assert alice.bodies() == ["no"]
        bob.page.get_by_role("link", name="Alice Moreau").click()
        expect(bob.bubble("no")).to_be_visible()
        assert bob.bodies() == ["no"]


def test_a_change_that_is_refused_when_nobody_waits_for_it_is_said(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        alice.page.route_web_socket("**/v1/ws", refuse("Hawks", []))  # type: ignore[arg-type]  # a callable
        alice.register()
        bob.register()
        alice.make_group("Hawks", bob)
        alert = alice.page.get_by_role("alert")
        expect(alert).to_contain_text("A change was refused: you were blocked.")
        assert alice.violations() == []
        alice.page.get_by_role("button", name="Dismiss").click()
        expect(alert).to_have_count(0)


def test_a_wrong_password_and_a_taken_handle_are_said_at_their_field(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice:
        other = Person(shared_cluster, 1, alice.handle)
        other.register()
        page = alice.page
        page.goto(alice.url)
        page.get_by_label("Handle").fill(alice.handle)
        page.get_by_label("Password").fill("something else")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("do not belong together")
        expect(page.get_by_label("Password")).to_be_focused()
        page.get_by_role("button", name="Create an account").click()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_role("alert")).to_contain_text("has this handle already")
        expect(page.get_by_label("Handle")).to_have_attribute("aria-invalid", "true")


def test_a_device_that_is_signed_out_elsewhere_shows_the_door_and_keeps_nothing(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice, Sitter(browser, shared_cluster, 1, "Bob Tanaka") as bob:
        alice.register()
        bob.register()
        alice.open_chat(bob)
        alice.say("secret")
        alice.ticks("secret", "Delivered")
        other = Person(shared_cluster, 1, alice.handle)
        other.sign_in()
        (device,) = [d["device"] for d in other.ask("GET", "/v1/devices").is_(200)["devices"] if not d["current"]]
        other.ask("DELETE", f"/v1/devices/{device}").is_(204)
        expect(alice.page.get_by_role("heading", name="Welcome back")).to_be_visible()
        expect(alice.page.get_by_role("status")).to_contain_text("signed out")
        assert alice.page.evaluate("indexedDB.databases().then((all) => all.map((db) => db.name))") == []
        assert alice.page.evaluate("localStorage.getItem('homing.session')") is None


def test_one_page_at_a_time_uses_a_device(shared_cluster: ClusterProcess, browser: Browser) -> None:
    with Sitter(browser, shared_cluster, 0, "Alice Moreau") as alice:
        alice.register()
        second = alice.context.new_page()
        second.goto(alice.url)
        expect(second.get_by_role("heading", name="Homing is open in another tab")).to_be_visible()
        second.get_by_role("button", name="Use it here").click()
        expect(second.get_by_role("heading", name="Chats")).to_be_visible()
        expect(alice.page.get_by_role("heading", name="Homing is open in another tab")).to_be_visible()
