"""Kinds of histories: each stresses one mechanism, one all of them. A seed picks its profile by its remainder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from msgspec import Struct

from tools.simulation import scenarios
from tools.simulation.cluster import Size
from tools.simulation.nemesis import Nemesis
from tools.simulation.store import Disk
from tools.simulation.workload import Work
from tools.simulation.world import Weather


class Profile(Struct, frozen=True):
    """How big, how busy, how long, and what goes wrong."""

    name: str
    size: Callable[[Random], Size]
    work: Callable[[Random], Work]
    harm: Callable[[Nemesis, float], None]
    """Plans the mishaps up to the given time."""
    planned_only: bool = False


def _times(nemesis: Nemesis, n: int, end: float, begin: float = 2.0) -> list[float]:
    return sorted(begin + nemesis.random.random() * (end - begin) for _ in range(n))


def _some(random: Random, low: int, high: int) -> int:
    return random.randint(low, high)


# ---------------------------------------------------------------- calm


def _no_harm(nemesis: Nemesis, end: float) -> None: ...


# ---------------------------------------------------------------- mixed


def _mishap(nemesis: Nemesis) -> None:
    """Any one thing."""
    c, r = nemesis.cluster, nemesis.random
    node = r.choice(c.nodes)
    device = r.choice(c.devices)
    servers = c.servers
    for_s = r.choice((0.3, 0.8, 1.5, 2.5, 4.0))
    match r.randrange(20):
        case 0:
            nemesis.crash(node, for_s)
        case 1:
            nemesis.crash(r.choice(c.workers), r.choice((0.2, 1.0)))
        case 2:
            nemesis.crash(r.choice(c.directories), for_s)
        case 3:
            nemesis.pause(r.choice(servers), for_s)
        case 4:
            nemesis.pause(node, r.choice((1.0, 3.0, 5.0)))
        case 5:
            a, b = r.sample(servers, 2)
            nemesis.cut([(a.name, b.name)], for_s)
        case 6:
            a, b = r.sample(servers, 2)
            nemesis.cut([(a.name, b.name), (b.name, a.name)], for_s, notice=r.random() < 0.3)
        case 7:
            nemesis.isolate(node, servers, for_s, notice=r.random() < 0.3)
        case 8:
            nemesis.isolate(node, c.directories, for_s, into=r.random() < 0.5, notice=r.random() < 0.5)
        case 9:
            nemesis.weather(Weather(drop=0.15, duplicate=0.1, reorder=0.2, reorder_extra_s=0.1), for_s)
        case 10:
            nemesis.disk(Disk(slow=0.2, slow_s=1.0, late=0.05), for_s)
        case 11:
            nemesis.replicas(r.sample(range(3), r.choice((1, 1, 2))), for_s)
        case 12:
            nemesis.database(for_s, down=r.random() < 0.5, slow_s=0.5, lose_answers=0.3)
        case 13:
            nemesis.slow(r.choice(c.directories), node, r.choice((0.3, 0.9)), for_s)
        case 14:
            nemesis.drain(node, for_s)
        case 15:
            nemesis.unplug(device, for_s)
        case 16:
            nemesis.break_socket(device)
        case 17:
            nemesis.crash_device(device, for_s, lose_writes=r.random() < 0.3)
        case 18:
            device.snapshot()
        case 19:
            nemesis.jump(node, r.choice((-40_000, 40_000)))


def _mixed(nemesis: Nemesis, end: float) -> None:
    for at in _times(nemesis, _some(nemesis.random, 4, 14), end):
        nemesis.at(at, partial(_mishap, nemesis))


# ---------------------------------------------------------------- network


def _network(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    drop = r.choice((0.0, 0.05, 0.2, 0.3))
    weather = Weather(drop=drop, duplicate=r.choice((0.0, 0.2)), reorder=r.choice((0.0, 0.3)), reorder_extra_s=r.choice((0.02, 0.5, 2.0)))
    nemesis.at(2.0, lambda: nemesis.weather(weather, end - 2.0))
    for at in _times(nemesis, _some(r, 0, 6), end):
        a, b = r.sample(c.servers, 2)
        ways = [(a.name, b.name)] if r.random() < 0.5 else [(a.name, b.name), (b.name, a.name)]
        nemesis.at(at, partial(nemesis.cut, ways, r.choice((0.3, 1.0, 3.0))))


# ---------------------------------------------------------------- crashes


def _crashes(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    nemesis.disk(Disk(slow=0.3, slow_s=0.5), end)
    for at in _times(nemesis, _some(r, 2, 7), end):
        process = r.choice([*c.nodes, *c.nodes, *c.workers, *c.directories])
        nemesis.at(at, partial(nemesis.crash, process, r.choice((0.2, 0.5, 2.0, 5.0))))


# ---------------------------------------------------------------- taken out while it still works


def _reset(nemesis: Nemesis, end: float) -> None:
    """The directory sees a node's connection break and misses a beat: the node is out while it believes in its lease."""
    r, c = nemesis.random, nemesis.cluster
    nemesis.disk(Disk(slow=0.1, slow_s=0.5), end)
    for at in _times(nemesis, _some(r, 2, 5), end):
        node = r.choice(c.nodes)
        peers = [*c.directories, *([] if r.random() < 0.5 else c.nodes)]
        nemesis.at(at, partial(nemesis.isolate, node, peers, r.uniform(0.8, 3.0), notice=True))


# ---------------------------------------------------------------- writes that land late


def _late(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    nemesis.disk(Disk(slow=0.2, slow_s=1.0, late=0.1, late_s=12.0, stuck=r.choice((0.05, 0.15, 0.3))), end)
    for at in _times(nemesis, _some(r, 3, 7), end):
        node = r.choice(c.nodes)
        nemesis.at(at, partial(nemesis.crash, node, r.choice((0.2, 0.5, 1.0))))


# ---------------------------------------------------------------- two workers, one of them slow


def _two_workers(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    nemesis.disk(Disk(slow=0.1, slow_s=0.3, stuck=0.1), end)
    for at in _times(nemesis, _some(r, 3, 6), end):
        worker = r.choice(c.workers)
        nemesis.at(at, partial(nemesis.pause, worker, r.choice((0.5, 1.0, 2.0))))
        node = r.choice(c.nodes)
        if r.random() < 0.7:
            nemesis.at(at + r.random() * 0.5, partial(nemesis.crash, node, 0.3))


# ---------------------------------------------------------------- processes that stand still


def _pauses(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 3, 8), end):
        process = r.choice([*c.nodes, *c.nodes, *c.workers, *c.directories, *c.devices])
        nemesis.at(at, partial(nemesis.pause, process, r.choice((0.5, 1.5, 2.5, 4.0, 8.0))))


# ---------------------------------------------------------------- leaders that are not


def _leaders(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    if r.random() < 0.5:
        slow_s, lose_answers = r.choice((0.05, 0.3)), r.choice((0.0, 0.3))
        nemesis.at(2.0, partial(nemesis.database, end, down=False, slow_s=slow_s, lose_answers=lose_answers))
    for at in _times(nemesis, _some(r, 3, 8), end):
        directory = r.choice(c.directories)
        s = r.choice((1.0, 3.0, 5.0))
        act: Callable[[], None]
        match r.randrange(5):
            case 0:
                act = partial(nemesis.crash, directory, s)
            case 1:
                act = partial(nemesis.isolate, directory, c.servers, s)
            case 2:
                act = partial(nemesis.crash, r.choice(c.nodes), s)
            case 3:
                act = partial(nemesis.database, s, down=True)
            case _:
                act = partial(nemesis.pause, directory, s)
        nemesis.at(at, act)


# ---------------------------------------------------------------- deliveries that do not get through


def _undelivered(nemesis: Nemesis, end: float) -> None:
    """One node does not reach another for long, while devices come and go; then one of the two dies."""
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 2, 4), end - 4.0):
        a, b = r.sample(c.nodes, 2)
        for_s = r.choice((3.0, 6.0, 8.0, 10.0))
        nemesis.at(at, partial(nemesis.cut, [(a.name, b.name)], for_s))
        if r.random() < 0.6:
            nemesis.at(at + for_s * r.uniform(0.5, 1.1), partial(nemesis.crash, b, r.choice((0.3, 2.0))))
        for _ in range(_some(r, 1, 5)):
            device = r.choice(c.devices)
            away = r.choice((0.5, 2.0, 6.0))
            nemesis.at(at + r.random() * for_s, partial(nemesis.crash_device, device, away, lose_writes=False))


# ---------------------------------------------------------------- the store is away for long


def _outage(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 1, 2), end - 10.0):
        for_s = r.choice((2.0, 8.0, 14.0, 18.0))
        nemesis.at(at, partial(nemesis.replicas, r.sample(range(3), 2), for_s))
        for _ in range(_some(r, 1, 4)):
            device = r.choice(c.devices)
            nemesis.at(at + r.random() * (for_s + 2.0), partial(nemesis.crash_device, device, r.choice((0.5, 3.0)), lose_writes=False))


# ---------------------------------------------------------------- clocks


def _clocks(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    scenarios.ahead(nemesis, end)
    for at in _times(nemesis, _some(r, 1, 3), end):
        process = r.choice([*c.nodes, *c.nodes, *c.directories])
        nemesis.at(at, partial(nemesis.jump, process, r.choice((-40_000, 0, 40_000))))
    for at in _times(nemesis, _some(r, 0, 4), end):
        nemesis.at(at, partial(nemesis.crash_device, r.choice(c.devices), r.choice((0.5, 2.0, 4.0)), lose_writes=False))


# ---------------------------------------------------------------- planned changes only


def _planned(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    for node in c.nodes[c.size.nodes :]:
        nemesis.at(2.0 + r.random() * (end - 4.0), partial(nemesis.join, node))
    at = 2.5
    while at < end - 1.0:
        nemesis.at(at, lambda: nemesis.drain(r.choice([n for n in c.nodes if n.up] or c.nodes), r.choice((0.3, 1.0, 3.0))))
        at += r.uniform(3.0, 6.0)


# ---------------------------------------------------------------- devices


def _devices(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 8, 20), end, begin=1.6):
        device = r.choice(c.devices)
        s = r.choice((0.2, 1.0, 3.0, 7.0))
        act: Callable[[], None]
        match r.randrange(6):
            case 0:
                act = partial(nemesis.unplug, device, s)
            case 1:
                act = device.snapshot
            case 2:
                act = partial(nemesis.crash_device, device, s, lose_writes=True)
            case 3:
                act = partial(nemesis.crash_device, device, s, lose_writes=False)
            case _:
                act = partial(nemesis.break_socket, device)
        nemesis.at(at, act)
    if r.random() < 0.5:
        nemesis.at(_times(nemesis, 1, end)[0], lambda: nemesis.crash(r.choice(c.nodes), 0.5))


# ---------------------------------------------------------------- small windows


def _windows(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 2, 5), end):
        a, b = r.sample(c.nodes, 2)
        nemesis.at(at, partial(nemesis.cut, [(a.name, b.name)], r.choice((0.5, 1.5))))


# ---------------------------------------------------------------- planned moves among mishaps


def _moves(nemesis: Nemesis, end: float) -> None:
    _planned(nemesis, end)
    for at in _times(nemesis, _some(nemesis.random, 1, 5), end):
        nemesis.at(at, partial(_mishap, nemesis))


# ---------------------------------------------------------------- devices that are revoked among mishaps


def _revoked(nemesis: Nemesis, end: float) -> None:
    """Homes move by plan and by death while devices are revoked."""
    r, c = nemesis.random, nemesis.cluster
    nemesis.disk(Disk(slow=0.3, slow_s=0.8), end)
    for at in _times(nemesis, _some(r, 1, 4), end, begin=2.5):
        nemesis.at(at, lambda: nemesis.revoke(r.choice(c.devices)))
        home = r.choice(c.nodes)
        act = partial(nemesis.drain, home, 1.0) if r.random() < 0.4 else partial(_mishap, nemesis)
        nemesis.at(at + r.uniform(-0.3, 0.5), act)
    _planned(nemesis, end)


# ---------------------------------------------------------------- people who block each other among mishaps


def _blocks(nemesis: Nemesis, end: float) -> None:
    """Homes move by plan and by death, often: what a home knows of blocks it knows by reading."""
    r, c = nemesis.random, nemesis.cluster
    for at in _times(nemesis, _some(r, 2, 6), end):
        nemesis.at(at, partial(nemesis.crash, r.choice(c.nodes), r.choice((0.3, 1.5))))
    for at in _times(nemesis, _some(r, 0, 4), end):
        nemesis.at(at, partial(_mishap, nemesis))
    if r.random() < 0.5:
        nemesis.disk(Disk(slow=0.2, slow_s=0.8, late=0.1), end)
    _planned(nemesis, end)


# ---------------------------------------------------------------- people who watch each other


def _presence(nemesis: Nemesis, end: float) -> None:
    """Devices are away for a moment or for long, homes die and move; sometimes nothing happens for long."""
    r, c = nemesis.random, nemesis.cluster
    late = r.choice((0.4, 0.7, 1.0))  # what goes wrong, goes wrong up to here
    for at in _times(nemesis, _some(r, 2, 8), late * end, begin=1.8):
        device = r.choice(c.devices)
        act: Callable[[], None]
        match r.randrange(4):
            case 0:
                act = partial(nemesis.crash_device, device, r.choice((0.3, 0.8, 4.0, 25.0)), lose_writes=False)
            case 1:
                act = partial(nemesis.unplug, device, r.choice((0.5, 3.0, 12.0)))
            case _:
                act = partial(nemesis.break_socket, device)
        nemesis.at(at, act)
    for at in _times(nemesis, _some(r, 0, 4), late * end):
        nemesis.at(at, partial(nemesis.crash, r.choice(c.nodes), r.choice((0.3, 1.5, 5.0))))
    for at in _times(nemesis, _some(r, 0, 2), late * end):
        nemesis.at(at, partial(nemesis.drain, r.choice(c.nodes), r.choice((0.3, 2.0))))
    if r.random() < 0.5:
        scenarios.gone(nemesis, late * end)
    for at in _times(nemesis, r.choice((0, 0, 3)), late * end):
        nemesis.at(at, partial(_mishap, nemesis))


# ---------------------------------------------------------------- devices that poll among mishaps, and lose answers


def _polls(nemesis: Nemesis, end: float) -> None:
    r, c = nemesis.random, nemesis.cluster
    pollers = [device for device in c.devices if device.polls] or c.devices
    for at in _times(nemesis, _some(r, 1, 6), end):
        nemesis.at(at, partial(nemesis.lose_answers, r.choice(pollers), r.choice((0.1, 0.3, 0.6)), r.choice((0.3, 1.0, 2.5))))
    for at in _times(nemesis, _some(r, 1, 5), end):
        nemesis.at(at, partial(nemesis.crash, r.choice(c.nodes), r.choice((0.3, 1.5))))
    for at in _times(nemesis, _some(r, 0, 4), end):
        nemesis.at(at, partial(_mishap, nemesis))
    if r.random() < 0.6:
        nemesis.disk(Disk(slow=0.4, slow_s=1.0), end)  # requests are asked again, and answered twice
    if r.random() < 0.4:
        _planned(nemesis, end)


# ---------------------------------------------------------------- a few mishaps: bounds that are reached, questions


def _few(nemesis: Nemesis, end: float) -> None:
    for at in _times(nemesis, _some(nemesis.random, 0, 5), end):
        nemesis.at(at, partial(_mishap, nemesis))


def _size(**more: object) -> Callable[[Random], Size]:
    def make(random: Random) -> Size:
        base: dict[str, object] = {"users": random.randint(3, 4), "encoded": random.random() < 0.12}
        return Size(**(base | more))  # type: ignore[arg-type]  # by name

    return make


def _work(**more: object) -> Callable[[Random], Work]:
    def make(random: Random) -> Work:
        base: dict[str, object] = {"sends": random.randint(15, 40), "groups": random.choice((0, 1, 1, 2)), "changes": random.randint(0, 5)}
        return Work(**(base | more))  # type: ignore[arg-type]  # by name

    return make


PROFILES = (
    Profile("mixed", _size(), _work(), _mixed),
    Profile("network", _size(), _work(end=10.0), _network),
    Profile("crashes", _size(), _work(end=10.0), _crashes),
    Profile("reset", _size(), _work(sends=50, end=10.0), _reset),
    Profile("late", _size(), _work(sends=50, burst=0.7, groups=0, directs=1, end=12.0), _late),
    Profile("two-workers", _size(workers=2), _work(sends=50, burst=0.7, groups=0, directs=1, end=10.0), _two_workers),
    Profile("pauses", _size(), _work(end=12.0), _pauses),
    Profile("leaders", _size(directories=2), _work(end=14.0), _leaders),
    Profile("undelivered", _size(), _work(sends=25, reads=0, end=24.0), _undelivered),
    Profile("outage", _size(), _work(sends=25, reads=0, end=26.0), _outage),
    Profile("clocks", _size(), _work(sends=15, end=24.0), _clocks),
    Profile("planned", _size(spare_nodes=1), _work(end=12.0), _planned, planned_only=True),
    Profile("devices", _size(), _work(sends=40, end=12.0), _devices),
    Profile("windows", _size(window_frames=8), _work(sends=60, burst=0.8, end=10.0), _windows),
    Profile("moves", _size(spare_nodes=1), _work(end=12.0), _moves),
    Profile("all", _size(workers=2, directories=2, spare_nodes=1), _work(end=16.0), _mixed),
    Profile("silence", _size(), _work(sends=0, groups=0, changes=0, reads=0, end=30.0), scenarios.silence),
    Profile("orphans", _size(), _work(sends=10, groups=1, changes=0, end=20.0), scenarios.orphans),
    Profile("split", _size(workers=2), _work(sends=120, groups=0, directs=2, reads=0, burst=0.0, end=14.0), scenarios.split),
    Profile("tight", _size(tight=True), _work(sends=60, groups=2, burst=0.6, end=14.0), _few),
    Profile("readers", _size(), _work(questions=30, groups=2, changes=10, end=12.0), _few),
    Profile("calm", _size(), _work(end=8.0), _no_harm, planned_only=True),
)


def of_seed(seed: int) -> Profile:
    return PROFILES[seed % len(PROFILES)]


BY_NAME = (
    Profile("revoked", _size(spare_nodes=1, devices=(2, 3)), _work(end=12.0), _revoked),
    Profile("presence", _size(), _work(sends=10, groups=1, changes=2, types=40, privacy=6, blocks=0, end=36.0), _presence),
    Profile("polls", _size(spare_nodes=1, pollers=0.6), _work(questions=40, reads=12, end=12.0), _polls),
    Profile("blocks", _size(spare_nodes=1), _work(sends=60, groups=0, directs=2, blocks=20, burst=0.5, end=12.0), _blocks),
)
"""Kinds that no seed picks: a profile more would make every seed another history."""


def named(name: str) -> Profile:
    return next(profile for profile in (*PROFILES, *BY_NAME) if profile.name == name)
