"""One direction-pair between two incarnations: numbered frames, handled in order and once, whatever happens to packets.

Owns the window (frames kept encoded until acknowledged), the numbers of both directions, resending and the pace. Knows nothing of
names, handshakes, epochs or sockets; time is an argument; randomness is not needed.

Laws:

* Frames are delivered in the order of their numbers, each once. Packets may be lost, doubled, delayed or reordered.
* An acknowledgement means *handled*. It counts at the receiver only in a packet that continues the sequence: all frames that the peer
  had numbered when it reached that acknowledgement must have been delivered. Hence a packet that reaches to the newest numbered frame
  carries all that is handled, one that does not (a resent one) only what was handled when its last frame was the newest; its frames
  are delivered before it, and behind a gap it is ignored. So a refusal that the peer sent while it handled our frame n is seen before
  the acknowledgement of n.
* At most one window of frames is kept, with answers three (see ``send``).
* Without progress the link stalls: it only probes, with backoff, until the peer is heard.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from math import inf

from router.events import Acked, Event, FrameIn, LinkStats, Peer, WindowOpen
from router.limits import MeshLimits
from router.packets import Data, encode

ANSWER_SHARE = 3


class Link:
    """The link from ``me`` (an incarnation) to ``peer``; ``version`` is the protocol version that both speak."""

    __slots__ = (
        "_ack_due",
        "_acked",
        "_ask_ok_at",
        "_backoff_s",
        "_bad_acks",
        "_bytes",
        "_data_sent_at",
        "_duplicates",
        "_expected",
        "_frames_out",
        "_gap",
        "_gaps",
        "_keepalive_due",
        "_limits",
        "_marks",
        "_me",
        "_next_no",
        "_outbox",
        "_packets_in",
        "_packets_out",
        "_refusals",
        "_refused",
        "_resend_due",
        "_resend_from",
        "_resend_ok_at",
        "_resend_want",
        "_resent",
        "_send_due",
        "_stalled",
        "_unsent",
        "_unsent_bytes",
        "heard_at",
        "peer",
        "version",
    )

    def __init__(self, me: str, peer: Peer, version: int, limits: MeshLimits, now: float) -> None:
        self.peer = peer
        self.heard_at = now
        self._me, self.version, self._limits = me, version, limits
        # What we send. Frames _acked + 1 to _next_no - 1 are in _outbox (put on the wire at least once), then in _unsent.
        self._outbox: deque[bytes] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = self._bytes = self._acked = 0
        self._next_no = 1
        self._refused = self._stalled = False
        self._resend_from = 0  # other than 0: send everything again from this number, at the next poll
        self._resend_want = 0
        self._resend_ok_at = -inf
        self._send_due = self._resend_due = inf
        self._marks: deque[tuple[int, int]] = deque([(0, 0)])  # (frame, what was handled when that was the newest), both ascending
        self._data_sent_at = -inf
        self._backoff_s = limits.resend_s
        # What we receive.
        self._expected = 1
        self._gap = False
        self._ask_ok_at = -inf
        self._ack_due = inf
        self._keepalive_due = now + limits.keepalive_s
        self._frames_out = self._packets_out = self._packets_in = self._resent = 0
        self._duplicates = self._gaps = self._bad_acks = self._refusals = 0

    # ------------------------------------------------------------------ sending

    def send(self, frame: bytes, now: float, answer: bool = False) -> int:
        """Takes a frame; returns its number, or 0 when the window is full.

        ``answer``: a frame that answers one of the peer's (a refusal must not fail for want of room) may use ANSWER_SHARE windows. With
        one answer a frame, no larger than it, at most two windows of answers are under way: one to frames that the peer does not know to
        be handled, one whose acknowledgement we have not seen (a resent packet says what was handled a window of frames before, at
        worst). So it is never refused.

        Raises:
            ValueError: the frame is larger than ``frame_bytes_max`` (our bug).
        """
        limits = self._limits
        size = len(frame)
        if size > limits.frame_bytes_max:
            raise ValueError(f"frame of {size} bytes, mesh.frame_bytes_max is {limits.frame_bytes_max}")
        share = ANSWER_SHARE if answer else 1
        number = self._next_no
        if number - self._acked > limits.window_frames * share or self._bytes + size > limits.window_bytes * share:
            self._refused = True
            self._refusals += 1
            return 0
        self._next_no = number + 1
        self._bytes += size
        self._unsent.append(frame)
        self._unsent_bytes += size
        if self._send_due == inf and not self._stalled:
            self._send_due = max(now, self._data_sent_at + limits.pace_s)
        if self._unsent_bytes >= limits.packet_bytes_max or len(self._unsent) >= limits.packet_frames_max:
            self._send_due = inf if self._stalled else now
        return number

    def probe(self, now: float) -> None:
        """The connection is back: try now what waits for the timer."""
        if self._outbox:
            self._resend_due = now

    # ---------------------------------------------------------------- receiving

    def receive(self, data: Data, now: float, events: list[Event]) -> None:
        """Handles a packet of this peer; appends what follows from it to ``events``."""
        self.heard_at = now
        self._packets_in += 1
        if data.want:
            self._on_want(data.want, now)
        if data.first_no > self._expected:
            self._on_gap(now)
            return
        if data.frames:
            self._on_frames(data.first_no, data.frames, now, events)
        if data.ack > self._acked:
            self._on_ack(data.ack, now, events)

    def _on_frames(self, first_no: int, frames: list[bytes], now: float, events: list[Event]) -> None:
        fresh = first_no + len(frames) - self._expected
        if fresh > 0:
            self._gap = False
            self._expected += fresh
            incarnation = self.peer.incarnation
            events.extend([FrameIn(incarnation, frame) for frame in (frames if fresh == len(frames) else frames[-fresh:])])
        self._duplicates += len(frames) - max(fresh, 0)
        # A peer that repeats itself has missed our acknowledgement: that one is repeated too.
        self._ack_due = min(self._ack_due, now + self._limits.ack_delay_s)

    def _on_gap(self, now: float) -> None:
        self._gap = True
        self._gaps += 1
        self._ack_due = min(self._ack_due, max(now, self._ask_ok_at))

    def _on_want(self, want: int, now: float) -> None:
        end = self._next_no if self._stalled else self._next_no - len(self._unsent)
        if not self._acked < want < end or (want == self._resend_want and now < self._resend_ok_at):
            return
        self._resend_want, self._resend_ok_at = want, now + self._limits.gap_ask_s
        self._resend_from, self._stalled = want, False

    def _on_ack(self, ack: int, now: float, events: list[Event]) -> None:
        if ack >= self._next_no - len(self._unsent):
            self._bad_acks += 1  # the peer claims what was never sent: its fault, and it changes nothing
            return
        outbox = self._outbox
        for _ in range(ack - self._acked):
            self._bytes -= len(outbox.popleft())
        self._acked = ack
        while len(self._marks) > 1 and self._marks[1][0] <= ack:
            self._marks.popleft()
        self._backoff_s = self._limits.resend_s
        self._resend_due = now + self._backoff_s if outbox else inf
        if self._stalled:
            # The peer is back, and what it lacks behind the probe it cannot know of: send all of it.
            self._stalled = False
            if outbox or self._unsent:
                self._resend_from = ack + 1
        events.append(Acked(self.peer.incarnation, ack))
        if self._refused and self._has_room():
            self._refused = False
            events.append(WindowOpen(self.peer.incarnation))

    def _has_room(self) -> bool:
        limits = self._limits
        used = self._next_no - 1 - self._acked
        return used * 4 <= limits.window_frames * 3 and self._bytes * 4 <= limits.window_bytes * 3

    # ------------------------------------------------------------------- timers

    def soon(self) -> float:
        """When there is something to put on the wire for what was sent or received (at most pace_s or ack_delay_s away), or inf."""
        return -inf if self._resend_from else min(self._send_due, self._ack_due)

    def later(self) -> float:
        """When the link must be polled for its slow timers (resending, keepalive)."""
        return min(self._resend_due, self._keepalive_due)

    def poll(self, epoch: int, now: float, packets: list[bytes]) -> None:
        """Appends the packets that are due at ``now``, which carry ``epoch``."""
        alone = self._ack_due <= now or self._keepalive_due <= now
        if self._resend_from:
            self._resend(epoch, now, packets)
        elif self._send_due <= now or (alone and self._unsent and not self._stalled):
            frames, first_no = self._unsent, self._next_no - len(self._unsent)
            self._take_unsent()
            self._write(first_no, frames, epoch, now, packets)
        if self._resend_due <= now and self._outbox:
            self._probe(epoch, now, packets)
        if self._ack_due <= now or self._keepalive_due <= now:
            self._put(Data(self._me, self.peer.incarnation, epoch, self._next_no, self._handled(), self._take_want(now), []), now, packets)
            self._ack_due = inf

    def _take_unsent(self) -> None:
        self._outbox.extend(self._unsent)
        self._unsent = []
        self._unsent_bytes = 0
        self._send_due = inf

    def _resend(self, epoch: int, now: float, packets: list[bytes]) -> None:
        first_no, self._resend_from = max(self._resend_from, self._acked + 1), 0
        old = self._next_no - len(self._unsent) - first_no
        self._take_unsent()
        frames = list(islice(self._outbox, first_no - self._acked - 1, None))
        self._resent += old
        if frames:
            self._write(first_no, frames, epoch, now, packets)

    def _probe(self, epoch: int, now: float, packets: list[bytes]) -> None:
        """No progress in time: resend the first few frames, and nothing else until the peer is heard."""
        limits = self._limits
        self._take_unsent()
        self._stalled = True
        frames: list[bytes] = []
        size = 0
        for frame in islice(self._outbox, limits.probe_frames):
            size += len(frame)
            if frames and size > limits.probe_bytes:
                break
            frames.append(frame)
        self._resent += len(frames)
        self._write(self._acked + 1, frames, epoch, now, packets)
        self._backoff_s = min(self._backoff_s * 2, limits.resend_max_s)
        self._resend_due = now + self._backoff_s

    def _write(self, first_no: int, frames: list[bytes], epoch: int, now: float, packets: list[bytes]) -> None:
        """Frames as packets of bounded size; only one that reaches to the newest frame may carry the acknowledgement."""
        self._data_sent_at = now
        if self._resend_due == inf:
            self._resend_due = now + self._backoff_s
        self._frames_out += len(frames)
        for part in self._parts(frames):
            last = first_no + len(part) - 1
            want = 0
            if last == self._next_no - 1:
                ack, want, self._ack_due = self._handled(), self._take_want(now), inf
            else:
                ack = next((handled for newest, handled in reversed(self._marks) if newest <= last), 0)
            self._put(Data(self._me, self.peer.incarnation, epoch, first_no, ack, want, part), now, packets)
            first_no = last + 1

    def _parts(self, frames: list[bytes]) -> list[list[bytes]]:
        frames_max, bytes_max = self._limits.packet_frames_max, self._limits.packet_bytes_max
        if len(frames) <= frames_max and sum(map(len, frames)) <= bytes_max:
            return [frames]
        parts: list[list[bytes]] = []
        size = 0
        for frame in frames:
            if not parts or size + len(frame) > bytes_max or len(parts[-1]) >= frames_max:
                parts.append([])
                size = 0
            parts[-1].append(frame)
            size += len(frame)
        return parts

    def _handled(self) -> int:
        """What a packet that reaches to the newest frame acknowledges; remembered for when its frames are sent again."""
        newest, handled = self._next_no - 1, self._expected - 1
        if self._marks[-1][0] == newest:
            self._marks[-1] = (newest, handled)
        else:
            self._marks.append((newest, handled))
        return handled

    def _take_want(self, now: float) -> int:
        if not self._gap or now < self._ask_ok_at:
            return 0
        self._gap, self._ask_ok_at = False, now + self._limits.gap_ask_s
        return self._expected

    def _put(self, data: Data, now: float, packets: list[bytes]) -> None:
        self._keepalive_due = now + self._limits.keepalive_s
        self._packets_out += 1
        packets.append(encode(data, self.version))

    # -------------------------------------------------------------------- state

    def stats(self, held_packets: int) -> LinkStats:
        return LinkStats(
            name=self.peer.name,
            endpoint=self.peer.endpoint,
            frames_out=self._next_no - 1,
            frames_in=self._expected - 1,
            packets_out=self._packets_out,
            packets_in=self._packets_in,
            frames_resent=self._resent,
            frames_duplicate=self._duplicates,
            gaps_seen=self._gaps,
            bad_acks=self._bad_acks,
            refused=self._refusals,
            window_frames=self._next_no - 1 - self._acked,
            window_bytes=self._bytes,
            held_packets=held_packets,
            heard_at=self.heard_at,
            stalled=self._stalled,
        )

    def check(self) -> None:
        """Asserts the invariants of the fields; tests call it after every step."""
        kept = len(self._outbox) + len(self._unsent)
        assert self._acked + kept == self._next_no - 1
        assert self._bytes == sum(map(len, self._outbox)) + sum(map(len, self._unsent))
        assert self._unsent_bytes == sum(map(len, self._unsent))
        assert kept <= ANSWER_SHARE * self._limits.window_frames and self._bytes <= ANSWER_SHARE * self._limits.window_bytes
        assert self._stalled or self._resend_from or not self._unsent or self._send_due < inf
        assert not self._outbox or self._resend_due < inf
