"""Slots: bounds, moves at a join and a leave, terms; the table and its deltas."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from math import ceil

import pytest
from homing.ids import SLOTS
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.slots import GROUP_SLOTS, GROUPS, assign, build, owners, plan, runs_of
from directory.table import NOBODY, Delta, Member, Table, decode_delta, encode_delta


def node(name: str, start: str = "a", weight: int = 100) -> Member:
    return Member(f"{name}:{start}", name, "node", f"tcp://{name}", f"ws://{name}", weight)


names = st.lists(st.text("abcdefghij0123456789-", min_size=1, max_size=12), min_size=1, max_size=24, unique=True)
weighted = names.flatmap(
    lambda ns: st.lists(st.integers(20, 400), min_size=len(ns), max_size=len(ns)).map(
        lambda ws: [node(n, weight=w) for n, w in zip(ns, ws, strict=True)]
    )
)


@settings(max_examples=60, deadline=None)
@given(weighted)
def test_no_node_carries_more_than_its_bound_and_every_slot_has_an_owner(nodes: list[Member]) -> None:
    table = assign(Table.empty(), nodes, 1)
    loads = Counter(table.owners)
    total = sum(n.weight for n in nodes)
    assert NOBODY not in loads
    for index, member in enumerate(nodes):
        assert loads[index] <= ceil(1.25 * SLOTS * member.weight / total)


@settings(max_examples=60, deadline=None)
@given(weighted)
def test_the_plan_depends_on_names_and_weights_alone(nodes: list[Member]) -> None:
    again = [node(n.name, "b", n.weight) for n in reversed(nodes)]
    assert [o.split(":")[0] for o in plan(nodes)] == [o.split(":")[0] for o in plan(again)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 40, 100])
def test_a_join_moves_about_its_share_and_a_leave_gives_it_back(count: int) -> None:
    nodes = [node(f"node-{i}") for i in range(count)]
    before = assign(Table.empty(), nodes, 1)
    joined = assign(before, [*nodes, node("new")], 2)
    moved = sum(a != b for a, b in zip(owners(before), owners(joined), strict=True)) * GROUP_SLOTS
    share = SLOTS / (count + 1)
    assert 0.5 * share <= moved <= 1.6 * share
    left = assign(joined, nodes, 3)
    assert owners(left) == owners(before)


def test_three_nodes_of_one_weight_have_about_a_third_each() -> None:
    table = assign(Table.empty(), [node(f"node-{i}") for i in range(3)], 1)
    assert all(abs(table.slots_of(m.incarnation) - SLOTS / 3) < SLOTS / 12 for m in table.members)


def test_a_heavier_node_carries_more() -> None:
    table = assign(Table.empty(), [node("small", weight=50), node("big", weight=150)], 1)
    assert table.slots_of("big:a") > 2 * table.slots_of("small:a")


@settings(max_examples=30, deadline=None)
@given(st.lists(weighted, min_size=2, max_size=4))
def test_a_slot_keeps_its_term_exactly_while_its_owner_stays(versions: list[list[Member]]) -> None:
    table = Table.empty()
    for epoch, nodes in enumerate(versions, start=1):
        before, table = table, assign(table, nodes, epoch)
        for slot in range(0, SLOTS, GROUP_SLOTS):
            same = before.owner(slot) == table.owner(slot)
            assert table.terms[slot] == (before.terms[slot] if same else epoch)


def test_a_new_incarnation_gets_the_slots_back_under_a_new_term() -> None:
    table = assign(Table.empty(), [node("a"), node("b")], 1)
    again = assign(table, [node("a", "second"), node("b")], 2)
    for slot in range(0, SLOTS, GROUP_SLOTS):
        if table.owner(slot) == "a:a":
            assert (again.owner(slot), again.terms[slot]) == ("a:second", 2)
        else:
            assert (again.owner(slot), again.terms[slot]) == ("b:a", 1)


def test_an_absurd_weight_is_bounded() -> None:
    table = assign(Table.empty(), [node("a", weight=10**15), node("b", weight=2_000)], 1)
    assert table.slots_of("b:a") > SLOTS / 3


def test_without_nodes_nobody_owns_anything() -> None:
    assert plan([]) == []
    assert set(assign(assign(Table.empty(), [node("a")], 1), [], 2).owners) == {NOBODY}


def test_runs_join_neighbours() -> None:
    assert runs_of([5, 3, 4, 9]) == [(24, 24), (72, 8)]
    assert runs_of([]) == []


# ------------------------------------------------------------------ table and delta


def versions_of(steps: list[list[Member]]) -> list[Table]:
    tables = [Table.empty()]
    for epoch, nodes in enumerate(steps, start=1):
        tables.append(assign(tables[-1], nodes, epoch))
    return tables


def same(a: Table, b: Table) -> bool:
    return (a.epoch, a.members, a.owners, a.terms) == (b.epoch, b.members, b.owners, b.terms)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=5, unique=True), min_size=1, max_size=5), st.data())
def test_a_delta_from_any_older_version_leads_to_the_newest(steps: list[list[str]], data: st.DataObject) -> None:
    tables = versions_of([[node(n) for n in step] for step in steps])
    newest = tables[-1]
    base = data.draw(st.integers(0, newest.epoch))
    delta = decode_delta(encode_delta(newest.delta(base)))
    for held in tables[base:]:
        assert same(held.apply(delta), newest)


def test_a_delta_on_a_table_that_is_too_old_is_refused() -> None:
    tables = versions_of([[node("a")], [node("a"), node("b")], [node("b")]])
    with pytest.raises(ValueError, match="epoch"):
        tables[1].apply(tables[3].delta(2))


def test_an_older_delta_changes_nothing() -> None:
    tables = versions_of([[node("a")], [node("a"), node("b")]])
    assert tables[2].apply(tables[1].delta(0)) is tables[2]


def test_a_delta_holds_only_what_changed() -> None:
    tables = versions_of([[node(f"n{i}") for i in range(4)], [node(f"n{i}") for i in range(5)]])
    changed = sum(run[1] for run in tables[2].delta(1).runs)
    assert changed == tables[2].slots_of("n4:a") + sum(
        GROUP_SLOTS for a, b in zip(owners(tables[1]), owners(tables[2]), strict=True) if a != b and b != "n4:a"
    )
    assert tables[2].delta(2).runs == []


@pytest.mark.parametrize(
    "run", [(-1, 1, 0, 1), (0, -1, 0, 1), (SLOTS - 1, 2, 0, 1), (0, 1, 1, 1), (0, 1, -1, 1), (0, 1, 0, 2), (0, 1, 0, -1)]
)
def test_a_delta_out_of_range_is_refused(run: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError):
        Table.empty().apply(Delta(0, 1, [node("a")], [run]))


@given(st.binary(max_size=200))
def test_garbage_is_not_a_delta(data: bytes) -> None:
    with suppress(ValueError):
        Table.empty().apply(decode_delta(data))


def test_groups_are_never_split() -> None:
    table = assign(Table.empty(), [node(f"n{i}") for i in range(7)], 1)
    assert all(first % GROUP_SLOTS == 0 and count % GROUP_SLOTS == 0 for first, count, _, _ in table.runs())
    assert len(build(table, table.members, owners(table), 2).runs()) == len(table.runs()) <= GROUPS
