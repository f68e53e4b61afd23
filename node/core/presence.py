"""Whom others watch: the home of the watched tells the homes of the watchers (``design.md`` §4).

Theory of operation. A watcher's home asks (``watching.py``), and is told at once what is known, and whenever it changes. What changes
within ``presence_gather_s`` goes as one frame to each of these homes. Nothing is said again that was said, so watching at rest costs
nothing, and neither does anybody whom nobody watches.

Laws:
    * What somebody shows is decided here, by his settings, and cut to what the watcher shows him (``privacy.py``). Who may see nothing is
      told ``unknown``.
    * For ``presence_silence_s`` after a slot came here nobody of it is said to be offline: his sessions may be on their way.
    * Offline with a time: only one that is durable (``attendance.py``).
    * Pairs are bounded, by user and in all; who finds no room is told ``unknown``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from homing.ids import is_id
from homing.protocol import PresenceState
from msgspec import Struct

from node.core.frames import NotHere
from node.core.live_frames import ITEMS_MAX, AskPresence, PresenceAnswer, Told, Watches
from node.core.privacy import LAST_SEEN, ONLINE, Privacies
from storage.store import Answer, LoadUser, UserLoaded

if TYPE_CHECKING:
    from node.core.attendance import Attendance
    from node.core.node import NodeCore

View: TypeAlias = tuple[PresenceState, int]
"""State and last_seen (0: none)."""
UNKNOWN: View = ("unknown", 0)
HERE: View = ("online", 0)
READS_MAX = 64
"""Rows that are being read at a time to know when somebody was last seen; more wait."""
READ_AGAIN_S = 1.0
ASKS_MAX = 256
"""Who waits for an answer about one user; the others are asked for again."""
SWEEP_PARTS = 12
"""In so many sweeps all pairs are looked at once: whether the watcher's home still is where it was."""


class Watcher(Struct, gc=False):
    home: str
    """The incarnation that asked, and is told."""
    shows: int
    """What he shows to whom he watches."""
    told: View | None = None


class Watched(Struct):
    term: int
    """Since which epoch he has been at home here."""
    watchers: dict[str, Watcher]
    last_seen: int | None = None
    """As his row says; None: not read yet."""
    asks: list[tuple[AskPresence, str]] = []
    """What HTTP asks, and who for, while something has to be read."""


class Presence:
    """The watched users at home on this node."""

    def __init__(self, node: NodeCore, attendance: Attendance, privacies: Privacies) -> None:
        self.node = node
        self.attendance = attendance
        self.privacies = privacies
        self.people: dict[str, Watched] = {}
        self.pairs = 0
        self.changed: dict[str, None] = {}
        """Of whom all watchers are looked at in the next flush."""
        self.fresh: dict[tuple[str, str], None] = {}
        """(watched, watcher) that asked since."""
        self.refused: dict[str, dict[tuple[str, View], list[str]]] = {}
        """Home → (watched, unknown) → watchers for whom there was no room."""
        self.silent: dict[str, None] = {}
        """Whose watchers are told nothing yet, for his slot has only just come."""
        self.flushing = False
        self.reading: set[str] = set()
        self.to_read: dict[str, None] = {}
        self.parts: list[str] = []
        """Users whose pairs are yet to be looked at in this round of sweeps."""

    # -------------------------------------------------------------- who watches

    def on_watches(self, frame: Watches, source: str) -> None:
        """A home that asks here by an older table asks again when it has the newer one."""
        owner_of, me = self.node.owner_of, self.node.me
        for watcher, watched, shows in frame.pairs:
            if not (is_id(watcher) and is_id(watched)):
                self.node.absurd(source, "not a user's id")
            elif owner_of(watched) == me and shows:
                self._watch(watcher, watched, shows, source)
            elif not shows:
                self._unwatch(watcher, watched, source)

    def _watch(self, watcher: str, watched: str, shows: int, home: str) -> None:
        limits = self.node.limits
        w = self.people.get(watched)
        if w is None or watcher not in w.watchers:
            if self.pairs >= limits.watch_pairs_max or (w is not None and len(w.watchers) >= limits.watchers_per_user_max):
                self.refused.setdefault(home, {}).setdefault((watched, UNKNOWN), []).append(watcher)
                return self._flush_soon()
            self.pairs += 1
            if w is None:
                w = self.people[watched] = Watched(self.node.term_of(watched), {})
        w.watchers[watcher] = Watcher(home, shows)
        self.fresh[watched, watcher] = None
        self._flush_soon()

    def _unwatch(self, watcher: str, watched: str, home: str) -> None:
        w = self.people.get(watched)
        if w is not None and watcher in w.watchers and w.watchers[watcher].home == home:
            self._remove(watched, w, watcher)

    def _remove(self, watched: str, w: Watched, watcher: str) -> None:
        del w.watchers[watcher]
        self.pairs -= 1
        self._drop_if_unwanted(watched, w)

    def _drop_if_unwanted(self, watched: str, w: Watched) -> None:
        if not w.watchers and not w.asks:
            del self.people[watched]

    def sweep(self) -> None:
        """Forgets watchers whose home is not where it was, a part at a time: whoever still watches has asked again."""
        if not self.parts:
            self.parts = list(self.people)
        share = max(64, len(self.people) // SWEEP_PARTS)
        part, self.parts = self.parts[:share], self.parts[share:]
        for watched in part:
            w = self.people.get(watched)
            if w is not None:
                for watcher in [watcher for watcher, each in w.watchers.items() if self.node.owner_of(watcher) != each.home]:
                    self._remove(watched, w, watcher)

    # -------------------------------------------------------------- what changes

    def on_changed(self, user: str) -> None:
        """He came, or has gone, or shows something else."""
        w = self.people.get(user)
        if w is None:
            return
        stored_ms = self.attendance.stored_ms(user)
        if stored_ms and not self.attendance.is_here(user):
            w.last_seen = max(w.last_seen or 0, stored_ms)
        self.changed[user] = None
        self._flush_soon()
        self._answer_asks(user, w)

    def on_table(self) -> None:
        """Homes have changed. Who is at home elsewhere, or was for a while, is asked for again by whoever watches him."""
        node = self.node
        for user, w in list(self.people.items()):
            if node.owner_of(user) != node.me or node.term_of(user) != w.term:
                del self.people[user]
                self.pairs -= len(w.watchers)

    def speak(self) -> None:
        """A silence is over."""
        silent, self.silent = self.silent, {}
        self.changed.update(silent)
        if silent:
            self._flush_soon()

    def view(self, user: str, w: Watched, watcher: str, shows: int) -> View | None:
        """What ``watcher`` is to see; None: that is not known yet."""
        privacy = self.privacies.of(user)
        if privacy is None:
            return None
        if self.node.rules.presence_privacy and watcher != user:
            shows &= privacy.shows(watcher)
        if not shows:
            return UNKNOWN
        if self.attendance.is_here(user):
            return HERE if shows & ONLINE else ("unknown", w.last_seen or 0)
        if self.node.live.is_silent_of(user):
            self.silent[user] = None
            return None
        state: PresenceState = "offline" if shows & ONLINE else "unknown"
        if not shows & LAST_SEEN:
            return state, 0
        if w.last_seen is None:
            self._read(user)
            return None
        return state, w.last_seen

    # -------------------------------------------------------------- telling

    def _flush_soon(self) -> None:
        if not self.flushing:
            self.flushing = True
            self.node.at(self.node.now + self.node.limits.presence_gather_s, self._flush)

    def _flush(self) -> None:
        self.flushing = False
        if self.node.moves.letting_go:
            return  # the sessions were asked to come back; their next home speaks
        out, self.refused = self.refused, {}
        for user in self.changed:
            w = self.people.get(user)
            if w is not None:
                for watcher, each in w.watchers.items():
                    self._look(user, w, watcher, each, out)
        for user, watcher in self.fresh:
            w = self.people.get(user)
            if w is not None and watcher in w.watchers and user not in self.changed:
                self._look(user, w, watcher, w.watchers[watcher], out)
        self.changed, self.fresh = {}, {}
        for home, people in out.items():
            self._tell(home, people)

    def _look(self, user: str, w: Watched, watcher: str, each: Watcher, out: dict[str, dict[tuple[str, View], list[str]]]) -> None:
        view = self.view(user, w, watcher, each.shows)
        if view is not None and view != each.told:
            each.told = view
            out.setdefault(each.home, {}).setdefault((user, view), []).append(watcher)

    def _tell(self, home: str, people: dict[tuple[str, View], list[str]]) -> None:
        items: list[tuple[str, PresenceState, int, tuple[str, ...]]] = []
        weight = 0
        for (user, (state, last_seen)), watchers in people.items():
            items.append((user, state, last_seen, tuple(watchers)))
            weight += 1 + len(watchers)
            if weight >= ITEMS_MAX:
                self._put(home, items)
                items, weight = [], 0
        if items:
            self._put(home, items)

    def _put(self, home: str, items: list[tuple[str, PresenceState, int, tuple[str, ...]]]) -> None:
        """A home that takes nothing now is told when it does."""
        if self.node.send(home, Told(tuple(items))):
            return
        for user, _, _, watchers in items:
            w = self.people.get(user)
            for watcher in watchers:
                if w is not None and watcher in w.watchers:
                    w.watchers[watcher].told = None
                    self.fresh[user, watcher] = None
        self.node.send_when_open(home, "presence", lambda _: self._flush_soon())

    # -------------------------------------------------------------- rows

    def _read(self, user: str) -> None:
        if user in self.reading or user in self.to_read:
            return
        if len(self.reading) >= READS_MAX or not self.node.has_room:
            if not self.to_read:
                self.node.at(self.node.now + READ_AGAIN_S, self._read_later)
            self.to_read[user] = None
            return
        self.reading.add(user)
        self.node.ask(LoadUser(user), lambda answer: self._on_row(user, answer))

    def _on_row(self, user: str, answer: Answer) -> None:
        assert isinstance(answer, UserLoaded)
        self.reading.discard(user)
        w = self.people.get(user)
        if w is not None:
            w.last_seen = max(w.last_seen or 0, answer.user.last_seen if answer.user is not None else 0)
            self.on_changed(user)
        self._read_on()

    def _read_later(self) -> None:
        """Storage had no room; what is being read goes on by itself."""
        self._read_on()
        if self.to_read:
            self.node.at(self.node.now + READ_AGAIN_S, self._read_later)

    def _read_on(self) -> None:
        while self.to_read and len(self.reading) < READS_MAX and self.node.has_room:
            user = next(iter(self.to_read))
            del self.to_read[user]
            if user in self.people:
                self._read(user)

    # -------------------------------------------------------------- what HTTP asks

    def on_ask(self, frame: AskPresence, source: str) -> None:
        """Whoever waits in vain asks again: after a new table, and now and then."""
        user = frame.user
        if not (is_id(user) and is_id(frame.asker)):
            return self.node.absurd(source, "not a user's id")
        if self.node.owner_of(user) != self.node.me:
            self.node.send(source, NotHere(frame.session, frame.id, int(user[:4], 16) >> 2))
            return
        w = self.people.get(user)
        if w is None:
            if self.pairs >= self.node.limits.watch_pairs_max:
                return self._answer(frame, source, UNKNOWN)
            w = self.people[user] = Watched(self.node.term_of(user), {})
        if len(w.asks) < ASKS_MAX:
            w.asks.append((frame, source))
        self._answer_asks(user, w)

    def _answer_asks(self, user: str, w: Watched) -> None:
        if not w.asks:
            return
        waiting, w.asks = w.asks, []
        for frame, source in waiting:
            view = self.view(user, w, frame.asker, frame.shows)
            if view is None and self.node.live.is_silent_of(user) and self.privacies.of(user) is not None:
                view = UNKNOWN
            if view is None:
                w.asks.append((frame, source))
            else:
                self._answer(frame, source, view)
        self._drop_if_unwanted(user, w)

    def _answer(self, frame: AskPresence, source: str, view: View) -> None:
        self.node.send(source, PresenceAnswer(frame.session, frame.id, frame.user, *view))
