"""The roll: who is alive, by renewals, broken connections and health; without I/O.

Owns the judgement of every process but not its consequences. Must not know the table, the row or how anything is told.

Laws:
    * Alive is who renewed within a lease, unless its connection broke and it then missed a beat.
    * An incarnation that was taken out never comes back; of two incarnations of one name, only the newer is alive.
    * A directory that stood still gives everybody the time that it lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from math import inf

from msgspec import Struct

from directory.config import DirectoryConfig
from directory.frames import Renew
from directory.table import EPOCH_LEAP_MAX, Member
from router.packets import is_address

BEATS_MISSED = 1.5
"""Renewal intervals without a renewal that, together with a broken connection, are enough."""
ROLES = frozenset({"node", "storage", "directory"})
TOLD = frozenset({"good-bye", "superseded"})
"""Reasons for which a process is gone that need not be told to it."""
GONE_MAX = 4_096
"""Incarnations remembered as taken out, so that one that wakes up hears it. Older ones are told by ``Renew.joined``."""


class Alive(Struct):
    """What is known of a live process."""

    member: Member
    seen_at: float
    """When it last renewed, or was granted time."""
    joined_ms: int
    """Cluster time when it joined."""
    cut_at: float | None = None
    """When its connection broke, if it has not renewed since."""
    bad_since: float | None = None
    """Since when it says that it cannot reach storage."""
    ready: bool = False
    sessions: int = 0
    epoch: int = 0


class Roll:
    """See the module's docstring."""

    def __init__(self, config: DirectoryConfig) -> None:
        self._config = config
        self.alive: dict[str, Alive] = {}
        self.gone: OrderedDict[str, str] = OrderedDict()
        """Incarnations that were taken out, and why."""
        self._forget: dict[str, float] = {}
        self._judge_at = 0.0
        self._last_now: float | None = None
        self.version = 0
        """Raised whenever somebody comes or goes."""

    # ------------------------------------------------------------ coming and renewing

    def restore(self, alive: Iterable[Alive], now: float) -> None:
        """Begins with those whom the row knows; everybody has a fresh lease to renew."""
        self.version += 1
        self.alive = {a.member.incarnation: a for a in alive if a.member.incarnation not in self.gone}
        self.grant_lease(now)

    def grant_lease(self, now: float) -> None:
        for alive in self.alive.values():
            alive.seen_at, alive.cut_at = now, None
        self._judge_at = now + self._config.lease_s

    def join(self, member: Member, joined_ms: int, now: float) -> None:
        self.version += 1
        self.alive[member.incarnation] = Alive(member, now, joined_ms)
        self._judge_at = min(self._judge_at, now + self._config.lease_s)

    def named(self, name: str) -> list[str]:
        """The live incarnations of a name: none or one."""
        return [i for i, a in self.alive.items() if a.member.name == name]

    def renew(self, frame: Renew, now: float) -> bool:
        """Notes a renewal of somebody alive; says whether it changes what he may be given."""
        alive = self.alive[frame.member.incarnation]
        changed = (alive.ready, alive.member) != (frame.ready, frame.member) or (frame.storage_ok and alive.bad_since is not None)
        alive.member, alive.ready, alive.sessions, alive.epoch = frame.member, frame.ready, frame.sessions, frame.epoch
        alive.seen_at, alive.cut_at = now, None
        if frame.storage_ok:
            alive.bad_since = None
        elif alive.bad_since is None:
            alive.bad_since = now
            self._judge_at = min(self._judge_at, now + self._config.lease_s)
        return changed

    # ------------------------------------------------------------ silence and death

    def grant_lost_time(self, now: float) -> float:
        """A gap between two looks that is longer than its owner's ticks means that this process stood still, and that renewals wait to
        be read. Returns the time granted."""
        gap = 0.0 if self._last_now is None else now - self._last_now
        self._last_now = now
        if gap <= BEATS_MISSED * self._config.renew_s:
            return 0.0
        for alive in self.alive.values():
            alive.seen_at += gap
            alive.cut_at = None if alive.cut_at is None else alive.cut_at + gap
            alive.bad_since = None if alive.bad_since is None else alive.bad_since + gap
        return gap

    def disconnected(self, incarnation: str, now: float) -> None:
        alive = self.alive.get(incarnation)
        if alive is not None:
            alive.cut_at = now
            self._judge_at = min(self._judge_at, self._dead_at(alive))

    def remove(self, incarnation: str, reason: str, now: float) -> bool:
        """Takes an incarnation out for good; False: it was not alive."""
        alive = self.alive.pop(incarnation, None)
        if alive is None:
            return False
        self.version += 1
        self.gone[incarnation] = reason
        while len(self.gone) > GONE_MAX:
            self.gone.popitem(last=False)
        # A storage worker has no lease by which it would end itself: one that was cut off must be able to hear it, however late. Without
        # the link it would wait for ever as who it was, and so would a cell row that only it can write.
        if alive.member.role != "storage" or reason in TOLD:
            self._forget[incarnation] = now + self._config.forget_s
        return True

    def due(self, now: float) -> bool:
        return now >= self._judge_at

    def judge(self, now: float) -> tuple[list[tuple[str, str]], list[str]]:
        """Finds (incarnation, reason) of who is dead, and who has been cut off from storage for so long that he should lose his slots."""
        dead = []
        cut_off = []
        self._judge_at = now + self._config.lease_s
        for incarnation, alive in self.alive.items():
            if self._dead_at(alive) <= now:
                dead.append((incarnation, "silent" if alive.cut_at is None else "disconnected"))
                continue
            self._judge_at = min(self._judge_at, self._dead_at(alive))
            if alive.bad_since is None:
                continue
            if now < alive.bad_since + self._config.lease_s:
                self._judge_at = min(self._judge_at, alive.bad_since + self._config.lease_s)
            else:
                self._judge_at = min(self._judge_at, now + self._config.renew_s)
                if self.is_cut_off(alive, now):
                    cut_off.append(incarnation)
        return dead, cut_off

    def _dead_at(self, alive: Alive) -> float:
        silent = alive.seen_at + self._config.lease_s
        if alive.cut_at is None:
            return silent
        return min(silent, max(alive.cut_at, alive.seen_at + BEATS_MISSED * self._config.renew_s))

    # ------------------------------------------------------------ who may be given slots

    def is_cut_off(self, alive: Alive, now: float) -> bool:
        """Whether it could not reach storage for a lease time, while another node can."""
        if alive.bad_since is None or now - alive.bad_since < self._config.lease_s:
            return False
        return any(a.bad_since is None and a.member.role == "node" for a in self.alive.values())

    def is_hopeless(self, incarnation: str, now: float) -> bool:
        """Whether a planned move would have been done by now, had it been possible."""
        bad_since = self.alive[incarnation].bad_since
        return bad_since is not None and now - bad_since >= self._config.lease_s + self._config.move_s

    def fit(self, now: float) -> list[Member]:
        """The nodes that may be given slots."""
        nodes = (a for a in self.alive.values() if a.member.role == "node" and a.ready and a.member.weight > 0)
        return [a.member for a in nodes if not self.is_cut_off(a, now)]

    # ------------------------------------------------------------ links and deadlines

    def forgettable(self, now: float) -> list[tuple[str, str]]:
        """(incarnation, reason) of those whose link may be closed now; each once."""
        over = [i for i, at in self._forget.items() if at <= now]
        for incarnation in over:
            del self._forget[incarnation]
        return [(i, self.gone.get(i, "gone")) for i in over]

    def next_deadline(self) -> float:
        """When to judge at the latest."""
        return min([self._judge_at if self.alive else inf, *self._forget.values()])


def is_believed(frame: Renew, incarnation: str, me: Member, epoch: int) -> bool:
    """Whether the renewal may be what a process says that has this link: it speaks for itself alone, under the name that its key vouches
    for, in a role that there is, reached as this directory is; and from a table that can be."""
    member = frame.member
    itself = member.incarnation == incarnation and member.name == incarnation.rpartition(":")[0]
    reached = is_address(member.endpoint) or not is_address(me.endpoint)
    return itself and reached and member.role in ROLES and frame.epoch <= epoch + EPOCH_LEAP_MAX
