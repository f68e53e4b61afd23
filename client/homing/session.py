"""The connection as the core sees it: states, backoff, hello's answer, heartbeat. Sans-I/O; knows nothing of conversations.

```
idle -start-> connecting -welcome-> syncing -caught up-> live
                  ^  \\                 \\                 /
                  |   `---- lost ------- lost -------- lost
               waiting <------------------'                      any -close-> closed
```
"""

from __future__ import annotations

from collections.abc import Callable

from homing import codes
from homing.effects import Close, Connect, Effect, Resumed, State, StateChanged, Transmit
from homing.limits import Limits
from homing.protocol import Ping


class Session:
    def __init__(self, limits: Limits, random: Callable[[], float], addresses: int = 1) -> None:
        self._limits = limits
        self._random = random
        self._addresses = addresses
        self.state: State = "idle"
        self.code, self.reason = 0, ""
        self.welcomed = False
        self._attempts = 0
        self._refused_tokens = 0
        self._connect_at: float | None = None
        self._not_before = 0.0
        """Nobody may connect earlier, however much of a hurry he is in."""
        self._url: str | None = None
        self._fresh_token = False
        self._welcome_by: float | None = None
        self._heartbeat_s = 0.0
        self._ping_at: float | None = None
        self._pinged_at: float | None = None
        self._live_since: float | None = None
        self._lost_at: float | None = None

    # ------------------------------------------------------------ inputs

    def start(self, now: float) -> list[Effect]:
        """Begins to connect. While it waits for the backoff: does not wait any longer, except where the server named a time."""
        if self._connect_at is not None:
            self._connect_at = min(self._connect_at, max(now, self._not_before))
            return self.tick(now)
        if self.state not in ("idle", "closed"):
            return []
        self._refused_tokens = self._attempts = 0
        return self._connect(0, "")

    def connected(self, now: float) -> None:
        self._welcome_by = now + self._limits.welcome_wait_s

    def welcome(self, heartbeat_ms: int, now: float) -> list[Effect]:
        self.welcomed = True
        self._welcome_by = None
        self._refused_tokens = 0
        self._heartbeat_s = max(1.0, heartbeat_ms / 1000)
        self._ping_at = now + self._heartbeat_s
        return self._change("syncing", 0, "")

    def pong(self) -> None:
        self._pinged_at = None

    @property
    def connect_at(self) -> float | None:
        return self._connect_at

    def ping_again(self, at: float) -> None:
        """The ping came too soon after too much else: the server lives."""
        self._pinged_at, self._ping_at = None, at

    def caught_up(self, now: float) -> list[Effect]:
        effects = self._change("live", 0, "")
        self._live_since = now
        if self._lost_at is not None:
            effects.append(Resumed(now - self._lost_at))
            self._lost_at = None
        return effects

    def lost(
        self, code: int, reason: str, now: float, delay_s: float | None = None, url: str | None = None, extra_s: float = 0.0
    ) -> list[Effect]:
        """The socket is gone or must go: waits, then connects.

        Args:
            delay_s: the server asks to come back after this: nothing is wrong, so that the backoff neither counts nor grows, unless the
                connection was not live for long.
            extra_s: the server is full and asks to wait so much longer.
        """
        if self.state in ("idle", "closed", "waiting"):
            return []
        was_stable = self._live_since is not None and now - self._live_since >= self._limits.stable_s
        if was_stable:
            self._attempts = 0
        if self._live_since is not None:
            self._lost_at = now
        if code == codes.SESSION_REPLACED.number:
            self._attempts = max(self._attempts, self._limits.replaced_attempts * self._addresses)
        named_s = min(self._limits.named_wait_max_s, max(delay_s or 0.0, extra_s))
        backoff_s = 0.0 if was_stable and delay_s is not None else self._backoff_s()
        self._forget_socket()
        self._url = url
        self._connect_at = now + (max(backoff_s, named_s) if delay_s is not None else backoff_s + named_s)
        self._not_before = now + max(named_s, self._limits.backoff_min_s)
        return self._change("waiting", code, reason)

    def sign_in(self, code: int, name: str, now: float) -> list[Effect]:
        """The server refuses the token. A revoked device, or a second token refused in a row, is the end."""
        self._refused_tokens += 1
        if code == codes.DEVICE_REVOKED.number or self._refused_tokens > 2:
            return self.close(code, name)
        self._fresh_token = True
        return self.lost(code, name, now)

    def close(self, code: int, reason: str) -> list[Effect]:
        self._forget_socket()
        self._connect_at = None
        return self._change("closed", code, reason)

    def tick(self, now: float) -> list[Effect]:
        if self._connect_at is not None and now >= self._connect_at:
            return self._connect(self.code, self.reason)
        if self._welcome_by is not None and now >= self._welcome_by:
            return [Close(1000, "no welcome", elsewhere=True), *self.lost(codes.HELLO_TIMEOUT.number, "no welcome", now)]
        if self._pinged_at is not None and now >= self._pinged_at + self.silence_s:
            return [Close(1000, "no pong", elsewhere=True), *self.lost(codes.HEARTBEAT_LOST.number, "no pong", now)]
        if self._ping_at is not None and now >= self._ping_at:
            self._ping_at = now + self._heartbeat_s
            if self._pinged_at is None:
                self._pinged_at = now
            return [Transmit(Ping())]
        return []

    def next_deadline(self) -> float | None:
        pong_by = None if self._pinged_at is None else self._pinged_at + self.silence_s
        return min((t for t in (self._connect_at, self._welcome_by, self._ping_at, pong_by) if t is not None), default=None)

    @property
    def silence_s(self) -> float:
        """How long the other side may be silent before it is given up."""
        return 2 * self._heartbeat_s

    # ------------------------------------------------------------ inside

    def _connect(self, code: int, reason: str) -> list[Effect]:
        self._connect_at = None
        url, self._url = self._url, None
        fresh, self._fresh_token = self._fresh_token, False
        return [*self._change("connecting", code, reason), Connect(url, fresh)]

    def _backoff_s(self) -> float:
        limits = self._limits
        upper = min(limits.backoff_max_s, 2.0 ** (self._attempts // self._addresses))
        self._attempts = min(self._attempts + 1, 16 * self._addresses)
        return limits.backoff_min_s + self._random() * max(0.0, upper - limits.backoff_min_s)

    def _forget_socket(self) -> None:
        self.welcomed = False
        self._welcome_by = self._ping_at = self._pinged_at = self._live_since = None

    def _change(self, state: State, code: int, reason: str) -> list[Effect]:
        self.code, self.reason = code, reason
        if state == self.state:
            return []
        self.state = state
        return [StateChanged(state, code, reason)]
