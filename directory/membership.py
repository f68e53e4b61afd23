"""Who is in the cluster and who owns what: the directory's core, without I/O (``design.md`` §5).

Owns the next table, and the order of steps in which it becomes valid; the roll (``roll.py``) judges who lives. Must not know sockets, the
database or the store: it answers events with effects (``events.py``), and the outcome of an effect comes back as an event.

A change takes three steps, one change at a time: **commit** the row (compare-and-set on the epoch), write the **cell row** and see it
stored, **publish** the table. What happens meanwhile is part of the next change.

Laws:
    * A table is published only after a cell row of its epoch or a later one is stored. So whoever lost slots by it is out of the cell row,
      or has released them.
    * An epoch is published by one directory only: who committed it.
    * Slots of a live node change their owner only after that node released them.
"""

from __future__ import annotations

from itertools import compress
from operator import ne

from directory import slots
from directory.clock import DirectoryClock
from directory.config import DirectoryConfig
from directory.events import (
    Beat,
    Beaten,
    CellStored,
    CellUnknown,
    CommitRefused,
    CommitTable,
    Committed,
    Disconnected,
    Effect,
    Event,
    Forget,
    LoadRow,
    MemberFrame,
    Note,
    PublishTable,
    Row,
    RowFailed,
    RowLoaded,
    SendTo,
    Start,
    TableSeen,
    WriteCell,
    live_of,
)
from directory.frames import Expelled, GoodBye, MoveOff, Release, Released, Renew, Renewed
from directory.moves import Moves, term_of
from directory.roll import Alive, Roll, is_believed
from directory.table import NOBODY, Member, Table


class MembershipCore:
    """One directory.

    Args:
        me: this process, as other members will see it.
        config: leases and bounds.
    """

    def __init__(self, me: Member, config: DirectoryConfig) -> None:
        if problems := config.problems():
            raise ValueError("; ".join(problems))
        self.me = me
        self.config = config
        self.clock = DirectoryClock()
        self.published = Table.empty()
        """The newest table that somebody published, as far as known here."""
        self.row: Row | None = None
        self.roll = Roll(config)
        self.moves = Moves(config)
        self._effects: list[Effect] = []
        self._busy = ""
        """What the database is doing for this core: load, commit, or nothing."""
        self._writing_cell = False
        self._pending: Row | None = None
        self._pending_moves: frozenset[int] = frozenset()
        """Batches that a commit in flight, or one of unknown outcome, may have moved: they are not taken back."""
        self._limbo_epoch = 0
        """The epoch of a commit of unknown outcome. It may land until the row has this epoch or a later one."""
        self._after_publish: list[SendTo] = []
        self._calm_at = 0.0
        """After a take-over nobody is asked for slots before everybody has had the time to renew."""
        self._forced = False
        """The next change is due even if nobody came or went: a take-over, or an epoch that must be passed."""
        self._changed = False
        self._rebalance = False
        self._reload = False
        self._wait_until = 0.0
        self._cell_epoch = -1
        self._epoch_floor = 0
        self._settle_from: float | None = None
        self._last_now: float | None = None
        self._poll_at = 0.0
        self._beat_at = 0.0
        self._beat_ok_at = 0.0
        self._beat_seen: tuple[str, int, int] = ("", -1, -1)
        self._beat_seen_at = 0.0

    # ------------------------------------------------------------ what others may ask

    @property
    def leading(self) -> bool:
        return self.row is not None and self.row.leader == self.me.incarnation

    @property
    def settled(self) -> bool:
        """Whether what is known is published: nothing is in flight or due."""
        return (
            self.leading
            and self.row is not None
            and self.row.epoch == self.published.epoch
            and not (self._busy or self._writing_cell or self._changed or self._forced or self._reload or len(self.moves))
        )

    def workers(self) -> list[Member]:
        """The storage workers to write the cell row through: those that renew, or else those of the last table."""
        here = [a.member for a in self.roll.alive.values() if a.member.role == "storage"]
        return here or self.published.role("storage")

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Takes one event in; the effects are to be carried out in their order."""
        self._last_now = now
        if gap_s := self.roll.grant_lost_time(now):
            self._note("stood_still", gap_s=round(gap_s, 3))
        self._on(event, now)
        if self.leading and self.roll.due(now):
            self._judge(now)
        self._advance(now)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When to hand in a ``Tick`` at the latest."""
        if self._last_now is None:
            return None
        # Ticks come at least once per renewal interval, for the absence of ticks is how this process notices that it stood still.
        times = [self._last_now + self.config.renew_s]
        if self.leading:
            times.append(self.roll.next_deadline())
        if self._wait_until > self._last_now:
            times.append(self._wait_until)
        elif self.leading and not self._busy:
            times.append(self._beat_at)
            if (moves := self.moves.next_deadline(self._pending_moves)) is not None:
                times.append(moves)
            if self._settle_from is not None:
                times.append(self._settle_from + self.config.settle_s)
        # A deadline that is overdue because it waits for something else must not make its owner spin.
        return max(min(times), self._last_now + 0.001)

    # ------------------------------------------------------------ events

    def _on(self, event: Event, now: float) -> None:
        match event:
            case MemberFrame():
                self._on_member(event.incarnation, event.frame, now)
            case Disconnected():
                self.roll.disconnected(event.incarnation, now)
            case TableSeen():
                self._on_table_seen(event, now)
            case RowLoaded():
                self._on_row(event, now)
            case Committed():
                self._on_committed(event.epoch, now)
            case CommitRefused():
                self._busy, self._reload = "", True
                self._note("commit_refused", epoch=self._pending.epoch if self._pending else 0)
            case RowFailed():
                self._on_row_failed(event, now)
            case Beaten():
                self._on_beaten(event)
            case CellStored():
                self._on_cell(event)
            case CellUnknown():
                self._writing_cell, self._wait_until = False, now + self.config.retry_s
                self._note("cell_unknown", reason=event.reason, epoch=event.epoch)
            case Start():
                self._reload = True

    def _on_member(self, incarnation: str, frame: Renew | GoodBye | Released, now: float) -> None:
        match frame:
            case GoodBye():
                self._take_out(incarnation, "good-bye", now)
            case _ if not self._may_answer(now):
                return  # Who is not heard now is heard again within a renewal interval.
            case Renew() if is_believed(frame, incarnation, self.me, self.published.epoch):
                self._on_renew(frame, now)
            case Released():
                if self.moves.released(frame.move, incarnation):
                    self._changed = True
                elif term_of(frame.move) <= self.moves.term:
                    self._give_back(incarnation, frame.move)

    def _on_renew(self, frame: Renew, now: float) -> None:
        incarnation = frame.member.incarnation
        if incarnation not in self.roll.alive and not self._join(frame, now):
            return
        if self.roll.renew(frame, now):
            self._changed = self._rebalance = True
        self._epoch_floor = max(self._epoch_floor, frame.epoch)
        self._send(incarnation, Renewed(frame.n, self.clock.time_ms(now), self.published.epoch, self.moves.term))

    def _join(self, frame: Renew, now: float) -> bool:
        member = frame.member
        if member.incarnation in self.roll.gone or frame.joined:
            self._send(member.incarnation, Expelled(member.incarnation))
            return False
        if len(self.roll.alive) >= self.config.members_max:
            self._note("cluster_full", member=member.incarnation, members=len(self.roll.alive))
            return False
        for older in self.roll.named(member.name):
            self._take_out(older, "superseded", now)
        self.roll.join(member, self.clock.time_ms(now), now)
        self._changed = self._rebalance = True
        if member.role == "storage":
            self._wait_until = 0.0  # Perhaps this is what the cell row waits for.
        self._note("joined", member=member.incarnation, role=member.role)
        return True

    def _on_table_seen(self, event: TableSeen, now: float) -> None:
        try:
            self.published = self.published.apply(event.delta)
        except ValueError as error:
            self._note("table_unusable", reason=str(error))
            return
        self._epoch_floor = max(self._epoch_floor, self.published.epoch)
        if self.leading and self.row is not None and self._epoch_floor > self.row.epoch:
            self._reload = True  # Another replica published it, or the database lost what it had: look, then pass that epoch.

    # ------------------------------------------------------------ the row, leadership

    def _on_row(self, event: RowLoaded, now: float) -> None:
        self._busy, self._pending = "", None
        row = event.row or Row(0, Table.empty())
        was_leading = self.leading
        self.clock.start(row.cluster_time, event.wall_ms, now)
        if (seen := (row.leader, row.beat, row.epoch)) != self._beat_seen:
            self._beat_seen, self._beat_seen_at = seen, now
        before, self.row = self.row, row
        if row.epoch >= self._limbo_epoch:
            self._limbo_epoch, self._pending_moves = 0, frozenset()
        else:
            self._forced = True  # The next commit takes the epoch that the lost one expects: then it cannot land any more.
        if self.leading:
            self._changed = self._rebalance = True
            if before is None or before.epoch != row.epoch:
                self._finish_moves(now)
        elif self._may_take(row, now):
            self._take_over(row, now)
        else:
            self._follow(was_leading, now)

    def _on_row_failed(self, event: RowFailed, now: float) -> None:
        if self._pending is not None and event.may_land:
            self._limbo_epoch = self._pending.epoch
        self._busy, self._reload, self._wait_until = "", True, now + self.config.retry_s
        self._note("row_unreachable", reason=event.reason)

    def _may_take(self, row: Row, now: float) -> bool:
        leader = row.leader.rsplit(":", 1)[0]
        return self.config.replicas == 1 or leader in ("", self.me.name) or now - self._beat_seen_at >= self.config.leader_lease_s

    def _take_over(self, row: Row, now: float) -> None:
        """Everybody whom the row knows has a fresh lease to renew; the take-over itself is a change of the row."""
        if not self._forced:
            self._note("taking_over", epoch=row.epoch, leader=row.leader)
        self._forced = self._changed = self._rebalance = True
        known = (m for m in row.table.members if m.role != "directory")
        # Whoever has slots counts as ready until he is heard.
        here = (Alive(m, now, row.joined.get(m.incarnation, 0), ready=row.table.slots_of(m.incarnation) > 0) for m in known)
        self.roll.restore(here, now)
        self._settle_from = None
        self._after_publish.clear()

    def _follow(self, was_leading: bool, now: float) -> None:
        if was_leading:
            self._note("stepped_down", leader=self._beat_seen[0])
        self.roll.restore([], now)
        self._forced = False
        self.moves.begin_term(0)
        self._after_publish.clear()
        self._poll_at = now + min(self.config.beat_s, self.config.leader_lease_s / 3)

    def _on_committed(self, epoch: int, now: float) -> None:
        pending = self._pending
        if pending is None or pending.epoch != epoch:
            return
        took_over = not self.leading
        self._busy, self._pending, self.row, self._forced, self._limbo_epoch = "", None, pending, False, 0
        self._beat_seen, self._beat_seen_at = (pending.leader, pending.beat, epoch), now
        self._beat_ok_at, self._beat_at = now, now + self._beat_interval()
        if took_over:
            self.moves.begin_term(epoch)
            self._calm_at = now + self.config.lease_s
            self.roll.grant_lease(now)
        self._finish_moves(now)
        self._rebalance = True

    def _on_beaten(self, event: Beaten) -> None:
        if event.ok:
            self._beat_ok_at = max(self._beat_ok_at, event.asked_at)
        elif self.leading:
            self._reload = True

    def _beat_interval(self) -> float:
        return self.config.beat_s if self.config.replicas == 1 else min(self.config.beat_s, self.config.leader_lease_s / 3)

    def _may_answer(self, now: float) -> bool:
        """Whether this one leads as far as it can know. With several replicas a leader that could not beat the row for a lease, or hears
        of a table that it did not write, may have been replaced: it tells nobody anything."""
        if not self.leading or self.row is None or self.published.epoch > self.row.epoch:
            return False
        return self.config.replicas == 1 or now - self._beat_ok_at < self.config.leader_lease_s

    def _on_cell(self, event: CellStored) -> None:
        self._writing_cell = False
        self._cell_epoch = max(self._cell_epoch, event.epoch)
        if event.newest > event.epoch:
            # Another leader is ahead, or the database lost epochs that the store has seen: this one must not be published.
            self._epoch_floor = max(self._epoch_floor, event.newest)
            self._reload = True

    # ------------------------------------------------------------ who is alive

    def _judge(self, now: float) -> None:
        """Takes out who is silent, and who cannot even release what he cannot serve."""
        dead, cut_off = self.roll.judge(now)
        for incarnation, reason in dead:
            self._take_out(incarnation, reason, now)
        for incarnation in cut_off:
            self._changed = self._rebalance = True
            if self.row is not None and self.row.table.slots_of(incarnation) and self.roll.is_hopeless(incarnation, now):
                self._take_out(incarnation, "cannot reach storage", now)

    def _take_out(self, incarnation: str, reason: str, now: float) -> None:
        if not self.roll.remove(incarnation, reason, now):
            return
        self.moves.drop(incarnation)
        self._changed = self._rebalance = True
        self._note("taken_out", member=incarnation, reason=reason)
        if reason != "good-bye" and self._may_answer(now):
            self._send(incarnation, Expelled(incarnation))

    # ------------------------------------------------------------ the steps

    def _advance(self, now: float) -> None:
        self._effects += [Forget(incarnation, reason) for incarnation, reason in self.roll.forgettable(now)]
        if self._busy or now < self._wait_until:
            return
        if self._reload or (self.row is not None and not self.leading and not self._forced and now >= self._poll_at):
            self._reload, self._busy = False, "load"
            self._effects.append(LoadRow())
        elif self.leading:
            self._lead(now)
        elif self.row is not None and self._forced:
            self._commit(now)

    def _lead(self, now: float) -> None:
        assert self.row is not None
        self._take_back_late_moves(now)
        self._beat(now)
        if self._epoch_floor > self.row.epoch:
            self._forced = True
        elif self.row.epoch > self._cell_epoch:
            if not self._writing_cell:
                self._writing_cell = True
                self._effects.append(WriteCell(self.row.epoch, live_of(self.row.table)))
            return
        elif self.row.epoch > self.published.epoch:
            self.published = self.row.table
            self._effects += [PublishTable(self.published), *self._after_publish]
            self._after_publish.clear()
            self._note("published", epoch=self.published.epoch, members=len(self.published.members))
        if self._changed or self._forced or self._settle_due(now):
            self._commit(now)
        if not self._busy:
            self._ask_moves(now)

    def _commit(self, now: float) -> None:
        """Commits what should be, if it differs from what is."""
        assert self.row is not None
        self._changed = False
        members = self._members()
        owners = self._owners(now)
        if not self._forced and members == self.row.table.members and owners == slots.owners(self.row.table):
            self._finish_moves(now)
            return
        epoch = max(self.row.epoch, self._epoch_floor) + 1
        table = slots.build(self.row.table, members, owners, epoch)
        joined = {i: a.joined_ms for i, a in self.roll.alive.items()}
        row = Row(epoch, table, self.me.incarnation, self.row.beat + 1, self.clock.time_ms(now), joined)
        self._pending, self._busy = row, "commit"
        self._pending_moves |= {m.number for m in self.moves.at_rest()}
        self._effects.append(CommitTable(self.row.epoch, row))

    def _members(self) -> tuple[Member, ...]:
        """The live processes, those of the last table first and in its order: indexes move as little as possible."""
        assert self.row is not None
        here = {self.me.incarnation: self.me} | {i: a.member for i, a in self.roll.alive.items()}
        known = [m.incarnation for m in self.row.table.members if m.incarnation in here]
        return tuple(here[i] for i in dict.fromkeys([*known, *here]))

    def _homes(self, now: float) -> list[str]:
        """Per group who should own it; empty: nobody may be given any now."""
        fit = self.roll.fit(now)
        return slots.plan(fit) if self._is_settled(len(fit), now) else []

    def _is_settled(self, nodes: int, now: float) -> bool:
        """A new cluster waits a little, so that its first table has all of its nodes."""
        assert self.row is not None
        if any(run[2] != NOBODY for run in self.row.table.runs()):
            self._settle_from = None
            return True
        if not nodes:
            self._settle_from = None
            return False
        if self._settle_from is None:
            self._settle_from = now
        return 0 < self.config.expected_nodes <= nodes or now >= self._settle_from + self.config.settle_s

    def _settle_due(self, now: float) -> bool:
        return self._settle_from is not None and now >= self._settle_from + self.config.settle_s

    def _owners(self, now: float) -> list[str]:
        """Per group who owns it in the next table: live owners keep what they have not released."""
        assert self.row is not None
        owners = slots.owners(self.row.table)
        homes = self._homes(now)
        at_rest = {g for m in self.moves.at_rest() for g in m.groups}
        if not at_rest and self.roll.alive.keys() >= set(owners):
            return owners
        for group, owner in enumerate(owners):
            if owner not in self.roll.alive:
                owners[group] = homes[group] if homes else ""
            elif homes and group in at_rest:
                owners[group] = homes[group]
        return owners

    # ------------------------------------------------------------ planned moves

    def _ask_moves(self, now: float) -> None:
        """Asks live owners for what they should not own. Only when the table is published, so that they know the new owner."""
        assert self.row is not None
        if self.moves.waiting(now):
            self._rebalance = True
        if not self._rebalance or self._changed or now < self._calm_at or self.row.epoch != self.published.epoch:
            return
        self._rebalance = False
        homes = self._homes(now)
        wanted: dict[tuple[str, str], list[int]] = {}
        owners = slots.owners(self.row.table)
        for group in compress(range(len(homes)), map(ne, owners, homes)):
            if owners[group] in self.roll.alive:
                wanted.setdefault((owners[group], homes[group]), []).append(group)
        for move in self.moves.ask(wanted, now):
            self._send(move.old, Release(move.number, slots.runs_of(move.groups), move.to))

    def _finish_moves(self, now: float) -> None:
        """The row has decided about the released batches: what stayed with its owner, the owner takes back."""
        assert self.row is not None
        self._pending_moves = frozenset()
        owners = slots.owners(self.row.table)
        for move in self.moves.at_rest():
            stayed = [g for g in move.groups if owners[g] == move.old]
            if len(stayed) < len(move.groups) or not self._changed:
                self.moves.done(move.number, now)
                self._rebalance = True
                if stayed:
                    self._give_back(move.old, move.number)

    def _give_back(self, old: str, number: int) -> None:
        """``old`` takes back what the table leaves it of a batch; after the table, for before it would take what is no longer its own."""
        assert self.row is not None
        back = SendTo(old, MoveOff(number))
        (self._after_publish if self.row.epoch > self.published.epoch else self._effects).append(back)

    def _take_back_late_moves(self, now: float) -> None:
        for move in self.moves.overdue(self._pending_moves, now):
            self._note("move_taken_back", move=move.number, old=move.old, slots=len(move.groups) * slots.GROUP_SLOTS)
            self._send(move.old, MoveOff(move.number))
            self._rebalance = True

    # ------------------------------------------------------------ small change

    def _beat(self, now: float) -> None:
        if now < self._beat_at or self.row is None:
            return
        self._beat_at = now + self._beat_interval()
        self.row = Row(self.row.epoch, self.row.table, self.row.leader, self.row.beat + 1, self.clock.time_ms(now), self.row.joined)
        self._effects.append(Beat(self.me.incarnation, self.row.beat, self.row.cluster_time))

    def _send(self, incarnation: str, frame: Renewed | Expelled | Release | MoveOff) -> None:
        self._effects.append(SendTo(incarnation, frame))

    def _note(self, event: str, **fields: str | int | float) -> None:
        self._effects.append(Note(event, fields))
