"""Presence and typing of one node: what belongs together of them, and where it meets the rest of the core. Wiring, and one law.

Law: a slot's new home is silent about its people for ``presence_silence_s``: a crashed home never makes anybody look offline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from homing import protocol as p

from node.core import live_frames as f
from node.core.attendance import Attendance
from node.core.presence import Presence
from node.core.privacy import Privacies
from node.core.typists import Typists
from node.core.watching import Watching
from node.core.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.core.node import NodeCore

SPEAK_S = 0.1
"""After the end of a silence; a clock that counts in fractions must be past it."""


class Live:
    """See the module."""

    def __init__(self, node: NodeCore) -> None:
        self.node = node
        self.privacies = Privacies(node, self._is_wanted, self._on_privacy)
        self.attendance = Attendance(node, lambda user: self.presence.on_changed(user))
        self.presence: Presence = Presence(node, self.attendance, self.privacies)
        self.watching = Watching(node, self.privacies)
        self.wishes = Wishes(node)
        self.typists = Typists(node)
        self.heard: list[tuple[int, float]] = []
        """Tables of the last ``presence_silence_s``: epoch, and when it came."""
        node.edge.on_home = self.wishes.on_attached
        node.edge.client[p.Watch] = self.wishes.on_client
        node.edge.client[p.Typing] = self.typists.on_client

    def at_edge(self) -> dict[type, Callable[[Any, str], None]]:
        """What homes say to sessions."""
        return {f.PresenceOut: self.wishes.on_out, f.TypingOut: self.typists.on_out}

    def at_homes(self) -> dict[type, Callable[[Any, str], None]]:
        """What edges and homes say to homes."""
        return {
            f.WatchFrom: self.watching.on_watch_from,
            f.Watches: self.presence.on_watches,
            f.Told: self.watching.on_told,
            f.PrivacyChanged: self.privacies.on_changed,
            f.AskPresence: self.presence.on_ask,
            f.TypingFrom: self.typists.on_from,
            f.TypingTold: self.typists.on_told,
        }

    def _is_wanted(self, user: str) -> bool:
        return user in self.presence.people or user in self.watching.watchers

    def _on_privacy(self, user: str) -> None:
        self.presence.on_changed(user)
        self.watching.on_changed(user)

    # -------------------------------------------------------------- sessions

    def came(self, user: str, row_ms: int) -> None:
        """A session of a user at home here is let in; ``row_ms``: his row's last_seen, if it was read."""
        self.attendance.came(user, row_ms)

    def detached(self, user: str, key: tuple[str, int], is_last: bool) -> None:
        """A session of a user at home here is gone."""
        self.watching.on_detached(key)
        if is_last:
            self.attendance.left(user)

    # -------------------------------------------------------------- the node

    def is_silent_of(self, user: str) -> bool:
        """Whether too little time has passed since his slot came here to say that he is not."""
        if not self.node.rules.presence_silence:
            return False
        term, since = self.node.term_of(user), self.node.now - self.node.limits.presence_silence_s
        return any(epoch >= term and at > since for epoch, at in self.heard) and not any(
            epoch >= term and at <= since for epoch, at in self.heard
        )

    def on_table(self) -> None:
        node = self.node
        silence_s = node.limits.presence_silence_s
        old = [table for table in self.heard if table[1] <= node.now - silence_s]
        self.heard = [*old[-1:], *(table for table in self.heard if table[1] > node.now - silence_s), (node.epoch, node.now)]
        for user in [user for user in self.attendance.users if node.owner_of(user) != node.me]:
            self.attendance.forget(user)
        self.presence.on_table()
        self.watching.on_table()
        self.privacies.on_table()
        if node.slots_owned:
            node.at(node.now + silence_s + SPEAK_S, self.presence.speak)

    def beat(self) -> None:
        """Called every ``attendance.BEAT_S``."""
        self.attendance.beat()
        self.presence.sweep()

    def on_stop(self) -> None:
        self.attendance.flush()
