"""Well-formed requests that may not be granted: foreign conversations, rights in groups, seqs that cannot be, bodies at their limits."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from homing import codes, ids
from homing import protocol as p

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, Frame, eventually, group_of, unharmed

SEQ_MAX = 2**53


def some_group() -> str:
    return ids.group_id(os.urandom(16))


def some_user() -> str:
    return ids.user_id(os.urandom(8).hex())


@pytest.fixture
def alice(shared_cluster: ClusterProcess) -> Iterator[Device]:
    with Device(shared_cluster, 0) as device:
        yield device


@pytest.fixture
def bob(shared_cluster: ClusterProcess) -> Iterator[Device]:
    with Device(shared_cluster, 1, binary=True) as device:
        yield device


@pytest.fixture
def eve(shared_cluster: ClusterProcess) -> Iterator[Device]:
    with Device(shared_cluster, 2) as device:
        yield device


def entries(device: Device, conversation: str, **fields: int) -> list[Frame]:
    answer = device.ask("fetch", conversation=conversation, **fields)
    assert answer["op"] == "entries", answer
    found = answer["entries"]
    assert isinstance(found, list)
    return found


def seqs(device: Device, conversation: str, **fields: int) -> list[int]:
    return [entry["seq"] for entry in entries(device, conversation, **fields)]


def roles_of(device: Device, group: str) -> dict[str, str]:
    return {m["user"]: m.get("role", "member") for m in device.ask("fetch_members", conversation=group)["members"]}


# ---------------------------------------------------------------- whose conversation


def test_what_does_not_exist_can_be_neither_written_nor_read(shared_cluster: ClusterProcess, alice: Device) -> None:
    with unharmed(shared_cluster):
        direct = ids.direct_id(some_user(), some_user())
        for conversation in (some_group(), direct):
            alice.refused(codes.NOT_FOUND, "to", "send", to=conversation, body="x")
            alice.refused(codes.NOT_A_MEMBER, "conversation", "fetch", conversation=conversation)
            alice.refused(codes.NOT_A_MEMBER, "conversation", "fetch_members", conversation=conversation)
        group = some_group()
        for op, fields in group_changes().items():
            alice.refused(codes.NOT_FOUND, "conversation", op, conversation=group, **fields)
        alice.is_alive()


def group_changes(members: tuple[str, ...] = ()) -> dict[str, Frame]:
    named = list(members) or [some_user()]
    return {
        "group_add": {"members": named},
        "group_remove": {"members": named},
        "group_leave": {},
        "group_rename": {"title": "t"},
        "group_role": {"user": named[0], "role": "admin"},
    }


def test_what_is_somebody_elses_can_be_neither_written_nor_read(
    shared_cluster: ClusterProcess, alice: Device, bob: Device, eve: Device
) -> None:
    with unharmed(shared_cluster):
        direct = alice.say(bob.user, "for bob alone")["conversation"]
        group = group_of(alice, bob.user)
        alice.say(group, "for the group alone")
        for conversation in (direct, group):
            eve.refused(codes.NOT_A_MEMBER, "to", "send", to=conversation, body="x")
            eve.refused(codes.NOT_A_MEMBER, "conversation", "fetch", conversation=conversation)
            eve.refused(codes.NOT_A_MEMBER, "conversation", "fetch_members", conversation=conversation)
        for op, fields in group_changes((bob.user,)).items():
            eve.refused(codes.NOT_A_MEMBER, None, op, conversation=group, **fields)
        eve.refused(codes.NOT_A_MEMBER, None, "group_add", conversation=group, members=[eve.user])
        eve.refused(codes.CONFLICT, "conversation", "group_create", conversation=group, title="mine now", members=[])
        assert eve.ask("fetch_heads")["heads"] == []
        assert not [f for f in eve.received if f["op"] in ("message", "head", "heads", "receipts")]
        assert seqs(bob, direct) == [1] and seqs(bob, group) == [1, 2], "and nothing was written"


def test_ids_of_the_wrong_kind_are_refused_by_name(alice: Device, bob: Device) -> None:
    direct = alice.say(bob.user, "hello")["conversation"]
    odd = f"{3:04x}" + "0" * 28  # the fourth kind, which does not exist
    alice.refused(codes.INVALID, "to", "send", to=odd, body="x")
    for conversation in (direct, bob.user, alice.user, odd):
        for op, fields in group_changes().items():
            alice.refused(codes.INVALID, "conversation", op, conversation=conversation, **fields)
        alice.refused(codes.INVALID, "conversation", "group_create", conversation=conversation, title="t", members=[])
    alice.refused(codes.NOT_A_MEMBER, "conversation", "fetch", conversation=odd)
    for conversation in (alice.user, odd):
        alice.refused(codes.NOT_A_MEMBER, "conversation", "fetch_members", conversation=conversation)
    assert alice.ask("fetch_members", conversation=bob.user)["conversation"] == direct, "as for a fetch, it is the chat with him"
    group = group_of(alice)
    for member in (some_group(), direct, odd):
        alice.refused(codes.INVALID, "members", "group_add", conversation=group, members=[member])
        alice.refused(codes.INVALID, "members", "group_remove", conversation=group, members=[bob.user, member])
        alice.refused(codes.INVALID, "members", "group_create", conversation=some_group(), title="t", members=[member])
        alice.refused(codes.INVALID, "user", "group_role", conversation=group, user=member, role="admin")
    alice.is_alive()


def test_a_fetch_of_a_user_is_of_the_chat_with_him_and_empty_while_nothing_was_said(alice: Device, bob: Device) -> None:
    page = alice.ask("fetch", conversation=bob.user)
    assert page["op"] == "entries" and page["entries"] == [] and page["head"] == 0
    alice.refused(codes.NOT_A_MEMBER, "conversation", "fetch", conversation=page["conversation"])
    bob.say(alice.user, "hello")
    page = alice.ask("fetch", conversation=bob.user)
    assert [entry["body"] for entry in page["entries"]] == ["hello"]
    assert alice.ask("fetch", conversation=page["conversation"])["entries"] == page["entries"]


@pytest.mark.parametrize("type_", ["group.create", "group.add", "group.role", "group.anything", "group."])
def test_nobody_forges_what_the_home_writes_itself(alice: Device, type_: str) -> None:
    group = group_of(alice)
    alice.refused(codes.INVALID, "type", "send", to=group, type=type_, body='{"members":[]}')


def test_one_can_write_to_oneself(alice: Device) -> None:
    entry = alice.say(alice.user, "a note")
    assert seqs(alice, entry["conversation"]) == [1]
    assert alice.say(alice.user, "another")["seq"] == 2


# ---------------------------------------------------------------- groups


def test_a_group_has_at_most_1024_members(shared_cluster: ClusterProcess, alice: Device, bob: Device) -> None:
    many = [some_user() for _ in range(p.GROUP_MEMBERS_MAX)]
    with unharmed(shared_cluster):
        alice.refused(codes.INVALID, "members", "group_create", conversation=some_group(), title="t", members=[*many, some_user()])
        alice.refused(codes.GROUP_FULL, "members", "group_create", conversation=some_group(), title="t", members=many)
        group = group_of(alice, *many[:-1])
        alice.refused(codes.GROUP_FULL, "members", "group_add", conversation=group, members=[bob.user])
        alice.refused(codes.CONFLICT, "members", "group_add", conversation=group, members=many[:-1])
        assert alice.ask("group_remove", conversation=group, members=many[:1])["op"] == "sent"
        alice.refused(codes.GROUP_FULL, "members", "group_add", conversation=group, members=[bob.user, some_user()])
        assert alice.ask("group_add", conversation=group, members=[bob.user])["op"] == "sent"
        assert len(bob.ask("fetch_members", conversation=group)["members"]) == p.GROUP_MEMBERS_MAX
        entry = alice.say(group, "all of you")
        assert bob.hears("all of you")["message_id"] == entry["message_id"]


def test_empty_lists_duplicates_and_oneself_change_nothing_or_count_once(alice: Device, bob: Device) -> None:
    group = some_group()
    created = alice.ask("group_create", conversation=group, title="t", members=[bob.user, alice.user, bob.user, bob.user])
    assert created["op"] == "sent"
    assert roles_of(alice, group) == {alice.user: "owner", bob.user: "member"}
    for op in ("group_add", "group_remove"):
        alice.refused(codes.CONFLICT, "members", op, conversation=group, members=[])
    alice.refused(codes.CONFLICT, "members", "group_add", conversation=group, members=[alice.user, bob.user, bob.user])
    alice.refused(codes.CONFLICT, "members", "group_remove", conversation=group, members=[some_user()])
    alice.refused(codes.FORBIDDEN, "members", "group_remove", conversation=group, members=[alice.user])
    alice.refused(codes.CONFLICT, "user", "group_role", conversation=group, user=alice.user, role="member")
    alice.refused(codes.CONFLICT, "user", "group_role", conversation=group, user=bob.user, role="member")
    alice.refused(codes.CONFLICT, "user", "group_role", conversation=group, user=some_user(), role="admin")
    alone = some_group()
    assert alice.ask("group_create", conversation=alone, title="t", members=[])["op"] == "sent"
    carol = some_user()
    assert alice.ask("group_add", conversation=group, members=[carol, carol, bob.user])["op"] == "sent"
    assert len(alice.ask("fetch_members", conversation=group)["members"]) == 3
    assert seqs(alice, group) == [1, 2], "what was refused is no entry"


def test_members_that_are_no_admins_change_nothing_but_their_own_membership(alice: Device, bob: Device, eve: Device) -> None:
    group = group_of(alice, bob.user, eve.user)
    for op, fields in group_changes((eve.user,)).items():
        if op != "group_leave":
            bob.refused(codes.FORBIDDEN, None, op, conversation=group, **fields)
    assert bob.ask("group_leave", conversation=group)["op"] == "sent"
    bob.refused(codes.NOT_A_MEMBER, None, "group_leave", conversation=group)


def test_admins_do_much_but_neither_make_admins_nor_touch_owner_and_admins(alice: Device, bob: Device, eve: Device) -> None:
    group = group_of(alice, bob.user, eve.user)
    for device in (bob, eve):
        assert alice.ask("group_role", conversation=group, user=device.user, role="admin")["op"] == "sent"
    for user in (alice.user, bob.user, eve.user):
        for role in ("admin", "member"):
            bob.refused(codes.FORBIDDEN, None, "group_role", conversation=group, user=user, role=role)
        bob.refused(codes.FORBIDDEN, "members", "group_remove", conversation=group, members=[user])
    assert bob.ask("group_rename", conversation=group, title="renamed")["op"] == "sent"
    added = some_user()
    assert bob.ask("group_add", conversation=group, members=[added])["op"] == "sent"
    assert bob.ask("group_remove", conversation=group, members=[added])["op"] == "sent"
    assert alice.ask("group_leave", conversation=group)["op"] == "sent"
    assert sorted(roles_of(bob, group).values()) == ["admin", "owner"], "the group has an owner still"


def test_a_removed_member_reads_up_to_his_removal_and_nothing_of_what_comes_after(
    shared_cluster: ClusterProcess, alice: Device, bob: Device, eve: Device
) -> None:
    group = group_of(alice, bob.user, title="before")
    alice.say(group, "seen")  # 2
    assert alice.ask("group_remove", conversation=group, members=[bob.user])["op"] == "sent"  # 3
    alice.say(group, "secret")  # 4
    assert alice.ask("group_rename", conversation=group, title="after")["op"] == "sent"  # 5
    assert alice.ask("group_add", conversation=group, members=[eve.user])["op"] == "sent"  # 6
    alice.put({"op": "read", "conversation": group, "seq": 6})
    bob.refused(codes.NOT_A_MEMBER, "to", "send", to=group, body="let me in")
    for fields in (
        {},
        {"from_seq": 4, "to_seq": 6},
        {"from_seq": 0, "to_seq": SEQ_MAX},
        {"from_seq": SEQ_MAX},
        {"to_seq": 0},
        {"limit": 100},
    ):
        answer = bob.ask("fetch", conversation=group, **fields)
        assert answer["head"] == 3 and all(entry["seq"] <= 3 for entry in answer["entries"]), answer
    bob.refused(codes.NOT_A_MEMBER, "conversation", "fetch_members", conversation=group)
    bob.put({"op": "read", "conversation": group, "seq": 6})
    with Device(shared_cluster, 2, bob.name, "tablet") as tablet:
        heads = [head for f in tablet.received if f["op"] == "heads" for head in f["heads"]]
        head = next(head for head in heads if head["conversation"] == group)
        assert head["seq"] == 3 and head["until_seq"] == 4 and head["last"]["seq"] == 3 and head.get("role") == "", head
        assert all(max(mark[1:]) <= 3 for mark in head.get("marks", [])), "nor how far others have read what he cannot see"
    assert not [f for f in bob.received if f["op"] == "message" and f["entry"]["seq"] > 3]


def test_a_removed_member_does_not_learn_the_groups_later_names(shared_cluster: ClusterProcess, alice: Device, bob: Device) -> None:
    group = group_of(alice, bob.user, title="before")
    assert alice.ask("group_remove", conversation=group, members=[bob.user])["op"] == "sent"
    assert alice.ask("group_rename", conversation=group, title="after")["op"] == "sent"
    head = next(head for head in bob.ask("fetch_heads")["heads"] if head["conversation"] == group)
    assert head["title"] == "before"


def test_who_joins_later_reads_from_his_joining_on(alice: Device, eve: Device) -> None:
    group = group_of(alice)
    for n in range(5):
        alice.say(group, f"before {n}")
    assert alice.ask("group_add", conversation=group, members=[eve.user])["op"] == "sent"  # 7
    alice.say(group, "welcome")
    assert seqs(eve, group) == [7, 8]
    assert seqs(eve, group, from_seq=1, to_seq=6) == []
    assert seqs(eve, group, from_seq=1, to_seq=7) == [7]
    eve.put({"op": "read", "conversation": group, "seq": 3})
    eve.is_alive()


# ---------------------------------------------------------------- seqs


def test_after_above_the_head_is_refused(alice: Device, bob: Device) -> None:
    conversation = alice.say(bob.user, "one")["conversation"]
    for to in (bob.user, conversation):
        for after in (2, SEQ_MAX):
            alice.refused(codes.INVALID, "after", "send", to=to, body="x", after=after)
    assert alice.say(conversation, "two", after=1)["seq"] == 2
    group = group_of(alice, bob.user)
    for op, fields in group_changes().items():
        alice.refused(codes.INVALID, "after", op, conversation=group, after=99, **fields)
    with Device(alice.cluster) as new:
        new.refused(codes.INVALID, "after", "send", to=some_user(), body="x", after=1)


def test_a_repeat_gives_the_same_entry_whatever_it_says_the_second_time(alice: Device, bob: Device) -> None:
    first = alice.say(bob.user, "one", id="same")
    second = alice.say(bob.user, "something else", id="same")
    assert second == first
    assert seqs(alice, first["conversation"]) == [1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1, 2, 3, 4, 5]),
        ({"from_seq": 0}, [1, 2, 3, 4, 5]),
        ({"from_seq": 0, "to_seq": 0}, []),
        ({"from_seq": 4, "to_seq": 2}, []),
        ({"from_seq": SEQ_MAX}, []),
        ({"from_seq": 6, "to_seq": SEQ_MAX}, []),
        ({"from_seq": 5, "to_seq": SEQ_MAX}, [5]),
        ({"from_seq": SEQ_MAX, "to_seq": 0}, []),
        ({"to_seq": SEQ_MAX, "limit": 1}, [5]),
        ({"limit": 2}, [4, 5]),
        ({"to_seq": 3, "limit": 100}, [1, 2, 3]),
    ],
)
def test_ranges_are_cut_to_what_there_is(alice: Device, bob: Device, fields: dict[str, int], expected: list[int]) -> None:
    conversation = ""
    for n in range(5):
        conversation = alice.say(bob.user, f"{n}")["conversation"]
    assert seqs(alice, conversation, **fields) == expected


@pytest.mark.parametrize("before", ["", "x", ".", "..", "-1.x", "9" * 64, "1e9", "٣.x", "\0", f"{2**70}.{'f' * 30}", "1.2.3"])
def test_a_strange_page_mark_gives_a_page_or_none_and_nothing_else(alice: Device, bob: Device, before: str) -> None:
    alice.say(bob.user, "x")
    answer = alice.ask("fetch_heads", before=before, limit=100)
    assert answer["op"] == "heads" and len(answer["heads"]) <= 1
    alice.is_alive()


def cursor_of(device: Device) -> int:
    device.put({"op": "ping", "why": "a bare one is answered without a cursor while the last one is young"})
    pong = device.expect("pong")
    return int(pong.get("cursor") or 0)


@pytest.mark.parametrize("op", ["ack", "read"])
def test_marks_that_cannot_be_have_no_effect_and_hold_no_cursor_up(
    shared_cluster: ClusterProcess, alice: Device, bob: Device, eve: Device, op: str
) -> None:
    conversation = alice.say(bob.user, "one")["conversation"]
    group = group_of(alice, bob.user)
    bob.hears("one")
    with unharmed(shared_cluster):
        bob.put({"op": op, "conversation": conversation, "seq": SEQ_MAX}, {"op": op, "conversation": conversation, "seq": 0})
        bob.put(*({"op": op, "conversation": foreign, "seq": 1} for foreign in (some_group(), alice.user, bob.user)))
        eve.put(*({"op": op, "conversation": foreign, "seq": seq} for foreign in (conversation, group) for seq in (1, 2, SEQ_MAX)))
        receipts = alice.expect("receipts", conversation=conversation)
        assert receipts["marks"] == [[bob.user, 1, 1 if op == "read" else 0]], "what is above the head means the head"
        alice.say(bob.user, "two")
        for device in (alice, eve):
            before = cursor_of(device)
            eventually(lambda device=device, before=before: cursor_of(device) > before)  # type: ignore[misc]  # both are bound
        head = alice.ask("fetch_heads")["heads"]
        marks = next(h for h in head if h["conversation"] == conversation)["marks"]
        assert marks == [[bob.user, 1, 1 if op == "read" else 0]]
        assert not [f for f in (*alice.received, *bob.received) if f["op"] == "receipts" and any(m[0] == eve.user for m in f["marks"])]


# ---------------------------------------------------------------- bodies

BODIES = {
    "empty": "",
    "longest": "x" * 16_384,
    "longest of two bytes": "é" * 16_384,
    "longest of three bytes": "あ" * 16_384,
    "longest of four bytes": "😀" * 16_000,
    "NULs": "\0" * 1_000,
    "a NUL within": "before\0after",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈👍🏿❤️",
    "right to left": "שלום \u202eabc\u202c عليكم \u2066x\u2069",
    "marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "separators": "a\u2028b\u2029c\ufeff\u200b\ufffd\uffff",
    "quotes": '\\"\'</script>\r\n{"op":"send"};--',
    "planes": "\U0010ffff\U000e0001𝕏",
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_arrives_as_it_was_sent(alice: Device, bob: Device, name: str) -> None:
    body = BODIES[name]
    entry = alice.say(bob.user, body, id=f'id {name}\0"\\é😀')
    assert entry.get("body", "") == body
    heard = bob.hears(body) if body else bob.expect("message")["entry"]
    assert heard["message_id"] == entry["message_id"] and heard["id"] == f'id {name}\0"\\é😀'
    for device in (alice, bob):
        (read,) = entries(device, entry["conversation"])
        assert read.get("body", "") == body


def test_titles_and_types_may_be_strange_within_their_bounds(alice: Device, bob: Device) -> None:
    title = '\0"\\😀שלום' + "x" * 117
    group = group_of(alice, bob.user, title=title)
    assert bob.ask("fetch_members", conversation=group)["title"] == title
    assert alice.say(group, "x", type="a" * 32)["type"] == "a" * 32


@pytest.mark.parametrize("surrogate", [b"\\ud800", b"\\udfff", b"\\udc00\\ud800", b"\\ud83d x"])
def test_half_a_character_is_malformed(alice: Device, bob: Device, surrogate: bytes) -> None:
    for where in (b'"body":"a%s b","id":"x"', b'"body":"b","id":"x%s y"'):
        alice.put_raw(b'{"op":"send","to":"' + bob.user.encode() + b'",' + where % surrogate + b"}")
        alice.expect_error(codes.MALFORMED)
    alice.is_alive()


@pytest.mark.parametrize("ts", [0, -1, 2**53, -(2**53)])
def test_the_clients_clock_may_be_anywhere_in_its_bounds(alice: Device, bob: Device, ts: int) -> None:
    entry = alice.say(bob.user, "x", ts=ts)
    assert entry.get("sent_ts", 0) == ts
    assert entries(bob, entry["conversation"])[0].get("sent_ts", 0) == ts


@pytest.mark.parametrize("ts", [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
def test_a_clock_that_no_store_can_hold_is_refused_and_stops_nobody(shared_cluster: ClusterProcess, bob: Device, ts: int) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, binary=True) as alice:
        alice.refused(codes.INVALID, "ts", "send", to=bob.user, body="x", ts=ts)
        assert alice.say(bob.user, "y")["seq"] == 1
