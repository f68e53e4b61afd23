"""A storage worker of the simulated cluster: its real core and membership, over the store of three replicas."""

from __future__ import annotations

from collections import deque

import msgspec

from directory.config import DirectoryConfig
from router.events import Event, FrameIn, PeerDown, WindowOpen
from router.limits import MeshLimits
from storage.config import WorkerConfig
from storage.frames import Ask, WriteRow
from storage.member import Membership
from storage.store import Answer, Outcome
from storage.worker import Asked, Reply, Round, WorkerCore
from tools.simulation import tables
from tools.simulation.member import MeshProcess
from tools.simulation.settings import RENEW_S, RESTART_S
from tools.simulation.store import SimStore
from tools.simulation.world import Network, World

_decode = msgspec.msgpack.Decoder(WriteRow | Ask).decode
_encode = msgspec.msgpack.Encoder().encode
READS_TOGETHER = 16


class SimWorker(MeshProcess):
    """One name; each start is a new incarnation without memory."""

    def __init__(
        self, world: World, network: Network, name: str, store: SimStore, limits: MeshLimits, config: DirectoryConfig, worker: WorkerConfig,
        resend: bool,
    ) -> None:  # fmt: skip
        super().__init__(world, network, name, limits, resend)
        self.store = store
        self.config = config
        self.worker_config = worker
        self.membership: Membership
        self.core: WorkerCore

    def on_start(self) -> None:
        now = self.clock()
        self.make_mesh()
        self.core = WorkerCore(self.worker_config)
        self.membership = Membership(self.mesh, self.config, now)
        self.membership._decode_delta = tables.read_delta  # type: ignore[assignment]  # of bytes only
        self.membership.start(now)
        self._held: dict[str, deque[bytes]] = {}

    def on_packet(self, data: bytes, sender: str) -> None:
        now = self.clock()
        self._handle(self.mesh.receive(data, sender, now), now)
        self.settle()

    def on_hint(self, endpoint: str, reached: bool) -> None:
        if reached:
            self.mesh.connected(endpoint, self.clock())
        else:
            self._handle(self.mesh.disconnected(endpoint, self.clock()), self.clock())
        self.settle()

    def _handle(self, events: list[Event], now: float) -> None:
        waiting = deque(events)
        while waiting:
            event = waiting.popleft()
            if isinstance(event, FrameIn) and 20 <= event.frame[1] <= 39:
                self._on_frame(event.incarnation, event.frame, now)
                continue
            if isinstance(event, PeerDown):
                self.core.on_peer_gone(event.incarnation)
                self._held.pop(event.incarnation, None)
            elif isinstance(event, WindowOpen):
                self._send_held(event.incarnation, now)
            waiting.extendleft(reversed(self.membership.on_event(event, now)))

    def _on_frame(self, incarnation: str, frame: bytes, now: float) -> None:
        said = _decode(frame)
        if isinstance(said, WriteRow):
            self._reply(self.core.on_write(incarnation, said, len(frame)), now)
        else:
            self._reply(self.core.on_ask(incarnation, said), now)

    def settle(self) -> None:
        now = self.clock()
        membership = self.membership
        membership.tick(now, True)
        if membership.expelled:
            self.end()
            self.world.after(RESTART_S, self.start)
            return
        life = self._life
        for asked in self.core.take_asks(READS_TOGETHER):
            self._read(asked, life)
        round_ = self.core.take_round(now)
        if round_ is not None:
            self._commit(round_, life)
        self.put_on_wire(now)
        self.wake_at(self.mesh.next_deadline(), self.core.next_deadline(), now + RENEW_S / 2)

    def _read(self, asked: Asked, life: int) -> None:
        def answer(answer: Answer) -> None:
            if self._life == life:
                self.take(lambda: self._answered(asked, answer))

        self.store.read(asked.query, answer)

    def _answered(self, asked: Asked, answer: Answer) -> None:
        self.core.on_answered(1)
        peer, frame = asked.reply(answer)
        data = _encode(frame)
        taken = peer not in self._held and self.mesh.send(peer, data, self.clock())
        if not taken and self.mesh.heard_at(peer) is not None:
            self._held.setdefault(peer, deque()).append(data)
        self.settle()

    def _send_held(self, peer: str, now: float) -> None:
        held = self._held.get(peer, deque())
        while held and self.mesh.send(peer, held[0], now):
            held.popleft()
        if not held:
            self._held.pop(peer, None)

    def _commit(self, round_: Round, life: int) -> None:
        def done(outcomes: list[Outcome]) -> None:
            if self._life == life:
                self.take(lambda: self._committed(round_, outcomes))

        self.store.commit(round_.writes, done)

    def _committed(self, round_: Round, outcomes: list[Outcome]) -> None:
        self._reply(self.core.on_outcomes(round_, outcomes), self.clock())
        self.settle()

    def _reply(self, replies: list[Reply], now: float) -> None:
        for peer, frame in replies:
            self.mesh.send(peer, _encode(frame), now, answer=True)
