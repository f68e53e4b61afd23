"""Whom a session wants to watch: kept at its edge, and said to its home, again to each new one (``design.md`` §4).

Laws:
    * The last set counts. More than one in ``watch_pace_s`` is held back, never dropped.
    * An id is one object, however many sessions name it: a thousand sets of the same people are a thousand times as many references.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p
from homing.ids import USER, kind_of
from msgspec import Struct

from node.core.effects import ToClients
from node.core.live_frames import PresenceOut, WatchFrom

if TYPE_CHECKING:
    from node.core.edge import EdgeSession
    from node.core.node import NodeCore


class Wish(Struct):
    """Of one session."""

    users: tuple[str, ...] = ()
    said_at: float = float("-inf")
    waiting: bool = False


class Wishes:
    """Of the sessions of one node."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node

    def on_client(self, session: int, s: EdgeSession, frame: p.Watch) -> None:
        if any(kind_of(user) != USER for user in frame.users):
            return self.node.edge.error(session, codes.INVALID, "only users can be watched", field="users")
        wish = s.wish
        if wish is None:
            if not frame.users:
                return
            wish = s.wish = Wish()
        wish.users = tuple(intern(user) for user in dict.fromkeys(frame.users))
        if wish.waiting:
            return
        after = wish.said_at + self.node.limits.watch_pace_s
        if self.node.now >= after:
            self._say(session, s, wish)
        else:
            wish.waiting = True
            self.node.at(after, lambda: self._late(session, s))

    def _late(self, session: int, s: EdgeSession) -> None:
        if s.wish is not None and self.node.edge.sessions.get(session) is s:
            s.wish.waiting = False
            self._say(session, s, s.wish)

    def on_attached(self, session: int, s: EdgeSession) -> None:
        """It has a home, or another one."""
        if s.wish is not None:
            self._say(session, s, s.wish)

    def _say(self, session: int, s: EdgeSession, wish: Wish) -> None:
        wish.said_at = self.node.now
        if not s.attached:
            return  # said once it is
        frame = WatchFrom(s.who.user, session, wish.users)
        if not self.node.send(s.home, frame):
            self.node.send_when_open(s.home, f"watch.{session}", lambda home: self._again(session, s, home))

    def _again(self, session: int, s: EdgeSession, home: str) -> None:
        if self.node.edge.sessions.get(session) is s and s.home == home and s.wish is not None:
            self._say(session, s, s.wish)

    def on_out(self, frame: PresenceOut, source: str) -> None:
        """What its home says; a home of before is not heard any more."""
        sessions = tuple(n for n in frame.sessions if self._is_home(n, source))
        if sessions:
            people = [p.Presence(user=user, state=state, last_seen=last or None) for user, state, last in frame.people]
            self.node.emit(ToClients(p.PresenceChanged(people=people), sessions))

    def _is_home(self, session: int, source: str) -> bool:
        s = self.node.edge.sessions.get(session)
        return s is not None and s.home == source and s.wish is not None
