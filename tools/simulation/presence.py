"""People who watch each other and type while a history runs: what they are shown must be true, or nothing (``design.md`` §4).

Laws:
    * Nobody is shown as offline who was connected a moment ago: not by a reconnect, not by a home that dies.
    * When nothing has changed for ``SETTLED_S``, everybody is shown what is true and may be seen.
    * Nobody who hides is shown to those from whom he hides, and who hides sees nothing (P8). A ``last_seen`` never goes back.
    * Who types is shown to members only, and never to those whom he blocked or who blocked him (P8).

It knows who is connected by looking at the nodes themselves. News that are under way while the network is broken may be late, so some
laws are looked at only where nothing was broken for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import protocol as p
from msgspec import Struct

from node.core.privacy import CONTACTS, EVERYONE, NOBODY, Privacy
from tools.simulation.checkers import Violation
from tools.simulation.logs import Belonging, final_log
from tools.simulation.settings import CORE
from tools.simulation.store import Disk
from tools.simulation.world import Weather

if TYPE_CHECKING:
    from node.core.effects import PrivacyWanted
    from tools.simulation.cluster import Cluster
    from tools.simulation.device import SimDevice
    from tools.simulation.node import SimNode

LOOK_S = 0.1
"""How often it is looked who is connected."""
NEWS_S = 0.5
"""How long news may take over a network in which nothing is broken."""
CALM_S = 3.0
"""Frames of before a fault of the network are through by then."""
CHANGE_S = 2.0
"""Within this of a change what is hidden is shown no more."""
SETTLED_S = CORE.presence_silence_s + CORE.linger_s + 9.0
"""A new home's silence, the linger, a read of settings that failed and is tried again, and a second for the rest."""
READ_S = 0.05
"""How long the shell takes to read what somebody shows, at most."""
LETTERS = ("typing", "recording", "stopped")


class There(Struct):
    """When somebody was connected: intervals, the last one open while he is."""

    since: float | None = None
    gone_at: float = 0.0
    past: list[tuple[float, float]] = []

    def was_within(self, first: float, last: float) -> bool:
        """Whether he was connected at some time between the two."""
        if self.since is not None and self.since <= last:
            return True
        return any(a <= last and b >= first for a, b in self.past)


class Presences:
    """All of one cluster. Nothing happens before ``begin``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.on = False
        self.there: dict[str, There] = {}
        self.settings: dict[str, Privacy] = {}
        self.changed_at: dict[str, float] = {}
        """When a user's settings changed last; who hides from the start never did."""
        self.watched: dict[str, tuple[str, ...]] = {}
        """Device → whom its session watches."""
        self.sockets: dict[str, object] = {}
        """Device → the socket on which it said so."""
        self.watched_at: dict[str, float] = {}
        self.shown: dict[str, dict[str, tuple[str, int]]] = {}
        """Device → user → what its session was told last."""
        self.seen: dict[tuple[str, str], int] = {}
        """(device, user) → the latest last_seen that was told."""
        self.net_broken_at = self.broken_at = 0.0
        """When the network, or anything at all, was last not as it should be."""
        self.epoch = 0
        self.told = self.typed = 0

    def begin(self) -> None:
        """From now on there are settings, everybody watches, and what they are told is judged."""
        self.on = True
        random = self.world.random
        for user in self.cluster.users:
            self.there[user] = There()
            kinds = (EVERYONE,) * 5 + (CONTACTS, NOBODY)
            contacts = frozenset(other for other in self.cluster.users if other != user and random.random() < 0.5)
            self.settings[user] = Privacy(random.choice(kinds), random.choice(kinds), contacts)
        for node in self.cluster.nodes:
            node.on_privacy = self.on_wanted
        self.world.after(LOOK_S, self._look)

    # ------------------------------------------------------------ the shell

    def on_wanted(self, node: SimNode, wanted: PrivacyWanted) -> None:
        """The node's shell reads what somebody shows; sometimes the database does not do it."""
        start, fails = node.starts, not self.cluster.database.up or self.world.random.random() < 0.02

        def told() -> None:
            if node.up and node.starts == start:
                privacy = None if fails else self.settings[wanted.user]
                node.take(lambda: node.do(lambda: node.core.live.privacies.told(wanted.user, wanted.n, privacy)))

        self.world.after(self.world.random.random() * READ_S, told)

    def change(self) -> None:
        """Somebody changes his settings at some node; it announces that."""
        random = self.world.random
        user = random.choice(self.cluster.users)
        up = [node for node in self.cluster.nodes if node.up and not node.paused and not node.stopping]
        if not up:
            return
        kinds = (EVERYONE, EVERYONE, EVERYONE, CONTACTS, NOBODY)
        before = self.settings[user]
        others = [other for other in self.cluster.users if other != user]
        blocked = before.blocked ^ {random.choice(others)} if random.random() < 0.3 else before.blocked
        self.settings[user] = Privacy(random.choice(kinds), random.choice(kinds), before.contacts ^ {random.choice(others)}, blocked)
        self.changed_at[user] = self.world.now
        node = random.choice(up)
        node.do(lambda: node.core.live.privacies.announce(user))

    def type(self) -> None:
        """Somebody types in a conversation, his or not."""
        random, devices = self.world.random, [d for d in self.cluster.devices if d.socket is not None and d.up and not d.paused]
        known = sorted({c for d in devices for c in d.core.conversations})
        if devices and known:
            device = random.choice(devices)
            if device.socket is not None:
                device.socket.to_node(p.Typing(conversation=random.choice(known), kind=random.choice(LETTERS)))  # type: ignore[arg-type]

    # ------------------------------------------------------------ who is connected

    def _look(self) -> None:
        now = self.world.now
        self._look_at_faults(now)
        for user, there in self.there.items():
            is_there = any(self._is_there(device) for device in self._devices_of(user))
            if is_there and there.since is None:
                there.since = now
            elif not is_there and there.since is not None:
                there.past.append((there.since, now - LOOK_S))
                there.since, there.gone_at = None, now
        if self._is_settled() and (wrong := self._lie()):
            raise Violation("presence", wrong)
        self.world.after(LOOK_S, self._look)

    def _devices_of(self, user: str) -> list[SimDevice]:
        revoked = [each.device for each in self.cluster.revocations.by_name.values()]
        return [device for device in [*self.cluster.devices, *revoked] if device.user == user]

    def _is_there(self, device: SimDevice) -> bool:
        """Whether a session of it is let in at an edge that is in the cluster."""
        newest = max((node.core for node in self.cluster.nodes if node.up), key=lambda core: core.epoch, default=None)
        for node in self.cluster.nodes:
            if not node.up or node.paused or newest is None or node.incarnation not in newest.members:
                continue
            for number, socket in node.sockets.items():
                s = node.core.edge.sessions.get(number)
                if socket.device is device and s is not None and s.attached and s.home in newest.members:
                    return True
        return False

    def _look_at_faults(self, now: float) -> None:
        cluster = self.cluster
        network, store = cluster.network, cluster.store
        stands = [process for process in cluster.servers if process.paused]
        if network.cuts or network.slow or network.weather != Weather() or stands:
            self.net_broken_at = now
        down = [node for node in cluster.nodes if node.starts and (not node.up or node.stopping)]
        down_others = [process for process in (*cluster.workers, *cluster.directories) if not process.up]
        epoch = max((node.core.epoch for node in cluster.nodes if node.up), default=0)
        is_store_ill = store.disk != Disk() or not all(store.up) or not cluster.database.up
        if self.net_broken_at == now or down or down_others or is_store_ill or epoch != self.epoch:
            self.broken_at = now
        self.epoch = epoch

    # ------------------------------------------------------------ what devices are told

    def on_frame(self, device: SimDevice, frame: p.ServerFrame) -> None:
        """Raises Violation: it must not be told this now."""
        if not self.on:
            return
        match frame:
            case p.Welcome():
                self._watch(device)
            case p.PresenceChanged(people=people):
                for person in people:
                    self._judge(device, person)
            case p.TypingShown():
                self._judge_typing(device, frame)

    def _watch(self, device: SimDevice) -> None:
        """A session watches everybody else, or most of them."""
        random = self.world.random
        others = [user for user in self.cluster.users if user != device.user]
        self.watched[device.name] = wanted = tuple(user for user in others if random.random() < 0.9)
        self.watched_at[device.name] = self.world.now
        self.sockets[device.name] = device.socket
        self.shown[device.name] = {}
        if device.socket is not None:
            device.socket.to_node(p.Watch(users=list(wanted)))

    def _judge(self, device: SimDevice, person: p.Presence) -> None:
        now, user = self.world.now, person.user
        self.told += 1
        if user not in self.watched.get(device.name, ()):
            raise Violation("P8", f"{device.name} is told of {user}, whom it does not watch")
        last_seen = person.last_seen or 0
        self.shown[device.name][user] = (person.state, last_seen)
        key = (device.name, user)
        if last_seen and last_seen < self.seen.get(key, 0):
            raise Violation("presence", f"{device.name} is told that {user} was last seen at {last_seen}, after {self.seen[key]}")
        self.seen[key] = max(last_seen, self.seen.get(key, 0))
        was_here = self.there[user].was_within(now - 0.9 * CORE.linger_s, now - NEWS_S)
        if person.state == "offline" and was_here and now - self._disturbed_at(device) > CALM_S:
            raise Violation("presence", f"{device.name} is told at {now:.3f} that {user} is offline, who was here a moment ago")
        since = self._hidden_since(user, device.user, person)
        is_calm = since is not None and since > max(self.broken_at, self._disturbed_at(device))
        if since is not None and (since == 0.0 or (now - since > CHANGE_S and is_calm)):
            what = f"{user} is {person.state} ({last_seen}), who has hidden that since {since:.3f}"
            raise Violation("P8", f"{device.name} is told at {now:.3f} that {what}")

    def _disturbed_at(self, device: SimDevice) -> float:
        """When the network was last broken, or the device or its edge stood still or was out of reach: what comes now may be late."""
        edge = device.socket.node.well_since if device.socket is not None else 0.0
        return max(self.net_broken_at, device.well_since, edge)

    def _hidden_since(self, user: str, watcher: str, person: p.Presence) -> float | None:
        """Since when nothing of this may be shown; None: it may."""
        shows = self._may_see(user, watcher)
        allowed = (person.state == "unknown" or shows & 1) and (not person.last_seen or shows & 2)
        return None if allowed else max(self.changed_at.get(user, 0.0), self.changed_at.get(watcher, 0.0))

    def _may_see(self, user: str, watcher: str) -> int:
        return self.settings[user].shows(watcher) & self.settings[watcher].shows(user)

    def _judge_typing(self, device: SimDevice, frame: p.TypingShown) -> None:
        self.typed += 1
        log = final_log(self.cluster.store, frame.conversation)
        ever = Belonging(frame.conversation, log, self.cluster.users).users()
        if frame.user == device.user or frame.user not in ever or device.user not in ever:
            raise Violation("P8", f"{device.name} is told that {frame.user} types in {frame.conversation}")

    # ------------------------------------------------------------ when all is quiet

    def unrest(self) -> str:
        """What is not settled, or not true, when all is healed."""
        if not self.on:
            return ""
        if not self._is_settled():
            return "presence has not settled"
        for device in self.cluster.devices:
            if self.world.now - self.watched_at.get(device.name, self.world.now) < SETTLED_S:
                return f"{device.name} watches since a moment ago"
        return self._lie()

    def _is_settled(self) -> bool:
        """Whether nothing was broken and nobody changed his settings for long."""
        return self.world.now - max(self.broken_at, *self.changed_at.values(), 0.0) >= SETTLED_S

    def _lie(self) -> str:
        """Who was told something of somebody that has not been true for long, though all is well; empty: nobody."""
        now = self.world.now
        for device in self.cluster.devices:
            is_live = self._is_there(device) and device.reachable and not device.paused and device.socket is self.sockets.get(device.name)
            if not is_live or now - self.watched_at.get(device.name, now) < SETTLED_S:
                continue
            for user in self.watched[device.name]:
                there = self.there[user]
                since = there.since if there.since is not None else there.gone_at
                told = self.shown[device.name].get(user, ("", 0))
                if now - since > SETTLED_S and not self._is_true(user, device.user, told):
                    what = f"{'connected' if there.since is not None else 'away'} since {since:.3f}"
                    return f"{device.name} was told {told} of {user}, who is {what} and shows {self._may_see(user, device.user)}"
        return ""

    def _is_true(self, user: str, watcher: str, told: tuple[str, int]) -> bool:
        state, last_seen = told
        shows = self._may_see(user, watcher)
        is_there = self.there[user].since is not None
        wanted = "unknown" if not shows & 1 else "online" if is_there else "offline"
        if state != wanted:
            return False
        return bool(last_seen) if state == "offline" and shows & 2 and self.there[user].past else state != "online" or not last_seen
