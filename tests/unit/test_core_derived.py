"""Member rows that follow from entries: each says what held at its own entry, whatever was asked for since."""

from __future__ import annotations

from homing.ids import group_id

from node.core.frames import GroupChange
from storage.store import EntryRow, LoadLog, LogLoaded, MemberRow
from tests.unit.core_rig import ALICE, BOB, CAROL, Rig

GROUP = group_id(b"0123456789abcdef")
EDGE = "node-3:edge"


def change(kind: str, id_: str, **what: object) -> GroupChange:
    return GroupChange(GROUP, ALICE, 7, id_, kind, **what)  # type: ignore[arg-type]


def test_a_row_does_not_say_what_follows_from_an_entry_that_is_not_said_yet() -> None:
    rig = Rig()
    cv = rig.open_conversation(GROUP)
    cv.on_frame(change("group.create", "g1", members=(BOB,), title="T"), EDGE)
    rig.settle()
    cv.on_frame(change("group.add", "g2", members=(CAROL,)), EDGE)
    cv.on_frame(change("group.remove", "g3", members=(CAROL,)), EDGE)
    second = next(write for write in rig.writes if isinstance(write[0], EntryRow) and write[0].seq == 3)
    rig.writes.remove(second)
    rig.settle()  # the home dies now: g3 never lands
    assert cv.head == 2
    loaded = rig.store.read(LoadLog(GROUP))
    assert isinstance(loaded, LogLoaded)
    assert next(row for row in loaded.members if row.user == CAROL) == MemberRow(GROUP, CAROL, 2, "member", 2, 0, "T")
    successor = rig.open_conversation(GROUP, 2)
    assert successor.roster.may_write(CAROL)
