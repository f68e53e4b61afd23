"""What people show of whether they are here, and to whom: kept at their homes, asked of the shell (``design.md`` §4, §7).

The core never asks a database itself: it emits ``PrivacyWanted``, and the shell says ``told``. Without accounts nobody has settings, and
everybody shows everything (``open_to_all``).

Laws:
    * What is not known is not shown: ``of`` gives None while it is being read for the first time, and ``HIDDEN`` once that failed.
    * After a change was announced nothing of before is shown for longer than ``CHANGE_S``, whatever the database does; whoever served the
      change announces it until the user's present home has it in hand.
    * Only of people who watch or are watched here anything is kept (``is_wanted``), and it is read again after ``privacy_age_s``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from node.core.effects import PrivacyWanted
from node.core.live_frames import PrivacyChanged

if TYPE_CHECKING:
    from node.core.services import Services

ONLINE, LAST_SEEN = 1, 2
"""Bits of what is shown."""
ALL = ONLINE | LAST_SEEN
EVERYONE, CONTACTS, NOBODY = "everyone", "contacts", "nobody"
CHANGE_S = 1.0
"""How long the shell may take to read a change before all is hidden."""
AGAIN_S = 5.0
"""A read that failed is tried again after this."""
ANNOUNCED_MAX = 4_096
"""Changes of one node that no home has in hand yet; past it the oldest is left to ``privacy_age_s``."""
ANNOUNCE_S = 60.0
"""How long a change is announced while there is no home to hear it: its next home reads the store anyway."""
ANNOUNCE_AGAIN_S = 0.5

Changed: TypeAlias = Callable[[str], None]


class Privacy(Struct, frozen=True):
    """Of one user."""

    online: str = EVERYONE
    last_seen: str = EVERYONE
    contacts: frozenset[str] = frozenset()
    """Read only where a setting names them."""
    blocked: frozenset[str] = frozenset()
    """Whom he has blocked: to them he shows nothing, and he sees nothing of them."""

    def shows(self, other: str) -> int:
        """What ``other`` may see of him; by the same rule, what of ``other`` he may see."""
        if other in self.blocked:
            return 0
        is_contact = other in self.contacts
        online = self.online == EVERYONE or (is_contact and self.online == CONTACTS)
        last_seen = self.last_seen == EVERYONE or (is_contact and self.last_seen == CONTACTS)
        return online * ONLINE + last_seen * LAST_SEEN


OPEN = Privacy()
HIDDEN = Privacy(NOBODY, NOBODY)


class Privacies:
    """Of the users at home on this node, as far as they matter now."""

    def __init__(self, services: Services, is_wanted: Callable[[str], bool], changed: Changed) -> None:
        self.sv = services
        self.is_wanted = is_wanted
        self.changed = changed
        """Called when it is another one, or known at last."""
        self.open_to_all = True
        """Until somebody says that there are settings (the shell that has accounts)."""
        self.known: dict[str, Privacy] = {}
        self.asked: dict[str, int] = {}
        """Being read, under which number: an answer to an older one counts no more."""
        self.outdated: set[str] = set()
        """Of whom something else is known to be true now, and not read yet."""
        self.n = 0
        self.announced: dict[str, float] = {}
        """Users whose change was served here → until when their home is told."""
        self.announcing = False

    def of(self, user: str) -> Privacy | None:
        """What is known; None: it is being read."""
        if self.open_to_all:
            return OPEN
        privacy = self.known.get(user)
        if privacy is None and user not in self.asked:
            self._ask(user)
        return privacy

    def _ask(self, user: str) -> None:
        self.n += 1
        self.asked[user] = self.n
        self.sv.emit(PrivacyWanted(user, self.n))

    def told_all(self, answers: Sequence[tuple[str, int, Privacy | None]]) -> None:
        for answer in answers:
            self.told(*answer)

    def told(self, user: str, n: int, privacy: Privacy | None) -> None:
        """The shell has read it; None: it could not."""
        if self.asked.get(user) != n:
            return
        del self.asked[user]
        if not self.is_wanted(user):
            return self._forget(user)
        before = self.known.get(user)
        if privacy is not None:
            self.outdated.discard(user)
        usable = None if user in self.outdated else before
        self.known[user] = now = privacy if privacy is not None else usable or HIDDEN
        self.sv.at(self.sv.now + (AGAIN_S if privacy is None else self.sv.limits.privacy_age_s), lambda: self._look_again(user, now))
        if now != before:
            self.changed(user)

    def _look_again(self, user: str, seen: Privacy) -> None:
        if self.known.get(user) is not seen or user in self.asked:
            return
        if self.is_wanted(user):
            self._ask(user)
        else:
            self._forget(user)

    def _forget(self, user: str) -> None:
        self.known.pop(user, None)
        self.outdated.discard(user)

    # -------------------------------------------------------------- changes

    def on_changed(self, frame: PrivacyChanged, _: str) -> None:
        """It is read anew. What was known serves meanwhile, but not for long: who hides must be hidden."""
        user = frame.user
        if self.open_to_all or self.sv.owner_of(user) != self.sv.me or not (user in self.known or user in self.asked):
            return
        self.outdated.add(user)
        self._ask(user)
        self.sv.at(self.sv.now + CHANGE_S, lambda: self._hide(user))

    def _hide(self, user: str) -> None:
        if user in self.outdated and self.known.get(user) not in (None, HIDDEN):
            self.known[user] = HIDDEN
            self.changed(user)

    def announce(self, user: str) -> None:
        """Somebody changed what he shows, or whom he knows or blocks, and it is committed."""
        if len(self.announced) >= ANNOUNCED_MAX:
            del self.announced[next(iter(self.announced))]
        self.announced[user] = self.sv.now + ANNOUNCE_S
        self._say(user)
        self._again()

    def _say(self, user: str) -> None:
        home = self.sv.owner_of(user)
        if home:
            self.sv.send_tracked(home, PrivacyChanged(user), self._in_hand, user)

    def _in_hand(self, home: str, user: str) -> None:
        if home == self.sv.owner_of(user):
            self.announced.pop(user, None)

    def on_table(self) -> None:
        """Homes have changed. A home that was asked before may be it no more, and a new one may have read before the commit."""
        for user in list(self.announced):
            self._say(user)

    def _again(self) -> None:
        if not self.announcing and self.announced:
            self.announcing = True
            self.sv.at(self.sv.now + ANNOUNCE_AGAIN_S, self._look_announced)

    def _look_announced(self) -> None:
        self.announcing = False
        for user, until in list(self.announced.items()):
            if self.sv.now >= until:
                del self.announced[user]
            else:
                self._say(user)
        self._again()
