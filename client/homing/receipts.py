"""Delivered and read marks: the own ones go out, the others' come in. Sans-I/O.

Laws:
    * Marks only move forward, whatever order they come in (P5).
    * An own mark is repeated at the next hello while its home may not have stored it: `synced` and `pong` say how far back that is.
    * At most one ack and one read mark per conversation and flush. Own entries need no ack.
    * A mark that the server refused, for too much came, goes out again, with all others paced; until then it counts as not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from homing.effects import Delivered, Effect, ReadBy, Transmit
from homing.limits import Limits
from homing.protocol import Ack, Head, Mark, Read
from homing.state import ConversationState, Dirty, MarkState


class Marks:
    def __init__(self, marks: Iterable[MarkState], states: Iterable[ConversationState], dirty: Dirty, limits: Limits) -> None:
        self._limits = limits
        self.others: dict[str, dict[str, tuple[int, int]]] = {}
        """conversation -> member -> (delivered, read)."""
        for m in marks:
            self.others.setdefault(m.conversation, {})[m.user] = (m.delivered, m.read)
        self._dirty = dirty
        self._moved: dict[str, float] = {s.id: float("inf") for s in states if s.unsure}
        """When the own marks last went out, of conversations whose home may not have stored them; infinity: before a restart."""
        self._to_ack: dict[str, None] = {}
        self._to_read: dict[str, None] = {}
        self._not_before = 0.0
        self._is_paced = False
        """Too many wait for one go, or the server said that too much came."""

    def next_deadline(self) -> float | None:
        return self._not_before if self._to_ack or self._to_read else None

    # ------------------------------------------------------------ own marks

    def shown(self, state: ConversationState) -> None:
        """The device holds another member's entry."""
        state.unsure = True
        self._to_ack[state.id] = None

    def read(self, state: ConversationState, seq: int, ordinal: int | None, user: str, tell: bool) -> list[Effect]:
        """The user has read up to `seq`, here (`tell`: the server must hear of it) or on another device."""
        if seq <= state.read:
            return []
        state.read = seq
        if ordinal is None:
            # Between two entries the ordinal grows by at most one a seq.
            last = state.last.seq if state.last else state.contig
            ordinal = state.ordinal - max(0, last - seq)
        state.read_ordinal = max(state.read_ordinal, ordinal)
        self._dirty.conversations.add(state.id)
        if tell:
            self._to_read[state.id] = None
            state.unsure = True
        return [ReadBy(state.id, user, seq)]

    def head(self, state: ConversationState, head: Head, user: str) -> list[Effect]:
        """The home says what it knows of all marks: the larger wins, and if that is ours, it hears of it again."""
        effects = self.read(state, head.read, head.read_ordinal, user, tell=False)
        if head.read == state.read:
            state.read_ordinal = max(state.read_ordinal, head.read_ordinal)
        else:
            self._to_read[state.id] = None
        if max(head.delivered, head.read) < state.acked:
            self._to_ack[state.id] = None
        return effects + self.take(state.id, head.marks)

    def welcome(self, states: Mapping[str, ConversationState], now: float) -> None:
        """A new session: repeats what may be lost."""
        self._not_before, self._is_paced = 0.0, False
        for id_ in self._moved:
            self._repeat(id_, states)

    def put_off(self, id_: str, at: float, states: Mapping[str, ConversationState]) -> None:
        """The server did not take a mark of this conversation, for too much came: all wait until `at`."""
        self._not_before, self._is_paced = max(self._not_before, at), True
        if id_ in states:
            self._moved[id_] = float("inf")
            states[id_].unsure = True
            self._dirty.conversations.add(id_)
            self._repeat(id_, states)

    def _repeat(self, id_: str, states: Mapping[str, ConversationState]) -> None:
        state = states.get(id_)
        if state is not None and state.contig:
            self._to_ack[id_] = None
        if state is not None and state.read:
            self._to_read[id_] = None

    def durable(self, before: float, states: Mapping[str, ConversationState]) -> None:
        """Marks that went out before that time are stored by their homes."""
        for id_ in [id_ for id_, at in self._moved.items() if at < before]:
            del self._moved[id_]
            if id_ in states:
                states[id_].unsure = False
                self._dirty.conversations.add(id_)

    def flush(self, states: Mapping[str, ConversationState], now: float, effects: list[Effect]) -> None:
        if now < self._not_before or not (self._to_ack or self._to_read):
            return
        waiting = list(self._to_read | self._to_ack)
        for id_ in waiting[: self._limits.marks_paced if self._is_paced else self._limits.marks_burst]:
            self._put(states[id_], effects)
            self._went_out(states[id_], now)
            self._to_read.pop(id_, None)
            self._to_ack.pop(id_, None)
        is_left = bool(self._to_ack or self._to_read)
        if self._is_paced or is_left:
            self._not_before, self._is_paced = now + self._limits.marks_pace_s, is_left

    def _put(self, state: ConversationState, effects: list[Effect]) -> None:
        id_ = state.id
        if id_ in self._to_read:
            effects.append(Transmit(Read(conversation=id_, seq=state.read)))
        if id_ in self._to_ack:
            state.acked = state.contig
            if id_ not in self._to_read or state.read < state.contig:  # reading says delivered too
                effects.append(Transmit(Ack(conversation=id_, seq=state.contig)))

    def _went_out(self, state: ConversationState, now: float) -> None:
        self._moved[state.id] = now
        state.unsure = True
        self._dirty.conversations.add(state.id)

    # ------------------------------------------------------------ others' marks

    def take(self, conversation: str, marks: Iterable[Mark]) -> list[Effect]:
        effects: list[Effect] = []
        known = self.others.setdefault(conversation, {})
        for mark in marks:
            delivered, read = known.get(mark.user, (0, 0))
            new = (max(delivered, mark.delivered, mark.read), max(read, mark.read))
            if new == (delivered, read):
                continue
            known[mark.user] = new
            self._dirty.marks.add((conversation, mark.user))
            if new[0] > delivered:
                effects.append(Delivered(conversation, mark.user, new[0]))
            if new[1] > read:
                effects.append(ReadBy(conversation, mark.user, new[1]))
        return effects

    def export(self) -> list[MarkState]:
        return [MarkState(c, u, d, r) for c, marks in self.others.items() for u, (d, r) in marks.items()]
