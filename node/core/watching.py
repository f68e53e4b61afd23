"""Who watches whom: the home of the watcher gathers what his sessions want, and asks the homes of the watched (``design.md`` §4).

Theory of operation. A session names its set of people. What somebody's sessions want together is asked for once; what the homes say is
kept and goes to the sessions that want it. Questions that come within ``presence_gather_s`` go as one frame to each home.

Laws:
    * Of whom somebody shows nothing to, nothing is asked for him (reciprocal): his sessions are told ``unknown``.
    * What was asked is kept until no session wants it, and a linger longer; it is asked again when the watched has another home, or his
      home had lost him.
    * Only the present home of the watched is believed, and a last_seen never goes back.
    * What a watched user's lost home said last is believed until his next one speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from homing.ids import USER, is_id, kind_of
from homing.protocol import WATCH_MAX, PresenceState
from msgspec import Struct

from node.core.live_frames import ITEMS_MAX, PresenceOut, Told, Watches, WatchFrom
from node.core.presence import UNKNOWN, View
from node.core.privacy import ALL

if TYPE_CHECKING:
    from node.core.mailbox import SessionKey
    from node.core.node import NodeCore
    from node.core.privacy import Privacies

Said: TypeAlias = tuple[str, PresenceState, int]
"""Of the watched: state and last_seen, as a session hears it."""
Asked: TypeAlias = tuple[str, str, int]
"""Watcher, watched, and what the one shows the other."""


class Pair(Struct):
    """A watcher here and somebody whom he watches."""

    sessions: list[SessionKey]
    shows: int = -1
    """What the home of the watched was told that the watcher shows; 0: it was not asked; -1: not decided."""
    view: View | None = None
    """What was heard last."""


class Wanted(Struct):
    """Somebody who is watched from here."""

    watchers: dict[str, Pair]
    asked: str = ""
    """The incarnation that was asked; empty: nobody."""
    term: int = 0


class Watching:
    """The watchers at home on one node."""

    def __init__(self, node: NodeCore, privacies: Privacies) -> None:
        self.node = node
        self.privacies = privacies
        self.sessions: dict[SessionKey, tuple[str, tuple[str, ...]]] = {}
        """Session → its user, and whom it watches."""
        self.fading: dict[str, SessionKey] = {}
        """User → the session of his that ended last, a moment ago."""
        self.faded: set[SessionKey] = set()
        self.watchers: dict[str, dict[str, None]] = {}
        """Watcher → whom his sessions watch together."""
        self.wanted: dict[str, Wanted] = {}
        self.pairs = 0
        self.undecided: dict[tuple[str, str], None] = {}
        """(watcher, watched) of which it is yet to be decided what is asked."""
        self.unwatched: dict[str, dict[tuple[str, str], None]] = {}
        """Home → pairs that nobody here wants any more."""
        self.flushing = False

    # -------------------------------------------------------------- sessions

    def on_watch_from(self, frame: WatchFrom, edge: str) -> None:
        """A session's set, in place of the one before; it hears at once what is known."""
        user, key = frame.user, (edge, frame.session)
        mailbox = self.node.mailboxes.get(user)
        if mailbox is None or key not in mailbox.sessions:
            return  # its edge says it again once it is attached
        wanted = tuple(u for u in dict.fromkeys(frame.users) if u != user and is_id(u) and kind_of(u) == USER)[:WATCH_MAX]
        self._forget(key, frozenset(wanted))
        if not wanted:
            return
        self.sessions[key] = (user, wanted)
        mine = self.watchers.setdefault(user, {})
        known: list[Said] = []
        for other in wanted:
            view = self._want(user, mine, other, key)
            if view is not None:
                known.append((other, *view))
        if known:
            self._show({(edge, frame.session): known})

    def _want(self, user: str, mine: dict[str, None], other: str, key: SessionKey) -> View | None:
        """What is known of ``other``, whom this session wants to see."""
        if other not in mine:
            if len(mine) >= WATCH_MAX or self.pairs >= self.node.limits.watch_pairs_max:
                return UNKNOWN
            mine[other] = None
            self.pairs += 1
            w = self.wanted.get(other)
            if w is None:
                w = self.wanted[other] = Wanted({})
            w.watchers[user] = Pair([key])
            self.undecided[user, other] = None
            self._flush_soon()
            return None
        pair = self.wanted[other].watchers[user]
        if key not in pair.sessions:
            pair.sessions.append(key)
        return pair.view

    def on_detached(self, key: SessionKey) -> None:
        """What the session wanted is kept for a linger: its device is mostly back by then, and wants the same."""
        if key not in self.sessions:
            return
        user = self.sessions[key][0]
        before = self.fading.pop(user, None)
        if before is not None:
            self._forget(before, frozenset())
        self.fading[user] = key
        self.faded.add(key)
        self.node.at(self.node.now + self.node.limits.linger_s, lambda: self._fade(user, key))

    def _fade(self, user: str, key: SessionKey) -> None:
        if self.fading.get(user) == key:
            del self.fading[user]
            self._forget(key, frozenset())

    def _forget(self, key: SessionKey, but: frozenset[str]) -> None:
        """The session wants nobody any more but these."""
        user, before = self.sessions.pop(key, ("", ()))
        self.faded.discard(key)
        for other in before:
            if other in but or user not in self.wanted[other].watchers:
                continue
            pair = self.wanted[other].watchers[user]
            if key in pair.sessions:
                pair.sessions.remove(key)
            if not pair.sessions:
                self._end(user, other)
        if not self.watchers.get(user, True):
            del self.watchers[user]

    def _end(self, user: str, other: str) -> None:
        """No session of his watches him any more."""
        w = self.wanted[other]
        pair = w.watchers.pop(user)
        del self.watchers[user][other]
        self.pairs -= 1
        self.undecided.pop((user, other), None)
        if pair.shows > 0 and w.asked:
            self.unwatched.setdefault(w.asked, {})[user, other] = None
            self._flush_soon()
        if not w.watchers:
            del self.wanted[other]

    # -------------------------------------------------------------- changes

    def on_changed(self, user: str) -> None:
        """What he shows is another, or known at last: so is what he sees."""
        for other in self.watchers.get(user, ()):
            self.undecided[user, other] = None
        if self.undecided:
            self._flush_soon()

    def on_table(self) -> None:
        """Homes have changed: whose watched are at home elsewhere now, or were for a while, is asked there."""
        node = self.node
        for user in [user for user in self.watchers if node.owner_of(user) != node.me]:
            self.fading.pop(user, None)
            for key in [key for key, (who, _) in self.sessions.items() if who == user]:
                self._forget(key, frozenset())
        for other, w in self.wanted.items():
            if node.rules.watch_again and (node.owner_of(other) != w.asked or node.term_of(other) != w.term):
                w.asked = ""
                for user, pair in w.watchers.items():
                    pair.shows = -1
                    self.undecided[user, other] = None
        self.unwatched = {home: pairs for home, pairs in self.unwatched.items() if home in node.members}
        if self.undecided:
            self._flush_soon()

    # -------------------------------------------------------------- asking

    def _flush_soon(self) -> None:
        if not self.flushing:
            self.flushing = True
            self.node.at(self.node.now + self.node.limits.presence_gather_s, self._flush)

    def _flush(self) -> None:
        self.flushing = False
        out: dict[str, list[Asked]] = {}
        hidden: dict[SessionKey, list[Said]] = {}
        undecided, self.undecided = self.undecided, {}
        for user, other in undecided:
            self._decide(user, other, out, hidden)
        unwatched, self.unwatched = self.unwatched, {}
        for home, pairs in unwatched.items():
            for user, other in pairs:
                w = self.wanted.get(other)
                if w is None or user not in w.watchers or w.asked != home:
                    out.setdefault(home, []).insert(0, (user, other, 0))
        for home, items in out.items():
            for at in range(0, len(items), ITEMS_MAX):
                self._put(home, tuple(items[at : at + ITEMS_MAX]))
        self._show(hidden)

    def _decide(self, user: str, other: str, out: dict[str, list[Asked]], hidden: dict[SessionKey, list[Said]]) -> None:
        w = self.wanted.get(other)
        pair = w.watchers.get(user) if w is not None else None
        privacy = self.privacies.of(user)
        if w is None or pair is None or privacy is None:
            return  # it is looked at again when that is known
        shows = privacy.shows(other) if self.node.rules.reciprocal else ALL
        home = self.node.owner_of(other)
        if not home:
            return  # it is asked when the slot has an owner
        if pair.shows == shows:
            return
        before, pair.shows = pair.shows, shows
        if shows or before > 0:
            w.asked, w.term = home, self.node.term_of(other)
            out.setdefault(home, []).append((user, other, shows))
        if not shows and pair.view != UNKNOWN:
            pair.view = UNKNOWN
            for key in pair.sessions:
                hidden.setdefault(key, []).append((other, *UNKNOWN))

    def _put(self, home: str, pairs: tuple[Asked, ...]) -> None:
        """A home that takes nothing now is asked when it does."""
        if self.node.send(home, Watches(pairs)):
            return
        for user, other, shows in pairs:
            w = self.wanted.get(other)
            if shows and w is not None and user in w.watchers:
                w.watchers[user].shows = -1
                self.undecided[user, other] = None
            elif not shows:
                self.unwatched.setdefault(home, {})[user, other] = None
        self.node.send_when_open(home, "watches", lambda _: self._flush_soon())

    # -------------------------------------------------------------- what is heard

    def on_told(self, frame: Told, source: str) -> None:
        shown: dict[SessionKey, list[Said]] = {}
        for other, state, last_seen, watchers in frame.people:
            if self.node.owner_of(other) != source:
                continue
            w = self.wanted.get(other)
            for user in watchers:
                pair = w.watchers.get(user) if w is not None else None
                if pair is None or pair.shows == 0:
                    self.unwatched.setdefault(source, {})[user, other] = None
                    self._flush_soon()
                    continue
                if last_seen and pair.view is not None:
                    last_seen = max(last_seen, pair.view[1])
                pair.view = view = (state, last_seen)
                for key in pair.sessions:
                    if key not in self.faded:
                        shown.setdefault(key, []).append((other, *view))
        self._show(shown)

    def _show(self, shown: dict[SessionKey, list[Said]]) -> None:
        """Sessions of one edge that hear the same hear it together; what an edge does not take is lost with its sessions."""
        together: dict[tuple[str, tuple[Said, ...]], list[int]] = {}
        for (edge, session), people in shown.items():
            together.setdefault((edge, tuple(people)), []).append(session)
        for (edge, same), sessions in together.items():
            if not self.node.send(edge, PresenceOut(same, tuple(sessions))):
                for session in sessions:
                    self._lose(edge, session)

    def _lose(self, edge: str, session: int) -> None:
        user, _ = self.sessions.get((edge, session), ("", ()))
        mailbox = self.node.mailboxes.get(user)
        if mailbox is not None and (edge, session) in mailbox.sessions:
            mailbox.lose((edge, session))
