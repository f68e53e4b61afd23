"""The story of one message: everything that touched it, in the order of virtual time, from every process of a history.

Nodes keep their steps themselves (``node/core/trace.py``); devices, replicas and mishaps are listened to here.
"""

from __future__ import annotations

from typing import NamedTuple

from homing import ids
from homing import protocol as p
from homing.effects import Effect, Transmit

from node.core.trace import Trace
from storage.store import EntryRow, Row
from tools.simulation.checkers import Checkers
from tools.simulation.device import SimDevice
from tools.simulation.history import History
from tools.simulation.node import SimNode


class Line(NamedTuple):
    at: float
    who: str
    text: str


class Subject(NamedTuple):
    """What the story is about: a message, by its message id or by its client message id."""

    conversation: str
    seq: int
    client_id: str

    @classmethod
    def of(cls, text: str) -> Subject:
        try:
            named = ids.parse_message_id(text)
        except ValueError:
            return cls("", 0, text)
        return cls(named.conversation, named.seq, "")


class Story(Checkers):
    """Listens to a history beside its checkers."""

    def __init__(self, history: History, subject: Subject, broken: str) -> None:
        super().__init__(history.cluster, broken, history.profile.planned_only)
        self.history = history
        self.subject = subject
        self.lines: list[Line] = []
        self._traces: list[tuple[str, float, Trace]] = []
        history.checkers = self
        history.cluster.store.on_row = self._on_row
        for node in history.cluster.nodes:
            node.on_made = self._on_made

    def tell(self) -> list[Line]:
        """All lines, in order, once the history has run."""
        mishaps = [Line(at, "", text) for at, text in self.history.nemesis.done]
        return sorted([*self.lines, *mishaps, *self._steps()], key=lambda line: line.at)

    # ------------------------------------------------------------ nodes

    def _on_made(self, node: SimNode) -> None:
        self._traces.append((node.incarnation, node.offset, node.core.trace))

    def _steps(self) -> list[Line]:
        subject = self.subject
        found = []
        for incarnation, offset, trace in self._traces:
            for step in trace.steps:
                at, what, conversation, seq, cause, detail = step
                if subject.client_id:
                    about = cause == subject.client_id
                else:
                    about = conversation == subject.conversation and (seq == subject.seq or (bool(cause) and cause == self._cause()))
                if about:
                    found.append(Line(at - offset, incarnation, f"{what} {conversation[:6]}….{seq} {cause} {detail}"))
        return found

    def _cause(self) -> str:
        said = self.said.get((self.subject.conversation, self.subject.seq))
        return said.id if said is not None else ""

    # ------------------------------------------------------------ replicas

    def _on_row(self, replica: int, row: Row) -> None:
        if isinstance(row, EntryRow) and self._is_about(row.conversation, row.seq, row.client_message_id):
            self.lines.append(Line(self.world.now, f"replica {replica}", f"has {row.seq} of term {row.term}: {row.client_message_id}"))

    def _is_about(self, conversation: str, seq: int, client_id: str) -> bool:
        subject = self.subject
        return client_id == subject.client_id if subject.client_id else (conversation, seq) == (subject.conversation, subject.seq)

    # ------------------------------------------------------------ devices

    def on_frame(self, device: SimDevice, frame: p.ServerFrame) -> None:
        for what, entry in _entries(frame):
            if self._is_about(entry.conversation, entry.seq, entry.id):
                self.lines.append(Line(self.world.now, device.name, f"gets {what} {entry.message_id} {entry.id}"))
        if isinstance(frame, p.Error) and frame.id and frame.id == (self.subject.client_id or self._cause()):
            self.lines.append(Line(self.world.now, device.name, f"is refused: {frame.name}, {frame.message}"))
        super().on_frame(device, frame)

    def on_effect(self, device: SimDevice, effect: Effect) -> None:
        if isinstance(effect, Transmit) and getattr(effect.frame, "id", None) == (self.subject.client_id or self._cause()):
            self.lines.append(Line(self.world.now, device.name, f"sends {effect.frame}"))
        elif type(effect).__name__ in ("StateChanged", "Gap"):
            self.lines.append(Line(self.world.now, device.name, str(effect)))
        super().on_effect(device, effect)


def _entries(frame: p.ServerFrame) -> list[tuple[str, p.Entry]]:
    match frame:
        case p.Message(entry=entry):
            return [("message", entry)]
        case p.Sent(entry=entry):
            return [("sent", entry)]
        case p.Heads():
            return [("head", head.last) for head in frame.heads if head.last is not None]
        case p.Entries():
            return [("page", entry) for entry in frame.entries]
        case _:
            return []
