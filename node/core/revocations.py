"""Devices that are revoked: the node that was told to, which asks until it hears that it is done, and the home of the user, which does it.

Theory of operation. The home writes the user's row, closes the device's sessions, and looks at the cell row once the row is durable. If
that knows of no later table than this home does, whoever may become the user's home after it reads the row with the revoked device: only
then is the answer said. A home that has lost its place, or does not know of it yet, says nothing, and the next one is asked.

Laws:
    * "Done" means: durable, no session of the device has a mailbox, and none will ever get one.
    * Doing it twice is doing it once; whoever gave up asking may ask again through any node.
    * It needs storage, but no bound of anybody else's: what finds no room is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from homing import codes
from msgspec import Struct

from node.core.frames import DeviceRevoked, RevokeDevice
from storage.store import Answer, CellLoaded, LoadCell, Outcome, UserRow

if TYPE_CHECKING:
    from node.core.mailbox import Mailbox
    from node.core.services import Services

ASK_AGAIN_S = 0.5
"""A home that says nothing is asked again after this; a new one at once."""
ASKED_MAX = 256
"""Revocations that one node waits for at a time."""
UNDER_WAY_MAX = 16
"""Devices of one user that are being revoked at a time; others are asked again."""
ASKERS_MAX = 16
"""Nodes that wait for the same revocation."""
REVOKED_MAX = 1_024
"""Revoked devices of one user: his row is one mesh frame, and is read at every hello."""
REVOKED_KEPT_MS = 32 * 86_400_000
"""A device may be forgotten after this, for then no token of it is valid any more: longer than the longest lifetime of a token by a day for
clocks. It is forgotten only when another one needs its room: as long as it is known, no new token lets it in either."""


class Asked(Struct):
    """A revocation that somebody waits for here."""

    user: str
    device: str
    done: Callable[[codes.Code | None], None]
    until: float


class Revocations:
    """All revocations that one node has a part in."""

    def __init__(self, services: Services, on_mailbox: Callable[[str, Callable[[Mailbox], None]], None]) -> None:
        self.sv = services
        self.on_mailbox = on_mailbox
        self.asked: dict[int, Asked] = {}
        self.n = 0

    # -------------------------------------------------------------- who asks

    def revoke(self, user: str, device: str, done: Callable[[codes.Code | None], None]) -> None:
        """Revokes ``device``; calls ``done`` once, with None when it is done, or with the reason why that is not known."""
        if len(self.asked) >= ASKED_MAX:
            return done(codes.OVERLOADED)
        self.n += 1
        self.asked[self.n] = Asked(user, device, done, self.sv.now + self.sv.limits.request_timeout_s)
        self._ask(self.n)

    def _ask(self, n: int) -> None:
        asked = self.asked.get(n)
        if asked is None:
            return
        if self.sv.now >= asked.until:
            del self.asked[n]
            return asked.done(codes.UNAVAILABLE)
        self._put(n, asked)
        self.sv.at(self.sv.now + ASK_AGAIN_S, lambda: self._ask(n))

    def _put(self, n: int, asked: Asked) -> None:
        home = self.sv.owner_of(asked.user)
        if home:
            self.sv.send(home, RevokeDevice(asked.user, asked.device, n))

    def on_table(self) -> None:
        """Homes have changed."""
        for n, asked in list(self.asked.items()):
            self._put(n, asked)

    def on_answer(self, frame: DeviceRevoked, _: str) -> None:
        """It counts from whatever home it comes: it is said only of what holds for all that follow."""
        asked = self.asked.pop(frame.n, None)
        if asked is not None:
            asked.done(codes.CODES.get(frame.code, codes.UNAVAILABLE) if frame.code else None)

    # -------------------------------------------------------------- the home

    def on_revoke(self, frame: RevokeDevice, asker: str) -> None:
        self.on_mailbox(frame.user, lambda mailbox: self._begin(mailbox, frame, asker))

    def _begin(self, mailbox: Mailbox, frame: RevokeDevice, asker: str) -> None:
        askers = mailbox.revoking.get(frame.device)
        if askers is not None:
            if len(askers) < ASKERS_MAX or asker in askers:
                askers[asker] = frame.n
            return
        if len(mailbox.revoking) >= UNDER_WAY_MAX or not self.sv.has_room:
            return
        mailbox.revoking[frame.device] = {asker: frame.n}
        mailbox.with_index(lambda _: self._write(mailbox, frame.device))

    def _write(self, mailbox: Mailbox, device: str) -> None:
        """The mailbox knows by now which devices are revoked already."""
        now_ms = self.sv.time_ms()
        written: tuple[tuple[str, int], ...] = ()
        if device not in mailbox.revoked and len(mailbox.revoked) >= REVOKED_MAX:
            written = mailbox.forget_revoked(now_ms - REVOKED_KEPT_MS)
            if not written:
                return self._answer(mailbox, device, codes.INVALID.name)
        mailbox.revoke(device, now_ms)
        self.sv.write(UserRow(mailbox.user, 0, (*written, (device, now_ms))), self._on_written, (mailbox, device))

    def _on_written(self, outcome: Outcome, what: tuple[Mailbox, str]) -> None:
        mailbox, device = what
        if outcome is Outcome.STORED and not mailbox.closed:
            self.sv.ask(LoadCell(), lambda answer: self._on_cell(answer, mailbox, device))

    def _on_cell(self, answer: Answer, mailbox: Mailbox, device: str) -> None:
        """A table is published only after a cell row of its epoch, so none that is newer than that was out when the row was durable."""
        assert isinstance(answer, CellLoaded)
        if mailbox.closed:
            return
        if answer.cell is None or answer.cell.epoch > self.sv.epoch:
            del mailbox.revoking[device]  # the newer table is on its way; it is asked again
        else:
            self._answer(mailbox, device, "")

    def _answer(self, mailbox: Mailbox, device: str, code: str) -> None:
        """A lost answer is asked for again."""
        for asker, n in mailbox.revoking.pop(device).items():
            self.sv.send(asker, DeviceRevoked(n, code))
