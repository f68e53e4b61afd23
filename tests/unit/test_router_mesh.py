"""The mesh: handshakes and who replaces whom, names, epochs, what is due when. On virtual time, over the memory network."""

from __future__ import annotations

import struct
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.events import Acked, Disconnected, Event, FrameIn, Peer, PeerDown, PeerUp, TableIn, TableWanted, WindowOpen
from router.limits import MeshLimits
from router.memory import Faults
from router.mesh import COUNTERS, Mesh
from router.packets import Data, Hello, Packet, Table, TableRequest, decode, encode
from tests.unit.router_rig import ROUGH, Process, World, ups


def pair(world: World) -> tuple[Process, Process]:
    a, b = world.start("a"), world.start("b")
    world.link(a, b)
    return a, b


def hello(life: str, nonce: int, echo: int, dst_incarnation: str = "a:1") -> bytes:
    return encode(Hello(1, 1, "b", f"b:{life}", "mem://b", "a", dst_incarnation, 0, nonce, echo), 1)


# --------------------------------------------------------------------------- handshakes


def test_both_sides_come_up_when_one_connects() -> None:
    a, b = pair(World())
    assert ups(a) == ["b:1"] and ups(b) == ["a:1"]
    assert a.mesh.peer_named("b") == Peer("b", "b:1", "mem://b") and a.mesh.peer_named("c") is None


def test_hellos_are_repeated_with_backoff_until_the_peer_is_there() -> None:
    world = World()
    a = world.start("a")
    a.mesh.connect("b", "mem://b", world.now)
    world.run(0.01)
    start = world.now
    said: list[float] = []
    for _ in range(500):
        before = len(a.sent)
        world.run(0.01)
        said += [round(world.now - start, 2)] * (len(a.sent) - before)
    assert said[0] == pytest.approx(0.1, abs=0.02) and len(said) == 7  # 0.1, 0.3, 0.7, 1.5, 2.5, 3.5, 4.5
    b = world.start("b")
    world.run(1.1)
    assert a.is_up("b:1") and b.is_up("a:1")


def test_connecting_again_changes_nothing() -> None:
    world = World()
    a, b = pair(world)
    before = len(a.sent)
    a.mesh.connect("b", "mem://b", world.now)
    a.mesh.connect("b", "mem://b", world.now)
    world.run(0.5)
    assert len(a.sent) == before and ups(a) == ["b:1"] and b.is_up("a:1")


def test_a_new_incarnation_takes_the_name_over() -> None:
    world = World()
    a, _ = pair(world)
    a.mesh.send("b:1", b"to the dead", world.now)
    b2 = world.start("b", "2")
    b2.mesh.connect("a", "mem://a", world.now)
    world.run(0.1)
    assert [e for e in a.events if isinstance(e, PeerUp | PeerDown)][1:] == [PeerDown("b:1", "replaced"), PeerUp(b2.mesh.me)]
    assert a.mesh.send("b:1", b"x", world.now) == 0 and a.mesh.send("b:2", b"first", world.now) == 1
    world.run(0.1)
    assert b2.frames("a:1") == [b"first"]


def test_a_restarted_process_that_knows_nobody_is_found_by_its_peers_silence_timer() -> None:
    world = World()
    a, _ = pair(world)
    b2 = world.start("b", "2")
    world.run(0.1)
    assert not a.is_up("b:2")
    world.run(3.5)
    assert a.is_up("b:2") and b2.is_up("a:1")


def test_a_restarted_process_is_greeted_when_the_transport_reaches_it() -> None:
    world = World()
    a, _ = pair(world)
    world.start("b", "2")
    a.mesh.connected("mem://b", world.now)
    world.run(0.01)
    assert a.is_up("b:2")


def test_a_delayed_hello_of_a_dead_incarnation_does_not_take_the_name() -> None:
    """b:0 said hello and died before a read it; a read b:1's first. Only who echoes a's present nonce is alive."""
    world = World()
    a, b = pair(world)
    for packet in (hello("0", 7, 0, ""), hello("0", 7, 1), hello("0", 0, 1)):
        a.tell(a.mesh.receive(packet, "b", world.now), world.now)
    world.run(0.5)
    assert ups(a) == ["b:1"] and a.is_up("b:1") and b.is_up("a:1")


def test_a_retired_incarnation_is_never_talked_to_again() -> None:
    world = World()
    a, b = pair(world)
    assert a.mesh.close("b:1", "expelled", world.now) == [PeerDown("b:1", "expelled")]
    assert a.mesh.close("b:1", "expelled", world.now) == []
    before = len(a.sent)
    b.mesh.send("a:1", b"x", world.now)
    b.mesh.connected("mem://a", world.now)
    a.mesh.connect("b", "mem://b", world.now, "b:1")
    world.run(5)
    assert len(a.sent) == before and a.frames("b:1") == []
    assert a.mesh.counters["retired"] > 0 and a.mesh.counters["stranger"] > 0


def test_the_last_64_retired_incarnations_of_a_name_are_remembered() -> None:
    world = World()
    a = world.start("a")
    for n in range(70):
        a.mesh.close(f"b:{n}", "gone", world.now)
    for n in range(6, 70):
        a.mesh.receive(hello(str(n), 1, 1), "b", world.now)
    assert a.mesh.counters["retired"] == 64


def test_hellos_do_not_breed() -> None:
    world = World(faults=Faults(duplicate=1.0))
    a, b = world.start("a"), world.start("b")
    a.mesh.connect("b", b.endpoint, world.now)
    b.mesh.connect("a", a.endpoint, world.now)
    world.run(0.9)
    assert len(a.sent) + len(b.sent) < 20
    before = len(a.sent) + len(b.sent)
    world.run(0.05)
    assert len(a.sent) + len(b.sent) <= before + 4  # keepalives at most


def test_closing_and_connecting_to_the_next_incarnation_works() -> None:
    world = World()
    a, _ = pair(world)
    b2 = world.start("b", "2")
    a.mesh.close("b:1", "gone from the table", world.now)
    a.mesh.connect("b", "mem://b", world.now, "b:2")
    world.run(0.1)
    assert a.is_up("b:2") and b2.is_up("a:1")


def test_a_peer_at_a_new_endpoint_is_followed() -> None:
    world = World()
    a, _ = pair(world)
    b2 = world.start("b", "2")
    world.network.leave("mem://b")
    world.network.join("mem://b2", "b")
    b2.endpoint = "mem://b2"
    b2.mesh.me = Peer("b", "b:2", "mem://b2")
    b2.mesh.connect("a", "mem://a", world.now)
    world.run(0.1)
    assert a.mesh.peer_named("b") == Peer("b", "b:2", "mem://b2") and a.mesh.name_at("mem://b2") == "b"


def test_an_incarnation_must_bear_its_name() -> None:
    with pytest.raises(ValueError, match="not of the form"):
        Mesh(Peer("a", "b:1", ""), MeshLimits(), 0.0)


# -------------------------------------------------------------------------------- names


def test_a_packet_under_another_name_than_the_vouched_one_is_dropped_and_counted() -> None:
    world = World()
    a, _ = pair(world)
    forged = encode(Data("b:1", "a:1", 0, 1, 0, 0, [b"forged"]), 1)
    assert a.mesh.receive(forged, "mallory", world.now) == []
    assert a.mesh.receive(hello("2", 5, 2), "mallory", world.now) == []
    assert a.mesh.receive(encode(Data("a:1", "a:1", 0, 1, 0, 0, [b"me"]), 1), "a", world.now) == []
    assert a.mesh.counters["wrong_name"] == 3
    assert a.mesh.receive(forged, "b", world.now) == [FrameIn("b:1", b"forged")]


def test_a_frame_for_another_incarnation_is_dropped_and_answered_by_a_hello_at_a_bounded_rate() -> None:
    world = World()
    a, b = pair(world)
    before = len(a.sent)
    for _ in range(50):
        assert a.mesh.receive(encode(Data("b:1", "a:0", 0, 1, 0, 0, [b"old"]), 1), "b", world.now) == []
    world.run(0.01)
    answers = [decode(packet) for _, packet in a.sent[before:]]
    assert len([p for p in answers if isinstance(p, Hello)]) == 1 and a.frames("b:1") == []
    assert b.is_up("a:1")


# ------------------------------------------------------------------------------- frames


def test_frames_and_answers_cross_a_rough_network_in_order_and_once() -> None:
    for seed in range(8):
        world = World(seed, ROUGH)

        def refuse(process: Process, event: Event, now: float) -> None:
            if isinstance(event, FrameIn) and process.mesh.me.name == "b":
                assert process.mesh.send(event.incarnation, b"no:" + event.frame, now, answer=True)

        a, b = world.start("a"), world.start("b", on_event=refuse)
        a.mesh.connect("b", b.endpoint, world.now)
        world.run(3)
        given_ = []
        for n in range(300):
            frame = b"%d" % n
            assert a.mesh.send("b:1", frame, world.now) == n + 1
            given_.append(frame)
            if n % 7 == 0:
                world.run(0.003)
        world.run(20)
        assert b.frames("a:1") == given_ and a.frames("b:1") == [b"no:" + frame for frame in given_]
        refused = 0
        for event in a.events:
            refused += isinstance(event, FrameIn)
            assert not isinstance(event, Acked) or event.number <= refused
        assert a.acked("b:1") == 300


def test_a_one_way_cut_delays_and_loses_nothing() -> None:
    world = World()
    a, b = pair(world)
    world.network.cut("mem://b", "mem://a")
    for n in range(100):
        a.mesh.send("b:1", b"%d" % n, world.now)
        world.run(0.01)
    assert a.acked("b:1") == 0 and len(b.frames("a:1")) >= 20
    world.run(30)
    world.network.heal()
    world.run(5)
    assert b.frames("a:1") == [b"%d" % n for n in range(100)] and a.acked("b:1") == 100


def test_a_full_window_is_said_once_it_is_open_again() -> None:
    limits = MeshLimits(window_frames=32, packet_frames_max=8)
    world = World(limits=limits)
    a, _ = pair(world)
    assert [a.mesh.send("b:1", b"x", world.now) for _ in range(34)][-3:] == [32, 0, 0]
    world.run(0.1)
    assert WindowOpen("b:1") in a.events and a.mesh.send("b:1", b"x", world.now) == 33


def test_frames_of_a_busy_time_share_packets() -> None:
    world = World()
    a, b = pair(world)
    before = len(a.sent)
    for n in range(200):
        a.mesh.send("b:1", b"%d" % n, world.now)
        world.run(0.0001)
    world.run(0.1)
    assert len(b.frames("a:1")) == 200
    assert len(a.sent) - before <= 13  # 20 ms, a packet each 2 ms


def test_idle_links_exchange_keepalives_only() -> None:
    world = World()
    a, b = pair(world)
    world.run(0.5)
    before = len(a.sent), len(b.sent)
    world.run(10)
    assert len(a.sent) - before[0] == len(b.sent) - before[1] == 10
    heard = a.mesh.heard_at("b:1")
    assert heard is not None and world.now - heard < 1.1
    assert not any(isinstance(decode(packet), Hello) for _, packet in a.sent[before[0] :])


def test_a_lost_connection_is_reported_and_a_new_one_resends_at_once() -> None:
    world = World()
    a, b = pair(world)
    world.network.cut("mem://a", "mem://b")
    a.mesh.send("b:1", b"x", world.now)
    world.run(0.01)
    assert a.mesh.disconnected("mem://b", world.now) == [Disconnected("b:1")]
    assert a.mesh.disconnected("mem://nobody", world.now) == []
    world.network.heal()
    a.mesh.connected("mem://b", world.now)
    world.run(0.01)
    assert b.frames("a:1") == [b"x"]


# ------------------------------------------------------------------------------- epochs


def test_a_packet_of_a_higher_epoch_waits_for_the_table() -> None:
    world = World()
    a, b = pair(world)
    b.mesh.set_epoch(7, world.now)
    for n in range(3):
        b.mesh.send("a:1", b"%d" % n, world.now)
        world.run(0.01)
    assert a.frames("b:1") == [] and b.events[-1] == TableWanted("a:1", 0) and b.acked("a:1") == 0
    b.mesh.send_table("a:1", b"delta", world.now)
    world.run(0.01)
    assert a.events[-1] == TableIn("b:1", b"delta") and a.frames("b:1") == []
    assert a.mesh.set_epoch(6, world.now) == []
    released = a.mesh.set_epoch(7, world.now)
    assert [e for e in released if isinstance(e, FrameIn)] == [FrameIn("b:1", b"%d" % n) for n in range(3)]
    world.run(0.1)
    assert b.acked("a:1") == 3


def test_what_is_held_is_bounded_and_nothing_of_it_is_lost() -> None:
    limits = MeshLimits(window_frames=32, packet_frames_max=8)
    world = World(limits=limits)
    a, b = pair(world)
    b.mesh.set_epoch(7, world.now)
    for n in range(32):
        b.mesh.send("a:1", b"%d" % n, world.now)
        world.run(0.01)
    for copy in [packet for _, packet in b.sent] * 50:
        a.tell(a.mesh.receive(copy, "b", world.now), world.now)
    assert a.mesh.stats()["b:1"].held_packets <= 32 and a.mesh.counters["held_full"] > 0
    a.tell(a.mesh.set_epoch(7, world.now), world.now)
    world.run(5)
    assert a.frames("b:1") == [b"%d" % n for n in range(32)] and b.acked("a:1") == 32


def test_held_packets_are_bounded_in_bytes() -> None:
    limits = MeshLimits(window_bytes=10_000, frame_bytes_max=9000, packet_bytes_max=9000)
    world = World(limits=limits)
    a, _ = pair(world)
    for n in range(20):
        a.mesh.receive(encode(Data("b:1", "a:1", 9, n + 1, 0, 0, [bytes(3000)]), 1), "b", world.now)
    assert a.mesh.stats()["b:1"].held_packets == 3 and a.mesh.counters["held_full"] == 17


def test_the_table_is_asked_of_one_peer_after_the_other_until_it_is_there() -> None:
    world = World()
    a, b, c = world.start("a"), world.start("b"), world.start("c")
    world.link(a, b)
    world.link(a, c)
    for other in (b, c):
        other.mesh.set_epoch(5, world.now)
        other.mesh.send("a:1", b"x", world.now)
    world.run(1.0)
    wanted = [sum(isinstance(e, TableWanted) for e in other.events) for other in (b, c)]
    assert sum(wanted) in (5, 6) and abs(wanted[0] - wanted[1]) <= 1
    a.tell(a.mesh.set_epoch(5, world.now), world.now)
    world.run(1.0)
    assert a.frames("b:1") == a.frames("c:1") == [b"x"]
    assert [sum(isinstance(e, TableWanted) for e in other.events) for other in (b, c)] == wanted


def test_a_process_without_a_table_holds_nothing_and_says_epoch_0() -> None:
    world = World()
    a, w = world.start("a"), world.start("w", follow=False)
    world.link(a, w)
    a.mesh.set_epoch(9, world.now)
    w.mesh.set_epoch(12, world.now)
    a.mesh.send("w:1", b"row", world.now)
    w.mesh.send("a:1", b"done", world.now)
    world.run(0.1)
    assert w.frames("a:1") == [b"row"] and a.frames("w:1") == [b"done"]


# ----------------------------------------------------------------------------- versions


def test_neighbouring_releases_speak_the_version_that_both_know() -> None:
    world = World()
    old, new = world.start("a", versions=(1, 2)), world.start("b", versions=(2, 3))
    world.link(old, new)
    old.mesh.send("b:1", b"x", world.now)
    new.mesh.send("a:1", b"y", world.now)
    world.run(0.1)
    assert new.frames("a:1") == [b"x"] and old.frames("b:1") == [b"y"]
    assert {packet[0] for _, packet in old.sent if not isinstance(decode(packet, (1, 3)), Hello)} == {2}


def test_releases_too_far_apart_count_each_other_and_stay_apart() -> None:
    world = World()
    a, b = world.start("a"), world.start("b", versions=(5, 6))
    a.mesh.connect("b", b.endpoint, world.now)
    b.mesh.connect("a", a.endpoint, world.now)
    world.run(5)
    assert a.mesh.peers() == b.mesh.peers() == []
    assert a.mesh.counters["incompatible"] > 0 and b.mesh.counters["incompatible"] > 0
    assert len(a.sent) + len(b.sent) < 40


def test_a_packet_of_another_version_is_answered_by_a_hello_of_ours() -> None:
    world = World()
    a, _ = pair(world)
    before = len(a.sent)
    for _ in range(20):
        assert a.mesh.receive(b"\x09" + b"whatever it means there", "b", world.now) == []
    assert a.mesh.receive(b"\x09" + b"whatever it means there", None, world.now) == []
    world.run(0.01)
    assert a.mesh.counters["other_version"] == 21
    assert [type(decode(packet)) for _, packet in a.sent[before:]] == [Hello]


def test_a_hello_of_a_later_release_may_have_more_fields() -> None:
    world = World()
    a = world.start("a")
    fields = msgspec.msgpack.decode(hello("9", 3, 1)[1:])
    later = b"\x01" + msgspec.msgpack.encode([*fields, "something new", {"more": 1}])
    assert a.mesh.receive(later, "b", world.now) == [PeerUp(Peer("b", "b:9", "mem://b"))]


# ------------------------------------------------------------------------------ garbage

numbers = st.integers(0, 2**63 - 1)
texts = st.sampled_from(("a", "b", "a:1", "b:1", "b:2", "", "mem://a", ":", "b:")) | st.text(max_size=5)
packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(Hello, numbers, numbers, texts, texts, texts, texts, texts, numbers, numbers, numbers),
    st.builds(Data, texts, texts, numbers, numbers, numbers, numbers, st.lists(st.binary(max_size=9), max_size=4)),
    st.builds(TableRequest, texts, texts, numbers, numbers),
    st.builds(Table, texts, texts, numbers, st.binary(max_size=9)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=60) | packets, st.sampled_from(("b", "c", None)), st.integers(0, 255)), max_size=12))
def test_whatever_arrives_never_raises(arrivals: list[tuple[bytes | Packet, str | None, int]]) -> None:
    world = World()
    a, _ = pair(world)
    for thing, sender, version in arrivals:
        data = thing if isinstance(thing, bytes) else encode(thing, 1 if version > 20 else version)
        for event in a.mesh.receive(data, sender, world.now):
            assert isinstance(event, Event)
        world.run(0.01)
    assert set(a.mesh.counters) == set(COUNTERS)


def test_mangled_and_nested_packets_are_counted_and_the_mesh_goes_on() -> None:
    world = World()
    a, b = pair(world)
    random = Random(5)
    good = encode(Data("b:1", "a:1", 0, 1, 0, 0, [b"x" * 40]), 1)
    bombs = [
        b"\x01" + b"\x91" * 200_000,
        b"\x01\xdd\xff\xff\xff\xff",
        b"\x01\x98\x02\xa3b:1\xa3a:1\x00\x01\x00\x00\xdd\xff\xff\xff\xff",
        good + b"\x91" * 100_000,
        b"\x01\x99\x02\xa3b:1\xa3a:1\x00\x01\x00\x00\x90" + b"\x91" * 100_000 + b"\x90",
        b"",
        b"\x01",
    ]
    for bomb in bombs:
        assert a.mesh.receive(bomb, "b", world.now) == []
    assert a.mesh.counters["malformed"] == len(bombs)
    for _ in range(3000):
        cut = bytearray(good[: random.randrange(len(good) + 1)])
        if cut:
            struct.pack_into("B", cut, random.randrange(len(cut)), random.randrange(256))
        a.mesh.receive(bytes(cut), "c", world.now)
    world.run(0.1)
    b.mesh.send("a:1", b"still here", world.now)
    world.run(0.1)
    assert a.frames("b:1") == [b"still here"]


def test_hellos_of_ever_new_names_are_bounded() -> None:
    world = World(limits=MeshLimits(peers_max=50, control_packets_max=60))
    a = world.start("a")
    for n in range(200):
        a.mesh.receive(encode(Hello(1, 1, f"n{n}", f"n{n}:1", f"mem://n{n}", "a", "", 0, 1, 0), 1), f"n{n}", world.now)
        a.mesh.receive(encode(Hello(1, 1, "n0", "n0:1", f"mem://n{n}", "a", "", 0, 1, 0), 1), "n0", world.now)
    assert a.mesh.counters["too_many_peers"] == 150 and a.mesh.counters["control_full"] > 0
    assert len(a.mesh.poll(world.now)) <= 60


@pytest.mark.parametrize("endpoint", ["tcp://db.example.org:7501", "tcp://1z7.0.0.1:7501", "tcp://eth0:7501", "tcp://127.0.0.1", "tcp://127.0.0.1:0",
    "tcp://127.0.0.1:70000", "tcp://*:*", "inproc://b", "ipc:///b", "", "tcp://[::1]:1\n"])  # fmt: skip
def test_a_hello_whose_endpoint_is_no_numeric_address_is_not_answered(endpoint: str) -> None:
    """ZeroMQ would look the name up in the thread that carries all traffic."""
    mesh = Mesh(Peer("a", "a:1", "tcp://127.0.0.1:1"), MeshLimits(), 0.0)
    said = Hello(1, 1, "b", "b:1", endpoint, "a", "a:1", 0, 7, 0)
    assert mesh.receive(encode(said, 1), "b", 0.1) == [] and mesh.counters["misdirected"] == 1 and not mesh.poll(0.1)
    for good in ("tcp://10.1.2.3:7501", "tcp://[fe80::1]:7501"):
        mesh.receive(encode(msgspec.structs.replace(said, endpoint=good), 1), "b", 0.2)
        assert [to for to, _ in mesh.poll(0.2)] == [good]
