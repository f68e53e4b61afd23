"""Cluster time (``design.md`` §4): milliseconds, the same for all processes within a few of them, never going back.

``DirectoryClock`` is the source. It must not know where its last value is kept; its owner hands in what was stored and the wall clock.
``ClusterClock`` is every other process's estimate, learnt from the round trips of its renewals.

Law: neither ever returns less than it has returned, whatever wall clocks, delays and restarts of the directory do.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 8
"""Round trips remembered: some three seconds of renewals, so that a quick one is among them, and no drift builds up."""
SLEW = 0.1
"""How much faster or slower than the monotonic clock the estimate runs while it is corrected."""
STEP_MS = 500.0
"""Behind by more than this, the estimate jumps forward. It never jumps back."""


class DirectoryClock:
    """The directory's time: what was stored or the wall clock, whichever is later, then driven by the monotonic clock alone."""

    def __init__(self) -> None:
        self._base_ms = 0.0
        self._latest_ms = 0

    def start(self, stored_ms: int, wall_ms: int, now: float) -> None:
        """Begins, or begins again after another replica led, not before ``stored_ms``, the wall clock or what was returned so far."""
        self._base_ms = max(stored_ms, wall_ms, self._latest_ms) - now * 1000

    def time_ms(self, now: float) -> int:
        self._latest_ms = max(self._latest_ms, int(self._base_ms + now * 1000))
        return self._latest_ms


class ClusterClock:
    """A process's estimate of cluster time.

    Args:
        guess_ms: what to answer before the first sample, for instance the wall clock.
        now: the monotonic clock.
    """

    def __init__(self, guess_ms: int, now: float) -> None:
        self.known = False
        """Whether a sample was taken: before, the time is a guess and must not be written anywhere."""
        self._offset_ms = guess_ms - now * 1000
        self._aim_ms = self._offset_ms
        self._slewed_at = now
        self._latest_ms = 0
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def sample(self, sent_at: float, time_ms: int, now: float) -> None:
        """Learns from a question sent at ``sent_at`` and answered with ``time_ms``: the quickest of the last round trips is believed."""
        if now < sent_at:
            return
        self._slew(now)
        self._samples.append((now - sent_at, time_ms - (sent_at + now) / 2 * 1000))
        self._aim_ms = min(self._samples)[1]
        if not self.known or self._aim_ms - self._offset_ms > STEP_MS:
            self._offset_ms = self._aim_ms
            self._latest_ms = self._latest_ms if self.known else 0
        self.known = True

    def time_ms(self, now: float) -> int:
        self._slew(now)
        self._latest_ms = max(self._latest_ms, int(self._offset_ms + now * 1000))
        return self._latest_ms

    def _slew(self, now: float) -> None:
        room = max(0.0, now - self._slewed_at) * 1000 * SLEW
        self._slewed_at = max(self._slewed_at, now)
        self._offset_ms += max(-room, min(room, self._aim_ms - self._offset_ms))
