"""The memory network: order, faults, cuts, and the same again from the same seed."""

from __future__ import annotations

from random import Random

from router.memory import Faults, MemoryNetwork


def network(faults: Faults | None = None, seed: int = 1, queue_max: int = 100_000) -> MemoryNetwork:
    made = MemoryNetwork(Random(seed), faults, queue_max)
    made.join("mem://a", "a")
    made.join("mem://b", "b")
    return made


def through(net: MemoryNetwork, count: int = 200) -> list[bytes]:
    for n in range(count):
        net.send("mem://a", "mem://b", b"%d" % n, n * 0.0001)
    return [packet for _, _, packet in net.due(1e9)]


ALL = [b"%d" % n for n in range(200)]


def test_without_faults_a_direction_keeps_its_order_and_loses_nothing() -> None:
    assert through(network(Faults(delay_min_s=0.001, delay_max_s=0.05))) == ALL


def test_what_arrives_names_its_sender_and_takes_its_time() -> None:
    net = network(Faults(delay_min_s=0.01, delay_max_s=0.01))
    assert net.next_deadline() is None
    assert net.send("mem://a", "mem://b", b"x", 5.0)
    at = net.next_deadline()
    assert at is not None and abs(at - 5.01) < 1e-9
    assert net.due(5.0) == [] and net.due(at) == [("mem://b", "a", b"x")]


def test_each_fault_does_what_its_name_says() -> None:
    lossy = through(network(Faults(drop=0.3)))
    assert 100 < len(lossy) < 180 and lossy == sorted(lossy, key=ALL.index)
    double = through(network(Faults(duplicate=0.3)))
    assert 230 < len(double) < 290 and set(double) == set(ALL)
    mixed = through(network(Faults(reorder=0.3)))
    assert mixed != ALL and sorted(mixed) == sorted(ALL)


def test_the_same_seed_gives_the_same_deliveries() -> None:
    rough = Faults(drop=0.2, duplicate=0.2, reorder=0.2)
    assert through(network(rough, 7)) == through(network(rough, 7)) != through(network(rough, 8))


def test_a_cut_works_in_its_direction_and_loses_what_is_under_way() -> None:
    net = network()
    net.send("mem://a", "mem://b", b"under way", 0.0)
    net.cut("mem://a", "mem://b")
    assert not net.send("mem://a", "mem://b", b"cut", 0.0) and net.send("mem://b", "mem://a", b"passes", 0.0)
    assert net.due(1.0) == [("mem://a", "b", b"passes")] and net.dropped == 2
    net.cut("mem://a", "mem://b", both=True)
    assert not net.send("mem://b", "mem://a", b"x", 1.0)
    net.heal("mem://b", "mem://a")
    assert net.send("mem://b", "mem://a", b"x", 1.0) and not net.send("mem://a", "mem://b", b"x", 1.0)
    net.heal()
    assert net.send("mem://a", "mem://b", b"x", 1.0)


def test_a_direction_may_have_faults_of_its_own() -> None:
    net = network()
    net.set_faults("mem://a", "mem://b", Faults(drop=1.0))
    assert not net.send("mem://a", "mem://b", b"x", 0.0) and net.send("mem://b", "mem://a", b"x", 0.0)
    net.set_faults("mem://a", "mem://b", None)
    assert net.send("mem://a", "mem://b", b"x", 0.0)


def test_who_has_left_neither_sends_nor_receives() -> None:
    net = network()
    net.send("mem://a", "mem://b", b"x", 0.0)
    net.leave("mem://b")
    assert net.due(1.0) == [] and not net.send("mem://b", "mem://a", b"x", 1.0) and not net.send("mem://a", "mem://b", b"x", 1.0)
    assert not net.is_joined("mem://b") and net.is_joined("mem://a")


def test_what_is_under_way_is_bounded() -> None:
    net = network(queue_max=10)
    assert sum(net.send("mem://a", "mem://b", b"x", 0.0) for _ in range(50)) == 10
