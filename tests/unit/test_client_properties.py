"""The client core under any history: nothing is shown twice or out of order, whatever a server says; with an honest one all arrives."""

from __future__ import annotations

import string
from itertools import pairwise
from random import Random
from typing import Any

from homing import codes
from homing.effects import Gap, Refused, Shown, Stored
from homing.limits import Limits
from homing.protocol import (
    Entries,
    Error,
    Fetch,
    Head,
    HeadChanged,
    Heads,
    Mark,
    Message,
    Pong,
    Receipts,
    Reconnect,
    Sent,
    ServerFrame,
    Synced,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.client_fakes import BOB, CHAT, EVE, GROUP, ME, WELCOME, Device, Server, entry, error

# ---------------------------------------------------------------- any server

seqs = st.integers(0, 12)
conversations = st.sampled_from([CHAT, GROUP])
ids_ = st.sampled_from(["m0", "m1", "~1", "~2", "~3", "?1", "q", *string.ascii_lowercase[:3]])
entries_ = st.builds(entry, seqs, st.sampled_from([ME, BOB, EVE]), ids_, conversations)
heads = st.builds(Head, conversation=conversations, seq=seqs, ordinal=seqs, last=st.none() | entries_, delivered=seqs, read=seqs)
marks = st.lists(st.builds(Mark, st.sampled_from([ME, BOB]), seqs, seqs), max_size=3)
any_code = st.sampled_from(sorted(codes.CODES.values())).map(lambda c: c.number) | st.integers(-5, 9000)
frames: st.SearchStrategy[ServerFrame] = st.one_of(
    st.builds(Message, entry=entries_),
    st.builds(Message, entry=entries_),
    st.builds(Sent, id=ids_, entry=entries_),
    st.builds(HeadChanged, conversation=conversations, seq=seqs),
    st.builds(Heads, heads=st.lists(heads, max_size=3), id=st.none() | ids_),
    st.builds(Entries, id=ids_, conversation=conversations, entries=st.lists(entries_, max_size=6), head=seqs),
    st.builds(Receipts, conversation=conversations, marks=marks),
    st.builds(Synced, cursor=st.just("c")),
    st.builds(Pong, time=st.just(0), cursor=st.none() | st.just("d")),
    st.builds(
        Error,
        code=any_code,
        name=st.just("e"),
        message=st.just(""),
        id=st.none() | ids_,
        retry_after_ms=st.none() | st.integers(0, 900),
        conversation=st.none() | conversations,
    ),
    st.builds(Reconnect, after_ms=st.integers(0, 900)),
    st.just(WELCOME),
)
steps = st.one_of(frames, frames, frames, st.sampled_from(["tick", "cut", "send", "ask", "read", "restart"]))


def in_order_and_once(device: Device) -> None:
    for conversation in (CHAT, GROUP):
        seqs_ = device.shown(conversation)
        assert all(a < b for a, b in pairwise(seqs_)), seqs_
        holes = {
            n for e in device.effects if isinstance(e, Gap) and e.conversation == conversation for n in range(e.from_seq, e.to_seq + 1)
        }
        missing = set(range(seqs_[0], seqs_[-1])) - set(seqs_) if seqs_ else set()
        assert missing <= holes, "passed over in silence"


@settings(max_examples=400, deadline=None)
@given(st.lists(steps, max_size=60))
def test_no_server_makes_it_show_an_entry_twice_or_out_of_order_or_fail(history: list[Any]) -> None:
    device = Device(
        limits=Limits(held_entries_max=4, held_total_max=6, unknown_entries_max=5, catchup_entries_max=8, outbox_requests_max=50)
    )
    sent = 0
    for step in history:
        if not device.open and device.core.session.state != "closed":
            device.connect()
        match step:
            case "tick" if device.core.next_deadline() is not None:
                device.tick()
            case "cut":
                device.disconnect()
            case "send":
                device.send(f"m{sent}")
                sent += 1
            case "ask":
                device.core.cancel("q")
                device.do(*device.core.fetch_history("q", CHAT, 5, 3, device.now))
                device.flush()
            case "read":
                device.do(*device.core.read(CHAT, 3, device.now))
                device.flush()
            case "restart":
                device = device.restarted()
            case str():
                pass
            case frame:
                device.give(frame)
        in_order_and_once(device)


# ---------------------------------------------------------------- an honest server behind a bad network


class History:
    """Random faults from one seed: frames lost with their connection, put off, overtaken, doubled; refusals; restarts."""

    def __init__(self, seed: int) -> None:
        self.r = Random(seed)
        self.server = Server(scan_max=12)
        self.limits = Limits(held_entries_max=6, unknown_entries_max=1000, fetch_entries=5)
        self.device = Device(limits=self.limits, random=self.r.random)
        self.device.live(self.server)  # so that it is no new device: all that comes later must be shown
        self.to_device: list[ServerFrame] = []
        self.queued: list[str] = []

    def step(self) -> None:
        r, device = self.r, self.device
        match r.choice(
            ["append", "append", "append", "send", "serve", "serve", "serve", "give", "give", "give", "give", "tick", "cut", "restart"]
        ):
            case "append":
                for _ in range(r.choice([1, 1, 1, 2, 8])):
                    e = self.server.append()
                    kind = r.random()
                    if device.open and kind < 0.9:
                        self.to_device.append(Message(entry=e) if kind < 0.7 else HeadChanged(conversation=CHAT, seq=e.seq))
            case "send":
                self.queued.append(f"m{len(self.queued)}")
                device.send(self.queued[-1])
            case "serve" if device.to_server:
                frame = device.to_server.pop(0)
                if r.random() < 0.2 and getattr(frame, "id", None):
                    self.to_device.append(error(r.choice([codes.OVERLOADED, codes.UNAVAILABLE]), frame.id, r.choice([None, 100])))  # type: ignore[union-attr]  # it has an id
                elif r.random() < 0.9 or not isinstance(frame, Fetch):
                    self.to_device += self.server.answer(frame)
            case "give" if self.to_device and device.open:
                # Order holds within a conversation's answers only as far as a mesh keeps it: entries may overtake each other.
                at = r.randrange(min(3, len(self.to_device))) if all(isinstance(f, Message) for f in self.to_device[:3]) else 0
                frame_ = self.to_device.pop(at)
                device.give(frame_)
                if r.random() < 0.1 and isinstance(frame_, Message):
                    device.give(frame_)
            case "tick" if device.core.next_deadline() is not None:
                device.tick()
            case "cut":
                self.cut()
            case "restart":
                self.device = device.restarted()
                self.to_device.clear()
        if not self.device.open and r.random() < 0.5:
            self.to_device.clear()
            self.device.connect()

    def cut(self) -> None:
        self.to_device.clear()
        if self.device.open:
            self.device.disconnect()

    def heal(self) -> None:
        self.cut()
        self.device.live(self.server)
        for _ in range(400):
            self.device.tick()
            self.device.talk(self.server)
            if not self.device.core.outbox and self.device.core.conversations.get(CHAT, None) is not None:
                state = self.device.core.conversations[CHAT]
                if state.contig == len(self.server.logs.get(CHAT, [])):
                    return


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_with_an_honest_server_everything_is_shown_and_sent_exactly_once(seed: int) -> None:
    history = History(seed)
    for _ in range(history.r.randint(10, 120)):
        history.step()
    history.server.append()
    history.heal()
    log = history.server.logs[CHAT]
    assert history.device.shown() == [e.seq for e in log], "not everything was shown in order"
    own = [e.id for e in log if e.sender == ME]
    assert own == history.queued, "lost, doubled or out of order"
    assert not [e for e in history.device.effects if isinstance(e, Gap | Refused)]


def test_every_queued_message_is_answered_once_over_restarts_of_the_connection() -> None:
    history = History(7)
    for i in range(20):
        history.device.send(f"m{i}")
        history.queued.append(f"m{i}")
        if i % 5 == 0:
            history.cut()
            history.device.connect()
    history.heal()
    assert [e.id for e in history.device.effects if isinstance(e, Stored)] == history.queued
    assert [e.entry.id for e in history.device.effects if isinstance(e, Shown)] == history.queued
