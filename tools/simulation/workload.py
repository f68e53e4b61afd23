"""What the people of a history do: write to each other and into groups, read, change their groups."""

from __future__ import annotations

from itertools import count

from homing import ids
from homing import protocol as p
from msgspec import Struct

from tools.simulation.cluster import Cluster
from tools.simulation.device import SimDevice
from tools.simulation.world import World


class Work(Struct, frozen=True):
    """How much they do; times in seconds of the history."""

    sends: int = 30
    groups: int = 1
    changes: int = 3
    reads: int = 6
    questions: int = 0
    """Pages of history, of the conversation list and of members that are asked for."""
    begin: float = 1.6
    end: float = 14.0
    burst: float = 0.3
    """Chance that a message follows the one before at once."""
    directs: int = 2
    """Pairs that talk."""
    blocks: int = 0
    """How often one of them blocks the other, or takes that back."""
    types: int = 0
    """How often somebody types. If it is not 0 everybody watches everybody."""
    privacy: int = 0
    """How often somebody changes what he shows of himself."""


class Workload:
    """Plans what everybody does when."""

    def __init__(self, cluster: Cluster, work: Work) -> None:
        self.cluster = cluster
        self.world: World = cluster.world
        self.random = cluster.world.random
        self.work = work
        self.groups: list[str] = []
        self.made_up: list[str] = []
        """Conversations that somebody asked for and nobody ever began."""
        self.numbers = count(1)
        pairs = [(a, b) for i, a in enumerate(cluster.users) for b in cluster.users[i + 1 :]]
        self.pairs = self.random.sample(pairs, min(len(pairs), work.directs))

    def plan(self) -> None:
        """Puts all of it into the world's future."""
        work, random = self.work, self.random
        for _ in range(work.groups):
            self.world.at(work.begin + random.random() * 0.5, self._create)
        at = work.begin
        for _ in range(work.sends):
            if random.random() >= work.burst:
                at = work.begin + random.random() * (work.end - work.begin)
            self.world.at(at + random.random() * 0.01, self._send)
        for _ in range(work.changes if work.groups else 0):
            self.world.at(work.begin + 0.6 + random.random() * (work.end - work.begin), self._change)
        for _ in range(work.reads):
            self.world.at(work.begin + random.random() * (work.end - work.begin), self._read)

        if work.types:
            self.cluster.presences.begin()
        for _ in range(work.types):
            self.world.at(work.begin + random.random() * (work.end - work.begin), self.cluster.presences.type)
        for _ in range(work.privacy):
            self.world.at(work.begin + random.random() * (work.end - work.begin), self.cluster.presences.change)
        for _ in range(work.blocks):
            self.world.at(work.begin + random.random() * (work.end - work.begin), self._block)
        for _ in range(work.questions):
            self.world.at(work.begin + random.random() * (work.end - work.begin), self._ask)

    # ------------------------------------------------------------ acts

    def _id(self, device: SimDevice) -> str:
        return f"{device.name}-{next(self.numbers)}"

    def _device_of(self, user: str) -> SimDevice:
        return self.random.choice([d for d in self.cluster.devices if d.user == user])

    def _create(self) -> None:
        device = self.random.choice(self.cluster.devices)
        others = [user for user in self.cluster.users if user != device.user]
        members = self.random.sample(others, self.random.randint(1, len(others)))
        group = ids.group_id(self.random.randbytes(16))
        self.groups.append(group)
        device.request(p.GroupCreate(id=self._id(device), conversation=group, title="flock", members=members))

    def _send(self) -> None:
        if self.groups and self.random.random() < 0.4:
            group = self.random.choice(self.groups)
            inside = [d for d in self.cluster.devices if d.up and group in d.core.conversations]
            if inside:
                return self._say(self.random.choice(inside), group)
        if self.pairs:
            a, b = self.random.choice(self.pairs)
            if self.random.random() < 0.5:
                a, b = b, a
            self._say(self._device_of(a), b)

    def _say(self, device: SimDevice, to: str) -> None:
        id_ = self._id(device)
        device.request(p.Send(id=id_, to=to, body=f"{id_} says"))

    def _block(self) -> None:
        user, other = self.random.sample(self.random.choice(self.pairs), 2)
        device = self._device_of(user)
        kind = self.random.choice((p.Block, p.Unblock))
        device.request(kind(id=self._id(device), user=other))

    def _read(self) -> None:
        device = self.random.choice(self.cluster.devices)
        if device.up and device.core.conversations:
            device.read(self.random.choice(sorted(device.core.conversations)))

    def _ask(self) -> None:
        device, random = self.random.choice(self.cluster.devices), self.random
        if not device.up:
            return
        id_ = f"?{self._id(device)}"
        known = sorted({*device.core.conversations, *self.groups})
        kind = random.choice(("history", "history", "heads", "members", "nothing")) if known else "heads"
        if kind == "nothing":
            made_up = random.choice((ids.group_id(random.randbytes(16)), ids.direct_id(device.user, ids.user_id(f"nobody{id_}"))))
            self.made_up.append(made_up)
            device.ask(p.Fetch(id=id_, conversation=made_up, limit=5))
        elif kind == "heads":
            device.ask(p.FetchHeads(id=id_, limit=random.randint(1, 3)))
        elif kind == "members":
            device.ask(p.FetchMembers(id=id_, conversation=random.choice(known)))
        else:
            first = random.randint(1, 10)
            to = random.choice((None, first + random.randint(0, 8)))
            device.ask(p.Fetch(id=id_, conversation=random.choice(known), from_seq=first, to_seq=to, limit=random.randint(1, 8)))

    def _change(self) -> None:
        if not self.groups:
            return
        group = self.random.choice(self.groups)
        inside = [d for d in self.cluster.devices if d.up and group in d.core.conversations]
        if not inside:
            return
        device = self.random.choice(inside)
        others = [user for user in self.cluster.users if user != device.user]
        who = self.random.choice(others)
        id_ = self._id(device)
        kind = self.random.choice(("add", "add", "remove", "leave", "rename", "role"))
        frame: p.GroupOp
        if kind == "add":
            frame = p.GroupAdd(id=id_, conversation=group, members=[who])
        elif kind == "remove":
            frame = p.GroupRemove(id=id_, conversation=group, members=[who])
        elif kind == "leave":
            frame = p.GroupLeave(id=id_, conversation=group)
        elif kind == "rename":
            frame = p.GroupRename(id=id_, conversation=group, title=f"flock {id_}")
        else:
            frame = p.GroupRole(id=id_, conversation=group, user=who, role=self.random.choice(("admin", "member")))
        device.request(frame)
