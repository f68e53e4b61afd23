"""The node core: one incarnation's actors, wired to the sans-I/O mesh, storage client and directory client. No I/O, clock or randomness.

The shell calls ``on_events`` with what the mesh brought, ``open``, ``on_client`` and ``on_closed`` with what clients did, ``tick`` when a
deadline has come, and then takes the effects. Frames between actors of this node go through ``local``, a queue, so that no actor is
re-entered while it handles something; what goes to another process is encoded and given to its link.

Laws:
    * A new table is complete here (actors of lost slots closed, deliveries re-addressed) before ``set_epoch`` releases frames of its epoch.
    * Past ``lease_until``, or out of the cell row, this incarnation handles nothing more (``EndNode``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from homing import codes
from homing import protocol as p
from homing.ids import SLOTS, is_id, slot_of
from msgspec import Struct

from directory.client import ClientEvent, DirectoryClient, Lost, MoveTakenBack, ReleaseAsked, TableChanged, ToDirectory
from directory.frames import DirectoryFrame
from directory.table import Delta, Table
from node.core import frames as f
from node.core.asking import Asking
from node.core.conversation import Conversation, ConversationFrame, Request
from node.core.deliveries import Deliveries
from node.core.dispatch import actor_handlers, edge_handlers
from node.core.edge import Edge, Identity
from node.core.effects import Effect, EndNode
from node.core.limits import CoreLimits
from node.core.live import Live
from node.core.live_frames import TypingFrom
from node.core.mailbox import Mailbox
from node.core.moves import Moves
from node.core.people import People
from node.core.reports import Reports
from node.core.revocations import Revocations
from node.core.rules import ALL, Rules
from node.core.services import NOBODY, T
from node.core.timers import Timers
from node.core.trace import Trace
from node.core.upkeep import Upkeep
from router.events import Acked, Event, FrameIn, PeerDown, PeerUp, TableIn, TableWanted, WindowOpen
from storage.frames import StorageFrame
from storage.store import Answer, Outcome, Query, Row

if TYPE_CHECKING:
    from router.mesh import Mesh
    from storage.client import StorageClient

_DECODER = msgspec.msgpack.Decoder(f.NodeFrame | StorageFrame | DirectoryFrame)
_DELTA = msgspec.msgpack.Decoder(Delta)
_encode = msgspec.msgpack.Encoder().encode
_STORAGE_TYPES = frozenset(get_args(StorageFrame))
_DIRECTORY_TYPES = frozenset(get_args(DirectoryFrame))
HOMES_MAX = 100_000


class _LocalDone(Struct):
    """In the local queue behind a tracked frame: it, and any refusal that it made, is handled."""

    done: Callable[[str, Any], None]
    what: Any


class NodeCore:
    """One incarnation of a node; what its actors may use is ``node.core.services.Services``."""

    def __init__(
        self,
        mesh: Mesh,
        storage: StorageClient,
        directory: DirectoryClient,
        limits: CoreLimits,
        lease_s: float,
        now: float,
        rules: Rules = ALL,
    ) -> None:
        self.me = mesh.me.incarnation
        self.mesh = mesh
        self.storage = storage
        self.directory = directory
        self.limits = limits
        self.lease_s = lease_s
        self.rules = rules
        self.now = now
        self.timed_at, self.timed_ms = -1.0, 0  # cluster time at ``timed_at``: asked once for all that one event makes
        self.epoch = 0
        self.ended: str = ""
        self.effects: list[Effect] = []
        self.owners: list[str] = [NOBODY] * SLOTS
        self.homes: dict[str, str] = {}
        """Ids that were looked up in ``owners`` lately."""
        self.members: frozenset[str] = frozenset()
        self.slots_owned = 0
        self.counts = {"rows_written": 0, "reads_asked": 0, "frames_unreadable": 0, "frames_absurd": 0}
        self.on_bad_frame: Callable[[str, str], None] = lambda source, why: None
        """Told of each frame that changed nothing because it cannot be read, or says what cannot be."""
        self.conversations: dict[str, Conversation] = {}
        self.mailboxes: dict[str, Mailbox] = {}
        self.edge: Edge = Edge(self, mesh.me.name, directory.member.public_url)
        self.asking = Asking(self)
        self.people = People(self, self.mailboxes)
        self.revocations = Revocations(self, self.on_mailbox)
        self.deliveries = Deliveries(self)
        self.reports = Reports(self)
        self.report_mark = self.reports.add
        self.live: Live = Live(self)
        self.local: deque[tuple[Struct, str]] = deque()
        self.writes: dict[int, tuple[Callable[[Outcome, Any], None], Any]] = {}
        self.asks: dict[int, Callable[[Answer], None]] = {}
        self.tracked: dict[str, deque[tuple[int, Callable[[str, Any], None], Any]]] = {}
        self.opening: dict[str, dict[str, Callable[[str], None]]] = {}
        self.timers = Timers()
        self.due_at = now
        """When ``tick`` has to be called at the latest, kept as timers are set; what storage and the edge time out counts by the second."""
        self.moves = Moves(self)
        self.trace = Trace()
        self.upkeep = Upkeep(self)
        self.at_edge = edge_handlers(self)
        """What mailboxes and conversations say to sessions here is handled at once: the edge calls no actor back, it only sends."""
        self.handlers = {**self.at_edge, **actor_handlers(self)}

    # -------------------------------------------------------------- what the shell calls

    def on_events(self, events: list[Event], now: float) -> None:
        """Handles what the mesh brought."""
        if self._begin(now):
            self._handle(events)
            self._drain()

    def open(self, session: int, who: Identity, cursor: int, have: dict[str, int], heartbeat_ms: int, now: float) -> None:
        """A client said hello and its token is good."""
        if self._begin(now):
            self.edge.open(session, who, cursor, have, heartbeat_ms)
            self._drain()

    def on_client(self, session: int, frame: p.ClientFrame, now: float) -> None:
        if self._begin(now):
            self.edge.on_client(session, frame)
            self._drain()

    def on_closed(self, session: int, now: float) -> None:
        """The socket is gone."""
        if self._begin(now):
            self.edge.close(session)
            self._drain()

    def do(self, what: Callable[[], None], now: float) -> None:
        """Carries out what HTTP asks for; an incarnation that has ended does nothing."""
        if self._begin(now):
            what()
            self._drain()

    def revoke(self, user: str, device: str, done: Callable[[codes.Code | None], None], now: float) -> None:
        """See ``Revocations.revoke``; an incarnation that ends meanwhile calls nothing."""
        self.do(lambda: self.revocations.revoke(user, device, done), now)

    def tick(self, now: float) -> None:
        """Does what is due, and what was left for the links."""
        if not self._begin(now):
            return
        self.timers.run(now)
        self.edge.tick()
        self.to_directory(self.directory.tick(now))
        self.upkeep.tick()
        self.moves.tick()
        self._drain()
        self.due_at = self.next_deadline()

    def next_deadline(self) -> float:
        others = (self.storage.next_deadline(), self.directory.next_deadline(), self.edge.next_deadline())
        return min(self.upkeep.next(), self.timers.next(), *(at for at in others if at is not None))

    def take_effects(self) -> list[Effect]:
        taken, self.effects = self.effects, []
        return taken

    # -------------------------------------------------------------- services for actors

    @property
    def has_room(self) -> bool:
        return self.storage.has_room

    def time_ms(self) -> int:
        if self.now != self.timed_at:
            self.timed_at, self.timed_ms = self.now, self.directory.time_ms(self.now)
        return self.timed_ms

    def owner_of(self, id_: str) -> str:
        home = self.homes.get(id_)
        if home is None:
            home = self.owners[slot_of(id_)] if is_id(id_) else NOBODY
            if len(self.homes) < HOMES_MAX:
                self.homes[id_] = home
        return home

    def term_of(self, id_: str) -> int:
        return self.directory.table.terms[slot_of(id_)]

    def send(self, incarnation: str, frame: Struct) -> bool:
        if incarnation == self.me:
            hand = self.at_edge.get(type(frame))
            if hand is None:
                self.local.append((frame, incarnation))
            else:
                hand(frame, incarnation)
            return True
        return self.mesh.send(incarnation, _encode(frame), self.now, type(frame) is f.DeliverRefused) > 0

    def send_tracked(self, incarnation: str, frame: Struct, done: Callable[[str, T], None], what: T) -> bool:
        if incarnation == self.me:
            self.local.append((frame, self.me))
            self.local.append((_LocalDone(done, what), self.me))
            return True
        number = self.mesh.send(incarnation, _encode(frame), self.now)
        if number:
            self.tracked.setdefault(incarnation, deque()).append((number, done, what))
        return number > 0

    def send_when_open(self, incarnation: str, key: str, again: Callable[[str], None]) -> None:
        self.opening.setdefault(incarnation, {})[key] = again

    def write(self, row: Row, done: Callable[[Outcome, T], None], what: T) -> None:
        self.counts["rows_written"] += 1
        self.writes[self.storage.write(row, self.now)] = (done, what)

    def ask(self, query: Query, done: Callable[[Answer], None]) -> None:
        self.counts["reads_asked"] += 1
        self.asks[self.storage.ask(query, self.now)] = done

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.timers.at(when, call)
        if when < self.due_at:
            self.due_at = when

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def absurd(self, source: str, why: str) -> None:
        """A frame of ``source`` says what cannot be: whoever calls this has changed nothing for it."""
        self.counts["frames_absurd"] += 1
        self.on_bad_frame(source, why)

    def note(self, what: str, conversation: str, seq: int, cause: str, detail: str = "") -> None:
        self.trace.steps.append((self.now, what, conversation, seq, cause, detail))

    def fenced(self) -> None:
        self.end("fenced: not in the cell row any more")

    def end(self, reason: str) -> None:
        """Answers nothing more."""
        if not self.ended:
            self.ended = reason
            self.effects = [EndNode(reason)]

    # -------------------------------------------------------------- events

    def _begin(self, now: float) -> bool:
        """Whether this incarnation may still act at ``now``."""
        self.now = now
        directory = self.directory
        if directory.joined and now >= directory.lease_until and not self.ended:
            self.on_directory_events(directory.check_lease(now))
        return not self.ended

    def _drain(self) -> None:
        """Handles the local queue to its end and gives the links what storage is to get."""
        if self.local:
            self._drain_local()
        if self.ended:
            return
        send, now = self.mesh.send, self.now
        refused = [(worker, frame) for worker, frame in self.storage.outgoing(now) if not send(worker, _encode(frame), now)]
        if refused:
            self.storage.put_back(refused)

    def _drain_local(self) -> None:
        local, handlers = self.local, self.handlers
        while local and not self.ended:
            frame, source = local.popleft()
            if type(frame) is _LocalDone:
                frame.done(self.me, frame.what)
            else:
                handlers[type(frame)](frame, source)
        if self.ended:
            local.clear()

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind is FrameIn:
                self._on_frame_in(event)  # type: ignore[arg-type]  # kind says so; isinstance costs more here
            elif kind is Acked:
                self._on_acked(event)  # type: ignore[arg-type]
            else:
                self._on_link_event(event)
            if self.local:
                self._drain_local()
            if self.ended:
                return

    def _on_frame_in(self, event: FrameIn) -> None:
        try:
            frame = _DECODER.decode(event.frame)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            # A neighbouring release may say what we do not know; it changes nothing.
            self.counts["frames_unreadable"] += 1
            return self.on_bad_frame(event.incarnation, str(error))
        kind = type(frame)
        handler = self.handlers.get(kind)
        if handler is not None:
            handler(frame, event.incarnation)
        elif kind in _STORAGE_TYPES:
            self._on_storage(event.incarnation, frame)
        elif kind in _DIRECTORY_TYPES:
            self.on_directory_events(self.directory.on_frame(event.incarnation, frame, self.now))

    def _on_acked(self, event: Acked) -> None:
        queue = self.tracked.get(event.incarnation)
        while queue and queue[0][0] <= event.number:
            _, done, what = queue.popleft()
            done(event.incarnation, what)

    def _on_link_event(self, event: Event) -> None:
        match event:
            case PeerUp(peer):
                self.directory.on_peer_up(peer.name, peer.incarnation, self.now)
                self._open_window(peer.incarnation)
            case WindowOpen(incarnation):
                self._open_window(incarnation)
            case PeerDown(incarnation):
                self.directory.on_peer_down(incarnation)
                self.tracked.pop(incarnation, None)
                self.opening.pop(incarnation, None)
            case TableWanted(incarnation, base):
                self.mesh.send_table(incarnation, _encode(self.directory.table.delta(base)), self.now)
            case TableIn(_, delta):
                self._on_delta(delta)
            case _:
                pass

    def _open_window(self, incarnation: str) -> None:
        self.storage.on_window_open(incarnation)
        for call in list(self.opening.pop(incarnation, {}).values()):
            call(incarnation)

    def _on_storage(self, worker: str, frame: StorageFrame) -> None:
        for n, result in self.storage.on_frame(worker, frame, self.now):
            if isinstance(result, Outcome):
                if result is Outcome.UNKNOWN:
                    done, what = self.writes[n]
                else:
                    done, what = self.writes.pop(n)
                done(result, what)
            else:
                self.asks.pop(n)(result)
            if self.ended:
                return

    # -------------------------------------------------------------- directory and table

    def to_directory(self, frames: list[ToDirectory]) -> None:
        """What does not get through is said again at the next renewal, or when the directory asks again."""
        for directory, frame in frames:
            self.mesh.send(directory, _encode(frame), self.now)

    def _on_delta(self, data: bytes) -> None:
        try:
            events = self.directory.on_delta(_DELTA.decode(data))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return  # it does not fit; whoever has a newer table is asked again
        self.on_directory_events(events)

    def on_directory_events(self, events: list[ClientEvent]) -> None:
        for event in events:
            match event:
                case TableChanged(_, new):
                    self._on_table(new)
                case Lost(reason):
                    self.end(reason)
                case ReleaseAsked(move, runs):
                    self.moves.release(move, runs)
                case MoveTakenBack(move):
                    self.moves.thaw(move)

    def _on_table(self, table: Table) -> None:
        gone = self.members - table.by_incarnation.keys()
        self.epoch = table.epoch
        self.members = frozenset(table.by_incarnation)
        self.owners = table.names()
        self.homes = {}
        self.slots_owned = table.slots_of(self.me)
        for member in table.members:
            if member.incarnation != self.me:
                self.mesh.connect(member.name, member.endpoint, self.now, member.incarnation)
        events: list[Event] = []
        for incarnation in sorted(gone):
            events += self.mesh.close(incarnation, "gone from the table", self.now)
            self.tracked.pop(incarnation, None)
            self.opening.pop(incarnation, None)
        self.storage.on_members([m.incarnation for m in table.role("storage")], self.now)
        self.moves.forget()
        self._close_lost(table)
        for conversation in list(self.conversations.values()):
            conversation.on_table()
        self.reports.on_table()
        for mailbox in list(self.mailboxes.values()):
            for incarnation in sorted(gone):
                mailbox.drop_edge(incarnation)
            mailbox.on_table()
        self.edge.on_table(self.members)
        self.revocations.on_table()
        self.live.on_table()
        self._drain()
        events += self.mesh.set_epoch(table.epoch, self.now)
        self._handle(events)

    def _close_lost(self, table: Table) -> None:
        """Actors whose slot is somebody else's, or was for a while, are closed."""
        for id_, conversation in list(self.conversations.items()):
            slot = int(id_[:4], 16) >> 2
            if self.owners[slot] != self.me or table.terms[slot] != conversation.term:
                conversation.close()
                del self.conversations[id_]
        for user, mailbox in list(self.mailboxes.items()):
            owned = self.owner_of(user) == self.me
            if not owned or table.terms[slot_of(user)] != mailbox.term:
                if owned:
                    mailbox.end()
                mailbox.close()
                del self.mailboxes[user]

    # -------------------------------------------------------------- stopping (P6)

    def drain(self, now: float) -> None:
        """Told to stop: brings all to rest, then says good-bye; ``is_drained`` tells when."""
        if self._begin(now):
            self.moves.drain()
            self._drain()

    @property
    def is_drained(self) -> bool:
        """Good-bye is said, and the process may end once no table names it."""
        return self.moves.is_over

    # -------------------------------------------------------------- actors

    def to_conversation(self, frame: ConversationFrame, source: str) -> None:
        id_ = frame.conversation
        conversation = self.conversations.get(id_)
        if conversation is None:
            conversation = self.activate(id_, frame, source)
            if conversation is None:
                return
        conversation.on_frame(frame, source)

    def activate(self, id_: str, frame: ConversationFrame | TypingFrom, source: str) -> Conversation | None:
        """Opens a conversation for what was asked of it; None: it is not at home here, or there is no room, and whoever waits hears so."""
        if not is_id(id_):
            self.absurd(source, "not a conversation's id")
            return None
        slot = slot_of(id_)
        if self.owners[slot] != self.me or self.moves.freezes(slot):
            if isinstance(frame, Request):
                self.send(source, f.NotHere(frame.session, frame.id, slot))
            return None
        if isinstance(frame, f.DeliverRefused):
            return None
        if len(self.conversations) >= self.limits.conversations_max or not self.has_room:
            if isinstance(frame, Request):
                code, text = codes.OVERLOADED.name, "this node has no room for another conversation now"
                self.send(source, f.Refusal(frame.session, frame.id, code, text, id_, "", 1_000))
            return None
        term = self.directory.table.terms[slot]
        conversation = self.conversations[id_] = Conversation(self, id_, term)
        return conversation

    def on_mailbox(self, user: str, call: Callable[[Mailbox], None], make: bool = True) -> None:
        mailbox = self.mailboxes.get(user)
        if mailbox is None:
            if not make or self.owner_of(user) != self.me:
                return
            mailbox = self.mailboxes[user] = Mailbox(self, user, self.directory.table.terms[slot_of(user)])
        call(mailbox)
