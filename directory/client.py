"""A process's side of the directory: its lease, its table, cluster time, and what the directory asks of it. Without I/O.

Owns the renewals and what follows from their answers. Must not know the mesh, the store or what a slot holds: frames go out as pairs
(incarnation of a directory, frame), and the owner of this object feeds in what the mesh says.

Laws:
    * ``lease_until`` counts from when a renewal was *sent*, on the own monotonic clock: no message under way can make it too long.
    * Whoever has lost (``lost``) stays lost: the process comes back as a new incarnation.
    * The table only gets newer.
    * A batch that a directory asked for and that died with it is taken back once another directory leads.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from msgspec import Struct

from directory.clock import ClusterClock
from directory.config import DirectoryConfig
from directory.frames import Expelled, GoodBye, MoveOff, Publish, Release, Released, Renew, Renewed
from directory.moves import term_of
from directory.table import Delta, Member, Table

SENT_MAX = 64
"""Renewals whose answers are waited for: half a minute of them."""


class TableChanged(Struct, frozen=True):
    old: Table
    new: Table


class Lost(Struct, frozen=True):
    """This incarnation is out of the cluster, or must assume so: answer nothing more, close the sessions, come back as a new one."""

    reason: str


class ReleaseAsked(Struct, frozen=True):
    """Freeze these slots, bring them to rest, then call ``released``; do nothing for them until the table or MoveTakenBack says whose
    they are. Asked again with the same number: the answer was lost."""

    move: int
    runs: list[tuple[int, int]]
    to: str


class MoveTakenBack(Struct, frozen=True):
    """Those slots of the batch that the table still gives to this process are in use again."""

    move: int
    runs: list[tuple[int, int]]


ClientEvent: TypeAlias = TableChanged | Lost | ReleaseAsked | MoveTakenBack
ToDirectory: TypeAlias = tuple[str, Renew | GoodBye | Released]


class DirectoryClient:
    """See the module's docstring.

    Args:
        member: this process.
        config: the section ``directory``, the same in all processes of the cluster.
        guess_ms: cluster time until the directory has said it, for instance the wall clock.
        now: the monotonic clock.
    """

    def __init__(self, member: Member, config: DirectoryConfig, guess_ms: int, now: float) -> None:
        if problems := config.problems():
            raise ValueError("; ".join(problems))
        self.member = member
        self.config = config
        self.table = Table.empty()
        self.clock = ClusterClock(guess_ms, now)
        self.lease_until = 0.0
        """Until when this process may act for its slots; 0 before the first answer."""
        self.joined = False
        """Whether it has seen itself in a table."""
        self.lost = ""
        """Why it is out of the cluster; "" while it is not."""
        self.leader = ""
        """The directory that answered last."""
        self.storage_ok, self.ready, self.sessions = True, False, 0
        self._names = frozenset(config.endpoints())
        self._directories: dict[str, None] = {}
        self._n = 0
        self._sent: OrderedDict[int, float] = OrderedDict()
        self._renew_at = now
        self._answered_at = now
        self._looked_at = now
        self._moves: dict[int, tuple[str, list[tuple[int, int]]]] = {}
        self._at_rest: set[int] = set()
        self._left = False

    # ------------------------------------------------------------ what the owner says

    def set_health(self, storage_ok: bool, ready: bool, sessions: int, now: float) -> None:
        """What the renewals tell. A change of the first two is told at once."""
        if (storage_ok, ready) != (self.storage_ok, self.ready):
            self._renew_at = now
        self.storage_ok, self.ready, self.sessions = storage_ok, ready, sessions

    def on_peer_up(self, name: str, incarnation: str, now: float) -> bool:
        """A link is up; says whether it is to a directory. Its first renewal goes at once."""
        if name not in self._names:
            return False
        self._directories[incarnation] = None
        self._renew_at = now
        return True

    def on_peer_down(self, incarnation: str) -> None:
        self._directories.pop(incarnation, None)

    def good_bye(self) -> list[ToDirectory]:
        """The actors are at rest and the process ends: the frames that say so. No renewal follows."""
        self._left = True
        return [(d, GoodBye(self.member.incarnation)) for d in self._directories]

    def released(self, move: int) -> list[ToDirectory]:
        """The slots of ``move`` are at rest: the frame that says so. Each renewal says it again until the outcome is known, so that
        neither a lost frame nor a directory that died can leave them frozen."""
        if move not in self._moves:
            return []
        self._at_rest.add(move)
        return [(d, Released(move)) for d in self._directories]

    def on_cell_seen(self, listed: bool, asked_at: float) -> list[ClientEvent]:
        """What a look at the cell row showed, asked at ``asked_at``: being listed is as good as a renewal."""
        if not self.joined or self.lost:
            return []
        if not listed:
            return self._lose("not in the cell row")
        self.lease_until = max(self.lease_until, asked_at + self.config.lease_s)
        return []

    # ------------------------------------------------------------ time

    def tick(self, now: float) -> list[ToDirectory]:
        """The renewals that are due. Every directory gets them, only the one that leads answers."""
        if now < self._renew_at or self.lost or self._left:
            return []
        self._renew_at = now + self.config.renew_s
        if not self._directories:
            return []
        self._n += 1
        self._sent[self._n] = now
        if len(self._sent) > SENT_MAX:
            self._sent.popitem(last=False)
        renew = Renew(self._n, self.member, self.table.epoch, self.storage_ok, self.sessions, self.ready, self.joined)
        self._at_rest &= self._moves.keys()
        frames: list[Renew | Released] = [renew, *(Released(move) for move in sorted(self._at_rest))]
        return [(directory, frame) for directory in self._directories for frame in frames]

    def check_lease(self, now: float) -> list[ClientEvent]:
        """To be called before anything is answered after a pause, and at ``next_deadline``: whether the lease has run out."""
        return self._lose("lease over") if self.joined and not self.lost and now >= self.lease_until else []

    def wants_cell_look(self, now: float) -> bool:
        """Whether to look at the cell row now, because no directory has answered two renewals. True counts as looked."""
        quiet = now - self._answered_at >= 2 * self.config.renew_s
        if not quiet or not self.joined or self.lost or now - self._looked_at < self.config.cell_look_s:
            return False
        self._looked_at = now
        return True

    def time_ms(self, now: float) -> int:
        """Cluster time; a guess until ``clock.known``."""
        return self.clock.time_ms(now)

    def next_deadline(self) -> float | None:
        """When to call ``tick``, ``check_lease`` and ``wants_cell_look`` at the latest. None: it is over."""
        if self.lost or self._left:
            return None
        return min(self._renew_at, self.lease_until) if self.joined else self._renew_at

    # ------------------------------------------------------------ what the mesh says

    def on_frame(self, directory: str, frame: Renewed | Publish | Expelled | Release | MoveOff, now: float) -> list[ClientEvent]:
        """A frame of the directory's incarnation ``directory``. Frames of anybody else are dropped."""
        if directory not in self._directories or self.lost:
            return []
        match frame:
            case Renewed():
                return self._on_renewed(directory, frame, now)
            case Publish():
                return self.on_delta(frame.delta)
            case Expelled():
                return self._lose("expelled") if frame.incarnation == self.member.incarnation else []
            case Release():
                self._moves[frame.move] = (directory, frame.runs)
                return [ReleaseAsked(frame.move, frame.runs, frame.to)]
            case MoveOff():
                return self._take_back(frame.move)

    def on_delta(self, delta: Delta) -> list[ClientEvent]:
        """A table, from the directory or from any peer that had a newer one. An unusable one changes nothing.

        Raises:
            ValueError: it cannot be applied.
        """
        new = self.table.apply(delta)
        if new is self.table or self.lost:
            return []
        old, self.table = self.table, new
        events: list[ClientEvent] = [TableChanged(old, new)]
        if self.member.incarnation in new.by_incarnation:
            self.joined = True
            for move, (_, runs) in list(self._moves.items()):
                if all(new.owner(first) != self.member.incarnation for first, _ in runs):
                    del self._moves[move]
        elif self.joined:
            events += self._lose("not in the table")
        return events

    def _on_renewed(self, directory: str, frame: Renewed, now: float) -> list[ClientEvent]:
        sent_at = self._sent.pop(frame.n, None)
        if sent_at is None:
            return []
        self.clock.sample(sent_at, frame.time, now)
        self.lease_until = max(self.lease_until, sent_at + self.config.lease_s)
        self._answered_at = now
        self.leader = directory
        # With the table in hand at which this directory took over, a batch of a former one that is still here was not moved, and will
        # not be.
        if not 0 < frame.since <= self.table.epoch:
            return []
        stale = [move for move, (asker, _) in self._moves.items() if asker != directory and term_of(move) < frame.since]
        return [event for move in stale for event in self._take_back(move)]

    def _take_back(self, move: int) -> list[ClientEvent]:
        asked = self._moves.pop(move, None)
        return [] if asked is None else [MoveTakenBack(move, asked[1])]

    def _lose(self, reason: str) -> list[ClientEvent]:
        self.lost = reason
        self._moves.clear()
        return [Lost(reason)]
