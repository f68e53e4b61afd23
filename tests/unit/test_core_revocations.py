"""Revoking a device: who asks goes on until it is done; the home says so only of what holds for every home after it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from homing import codes

from node.accounts.config import AccountsConfig
from node.core import revocations
from node.core.frames import Attach, Attached, DeviceRevoked, DropSession, RevokeDevice
from node.core.mailbox import Mailbox
from node.core.revocations import ASK_AGAIN_S, ASKED_MAX, UNDER_WAY_MAX, Revocations
from node.edge import tokens
from storage.store import FORGOTTEN, CellRow, LoadIndex, LoadUser, UserLoaded, UserRow, Write
from tests.unit.core_rig import ALICE, ME, OTHER, Rig
from tools import token

EDGE, ASKER = "node-7:edge", "node-8:asker"


class World:
    """A home with Alice's mailbox, and what is asked of it."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.rig.homes[ALICE] = ME
        self.box = Mailbox(self.rig, ALICE)
        self.revocations = Revocations(self.rig, self.on_mailbox)
        self.heard: list[codes.Code | None] = []

    def on_mailbox(self, user: str, call: Callable[[Mailbox], None]) -> None:
        if self.rig.owner_of(user) == ME:
            call(self.box)

    def attach(self, session: int, device: str) -> None:
        self.box.on_attach(Attach(ALICE, session, device, 0, ()), EDGE)
        self.rig.answer_asks()

    def ask(self, device: str = "lost", n: int = 1, asker: str = ASKER) -> None:
        self.revocations.on_revoke(RevokeDevice(ALICE, device, n), asker)

    def revoked_rows(self) -> tuple[tuple[str, int], ...]:
        answer = self.rig.store.read(LoadUser(ALICE))
        assert isinstance(answer, UserLoaded)
        return answer.user.revoked if answer.user else ()

    def answers(self) -> list[DeviceRevoked]:
        return self.rig.frames(DeviceRevoked)


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------- the home


def test_the_devices_sessions_end_at_once_and_the_answer_waits_for_the_row(world: World) -> None:
    world.attach(1, "lost")
    world.attach(2, "kept")
    world.rig.frames(Attached)
    world.ask()
    assert world.rig.frames(DropSession, EDGE) == [DropSession(1, "device_revoked")]
    assert list(world.box.sessions) == [(EDGE, 2)] and not world.answers()
    world.rig.store_all(UserRow)
    assert not world.answers(), "not before the cell row was looked at"
    world.rig.answer_asks()
    assert world.answers() == [DeviceRevoked(1)] and [device for device, _ in world.revoked_rows()] == ["lost"]
    assert not world.box.revoking


def test_its_next_hello_is_refused_from_memory_and_by_the_next_home(world: World) -> None:
    world.ask()
    world.rig.settle()
    world.attach(3, "lost")
    assert world.rig.frames(DropSession) == [DropSession(3, "device_revoked")] and not world.rig.frames(Attached)
    world.box = Mailbox(world.rig, ALICE)
    world.attach(4, "lost")
    assert world.rig.frames(DropSession) == [DropSession(4, "device_revoked")] and not world.rig.frames(Attached)


def test_a_session_whose_index_is_being_read_is_not_let_in(world: World) -> None:
    world.box.on_attach(Attach(ALICE, 1, "lost", 0, ()), EDGE)
    world.ask()
    world.box.on_attach(Attach(ALICE, 2, "lost", 0, ()), EDGE)
    world.rig.settle()
    assert DropSession(2, "device_revoked") in world.rig.frames(DropSession) and not world.box.sessions


def test_an_old_row_that_arrives_late_does_not_let_the_device_in_again(world: World) -> None:
    world.attach(1, "kept")
    world.ask()
    world.rig.epoch = 2
    world.box.on_attach(Attach(ALICE, 2, "lost", 0, ()), EDGE)
    (load,) = [ask for ask in world.rig.asks if isinstance(ask[0], LoadIndex)]
    load[1](world.rig.store.read(load[0]))
    assert DropSession(2, "device_revoked") in world.rig.frames(DropSession)


def test_a_home_that_may_have_a_successor_says_nothing_and_can_be_asked_again(world: World) -> None:
    """The row was durable after a newer table was out: its owner may have read the row before."""
    world.ask()
    world.rig.store.commit([Write(ME, CellRow(2, (ME, OTHER)))])
    world.rig.settle()
    assert not world.answers() and not world.box.revoking
    world.rig.epoch = 2
    world.ask(n=2)
    world.rig.settle()
    assert world.answers() == [DeviceRevoked(2)]


def test_a_mailbox_that_was_closed_meanwhile_answers_nothing(world: World) -> None:
    world.ask()
    world.box.close()
    world.rig.settle()
    assert not world.answers()


def test_who_asks_twice_and_others_who_ask_are_answered_by_one_row(world: World) -> None:
    world.ask(n=1)
    world.ask(n=1)
    world.ask(n=5, asker=OTHER)
    world.rig.answer_asks()
    assert sum(isinstance(row, UserRow) for row, _, _ in world.rig.writes) == 1
    world.rig.settle()
    assert world.rig.frames(DeviceRevoked, ASKER) == [DeviceRevoked(1)] and world.rig.frames(DeviceRevoked, OTHER) == [DeviceRevoked(5)]


def test_a_full_edge_hears_of_it_when_it_takes_something_again(world: World) -> None:
    world.attach(1, "lost")
    world.rig.full.add(EDGE)
    world.ask()
    assert not world.rig.frames(DropSession) and not world.box.sessions
    world.rig.full.clear()
    for (edge, _), again in world.rig.opening.items():
        again(edge)
    assert world.rig.frames(DropSession, EDGE) == [DropSession(1, "device_revoked")]


def test_the_home_has_bounds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(UNDER_WAY_MAX + 3):
        world.ask(f"device-{n}", n)
    assert len(world.box.revoking) == UNDER_WAY_MAX
    world.rig.settle()
    assert len(world.answers()) == UNDER_WAY_MAX
    monkeypatch.setattr(revocations, "REVOKED_MAX", UNDER_WAY_MAX)
    world.ask("one-too-many", 99)
    world.rig.settle()
    assert world.answers() == [DeviceRevoked(99, codes.INVALID.name)] and len(world.revoked_rows()) == UNDER_WAY_MAX
    world.rig.has_room = False
    world.ask("later", 100)
    assert not world.box.revoking and not world.rig.asks


def test_a_user_whose_row_is_full_signs_out_on_and_only_what_no_token_can_be_of_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "REVOKED_MAX", 4)
    for n in range(4):
        world.ask(f"old-{n}", n)
    world.rig.settle()
    world.rig.pass_time(revocations.REVOKED_KEPT_MS / 1_000 - 60)
    world.ask("too-early", 10)
    world.rig.settle()
    assert world.answers()[-1] == DeviceRevoked(10, codes.INVALID.name) and len(world.revoked_rows()) == 4
    world.rig.pass_time(61)
    world.attach(1, "old-0")
    assert world.rig.frames(DropSession)[-1] == DropSession(1, "device_revoked"), "nobody needed its room yet"
    world.ask("new", 11)
    world.rig.settle()
    assert world.answers()[-1] == DeviceRevoked(11)
    assert [device for device, _ in world.revoked_rows()] == [FORGOTTEN, "new"]
    for box in (world.box, Mailbox(world.rig, ALICE)):
        world.box = box
        world.attach(2, "new")
        assert world.rig.frames(DropSession)[-1] == DropSession(2, "device_revoked")
        assert not box.revoked.keys() - {"new"}
    world.ask("old-0", 12)
    world.rig.settle()
    assert "old-0" in dict(world.revoked_rows()), "revoked anew"


def test_no_token_is_valid_for_as_long_as_a_revoked_device_is_remembered() -> None:
    assert tokens.LIFETIME_S_MAX * 1_000 + 3_600_000 <= revocations.REVOKED_KEPT_MS
    assert token.LIFETIME_S_MAX <= tokens.LIFETIME_S_MAX
    assert AccountsConfig(access_s=tokens.LIFETIME_S_MAX + 1).problems()


def test_a_mailbox_that_revokes_is_not_let_go(world: World) -> None:
    world.ask()
    world.rig.answer_asks()
    world.rig.now += world.rig.limits.mailbox_idle_s + 1
    assert not world.box.is_idle()
    world.rig.settle()
    assert world.box.is_idle()


# ---------------------------------------------------------------- who asks


def test_the_home_is_asked_until_it_answers_and_a_new_one_at_once(world: World) -> None:
    rig = world.rig
    rig.homes[ALICE] = OTHER
    world.revocations.revoke(ALICE, "lost", world.heard.append)
    question = RevokeDevice(ALICE, "lost", 1)
    assert rig.frames(RevokeDevice, OTHER) == [question]
    rig.pass_time(ASK_AGAIN_S)
    assert rig.frames(RevokeDevice, OTHER) == [question]
    rig.homes[ALICE] = EDGE
    world.revocations.on_table()
    assert rig.frames(RevokeDevice, EDGE) == [question] and not world.heard
    world.revocations.on_answer(DeviceRevoked(1), EDGE)
    world.revocations.on_answer(DeviceRevoked(1), EDGE)
    rig.pass_time(60)
    assert world.heard == [None] and not rig.frames(RevokeDevice) and not rig.timers


@pytest.mark.parametrize(("said", "heard"), [("", None), ("invalid_field", codes.INVALID), ("of a later release", codes.UNAVAILABLE)])
def test_the_answer_is_told(world: World, said: str, heard: codes.Code | None) -> None:
    world.rig.homes[ALICE] = OTHER
    world.revocations.revoke(ALICE, "lost", world.heard.append)
    world.revocations.on_answer(DeviceRevoked(1, said), OTHER)
    assert world.heard == [heard]


def test_without_an_answer_in_time_it_is_unavailable(world: World) -> None:
    rig = world.rig
    rig.homes[ALICE] = ""
    world.revocations.revoke(ALICE, "lost", world.heard.append)
    for _ in range(int(rig.limits.request_timeout_s / ASK_AGAIN_S) + 1):
        rig.pass_time(ASK_AGAIN_S)
    assert world.heard == [codes.UNAVAILABLE] and not world.revocations.asked and not rig.sent


def test_a_node_waits_for_so_many_at_a_time(world: World) -> None:
    world.rig.homes[ALICE] = OTHER
    for n in range(ASKED_MAX + 1):
        world.revocations.revoke(ALICE, f"device-{n}", world.heard.append)
    assert world.heard == [codes.OVERLOADED] and len(world.revocations.asked) == ASKED_MAX
