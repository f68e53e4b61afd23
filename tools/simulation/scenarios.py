"""Mishaps that must come in a certain order to hurt: found by thinking, varied by the seed. Profiles put them into histories.

Each is what one rule of the design is for; with the rule in force none of them does harm.
"""

from __future__ import annotations

from functools import partial

from homing import ids
from homing import protocol as p

from tools.simulation.device import SimDevice
from tools.simulation.nemesis import Nemesis
from tools.simulation.node import SimNode
from tools.simulation.settings import CORE
from tools.simulation.store import Disk


def home_of(nemesis: Nemesis, id_: str) -> SimNode | None:
    """The node at which a user or conversation is at home, by the newest table that a node has."""
    up = [node for node in nemesis.cluster.nodes if node.up]
    if not up:
        return None
    newest = max(up, key=lambda node: node.core.epoch)
    name = newest.core.owner_of(id_).rpartition(":")[0]
    return next((node for node in up if node.name == name), None)


def say(nemesis: Nemesis, device: SimDevice, to: str, id_: str) -> None:
    device.request(p.Send(id=id_, to=to, body=f"{id_} says"))


def devices_of(nemesis: Nemesis, user: str) -> list[SimDevice]:
    return [device for device in nemesis.cluster.devices if device.user == user]


# ---------------------------------------------------------------- a delivery that is long under way


def silence(nemesis: Nemesis, end: float) -> None:
    """Something is said when the index rows have nearly the age that the law allows; it is under way to a member's home for so long that
    his cursor outruns them. Then that home dies, or the device is away just when the delivery comes."""
    nemesis.at(2.4, partial(_silence, nemesis))


def _silence(nemesis: Nemesis) -> None:
    r, users = nemesis.random, nemesis.cluster.users
    pairs = [(u, s) for u in users for s in users if u != s]
    r.shuffle(pairs)
    for user, sender in pairs:
        conversation = ids.direct_id(user, sender)
        home, mailbox = home_of(nemesis, conversation), home_of(nemesis, user)
        if home is not None and mailbox is not None and home is not mailbox:
            return _fall_silent(nemesis, user, sender, home, mailbox)


def _fall_silent(nemesis: Nemesis, user: str, sender: str, home: SimNode, mailbox: SimNode) -> None:
    r, now = nemesis.random, nemesis.world.now
    speaker = r.choice(devices_of(nemesis, sender))
    third = next(node for node in nemesis.cluster.nodes if node not in (home, mailbox))
    speaker.near = r.choice((home, third))
    for device in devices_of(nemesis, user):
        device.near = r.choice((mailbox, third))
    # Often enough that the conversation's actor is not let go, for a new one writes the rows anew.
    for i in range(3):
        nemesis.at(now + i * r.uniform(2.5, 3.0), partial(say, nemesis, speaker, user, f"before-{i}"))
    said_at = now + r.uniform(8.0, 8.95)
    lasts = r.uniform(9.5, 14.0)
    nemesis.at(said_at - 0.4, partial(nemesis.cut, [(home.name, mailbox.name)], lasts + 0.4))
    nemesis.at(said_at, partial(say, nemesis, speaker, user, "outrun"))
    if r.random() < 0.5:
        nemesis.at(said_at + lasts - r.uniform(0.1, 1.0), partial(nemesis.crash, mailbox, r.choice((0.3, 2.5))))
        return
    for device in devices_of(nemesis, user):
        back = r.uniform(2.5, 4.0)
        nemesis.at(said_at + lasts - r.uniform(0.05, 0.5), partial(nemesis.crash_device, device, back, lose_writes=False))
    nemesis.at(said_at + lasts + r.uniform(0.9, 1.6), partial(nemesis.crash, third, 0.3))


# ---------------------------------------------------------------- entries of owners that are gone


def orphans(nemesis: Nemesis, end: float) -> None:
    """Many entries are on their way when their owner dies; they land when the second owner has written less than they reach, and the
    third one reads."""
    at = 3.0
    while at < end - 4.0:
        nemesis.at(at, partial(_orphans, nemesis))
        at += nemesis.random.uniform(5.0, 7.0)


def _orphans(nemesis: Nemesis) -> None:
    r, world = nemesis.random, nemesis.world
    shared = sorted({c for d in nemesis.cluster.devices if d.up for c in d.core.conversations})
    if not shared:
        return
    conversation = r.choice([c for c in shared if ids.kind_of(c) == ids.GROUP] or shared)
    members = [d for d in nemesis.cluster.devices if d.up and conversation in d.core.conversations]
    nemesis.disk(Disk(stuck=1.0, late_s=r.uniform(3.0, 7.0)), 0.25)
    for device in members:
        to = conversation
        if ids.kind_of(conversation) == ids.DIRECT:
            to = device.core.conversations[conversation].peer
        if to:
            say(nemesis, device, to, f"orphan-{device.name}-{world.now:.2f}")
    nemesis.at(world.now + 0.2, partial(_crash_home, nemesis, conversation))
    nemesis.at(world.now + r.uniform(2.2, 4.5), partial(_crash_home, nemesis, conversation))


def _crash_home(nemesis: Nemesis, conversation: str) -> None:
    home = home_of(nemesis, conversation)
    if home is not None:
        nemesis.crash(home, nemesis.random.choice((0.3, 1.0, 3.0)))


# ---------------------------------------------------------------- two halves


def split(nemesis: Nemesis, end: float) -> None:
    """A node and one of two storage workers are cut off from everybody else, and the directory sees it at once: the node is out while it
    believes in its lease, and its worker does not know better."""
    at = 2.4
    while at < end - 1.0:
        nemesis.at(at, partial(_split, nemesis))
        at += nemesis.random.uniform(3.0, 5.0)


def _split(nemesis: Nemesis) -> None:
    r, c = nemesis.random, nemesis.cluster
    shared = sorted({c for d in nemesis.cluster.devices if d.up for c in d.core.conversations})
    home = home_of(nemesis, r.choice(shared)) if shared else None
    away = [home or r.choice(c.nodes), r.choice(c.workers)]
    rest = [process for process in c.servers if process not in away]
    ways = [way for a in away for b in rest for way in ((a.name, b.name), (b.name, a.name))]
    nemesis.cut(ways, r.uniform(1.2, 3.0), notice=True)


# ---------------------------------------------------------------- a clock that is ahead


def ahead(nemesis: Nemesis, end: float) -> None:
    """The wall clock of somebody's home runs ahead; his devices take cursors from it and go away, the home dies, and something is said."""
    at = 2.5
    while at < end - 10.0:
        nemesis.at(at, partial(_ahead, nemesis))
        at += nemesis.random.uniform(9.0, 11.0)


def _ahead(nemesis: Nemesis) -> None:
    r, now = nemesis.random, nemesis.world.now
    user, sender = r.sample(nemesis.cluster.users, 2)
    home = home_of(nemesis, user)
    if home is None:
        return
    nemesis.jump(home, r.choice((25_000, 40_000)))
    away_at = now + r.uniform(3.0, 4.0)
    for device in devices_of(nemesis, user):
        nemesis.at(away_at, partial(nemesis.crash_device, device, r.uniform(4.5, 6.0), lose_writes=False))
    nemesis.at(away_at + 0.1, partial(nemesis.crash, home, r.choice((0.3, 4.0))))
    nemesis.at(away_at + 0.2, partial(nemesis.jump, home, 0))
    speaker = r.choice(devices_of(nemesis, sender))
    nemesis.at(away_at + r.uniform(2.5, 4.0), partial(say, nemesis, speaker, user, f"ahead-{now:.0f}"))


# ---------------------------------------------------------------- somebody who leaves, and his home with him


def gone(nemesis: Nemesis, end: float) -> None:
    """Somebody is here for a moment and leaves for long; just when others have heard of it, his home dies."""
    nemesis.at(nemesis.random.uniform(3.0, max(4.0, end - 8.0)), partial(_gone, nemesis))


def _gone(nemesis: Nemesis) -> None:
    r, now = nemesis.random, nemesis.world.now
    user = r.choice(nemesis.cluster.users)
    for device in devices_of(nemesis, user):
        nemesis.at(now, partial(nemesis.crash_device, device, r.choice((0.4, 1.2, 1.4)), lose_writes=False))
        nemesis.at(now + r.uniform(1.6, 2.2), partial(nemesis.crash_device, device, 20.0, lose_writes=False))
    if r.random() < 0.5:
        nemesis.disk(Disk(slow=0.5, slow_s=2.0), 8.0)
    nemesis.at(now + 2.2 + CORE.linger_s + r.uniform(0.0, 1.5), lambda: _crash_home(nemesis, user))
