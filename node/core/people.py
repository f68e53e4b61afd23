"""What a home tells others of the users that live there (``fetch_person``): today a name.

Laws:
    * The mailbox in memory answers if it knows, else the user's row does; asking about somebody makes no mailbox, so that nobody fills a
      node's memory by asking.
    * A user of whom nobody knows anything has an empty name, which is an answer and no error: there is no list of who exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import codes
from homing.ids import is_id

from node.core.frames import AskPerson, NotHere, PersonAnswer, Refusal
from storage.store import LoadUser, UserLoaded

if TYPE_CHECKING:
    from node.core.mailbox import Mailbox
    from node.core.services import Services
    from storage.store import Answer

RETRY_MS = 1_000


class People:
    """All users at home on this node, as others may see them."""

    def __init__(self, services: Services, mailboxes: dict[str, Mailbox]) -> None:
        self.sv = services
        self.mailboxes = mailboxes

    def on_ask(self, frame: AskPerson, edge: str) -> None:
        """Answers; an edge that asks the wrong home asks the right one again."""
        if not is_id(frame.user):
            return self.sv.absurd(edge, "not a user's id")
        if self.sv.owner_of(frame.user) != self.sv.me:
            self.sv.send(edge, NotHere(frame.session, frame.id, int(frame.user[:4], 16) >> 2))
            return
        mailbox = self.mailboxes.get(frame.user)
        if mailbox is not None and mailbox.name:
            self._tell(frame, edge, mailbox.name)
        elif self.sv.has_room:
            self.sv.ask(LoadUser(frame.user), lambda answer: self._on_row(frame, edge, answer))
        else:
            text = "this node reads no more rows now"
            self.sv.send(edge, Refusal(frame.session, frame.id, codes.OVERLOADED.name, text, retry_after_ms=RETRY_MS))

    def _on_row(self, frame: AskPerson, edge: str, answer: Answer) -> None:
        assert isinstance(answer, UserLoaded)
        self._tell(frame, edge, answer.user.name if answer.user else "")

    def _tell(self, frame: AskPerson, edge: str, name: str) -> None:
        """A lost answer is asked for again by the client."""
        self.sv.send(edge, PersonAnswer(frame.session, frame.id, frame.user, name))
