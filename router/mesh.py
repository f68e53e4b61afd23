"""All links of one process: who is there (hello), which packet belongs to which link, whose table is newer (epoch), what is due when.

Owns the neighbours and their links. Knows nothing of sockets, clocks, frames' meaning or the slot table's: time is an argument, packets
are bytes in and bytes out, frames and tables are opaque.

Laws, beside those of router/link.py and router/neighbour.py:

* P8: a packet counts only if the name in its incarnation is the one that CURVE vouches for.
* A packet of a higher epoch than ours is handled after ``set_epoch`` has reached that epoch, not before; until then the peers that have
  a newer table are asked for it, one after the other.
* Nothing that arrives raises; what is not understood is counted and changes nothing.
* Everything that waits is bounded (router/limits.py).
"""

from __future__ import annotations

import heapq
from math import inf

from router.events import Disconnected, Event, LinkStats, Peer, PeerDown, PeerUp, TableIn, TableWanted, name_of
from router.limits import MeshLimits
from router.link import Link
from router.neighbour import Neighbour
from router.packets import VERSION_MAX, VERSION_MIN, Data, Hello, OtherVersion, PacketError, Table, TableRequest, decode, encode, is_address

COUNTERS = (
    "malformed",
    "other_version",
    "incompatible",
    "wrong_name",
    "misdirected",
    "retired",
    "stranger",
    "held_full",
    "control_full",
    "too_many_peers",
)


class Mesh:
    """One per process.

    Args:
        me: this process; its incarnation is complete, its endpoint where others reach it.
        limits: the bounds.
        now: the present, in seconds of the clock that all later calls use.
        versions: the protocol versions spoken, for tests of two neighbouring releases.
        follow_epochs: False for a process that needs no table (a storage worker may be one): it says epoch 0 and holds nothing.
    """

    def __init__(
        self,
        me: Peer,
        limits: MeshLimits,
        now: float,
        versions: tuple[int, int] = (VERSION_MIN, VERSION_MAX),
        follow_epochs: bool = True,
    ) -> None:
        if not me.name or name_of(me.incarnation) != me.name:
            raise ValueError(f"incarnation {me.incarnation!r} is not of the form {me.name}:random")
        self.me = me
        self.epoch = 0
        self.counters: dict[str, int] = dict.fromkeys(COUNTERS, 0)
        """Packets dropped, by reason, and the like; the keys are COUNTERS."""
        self._limits = limits
        self._versions = versions
        self._follow_epochs = follow_epochs
        self._numeric = is_address(me.endpoint)
        self._by_name: dict[str, Neighbour] = {}
        self._up: dict[str, Neighbour] = {}  # by the incarnation of its link
        self._active: dict[
            Neighbour, None
        ] = {}  # whose link has something to put on the wire soon; a set whose order is the same in every run
        self._heap: list[tuple[float, int, Neighbour]] = []  # slow timers; an entry not equal to heap_at is stale
        self._heap_no = 0
        self._control: list[tuple[str, bytes]] = []
        self._tables_from: list[Neighbour] = []  # who has a newer table, in the order in which they are asked
        self._table_due = inf
        self._names: dict[str, str] = {}  # endpoint → name, of what was written to
        self._last_now = now

    # ------------------------------------------------------------ the owner says

    def connect(self, name: str, endpoint: str, now: float, incarnation: str = "") -> None:
        """Talk to ``name`` at ``endpoint``: hello until it answers. May be repeated at any time; a new endpoint replaces the old one."""
        if name == self.me.name:
            return
        neighbour = self._neighbour(name)
        if neighbour is None or (incarnation and incarnation in neighbour.retired):
            return
        link = neighbour.link
        known = link is not None and (not incarnation or link.peer.incarnation == incarnation)
        if neighbour.wanted and neighbour.endpoint == endpoint and neighbour.expected_incarnation == incarnation:
            return
        neighbour.wanted, neighbour.expected_incarnation = True, incarnation
        if not known or neighbour.endpoint != endpoint:
            neighbour.endpoint, neighbour.hello_due, neighbour.hello_wait_s = endpoint, now, 0.0
            self._arm(neighbour)

    def close(self, incarnation: str, reason: str, now: float) -> list[Event]:
        """That incarnation is gone for good. Hellos to its name stop until ``connect`` or until a new incarnation says hello."""
        neighbour = self._neighbour(name_of(incarnation))
        if neighbour is None:
            return []
        present = neighbour.link.peer.incarnation if neighbour.link is not None else incarnation
        if present == incarnation and neighbour.expected_incarnation in ("", incarnation):
            neighbour.wanted, neighbour.hello_due, neighbour.expected_incarnation = False, inf, ""
        return self._retire(neighbour, incarnation, reason)

    def send(self, incarnation: str, frame: bytes, now: float, answer: bool = False) -> int:
        """Takes a frame for that incarnation: its number, from 1, or 0 = not taken (no link, or its window is full; then ``WindowOpen``
        follows). ``answer``: see ``Link.send``; use it for a refusal, which must not fail for want of room."""
        neighbour = self._up.get(incarnation)
        if neighbour is None or neighbour.link is None:
            return 0
        self._active[neighbour] = None
        return neighbour.link.send(frame, now, answer)

    def send_table(self, incarnation: str, delta: bytes, now: float) -> None:
        """Sends a table, outside of the window and unacknowledged. A newer one replaces one that waits; whoever lacks it asks again."""
        neighbour = self._up.get(incarnation)
        if neighbour is not None:
            neighbour.table = delta
            self._active[neighbour] = None

    def set_epoch(self, epoch: int, now: float) -> list[Event]:
        """Our table is at ``epoch``; returns the events of the packets that were held for it."""
        if epoch <= self.epoch:
            return []
        self.epoch = epoch
        events: list[Event] = []
        for neighbour in list(self._tables_from):
            for data in neighbour.release(epoch):
                if neighbour.link is not None:
                    self._active[neighbour] = None
                    neighbour.link.receive(data, now, events)
        self._tables_from = [n for n in self._tables_from if n.newest_epoch > epoch]
        self._table_due = now if self._tables_from else inf
        return events

    # ------------------------------------------------------------ the wire says

    def receive(self, data: bytes, sender: str | None, now: float) -> list[Event]:
        """Handles one packet. ``sender`` is the name that CURVE vouches for; None (tests only) trusts the packet."""
        try:
            packet = decode(data, self._versions)
        except OtherVersion:
            self.counters["other_version"] += 1
            self._answer_stranger(sender, now)
            return []
        except PacketError:
            self.counters["malformed"] += 1
            return []
        source = packet.incarnation if isinstance(packet, Hello) else packet.src
        name = name_of(source)
        if not name or (sender is not None and sender != name) or name == self.me.name:
            self.counters["wrong_name"] += 1
            return []
        if isinstance(packet, Hello):
            return self._on_hello(packet, now)
        neighbour = self._up.get(source)
        if neighbour is None or packet.dst != self.me.incarnation:
            return self._on_stranger(name, source, now)
        events: list[Event] = []
        self._on_packet(neighbour, packet, now, events)
        return events

    def connected(self, endpoint: str, now: float) -> None:
        """The transport reached ``endpoint``: what waited for a timer is tried at once, and a hello asks who is there now."""
        neighbour = self._by_name.get(self._names.get(endpoint, ""))
        if neighbour is None:
            return
        link, incarnation = neighbour.link, ""
        if link is not None and link.peer.endpoint == endpoint:
            link.probe(now)
            self._arm(neighbour)
            incarnation = link.peer.incarnation
        self._say_hello(neighbour, endpoint, incarnation, neighbour.nonce, neighbour.peer_nonce)

    def disconnected(self, endpoint: str, now: float) -> list[Event]:
        """The transport lost ``endpoint``."""
        neighbour = self._by_name.get(self._names.get(endpoint, ""))
        if neighbour is None or neighbour.link is None or neighbour.link.peer.endpoint != endpoint:
            return []
        return [Disconnected(neighbour.link.peer.incarnation)]

    # ----------------------------------------------------------------- the clock

    def poll(self, now: float) -> list[tuple[str, bytes]]:
        """The packets that are due, as (endpoint, packet). Whoever calls this has handled all frames that ``receive`` returned."""
        self._last_now = now
        out, self._control = self._control, []
        for neighbour in list(self._active):
            soon = neighbour.soon()
            if soon <= now or soon == inf:
                del self._active[neighbour]
            if soon <= now:
                self._poll(neighbour, now, out)
        while self._heap and self._heap[0][0] <= now:
            at, _, neighbour = heapq.heappop(self._heap)
            if at == neighbour.heap_at:
                neighbour.heap_at = inf
                self._poll(neighbour, now, out)
        if self._table_due <= now:
            self._ask_for_table(now)
        if self._control:
            out.extend(self._control)
            self._control = []
        return out

    def next_deadline(self) -> float | None:
        """When ``poll`` has something to do next; None = never, unless something happens."""
        if self._control:
            return self._last_now
        due = min(self._heap[0][0] if self._heap else inf, self._table_due)
        for neighbour in self._active:
            due = min(due, neighbour.soon())
        return None if due == inf else max(due, self._last_now)

    # ------------------------------------------------------------------- looking

    def peers(self) -> list[Peer]:
        """The peers whose link is up."""
        return [n.link.peer for n in self._up.values() if n.link is not None]

    def peer_named(self, name: str) -> Peer | None:
        """The present incarnation under ``name``, if its link is up."""
        neighbour = self._by_name.get(name)
        return neighbour.link.peer if neighbour is not None and neighbour.link is not None else None

    def heard_at(self, incarnation: str) -> float | None:
        """When anything of that incarnation was last received; None if its link is not up."""
        neighbour = self._up.get(incarnation)
        return neighbour.link.heard_at if neighbour is not None and neighbour.link is not None else None

    def name_at(self, endpoint: str) -> str | None:
        """The name that is reached at ``endpoint``: the transport looks up its key by it."""
        return self._names.get(endpoint)

    def stats(self) -> dict[str, LinkStats]:
        """By incarnation, the links that are up."""
        return {inc: n.link.stats(len(n.held)) for inc, n in self._up.items() if n.link is not None}

    # ---------------------------------------------------------------- handshakes

    def _on_hello(self, hello: Hello, now: float) -> list[Event]:
        neighbour = self._neighbour(hello.name)
        elsewhere = self._numeric and not is_address(hello.endpoint)
        if neighbour is None or elsewhere or hello.dst_name != self.me.name or hello.name != name_of(hello.incarnation):
            self.counters["misdirected"] += 1
            return []
        if hello.incarnation in neighbour.retired:
            self.counters["retired"] += 1
            return []
        if hello.nonce:
            neighbour.peer_nonce = hello.nonce
        version = min(self._versions[1], hello.version_max)
        if version < max(self._versions[0], hello.version_min):
            self.counters["incompatible"] += 1
            if hello.nonce:
                self._say_hello(neighbour, hello.endpoint, hello.incarnation, 0, hello.nonce)
            return []
        events: list[Event] = []
        known = neighbour.link is not None and neighbour.link.peer.incarnation == hello.incarnation
        if not known and hello.echo == neighbour.nonce and hello.dst_incarnation == self.me.incarnation:
            events = self._bring_up(neighbour, hello, version, now)
            known = True
        if known and neighbour.link is not None:
            neighbour.link.heard_at = now
        if hello.nonce:
            self._say_hello(neighbour, hello.endpoint, hello.incarnation, 0 if known else neighbour.nonce, hello.nonce)
        return events

    def _bring_up(self, neighbour: Neighbour, hello: Hello, version: int, now: float) -> list[Event]:
        events: list[Event] = []
        if neighbour.link is not None:
            events = self._retire(neighbour, neighbour.link.peer.incarnation, "replaced")
        peer = Peer(hello.name, hello.incarnation, hello.endpoint)
        neighbour.link = Link(self.me.incarnation, peer, version, self._limits, now)
        neighbour.endpoint = hello.endpoint
        neighbour.nonce += 1
        neighbour.hello_due = self._silence_at(neighbour.link)
        self._up[peer.incarnation] = neighbour
        self._arm(neighbour)
        return [*events, PeerUp(peer)]

    def _retire(self, neighbour: Neighbour, incarnation: str, reason: str) -> list[Event]:
        was_up = self._up.pop(incarnation, None) is not None
        neighbour.retire(incarnation)
        if neighbour.expected_incarnation == incarnation:
            neighbour.expected_incarnation = ""
        if not was_up:
            return []
        self._tables_from = [n for n in self._tables_from if n is not neighbour]
        return [PeerDown(incarnation, reason)]

    def _on_stranger(self, name: str, source: str, now: float) -> list[Event]:
        """A packet from, or for, an incarnation that is not the present one: tell the sender who we are."""
        neighbour = self._by_name.get(name)
        self.counters["stranger"] += 1
        if neighbour is None or source not in neighbour.retired:
            self._answer_stranger(name, now)
        return []

    def _answer_stranger(self, name: str | None, now: float) -> None:
        neighbour = self._by_name.get(name or "")
        if neighbour is not None and neighbour.endpoint and now >= neighbour.answered_at + self._limits.hello_s:
            neighbour.answered_at = now
            self._say_hello(neighbour, neighbour.endpoint, "", neighbour.nonce, neighbour.peer_nonce)

    def _say_hello(self, neighbour: Neighbour, endpoint: str, incarnation: str, nonce: int, echo: int) -> None:
        me = self.me
        hello = Hello(*self._versions, me.name, me.incarnation, me.endpoint, neighbour.name, incarnation, self._said_epoch, nonce, echo)
        self._put(neighbour.name, endpoint, encode(hello, self._versions[1]))

    def _repeat_hello(self, neighbour: Neighbour, now: float) -> None:
        """The hello timer: until the peer answers, and again when a link has been silent (its process may be another one by now)."""
        limits, link = self._limits, neighbour.link
        if link is not None and neighbour.expected_incarnation in ("", link.peer.incarnation) and now < self._silence_at(link):
            neighbour.hello_due, neighbour.hello_wait_s = self._silence_at(link), 0.0
            return
        incarnation = link.peer.incarnation if link is not None else neighbour.expected_incarnation
        self._say_hello(neighbour, neighbour.endpoint, incarnation, neighbour.nonce, neighbour.peer_nonce)
        neighbour.hello_wait_s = min(max(neighbour.hello_wait_s * 2, limits.hello_s), limits.hello_max_s)
        neighbour.hello_due = now + neighbour.hello_wait_s

    def _silence_at(self, link: Link) -> float:
        return link.heard_at + 3 * self._limits.keepalive_s

    # ------------------------------------------------------------------- packets

    def _on_packet(self, neighbour: Neighbour, packet: Data | TableRequest | Table, now: float, events: list[Event]) -> None:
        link = neighbour.link
        assert link is not None  # _up holds only neighbours that have one
        link.heard_at = now
        if isinstance(packet, TableRequest):
            events.append(TableWanted(packet.src, packet.base))
        elif isinstance(packet, Table):
            events.append(TableIn(packet.src, packet.delta))
        elif packet.epoch > self.epoch and self._follow_epochs:
            self._on_newer_epoch(neighbour, packet, now)
        else:
            link.receive(packet, now, events)
            self._active[neighbour] = None

    def _on_newer_epoch(self, neighbour: Neighbour, data: Data, now: float) -> None:
        neighbour.newest_epoch = max(neighbour.newest_epoch, data.epoch)
        if not neighbour.hold(data, self._limits.window_frames, self._limits.window_bytes):
            self.counters["held_full"] += 1
        if neighbour not in self._tables_from:
            self._tables_from.append(neighbour)
            self._table_due = min(self._table_due, now) if len(self._tables_from) == 1 else self._table_due

    def _ask_for_table(self, now: float) -> None:
        """Asks the first of those that have a newer table, and puts it last."""
        self._table_due = inf
        if not self._tables_from:
            return
        neighbour = self._tables_from.pop(0)
        self._tables_from.append(neighbour)
        self._table_due = now + self._limits.table_ask_s
        if neighbour.link is not None:
            request = TableRequest(self.me.incarnation, neighbour.link.peer.incarnation, self._said_epoch, self.epoch)
            self._put(neighbour.name, neighbour.link.peer.endpoint, encode(request, neighbour.link.version))

    def _poll(self, neighbour: Neighbour, now: float, out: list[tuple[str, bytes]]) -> None:
        if neighbour.hello_due <= now:
            self._repeat_hello(neighbour, now)
        link = neighbour.link
        if link is not None:
            if neighbour.table is not None:
                table, neighbour.table = neighbour.table, None
                packet = Table(self.me.incarnation, link.peer.incarnation, self._said_epoch, table)
                self._put(neighbour.name, link.peer.endpoint, encode(packet, link.version))
            packets: list[bytes] = []
            link.poll(self._said_epoch, now, packets)
            endpoint = link.peer.endpoint
            out.extend([(endpoint, data) for data in packets])
            if link.soon() < inf:
                self._active[neighbour] = None
        self._arm(neighbour)

    # ------------------------------------------------------------------- helpers

    @property
    def _said_epoch(self) -> int:
        return self.epoch if self._follow_epochs else 0

    def _neighbour(self, name: str) -> Neighbour | None:
        neighbour = self._by_name.get(name)
        if neighbour is None and name and name != self.me.name:
            if len(self._by_name) >= self._limits.peers_max:
                self.counters["too_many_peers"] += 1
                return None
            neighbour = self._by_name[name] = Neighbour(name)
        return neighbour

    def _put(self, name: str, endpoint: str, packet: bytes) -> None:
        if not endpoint or len(self._control) >= self._limits.control_packets_max:
            self.counters["control_full"] += 1
            return
        if self._names.get(endpoint) != name:
            self._names[endpoint] = name
            if len(self._names) > 2 * self._limits.peers_max:
                del self._names[next(iter(self._names))]
        self._control.append((endpoint, packet))

    def _arm(self, neighbour: Neighbour) -> None:
        at = neighbour.later()
        if at < neighbour.heap_at:
            neighbour.heap_at = at
            self._heap_no += 1
            heapq.heappush(self._heap, (at, self._heap_no, neighbour))
