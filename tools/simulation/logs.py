"""What the replicas' rows say in the end: the log of a conversation, and who belonged to it when. Told from the rows alone.

Membership is worked out here anew, from the entries, so that a mistake in the node's roster does not excuse itself.
"""

from __future__ import annotations

import json

from homing import ids
from msgspec import Struct

from node.core import log
from storage.store import EntryRow, LogRow
from tools.simulation.store import SimStore


def terms_of(store: SimStore, conversation: str, highest_wins: bool) -> log.Terms:
    """Which term counts where. ``highest_wins``: the rule ``log-row`` is taken out, then the highest term counts at each seq."""
    if highest_wins:
        found: dict[int, int] = {}
        for key in store.merged(("log_entries", conversation)):
            seq, term = int(key[2]), int(key[3])
            found[seq] = max(found.get(seq, 0), term)
        return tuple((term, seq) for seq, term in sorted(found.items()))
    row = store.merged(("logs", conversation)).get(("logs", conversation))
    return row.terms if isinstance(row, LogRow) else ()


def final_log(store: SimStore, conversation: str, highest_wins: bool = False) -> list[EntryRow]:
    """The entries that count, from the first seq on, as far as there is no gap."""
    merged = store.merged(("log_entries", conversation))
    rows = [merged[key] for key in sorted(merged)]
    found = log.counting([row for row in rows if isinstance(row, EntryRow)], terms_of(store, conversation, highest_wins))
    return log.unbroken(found) if found and found[0].seq == 1 else []


class Interval(Struct):
    """One membership: first seq seen, first seq not seen any more (0: still a member)."""

    first: int
    until: int = 0


class Belonging:
    """Who may see what, by the entries of one conversation."""

    def __init__(self, conversation: str, entries: list[EntryRow], users: list[str]) -> None:
        self.intervals: dict[str, list[Interval]] = {}
        if ids.kind_of(conversation) == ids.DIRECT:
            for a in users:
                if any(a != b and ids.direct_id(a, b) == conversation for b in users):
                    self.intervals[a] = [Interval(1)]
            return
        for row in entries:
            if row.type.startswith("group."):
                self._apply(row)

    def _apply(self, row: EntryRow) -> None:
        members = json.loads(row.body).get("members", ())
        match row.type:
            case "group.create":
                for user in (row.sender, *members):
                    self.intervals[user] = [Interval(row.seq)]
            case "group.add":
                for user in members:
                    if not self.is_member(user):
                        self.intervals.setdefault(user, []).append(Interval(row.seq))
            case "group.remove" | "group.leave":
                for user in members:
                    if self.is_member(user):
                        self.intervals[user][-1].until = row.seq + 1

    def is_member(self, user: str) -> bool:
        return user in self.intervals and not self.intervals[user][-1].until

    def sees(self, user: str, seq: int) -> bool:
        return any(i.first <= seq and (not i.until or seq < i.until) for i in self.intervals.get(user, ()))

    def latest(self, user: str) -> Interval | None:
        """The latest membership: what a home shows him."""
        return self.intervals[user][-1] if user in self.intervals else None

    def users(self) -> list[str]:
        return list(self.intervals)
