"""Presence and typing alone in a hand-made node: the parts of ``node/core/live.py`` on the services of ``core_rig``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from homing import protocol as p
from msgspec import structs

from node.core.edge import Edge, Identity
from node.core.effects import PrivacyWanted, ToClients
from node.core.frames import Attached
from node.core.limits import CoreLimits
from node.core.live import Live
from node.core.live_frames import Told, Watches, WatchFrom
from node.core.mailbox import Mailbox, Session
from node.core.node import NodeCore
from node.core.privacy import ALL, Privacy
from tests.unit.core_rig import ALICE, BOB, ME, OTHER, Rig


class LiveRig(Rig):
    """A node whose slots came long ago. Who is not named in ``homes`` is at home at OTHER."""

    def __init__(self, limits: CoreLimits | None = None, *, settings: bool = False) -> None:
        super().__init__(structs.replace(limits or CoreLimits(), presence_gather_s=0.05))
        self.mailboxes: dict[str, Mailbox] = {}
        self.conversations: dict[str, Any] = {}
        self.members = frozenset({ME, OTHER})
        self.slots_owned = 1
        self.terms: dict[str, int] = {}
        self.moves = SimpleNamespace(letting_go=False)
        self.edge = Edge(self, "node-1", "ws://node-1")
        self.live: Any = Live(cast(NodeCore, self))
        self.live.privacies.open_to_all = not settings
        self.beat_at = self.now

    def term_of(self, id_: str) -> int:
        return self.terms.get(id_, 1)

    def activate(self, id_: str, frame: object, source: str) -> None:
        """Nothing is opened here."""

    # -------------------------------------------------------------- what a test does

    def wait(self, seconds: float) -> None:
        """Lets time pass in small steps; rows are written as soon as they are asked for."""
        until = self.now + seconds
        while self.now < until - 1e-9:
            self.pass_time(min(0.05, until - self.now))
            while self.now - self.beat_at >= 5.0:
                self.beat_at += 5.0
                self.live.beat()

    def come(self, user: str, number: int = 1, edge: str = OTHER) -> None:
        """A session of somebody at home here is let in."""
        self.homes[user] = ME
        mailbox = self.mailboxes.setdefault(user, Mailbox(self, user, 1))
        mailbox.sessions[edge, number] = Session("phone", 0, [])
        mailbox._let_in((edge, number))

    def leave(self, user: str, number: int = 1, edge: str = OTHER) -> None:
        self.mailboxes[user].on_detach((edge, number))

    def watch(self, user: str, *others: str, number: int = 1) -> None:
        """A session of a user at home here watches them."""
        self.live.watching.on_watch_from(WatchFrom(user, number, others), OTHER)
        self.wait(0.06)

    def answer(self, user: str, privacy: Privacy | None) -> bool:
        """The shell has read what somebody shows; False: it was not asked."""
        asked = [e for e in self.effects if isinstance(e, PrivacyWanted) and e.user == user]
        self.effects = [e for e in self.effects if e not in asked]
        for effect in asked:
            self.live.privacies.told(user, effect.n, privacy)
        self.wait(0.06)
        return bool(asked)

    def sit(self, session: int = 7, user: str = ALICE) -> None:
        """A session at this node's edge, whose home is OTHER."""
        self.edge.open(session, Identity(user, "phone"), 0, {}, 10_000)
        self.edge.on_attached(Attached(user, session), OTHER)
        self.sent.clear()
        self.effects.clear()

    def shown(self) -> list[tuple[p.ServerFrame, tuple[int, ...]]]:
        found = [(e.frame, e.sessions) for e in self.effects if isinstance(e, ToClients)]
        self.effects.clear()
        return found


def asked(rig: LiveRig, *watchers: str, of: str = BOB, shows: int = ALL) -> None:
    """The home of these people asks for them."""
    rig.live.presence.on_watches(Watches(tuple((watcher, of, shows) for watcher in watchers)), OTHER)
    rig.wait(0.06)


def told(rig: LiveRig) -> list[tuple[str, str, int, tuple[str, ...]]]:
    return [item for frame in rig.frames(Told) for item in frame.people]
