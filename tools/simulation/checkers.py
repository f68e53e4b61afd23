"""The promises of ``design.md`` §1 as checkers: what they hear while a history runs, and what they judge at once.

``verdict.py`` judges what can be judged only when all is quiet. Each violation names its promise.

Laws:
    * Checkers look at what clients were told, at the replicas and at the cores' own invariants; they change nothing.
    * P2's time: a session gets what was `sent` to somebody, or ends, within a lease time, the second in which an edge looks at its homes,
      and a margin that grows with the loss of packets. Time in which its edge stands still or its device is out of reach does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p
from homing.effects import Effect, Refused, Shown, StateChanged, Stored
from homing.state import Request

from node.core import log
from node.core.conversation import FROZEN, OPEN
from storage.store import IndexRow
from tools.simulation.device import SimDevice, Watcher
from tools.simulation.logs import Belonging, final_log, terms_of
from tools.simulation.node import SimNode
from tools.simulation.polling import PollSocket
from tools.simulation.settings import DELIVER_AGE_MS, LAW_MS, LEASE_S
from tools.simulation.socket import Socket
from tools.simulation.store import QUORUM

if TYPE_CHECKING:
    from tools.simulation.cluster import Cluster

EntryKey = tuple[str, int]
ROUND_S = 1.0
"""What the frames of one message may take beside the time that a delivery may have."""
LOOK_S = 1.0
"""How often an edge looks whether it still hears the homes of its sessions."""
REFUSALS = frozenset(
    c.name for c in (codes.FORBIDDEN, codes.CONFLICT, codes.NOT_A_MEMBER, codes.NOT_FOUND, codes.GROUP_FULL, codes.BLOCKED)
)
"""How a request may be refused although nothing is wrong but what it asks for."""
DEEP_CHECK_STEPS = 16
"""Every so many steps of a process all of its invariants are looked at; those of conversations at each."""


class Violation(Exception):
    """A promise that was broken."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise, self.text = promise, text


class Told:
    """What one device was told, over its whole life."""

    __slots__ = ("got", "screen", "state", "state_at")

    def __init__(self) -> None:
        self.got: dict[EntryKey, float] = {}
        """When each entry first reached it."""
        self.screen: list[p.Entry] = []
        self.state = "idle"
        self.state_at = 0.0


class Checkers(Watcher):
    """Watches one history."""

    def __init__(self, cluster: Cluster, broken: str = "", planned_only: bool = False) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.broken = broken
        self.highest_wins = broken == "log-row"
        self.planned_only = planned_only
        """Nothing but planned changes happens: P6 is looked at."""
        self.said: dict[EntryKey, p.Entry] = {}
        self.durable_to: dict[str, int] = {}
        self.answers: dict[tuple[str, str], str] = {}
        self.acked: dict[EntryKey, float] = {}
        """When `sent` was first seen for an entry."""
        self.refused: dict[tuple[str, str], str] = {}
        self.told: dict[str, Told] = {device.name: Told() for device in cluster.devices}
        self.marks: dict[tuple[str, str], dict[str, tuple[int, int, int]]] = {}
        self.steps = 0
        self.margin_s = 1.0
        for device in cluster.devices:
            device.watcher = self
        for node in cluster.nodes:
            node.after_step = self.after_step

    # ------------------------------------------------------------ what devices are told

    def on_frame(self, device: SimDevice, frame: p.ServerFrame) -> None:
        if wrong := self.cluster.revocations.judge(self, device, frame):
            raise Violation("P8", wrong)
        self.cluster.presences.on_frame(device, frame)
        match frame:
            case p.Message(entry=entry):
                self._learn(device, entry)
            case p.Sent():
                self._on_sent(device, frame)
            case p.Heads():
                for head in frame.heads:
                    if head.last is not None:
                        self._learn(device, head.last)
            case p.Entries():
                for entry in frame.entries:
                    self._learn(device, entry)
            case p.Error():
                self._on_error(device, frame)

    def _learn(self, device: SimDevice, entry: p.Entry) -> None:
        key = (entry.conversation, entry.seq)
        known = self.said.get(key)
        if known is None:
            self._first_said(key, entry)
        elif known != entry:
            raise Violation("P3", f"two entries under {key}: {known.message_id} {known.body!r} and {entry.message_id} {entry.body!r}")
        self.told[device.name].got.setdefault(key, self.world.now)

    def _first_said(self, key: EntryKey, entry: p.Entry) -> None:
        """P1: it is durable, and so are all before it."""
        conversation, seq = key
        store = self.cluster.store
        term = int(entry.message_id.rpartition(".")[2])
        where = ("log_entries", conversation)
        if store.count(where, ("log_entries", conversation, seq, term)) < 2:
            raise Violation("P1", f"{entry.message_id} was said, but lies on fewer than two replicas")
        durable_to = self.durable_to.get(conversation, 0)
        if seq > durable_to:
            terms = terms_of(store, conversation, self.highest_wins)
            for earlier in range(durable_to + 1, seq + 1):
                counts = log.counting_term(terms, earlier)
                if counts is None or store.count(where, ("log_entries", conversation, earlier, counts)) < 2:
                    raise Violation("P1", f"{entry.message_id} was said before {conversation}.{earlier} was durable")
            self.durable_to[conversation] = seq
        self.said[key] = entry

    def _on_sent(self, device: SimDevice, frame: p.Sent) -> None:
        entry = frame.entry
        self._learn(device, entry)
        if frame.id != entry.id or entry.sender != device.user:
            raise Violation("P4", f"the answer to {frame.id} is {entry.message_id}, which is {entry.id} of {entry.sender}")
        self._answer(device, frame.id, entry.message_id)
        key = (entry.conversation, entry.seq)
        if key not in self.acked:
            self.acked[key] = self.world.now
            self._expect_everywhere(key)
            if device.socket is not None and self.undisturbed_since(device, device.socket) + ROUND_S <= self.world.now:
                self._check_index(key, entry)

    def _check_index(self, key: EntryKey, entry: p.Entry) -> None:
        """P1: every member's row leads to it, on two replicas and so for every quorum. What was said was said again, and the law kept
        again, when a delivery or the way back took longer than a delivery may."""
        joined = [n for n in self.cluster.nodes if n.up and n.core.directory.joined]
        times = [n.core.directory.clock._offset_ms + n.clock() * 1000 for n in joined]  # time_ms would move the clock
        if not times or self.broken == "cluster-time":
            return
        oldest = min(times) - LAW_MS - 2 * DELIVER_AGE_MS - int(ROUND_S * 1000)
        belonging = self.belonging(key[0])
        for user in belonging.users():
            if not belonging.sees(user, key[1]) or not belonging.is_member(user):
                continue  # who has gone since is led to what he may see, but not again each time that it is said again (``verdict.py``)
            rows = (rows.get(("sync_index", user, key[0])) for rows in self.cluster.store.rows(("sync_index", user)))
            good = sum(isinstance(row, IndexRow) and (row.always or row.active_at >= oldest) for row in rows)
            if good < QUORUM:
                raise Violation("P1", f"{entry.message_id} was sent, but no row that is new enough leads {user} to it")

    def _answer(self, device: SimDevice, id_: str, message_id: str) -> None:
        before = self.answers.setdefault((device.user, id_), message_id)
        if before != message_id:
            raise Violation("P4", f"two answers to {id_}: {before} and {message_id}")

    def _on_error(self, device: SimDevice, frame: p.Error) -> None:
        item = device.core.outbox.get(frame.id) if frame.id else None
        if frame.name == codes.OVERLOADED.name and item is not None and item.attempts <= 1:
            for rows in self.cluster.store.rows(("log_entries", item.conversation)):
                for row in rows.values():
                    if getattr(row, "client_message_id", "") == frame.id:
                        raise Violation("P7", f"{frame.id} was refused as overloaded, but has the seq {getattr(row, 'seq', 0)}")
        if self.planned_only and frame.id and codes.CODES[frame.name].action not in ("retry", "sync") and frame.name not in REFUSALS:
            raise Violation("P6", f"{device.name} got the error {frame.name} ({frame.message}) in a planned change")

    def on_effect(self, device: SimDevice, effect: Effect) -> None:
        match effect:
            case Shown(entry):
                self._on_shown(device, entry)
            case Stored(id_, entry):
                self._answer(device, id_, entry.message_id)
            case StateChanged():
                self._on_state(device, effect)
            case Refused(id_, error):
                self.refused[device.user, id_] = error.name

    def _on_shown(self, device: SimDevice, entry: p.Entry) -> None:
        screen = self.told[device.name].screen
        last = next((e for e in reversed(screen) if e.conversation == entry.conversation), None)
        if last is not None and last.seq >= entry.seq:
            raise Violation("P4", f"{device.name} shows {entry.message_id} after {last.message_id}")
        if self.said.get((entry.conversation, entry.seq)) != entry:
            raise Violation("P3", f"{device.name} shows {entry.message_id}, which is not what was said under this seq")
        screen.append(entry)
        device.shown = len(screen)

    def on_rolled_back(self, device: SimDevice, shown: int) -> None:
        told = self.told[device.name]
        del told.screen[shown:]
        kept = {(e.conversation, e.seq) for e in told.screen}
        told.got = {key: at for key, at in told.got.items() if key in kept}

    def on_end(self, device: SimDevice) -> None:
        told = self.told[device.name]
        told.state, told.state_at = "idle", self.world.now

    def on_request(self, device: SimDevice, frame: Request) -> None: ...

    def _on_state(self, device: SimDevice, effect: StateChanged) -> None:
        told = self.told[device.name]
        asked_to = (codes.GOING_AWAY.number, codes.CLOSE_RESTART)
        if self.planned_only and told.state in ("syncing", "live") and effect.state == "waiting" and effect.code not in asked_to:
            raise Violation("P6", f"the session of {device.name} ended with {effect.code} {effect.reason} in a planned change")
        told.state, told.state_at = effect.state, self.world.now

    # ------------------------------------------------------------ P2

    def bound_s(self) -> float:
        return (
            LEASE_S + LOOK_S + self.margin_s + 20 * self.cluster.network.weather.drop + max(self.cluster.network.slow.values(), default=0.0)
        )

    def _expect_everywhere(self, key: EntryKey) -> None:
        """Somebody saw `sent`: every live session of every member gets it or ends in time."""
        for device in self.cluster.devices:
            told = self.told[device.name]
            socket = device.socket
            if told.state == "live" and socket is not None and key not in told.got:
                self._look_later(key, device, socket, self.world.now)

    def _look_later(self, key: EntryKey, device: SimDevice, socket: Socket | PollSocket, since: float) -> None:
        self.world.at(since + self.bound_s(), lambda: self._look(key, device, socket))

    def _look(self, key: EntryKey, device: SimDevice, socket: Socket | PollSocket) -> None:
        if (
            key in self.told[device.name].got
            or device.socket is not socket
            or not socket.at_node
            or socket.node.starts != socket.node_start
        ):
            return
        if not socket.node.up or not device.up or device.name in self.cluster.revocations.by_name:
            return
        undisturbed = self.undisturbed_since(device, socket)
        if undisturbed + self.bound_s() > self.world.now:
            return self._look_later(key, device, socket, max(undisturbed, self.world.now - self.bound_s() + 0.5))
        if self.belonging(key[0]).sees(device.user, key[1]):
            raise Violation("P2", f"{device.name} was live when {key[0]}.{key[1]} was sent, and has not got it by {self.world.now:.3f}")

    def undisturbed_since(self, device: SimDevice, socket: Socket | PollSocket) -> float:
        """Since when neither the device nor its edge was out of reach."""
        if not device.reachable or device.loses or device.paused or socket.node.paused:
            return self.world.now
        return max(device.well_since, socket.node.well_since)

    def belonging(self, conversation: str) -> Belonging:
        store = self.cluster.store
        return Belonging(conversation, final_log(store, conversation, self.highest_wins), self.cluster.users)

    # ------------------------------------------------------------ what nodes hold

    def after_step(self, node: SimNode) -> None:
        """P5 and P7, after whatever a node did."""
        self.steps += 1
        for id_, conversation in node.core.conversations.items():
            if conversation.state not in (OPEN, FROZEN):
                continue
            conversation.check()
            key = (node.incarnation, id_)
            before = self.marks.get(key)
            marks = conversation.marks.by_user
            if before != marks:
                for user, mark in (before or {}).items():
                    now = marks.get(user, (0, 0, 0))
                    if now[0] < mark[0] or now[1] < mark[1]:
                        raise Violation("P5", f"at {node.incarnation} the marks of {user} in {id_} fell from {mark} to {now}")
                self.marks[key] = dict(marks)
        if self.steps % DEEP_CHECK_STEPS == 0:
            self._check_bounds(node)

    def _check_bounds(self, node: SimNode) -> None:
        core = node.core
        limits = core.limits
        for neighbour in core.mesh._up.values():
            if neighbour.link is not None:
                neighbour.link.check()
        core.storage.check()
        ids_max = 2 * limits.ids_max + limits.dedup_scan_entries_max + limits.unsaid_entries_max
        for conversation in core.conversations.values():
            bounds = (
                (len(conversation.pending), limits.unsaid_entries_max, "unsaid entries"),
                (len(conversation.recent), limits.recent_entries + 1, "entries in memory"),
                (len(conversation.inbox), limits.loading_requests_max, "requests that wait for an activation"),
                (len(conversation.index.waiting), limits.loading_requests_max, "calls that wait for index rows"),
                (len(conversation.repeats.ids), ids_max, "remembered ids"),
            )
            for have, most, what in bounds:
                if have > most:
                    raise Violation("P7", f"{have} {what} at {node.name}, {most} are allowed")
        for mailbox in core.mailboxes.values():
            if len(mailbox.sessions) > limits.sessions_per_user_max or len(mailbox.marks.unstored) > limits.unstored_marks_max:
                raise Violation("P7", f"a mailbox at {node.name} is past its bounds")
