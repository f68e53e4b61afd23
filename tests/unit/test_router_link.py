"""The link: in order, once, nothing lost; the law of acknowledgements; windows, pace, probes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.events import Acked, Event, FrameIn, Peer, WindowOpen
from router.limits import MeshLimits
from router.link import ANSWER_SHARE, Link
from router.packets import Data, decode

SMALL = MeshLimits(window_frames=16, window_bytes=4000, frame_bytes_max=2000, packet_frames_max=4, packet_bytes_max=300, probe_frames=3)


def make(limits: MeshLimits = MeshLimits(), me: str = "a:1", peer: str = "b:1") -> Link:  # noqa: B008  (a frozen value)
    return Link(me, Peer(peer[0], peer, f"mem://{peer[0]}"), 1, limits, 0.0)


def packets_of(link: Link, now: float) -> list[Data]:
    out: list[bytes] = []
    link.poll(0, now, out)
    read = [decode(data) for data in out]
    assert all(isinstance(packet, Data) for packet in read)
    return [packet for packet in read if isinstance(packet, Data)]


def take(link: Link, packets: list[Data], now: float) -> list[Event]:
    events: list[Event] = []
    for packet in packets:
        link.receive(packet, now, events)
        link.check()
    return events


class Wire:
    """Two links over a wire that loses, doubles, delays and overtakes; ``answer`` makes b's answer to a frame, if any."""

    def __init__(self, seed: int, limits: MeshLimits, loss: float, double: float, answer: Callable[[bytes], bytes | None]) -> None:
        self.random, self.loss, self.double = Random(seed), loss, double
        self.now = 0.0
        self.ends = {"a": make(limits, "a:1", "b:1"), "b": make(limits, "b:1", "a:1")}
        self.story: dict[str, list[Event]] = {"a": [], "b": []}
        self.answer = answer
        self.answers_refused = 0
        self.under_way: list[tuple[float, int, str, Data]] = []
        self.no = 0

    def step(self, dt: float) -> None:
        self.now += dt
        for name, link in self.ends.items():
            for packet in packets_of(link, self.now):
                for _ in range(1 + (self.random.random() < self.double)):
                    if self.random.random() >= self.loss:
                        self.no += 1
                        delay = self.random.choice((0.0, 0.001, 0.001, 0.02, 0.3))
                        self.under_way.append((self.now + delay, self.no, "b" if name == "a" else "a", packet))
            link.check()
        due = sorted(entry for entry in self.under_way if entry[0] <= self.now)
        self.under_way = [entry for entry in self.under_way if entry[0] > self.now]
        for _, _, name, packet in due:
            self.arrive(name, packet)

    def arrive(self, name: str, packet: Data) -> None:
        events = take(self.ends[name], [packet], self.now)
        self.story[name] += events
        for event in events:
            if isinstance(event, FrameIn) and name == "b" and (reply := self.answer(event.frame)) is not None:
                self.answers_refused += self.ends["b"].send(reply, self.now, answer=True) == 0

    def frames(self, name: str) -> list[bytes]:
        return [event.frame for event in self.story[name] if isinstance(event, FrameIn)]


def play(
    seed: int, loss: float, double: float, count: int, answer: Callable[[bytes], bytes | None]
) -> tuple[Wire, list[bytes], list[bytes]]:
    """Both ends send ``count`` frames through the faults; then the wire heals until all is quiet."""
    wire = Wire(seed, SMALL, loss, double, answer)
    given_a: list[bytes] = []
    given_b: list[bytes] = []
    for _ in range(20_000):
        for name, given_ in (("a", given_a), ("b", given_b)):
            if len(given_) < count and wire.random.random() < 0.5:
                frame = f"{name}{len(given_)}".encode() + bytes(wire.random.randrange(200))
                if wire.ends[name].send(frame, wire.now):
                    given_.append(frame)
        wire.step(wire.random.choice((0.0, 0.0005, 0.002, 0.05)))
        if len(given_a) == len(given_b) == count:
            break
    wire.loss = wire.double = 0.0
    for _ in range(2000):
        wire.step(0.05)
        if all(end.stats(0).window_frames == 0 for end in wire.ends.values()):
            break
    return wire, given_a, given_b


def none(frame: bytes) -> bytes | None:
    return None


def refusal(frame: bytes) -> bytes | None:
    return b"!" + frame[1:]  # not larger than what it refuses: that is when an answer always has room


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.1, 0.4)), st.sampled_from((0.0, 0.3)), st.integers(1, 120))
def test_frames_arrive_in_order_once_and_none_is_lost(seed: int, loss: float, double: float, count: int) -> None:
    wire, given_a, given_b = play(seed, loss, double, count, none)
    assert wire.frames("b") == given_a and wire.frames("a") == given_b and len(given_a) == len(given_b) == count
    for name in ("a", "b"):
        numbers = [event.number for event in wire.story[name] if isinstance(event, Acked)]
        assert numbers == sorted(set(numbers)) and numbers[-1] == count
        assert wire.ends[name].stats(0).bad_acks == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.1, 0.4)), st.sampled_from((0.0, 0.3)), st.integers(1, 120))
def test_a_refusal_is_seen_before_the_acknowledgement_of_what_it_refuses(seed: int, loss: float, double: float, count: int) -> None:
    wire, given_a, _ = play(seed, loss, double, count, refusal)
    assert wire.answers_refused == 0
    refused = 0
    for event in wire.story["a"]:
        if isinstance(event, FrameIn) and event.frame.startswith(b"!"):
            assert event.frame == refusal(given_a[refused])
            refused += 1
        elif isinstance(event, Acked):
            assert event.number <= refused
    assert refused == count


def test_an_acknowledgement_behind_a_gap_counts_only_after_the_gap_is_filled() -> None:
    a, b = make(), make(me="b:1", peer="a:1")
    a.send(b"order", 0.0)
    take(b, packets_of(a, 0.0), 0.0)
    b.send(b"refused", 0.0)
    lost = packets_of(b, 0.0)  # carries the frame and the acknowledgement
    a.send(b"order", 0.1)
    take(b, packets_of(a, 0.1), 0.1)
    alone = packets_of(b, 0.11)
    assert [(packet.frames, packet.ack) for packet in lost + alone] == [([b"refused"], 1), ([], 2)]
    assert take(a, alone, 0.11) == []
    assert take(a, lost, 0.12) == [FrameIn("b:1", b"refused"), Acked("b:1", 1)]
    assert take(a, alone, 0.13) == [Acked("b:1", 2)]


def test_a_resent_packet_acknowledges_only_what_was_handled_when_its_frames_were_the_newest() -> None:
    a, b = make(SMALL), make(SMALL, "b:1", "a:1")
    for n in range(3):
        a.send(b"x", n * 0.01)
        take(b, packets_of(a, n * 0.01), n * 0.01)
        for k in range(6):
            b.send(b"answer %d to %d" % (k, n), n * 0.01) if n < 2 else None
        assert [packet.ack for packet in packets_of(b, n * 0.01)] == ([n, n + 1] if n < 2 else [])
    b.receive(Data("a:1", "b:1", 0, 4, 0, 1, []), 0.1, [])  # all was lost: a asks for it again
    again = packets_of(b, 0.1)
    assert [(packet.first_no, len(packet.frames), packet.ack) for packet in again] == [(1, 4, 0), (5, 4, 1), (9, 4, 3)]


def test_the_first_frame_goes_at_once_and_what_follows_goes_together() -> None:
    a = make()
    a.send(b"first", 0.0)
    assert a.soon() == 0.0
    assert [packet.frames for packet in packets_of(a, 0.0)] == [[b"first"]]
    for n in range(5):
        a.send(b"%d" % n, 0.0005)
    assert packets_of(a, 0.001) == []
    assert a.soon() == pytest.approx(0.002)
    assert [packet.frames for packet in packets_of(a, 0.002)] == [[b"0", b"1", b"2", b"3", b"4"]]


def test_a_full_packet_does_not_wait_for_the_pace() -> None:
    a = make(SMALL)
    a.send(b"x", 0.0)
    packets_of(a, 0.0)
    for _ in range(4):
        a.send(b"x", 0.0001)
    assert a.soon() <= 0.0001


def test_an_acknowledgement_rides_on_data_or_leaves_alone_in_time() -> None:
    a, b = make(), make(me="b:1", peer="a:1")
    a.send(b"x", 0.0)
    take(b, packets_of(a, 0.0), 0.0)
    assert packets_of(b, 0.001) == [] and b.soon() == pytest.approx(0.002)
    b.send(b"y", 0.001)
    (riding,) = packets_of(b, 0.001)
    assert riding.frames == [b"y"] and riding.ack == 1
    assert packets_of(b, 0.002) == []
    take(a, [riding], 0.001)
    (alone,) = packets_of(a, 0.003)
    assert alone.frames == [] and alone.ack == 1 and alone.first_no == 2


def test_the_window_refuses_and_says_when_it_is_open_again() -> None:
    a, b = make(SMALL), make(SMALL, "b:1", "a:1")
    numbers = [a.send(b"x", 0.0) for _ in range(20)]
    assert numbers == [*range(1, 17), 0, 0, 0, 0]
    assert a.stats(0).refused == 4
    take(b, packets_of(a, 0.0), 0.0)
    events = take(a, packets_of(b, 0.01), 0.01)
    assert events == [Acked("b:1", 16), WindowOpen("b:1")]
    assert a.send(b"x", 0.02) == 17


def test_the_window_is_bounded_in_bytes_and_answers_have_room_beyond_it() -> None:
    a = make(SMALL)
    assert a.send(bytes(2000), 0.0) and a.send(bytes(2000), 0.0)
    assert a.send(b"x", 0.0) == 0
    assert a.send(b"x", 0.0, answer=True) == 3
    taken = sum(a.send(b"x", 0.0, answer=True) > 0 for _ in range(1000))
    assert taken == ANSWER_SHARE * SMALL.window_frames - 3
    a.check()


def test_a_frame_above_the_limit_is_our_bug() -> None:
    with pytest.raises(ValueError, match="frame_bytes_max"):
        make(SMALL).send(bytes(2001), 0.0)


def test_a_silent_peer_costs_one_small_probe_at_growing_intervals() -> None:
    a = make(SMALL)
    for _ in range(16):
        a.send(bytes(100), 0.0)
    packets_of(a, 0.0)
    probes: list[float] = []
    now = 0.0
    while now < 10:
        now = round(now + 0.01, 3)
        with_frames = [packet for packet in packets_of(a, now) if packet.frames]
        assert sum(len(packet.frames) for packet in with_frames) <= SMALL.probe_frames
        probes += [now] * len(with_frames)
    gaps = [round(b - a, 2) for a, b in pairwise(probes)]
    assert probes[0] == pytest.approx(0.25, abs=0.011)
    assert gaps == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]
    assert a.stats(0).stalled


def test_when_the_peer_is_heard_again_all_that_it_lacks_goes_at_once() -> None:
    a, b = make(SMALL), make(SMALL, "b:1", "a:1")
    for n in range(12):
        a.send(b"%d" % n, 0.0)
    packets_of(a, 0.0)  # lost
    a.send(b"later", 0.1)
    packets_of(a, 0.1)  # lost
    probe = packets_of(a, 0.3)
    assert [len(packet.frames) for packet in probe] == [3]
    take(b, probe, 0.3)
    take(a, packets_of(b, 0.31), 0.31)
    take(b, packets_of(a, 0.31), 0.31)
    assert b.stats(0).frames_in == 13


def test_a_gap_is_asked_for_at_a_bounded_rate() -> None:
    a, b = make(), make(me="b:1", peer="a:1")
    a.send(b"lost", 0.0)
    packets_of(a, 0.0)
    asked = 0
    for n in range(40):
        now = 0.003 * (n + 1)
        a.send(b"x", now)
        take(b, packets_of(a, now), now)
        asked += sum(packet.want == 1 for packet in packets_of(b, now))
    assert asked == 3  # in 0.12 s, one at once and one each 0.05 s
    assert b.stats(0).frames_in == 0


def test_what_a_peer_claims_wrongly_changes_nothing() -> None:
    a = make()
    a.send(b"x", 0.0)
    packets_of(a, 0.0)
    a.send(b"y", 0.0001)
    before = a.stats(0)
    events = take(a, [Data("b:1", "a:1", 0, 1, 2, 0, []), Data("b:1", "a:1", 0, 1, 2**60, 2**60, [])], 0.001)
    after = a.stats(0)
    assert events == [] and after.bad_acks == 2 and after.window_frames == before.window_frames


def test_an_idle_link_says_only_that_it_lives() -> None:
    a = make()
    sent = [packet for tick in range(1, 1001) for packet in packets_of(a, tick * 0.01)]
    assert len(sent) == 10 and all(packet.frames == [] for packet in sent)


def test_empty_frames_arrive_as_well() -> None:
    a, b = make(SMALL, "a:1", "b:1"), make(SMALL, "b:1", "a:1")
    sent = [b"", b"x" * 290, b"", b"", b"y" * 20, b"", b"", b"", b""]
    for frame in sent:
        assert a.send(frame, 0.0)
    events = take(b, packets_of(a, 0.1), 0.1)
    assert [event.frame for event in events if isinstance(event, FrameIn)] == sent
