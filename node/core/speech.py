"""How a conversation says entries: to the homes of its members, until each has them in hand, then to the sender (``design.md`` §3).

Laws:
    * An entry is ``unsettled`` until the home of every other member, the *current* one, has it in hand: a death or a move re-addresses it,
      it never excuses (P2).
    * ``sent`` leaves in seq order, and only for settled entries. Until then the sender's own devices may get later entries of others
      first: a client keeps them back for the moment that this takes.
    * To a peer whose window is full only the head goes, when there is room again (P7).
    * A delivery that was refused, because it was old or met the wrong home, is said again, the index law included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from node.core.frames import Deliver, DeliverHead, DeliverRefused, EchoSent
from node.core.services import NOBODY
from storage.store import EntryRow

if TYPE_CHECKING:
    from node.core.conversation import Conversation, Requester

Attempt: TypeAlias = tuple[int, int]
"""Seq and the number of the attempt: an acknowledgement counts for that attempt only."""


class Unsettled(Struct):
    """A said entry that some home has not in hand yet."""

    row: EntryRow
    requests: list[Requester]
    need: dict[str, int]
    """Incarnation → the attempt that it has to acknowledge; 0: refused, to be said again when the index law allows."""
    said_at: dict[str, int] = {}
    """Incarnation → cluster time, ms, of that attempt."""


class Speech:
    """What one conversation has said and who has it in hand."""

    __slots__ = (
        "attempt", "cv", "echoing", "opened_at", "others", "place", "placed_for", "placed_from", "plain_from", "repeats", "routes",
        "unsettled",
    )  # fmt: skip

    def __init__(self, conversation: Conversation) -> None:
        self.cv = conversation
        self.unsettled: dict[int, Unsettled] = {}
        self.repeats: dict[int, Unsettled] = {}
        """Entries from before this activation that are said again because somebody asked again."""
        self.echoing: dict[int, Unsettled] = {}
        """Settled; the sender's home has not acknowledged yet."""
        self.opened_at = 0
        """The head at activation: entries above it were said here."""
        self.attempt = 0
        self.place: dict[str, str] = {}
        """Where each member was at home when the routes were made."""
        self.routes: dict[str, tuple[str, ...]] = {}
        self.placed_for = (-1, -1)
        self.placed_from = 0
        """Whoever may see an entry from this seq on is in the routes."""
        self.plain_from = 0
        """From this seq on everybody in the routes who is still a member sees every entry, and nobody else does."""
        self.others: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        """Sender → the routes without him, for entries from ``plain_from`` on."""

    # -------------------------------------------------------------- saying

    def say(self, row: EntryRow, requests: list[Requester]) -> None:
        """Delivers the entry to every home of other members; the caller has seen to P1 and the index law."""
        entry = Unsettled(row, requests, {})
        self.unsettled[row.seq] = entry
        self._address(entry)
        self.settle()

    def _address(self, entry: Unsettled) -> None:
        row = entry.row
        routes = self._routes()
        if row.seq < self.plain_from:
            for home, users in routes.items():
                others = self._audience(row, users)
                if others:
                    self._deliver(entry, home, others)
            return
        others_of = self.others.get(row.sender)
        if others_of is None:
            stays = self.cv.roster.may_write
            found = [(home, tuple([user for user in users if user != row.sender and stays(user)])) for home, users in routes.items()]
            others_of = self.others[row.sender] = [(home, users) for home, users in found if users]
        for home, users in others_of:
            self._deliver(entry, home, users)

    def _routes(self) -> dict[str, tuple[str, ...]]:
        """Home → members, and those who have left but may see something that is under way; made anew when the table or the roster has
        changed, or something older is said again."""
        cv = self.cv
        key = (cv.sv.epoch, cv.roster.changed)
        oldest = next(iter(self.unsettled), cv.head)
        if self.repeats:
            oldest = min(oldest, *self.repeats)
        if self.placed_for != key or oldest < self.placed_from:
            self.placed_for, self.placed_from = key, oldest
            members = cv.roster.by_user.items()
            self.place = {user: cv.sv.owner_of(user) for user, m in members if not m.until_seq or m.until_seq > oldest}
            homes: dict[str, list[str]] = {}
            for user, home in self.place.items():
                homes.setdefault(home, []).append(user)
            self.routes = {home: tuple(users) for home, users in homes.items()}
            self.plain_from = max((m.from_seq if not m.until_seq else m.until_seq for _, m in members), default=0)
            self.others = {}
        return self.routes

    def _audience(self, row: EntryRow, users: tuple[str, ...]) -> tuple[str, ...]:
        sees = self.cv.roster.sees
        return tuple([user for user in users if user != row.sender and sees(user, row.seq)])

    def _deliver(self, entry: Unsettled, home: str, users: tuple[str, ...]) -> None:
        row = entry.row
        self.attempt += 1
        entry.need[home] = self.attempt
        if home == NOBODY:
            return
        entry.said_at[home] = now = self.cv.sv.time_ms()
        frame = Deliver(row, now, self.cv.roster.version, self._named(users))
        if not self.cv.sv.send_tracked(home, frame, self._on_in_hand, (row.seq, self.attempt)):
            self.cv.sv.send_when_open(home, self.cv.id, self._catch_up)

    def _named(self, users: tuple[str, ...]) -> tuple[str, ...] | None:
        """Small rosters ride along; for large ones the node keeps its part. A moved few are always named."""
        return users if len(users) <= self.cv.sv.limits.roster_inline_max else None

    def _catch_up(self, home: str) -> None:
        """There is room at a peer that was full: it gets the head, once for all entries that it lacks."""
        behind = [e for e in (*self.unsettled.values(), *self.repeats.values()) if home in e.need]
        if not behind:
            return
        self.attempt += 1
        now = self.cv.sv.time_ms()
        for entry in behind:
            entry.need[home], entry.said_at[home] = self.attempt, now
        users = self._routes().get(home, ())
        head = max(self.cv.head, max(e.row.seq for e in behind))
        version, by_user = self.cv.roster.version, self.cv.roster.by_user
        stay = tuple([user for user in users if not by_user[user].until_seq])
        for user in users:
            until = by_user[user].until_seq
            if until:  # as far as he may see (P8); what is sent before the tracked frame is in hand before it
                self.cv.sv.send(home, DeliverHead(self.cv.id, min(head, until - 1), now, version, (user,)))
        frame = DeliverHead(self.cv.id, head, now, version, self._named(stay))
        if not self.cv.sv.send_tracked(home, frame, self._on_head_in_hand, (head, self.attempt)):
            self.cv.sv.send_when_open(home, self.cv.id, self._catch_up)

    # -------------------------------------------------------------- in hand

    def _on_in_hand(self, home: str, what: Attempt) -> None:
        seq, attempt = what
        for entries in (self.unsettled, self.repeats):
            entry = entries.get(seq)
            if entry is not None and entry.need.get(home) == attempt:
                del entry.need[home]
        self.settle()

    def _on_head_in_hand(self, home: str, what: Attempt) -> None:
        seq, attempt = what
        for entry in (*self.unsettled.values(), *self.repeats.values()):
            if entry.row.seq <= seq and entry.need.get(home) == attempt:
                del entry.need[home]
        self.settle()

    def settle(self) -> None:
        """Sends ``sent`` for what every home has in hand: in seq order, repeats apart."""
        waits = self.cv.sv.rules.in_hand
        while self.unsettled:
            seq = next(iter(self.unsettled))
            if waits and self.unsettled[seq].need:
                break
            self._echo(self.unsettled.pop(seq))
        for seq in [seq for seq, entry in self.repeats.items() if not (waits and entry.need)]:
            self._echo(self.repeats.pop(seq))

    def _echo(self, entry: Unsettled) -> None:
        row = entry.row
        home = self.cv.sv.owner_of(row.sender)
        self.attempt += 1
        entry.need = {home: self.attempt}
        before = self.echoing.get(row.seq)
        if before is not None and before is not entry:
            entry.requests = [*before.requests, *(r for r in entry.requests if r not in before.requests)]
        self.echoing[row.seq] = entry
        if home == NOBODY:
            return
        frame = EchoSent(row, self.cv.sv.time_ms(), tuple(entry.requests))
        if not self.cv.sv.send_tracked(home, frame, self._on_echoed, (row.seq, self.attempt)):
            self.cv.sv.send_when_open(home, f"{self.cv.id}.{row.seq}", lambda _: self._echo_again(row.seq))

    def _on_echoed(self, home: str, what: Attempt) -> None:
        seq, attempt = what
        entry = self.echoing.get(seq)
        if entry is not None and entry.need.get(home) == attempt:
            del self.echoing[seq]

    def _echo_again(self, seq: int) -> None:
        if seq in self.echoing:
            self.cv.index.when_allowed(lambda: self._echo(self.echoing[seq]) if seq in self.echoing else None)

    def under_way(self) -> int:
        """Said entries that somebody has not in hand."""
        return len(self.unsettled) + len(self.repeats) + len(self.echoing)

    def is_at_rest(self) -> bool:
        return not self.unsettled and not self.repeats and not self.echoing

    def clear(self) -> None:
        """The actor is closed: whoever waits asks the new home."""
        for entries in (self.unsettled, self.repeats, self.echoing):
            entries.clear()

    # -------------------------------------------------------------- again

    def repeat(self, seq: int, request: Requester) -> None:
        """Somebody asked again for an entry that is said: the same answer, once everybody has it (P4)."""
        entry = self.unsettled.get(seq) or self.repeats.get(seq)
        if entry is not None:
            if request not in entry.requests:
                entry.requests.append(request)
        else:
            self.cv.pages.with_body(seq, lambda row: self._say_again(row, request))

    def _say_again(self, row: EntryRow, request: Requester) -> None:
        entry = self.unsettled.get(row.seq) or self.repeats.get(row.seq)
        if entry is not None:
            entry.requests.append(request)
            return
        self.cv.index.when_allowed(lambda: self._repeat_now(row, request))

    def _repeat_now(self, row: EntryRow, request: Requester) -> None:
        entry = Unsettled(row, [request], {})
        if row.seq > self.opened_at:
            return self._echo(entry)
        if row.seq in self.repeats:
            self.repeats[row.seq].requests.append(request)
            return
        self.repeats[row.seq] = entry
        self._address(entry)
        self.settle()

    def on_refused(self, frame: DeliverRefused, source: str) -> None:
        """A delivery was not taken: what that home lacks is said again, to whoever is the home now."""
        if frame.seq in self.echoing and source in self.echoing[frame.seq].need:
            self.echoing[frame.seq].need = {source: 0}
            self._echo_again(frame.seq)
        # What was said again since is not meant: else each of many refusals would say all of them again, and each of those be refused.
        until = frame.said_at or self.cv.sv.time_ms()
        under_way = (*self.unsettled.values(), *self.repeats.values())
        refused = [e for e in under_way if e.row.seq <= frame.seq and e.need.get(source) and e.said_at[source] <= until]
        for entry in refused:
            entry.need[source] = 0
        if refused:
            self.cv.index.when_allowed(lambda: self._readdress(refused, source))

    def _readdress(self, entries: list[Unsettled], home: str) -> None:
        """Delivers again what ``home`` was to take; users who are at home elsewhere by now get it there."""
        for entry in entries:
            if home not in entry.need or (entry.row.seq not in self.unsettled and entry.row.seq not in self.repeats):
                continue
            del entry.need[home]
            users = self._audience(entry.row, self._routes().get(home, ()))
            if users:
                self._deliver(entry, home, users)
        self.settle()

    def on_table(self) -> None:
        """The table has changed: entries on their way to members whose home moved go to the new one."""
        before = dict(self.place)
        if not before:
            return
        after_routes = self._routes()
        moved: dict[str, list[str]] = {}
        for user, home in self.place.items():
            if before.get(user, home) != home:
                moved.setdefault(home, []).append(user)
        gone = set(before.values()) - set(after_routes)
        if (moved or gone) and self.cv.sv.rules.readdress:
            self.cv.index.when_allowed(lambda: self._move({h: tuple(u) for h, u in moved.items()}, gone))
        elif gone:
            self._move({}, gone)
        for seq, entry in list(self.echoing.items()):
            if self.cv.sv.owner_of(entry.row.sender) not in entry.need:
                self._echo_again(seq)

    def _move(self, moved: dict[str, tuple[str, ...]], gone: set[str]) -> None:
        for entry in (*self.unsettled.values(), *self.repeats.values()):
            for home, users in moved.items():
                others = self._audience(entry.row, users)
                if others:
                    self._deliver(entry, home, others)
            for home in gone:
                entry.need.pop(home, None)
        self.settle()
