"""Typing from a session to the members' sessions, and whom a session at the edge wants to watch."""

from __future__ import annotations

from typing import Any, cast

import pytest
from homing import protocol as p
from homing.ids import group_id

from node.core.effects import ToClient
from node.core.frames import Attached
from node.core.limits import CoreLimits
from node.core.live_frames import PresenceOut, TypingFrom, TypingOut, TypingTold, WatchFrom
from node.core.roster import MEMBER, Membership
from tests.unit.core_rig import ALICE, BOB, CAROL, DAVE, DIRECT, ME, OTHER
from tests.unit.live_rig import LiveRig

GROUP = group_id(b"0123456789abcdef")
NEXT = "node-3:next"


def typing(kind: str = "typing", to: str = BOB) -> p.Typing:
    return p.Typing(conversation=to, kind=cast(Any, kind))


# ---------------------------------------------------------------- the edge


def test_a_session_says_the_same_once_a_second_and_something_else_at_once() -> None:
    rig = LiveRig()
    rig.sit()
    for kind in ("typing", "typing", "stopped", "typing"):
        rig.edge.on_client(7, typing(kind))
    assert [f.kind for f in rig.frames(TypingFrom, OTHER)] == ["typing", "stopped", "typing"]
    rig.wait(1.05)
    rig.edge.on_client(7, typing())
    assert rig.frames(TypingFrom) == [TypingFrom(DIRECT, ALICE, "typing")]


def test_a_session_that_says_too_much_is_not_heard_and_nobody_is_told_why() -> None:
    rig = LiveRig()
    rig.sit()
    for n in range(200):
        rig.edge.on_client(7, typing(("typing", "recording")[n % 2], group_id(n.to_bytes(16, "big"))))
    assert len(rig.frames(TypingFrom)) == 8 and rig.effects == []
    rig.wait(10.0)
    for n in range(200):
        rig.edge.on_client(7, typing(to=group_id(n.to_bytes(16, "big"))))
    assert len(rig.frames(TypingFrom)) == 8
    pace = rig.edge.sessions[7].pace
    assert pace is not None and len(pace.recent) <= 16


# ---------------------------------------------------------------- the conversation


def opened(rig: LiveRig, *members: str, conversation: str = GROUP) -> Any:
    rig.homes[conversation] = ME
    made = rig.open_conversation(DIRECT) if conversation == DIRECT else rig.open_conversation(conversation)
    for user in members:
        made.roster.by_user[user] = Membership(MEMBER, 1)
    rig.conversations[conversation] = made
    rig.sent.clear()
    return made


def test_the_other_members_homes_are_told_in_one_frame_each() -> None:
    rig = LiveRig()
    rig.homes |= {CAROL: NEXT}
    opened(rig, ALICE, BOB, CAROL, DAVE)
    rig.live.typists.on_from(TypingFrom(GROUP, ALICE, "recording"), OTHER)
    assert rig.frames(TypingTold, OTHER) == [TypingTold(GROUP, ALICE, "recording", (BOB, DAVE))]
    assert rig.frames(TypingTold, NEXT) == [TypingTold(GROUP, ALICE, "recording", (CAROL,))]
    assert rig.writes == []


def test_nobody_hears_of_who_is_no_member_or_was_one() -> None:
    rig = LiveRig()
    conversation = opened(rig, ALICE, BOB)
    conversation.roster.by_user[CAROL] = Membership(MEMBER, 1, until_seq=3)
    for user in (CAROL, DAVE):
        rig.live.typists.on_from(TypingFrom(GROUP, user, "typing"), OTHER)
    rig.live.typists.on_from(TypingFrom(GROUP, ALICE, "typing"), OTHER)
    assert rig.frames(TypingTold) == [TypingTold(GROUP, ALICE, "typing", (BOB,))]


def test_while_one_has_blocked_neither_hears_of_the_other() -> None:
    rig = LiveRig()
    conversation = opened(rig, conversation=DIRECT)
    conversation.roster.is_blocked = True
    for user in (ALICE, BOB):
        rig.live.typists.on_from(TypingFrom(DIRECT, user, "typing"), OTHER)
    assert rig.frames(TypingTold) == []
    conversation.roster.is_blocked = False
    rig.live.typists.on_from(TypingFrom(DIRECT, ALICE, "typing"), OTHER)
    assert rig.frames(TypingTold) == [TypingTold(DIRECT, ALICE, "typing", (BOB,))]


@pytest.mark.parametrize(("members", "told"), [(2, 256), (129, 2), (257, 1), (258, 0)])
def test_a_conversation_pays_for_each_member_who_is_told(members: int, told: int) -> None:
    rig = LiveRig(CoreLimits(typing_members_per_s=0.001))
    people = [f"{n:032x}" for n in range(members)]
    opened(rig, *people)
    for n in range(300):
        rig.live.typists.on_from(TypingFrom(GROUP, people[n % 2], "typing"), OTHER)
    assert len(rig.frames(TypingTold)) == told


def test_the_budgets_of_conversations_are_bounded() -> None:
    rig = LiveRig(CoreLimits(typing_conversations_max=3))
    for n in range(10):
        group = group_id(n.to_bytes(16, "big"))
        opened(rig, ALICE, BOB, conversation=group)
        rig.live.typists.on_from(TypingFrom(group, ALICE, "typing"), OTHER)
    assert len(rig.live.typists.budgets) == 3


# ---------------------------------------------------------------- the members' homes, and the sessions


def test_the_sessions_of_members_are_told_by_edge_and_a_stranger_is_not_believed() -> None:
    rig = LiveRig()
    rig.homes[GROUP] = NEXT
    rig.come(BOB, 1)
    rig.come(BOB, 2)
    rig.come(CAROL, 3, NEXT)
    frame = TypingTold(GROUP, ALICE, "typing", (BOB, CAROL, DAVE))
    rig.live.typists.on_told(frame, OTHER)
    assert rig.frames(TypingOut) == [], "who is a member is known to the conversation's home"
    rig.live.typists.on_told(frame, NEXT)
    assert rig.frames(TypingOut, OTHER) == [TypingOut(GROUP, ALICE, "typing", (1, 2))]
    assert rig.frames(TypingOut, NEXT) == [TypingOut(GROUP, ALICE, "typing", (3,))]


def test_a_session_hears_how_long_it_may_show_it() -> None:
    rig = LiveRig()
    rig.sit()
    rig.live.typists.on_out(TypingOut(GROUP, BOB, "recording", (7,)), OTHER)
    assert rig.shown() == [(p.TypingShown(conversation=GROUP, user=BOB, kind="recording", ms=6_000), (7,))]


# ---------------------------------------------------------------- whom a session watches


def test_of_sets_that_come_too_fast_the_last_counts() -> None:
    rig = LiveRig()
    rig.sit()
    for users in ([BOB], [CAROL], [DAVE, DAVE, BOB]):
        rig.edge.on_client(7, p.Watch(users=users))
    assert rig.frames(WatchFrom, OTHER) == [WatchFrom(ALICE, 7, (BOB,))]
    rig.wait(1.05)
    assert rig.frames(WatchFrom, OTHER) == [WatchFrom(ALICE, 7, (DAVE, BOB))]
    rig.wait(5)
    assert rig.frames(WatchFrom) == []


def test_a_set_is_said_to_each_new_home_and_only_that_is_heard() -> None:
    rig = LiveRig()
    rig.sit()
    rig.edge.on_client(7, p.Watch(users=[BOB]))
    rig.homes[ALICE] = NEXT
    rig.edge.on_table(frozenset({ME, OTHER, NEXT}))
    rig.sent.clear()
    rig.edge.on_attached(Attached(ALICE, 7), NEXT)
    assert rig.frames(WatchFrom, NEXT) == [WatchFrom(ALICE, 7, (BOB,))]
    rig.effects.clear()
    states: tuple[tuple[str, p.PresenceState], ...] = ((OTHER, "offline"), (NEXT, "online"))
    for home, state in states:
        rig.live.wishes.on_out(PresenceOut(((BOB, state, 0),), (7, 8)), home)
    assert rig.shown() == [(p.PresenceChanged(people=[p.Presence(user=BOB, state="online")]), (7,))]


def test_a_home_that_takes_nothing_is_told_the_set_when_it_does() -> None:
    rig = LiveRig()
    rig.sit()
    rig.full.add(OTHER)
    rig.edge.on_client(7, p.Watch(users=[BOB]))
    assert rig.frames(WatchFrom) == [] and 7 in rig.edge.sessions
    rig.full.clear()
    rig.opening.pop((OTHER, "watch.7"))(OTHER)
    assert rig.frames(WatchFrom) == [WatchFrom(ALICE, 7, (BOB,))]


def test_only_users_can_be_watched_and_typed_to() -> None:
    rig = LiveRig()
    rig.sit()
    rig.edge.on_client(7, p.Watch(users=[BOB, GROUP]))
    rig.edge.on_client(7, typing(to="f" * 3 + "f" + "0" * 28))
    errors = [e.frame for e in rig.effects if isinstance(e, ToClient)]
    assert [(e.name, e.field) for e in errors if isinstance(e, p.Error)] == [("invalid_field", "users"), ("invalid_field", "conversation")]
    assert rig.sent == []


def test_a_set_of_nobody_ends_it_and_says_nothing_where_there_was_none() -> None:
    rig = LiveRig()
    rig.sit()
    rig.edge.on_client(7, p.Watch(users=[]))
    assert rig.sent == []
    rig.edge.on_client(7, p.Watch(users=[BOB]))
    rig.wait(1.05)
    rig.edge.on_client(7, p.Watch(users=[]))
    assert [f.users for f in rig.frames(WatchFrom)] == [(BOB,), ()]
