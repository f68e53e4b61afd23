"""A device without a WebSocket in the simulated cluster: the real client core over ``GET /v1/events`` and requests.

``PollSocket`` takes a socket's place at the device: what the core says becomes HTTP requests, each to any node, which the real
``node.core.asking`` answers; what it hears comes by polls. ``PollEnd`` is the node's end: a session of the real edge, whose frames wait in
the real pigeonhole.

Laws:
    * An answer may be lost, and only an answer: the device asks again, with the cursor or the id that it had.
    * A poll that is answered by another session than the one before is a new connection for the core: it says hello with its own cursor.
    * While an answer may be lost the device counts as out of reach: its session gets nothing in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from homing import codes
from homing import protocol as p
from homing.codes import Code

from node.core.frames import AskedSent, EntriesAnswer, HeadsOut, MarkStored, MembersAnswer, Refusal
from node.core.pigeonhole import Batch, Cursor, Pigeonhole
from node.core.views import entry_of, head_of, newest_within_page
from node.gateway import close_code
from node.polls import TOLD
from tools.simulation.world import World

if TYPE_CHECKING:
    from tools.simulation.device import SimDevice
    from tools.simulation.node import SimNode

POLL_S = 0.6
"""25 s of a real client."""
SLACK_S = 0.4
"""What an answer may take beside."""
ASK_S = 2.6
"""A request without an answer is repeated after this."""
GATHER_S = 0.01
FRAMES_MAX, BYTES_MAX, ANSWER_BYTES_MAX = 40, 1 << 20, 2_000
"""So few that they are reached."""
FAILURES_MAX = 4
"""Polls in a row without an answer after which the device begins anew."""
STRANGE = "0" * 16
"""A pigeonhole that nobody has."""
_decode = msgspec.json.Decoder(p.ServerFrame).decode

Polled: TypeAlias = "Batch | Code | None"
"""What a poll is answered with; None: with nothing, the connection broke."""


class ForgetfulPigeonhole(Pigeonhole):
    """The rule ``poll-keep`` taken out: what was given counts as arrived."""

    __slots__ = ()

    def take(self, bytes_max: int) -> Batch:
        batch = super().take(bytes_max)
        self._given = []
        return batch

    def knows(self, cursor: Cursor) -> bool:
        return cursor.hole == self.name


HOLES = {"poll-keep": ForgetfulPigeonhole}


class PollEnd:
    """The node's end of one device's polls."""

    def __init__(self, node: SimNode, device: SimDevice, number: int, sync: int) -> None:
        self.node, self.device, self.number = node, device, number
        self.at_node = True
        self.hole: Pigeonhole = node.hole(f"{number:016x}", sync, FRAMES_MAX, BYTES_MAX)
        self.pinged_at = node.clock()
        self._start = node.starts
        self._reply: Callable[[Polled], None] | None = None
        self._requests = 0

    def wait(self, reply: Callable[[Polled], None]) -> None:
        """A poll waits for something."""
        if self._reply is not None:
            self._reply(codes.SESSION_REPLACED)
        self._reply = reply
        self._requests += 1
        request = self._requests
        self._later(POLL_S, lambda: self._answer() if request == self._requests else None)
        if self.hole.has_something():
            self._later(GATHER_S, self._answer)

    def to_device(self, frame: p.ServerFrame) -> None:
        if isinstance(frame, p.Error) or not self.at_node:
            return
        if not self.hole.put(msgspec.json.encode(frame)):
            return self._later(0.0, lambda: self.node.on_poll_gone(self, codes.SLOW_READER.name))
        if self.hole.has_something():
            self._later(GATHER_S, self._answer)

    def close_at_node(self, code: int, reason: str) -> None:
        """The session is over: who waits hears it, or goes on with what there is."""
        self.at_node = False
        reply, self._reply = self._reply, None
        named = codes.CODES.get(reason)
        if reply is not None:
            reply(named if named in TOLD else self.hole.take(ANSWER_BYTES_MAX))

    def reset_at_device(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(None)

    def _answer(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply(self.hole.take(ANSWER_BYTES_MAX))

    def _later(self, after_s: float, call: Callable[[], None]) -> None:
        node, start = self.node, self._start

        def at_node() -> None:
            if node.up and node.starts == start:
                call()

        node.world.after(after_s, lambda: node.take(at_node))


class Marks:
    """How far the device got in one conversation, until a node says that it is stored."""

    def __init__(self, now: float) -> None:
        self.delivered = self.read = 0
        self.since = now
        self.asked: tuple[int, int] | None = None


class PollSocket:
    """The device's end."""

    def __init__(self, world: World, device: SimDevice, node: SimNode, new_number: Callable[[], int]) -> None:
        self.world, self.device, self.node = world, device, node
        self.node_start = node.starts
        self.at_device = True
        self.cursor: Cursor | None = None
        self._new_number = new_number
        self._pinged = False
        self._failures = 0
        self._generation = 0
        self._marks: dict[str, Marks] = {}

    @property
    def at_node(self) -> bool:
        """Whether the session that it polls is there."""
        end = self.node.polls.get(self.device.name)
        return self.node.up and end is not None and end.at_node and self.cursor is not None and end.hole.name == self.cursor.hole

    # ------------------------------------------------------------ what the device does

    def open(self) -> None:
        self.world.after(0.001, lambda: self._at_device(lambda: self.device.on_socket_open(self)))

    def to_node(self, frame: p.ClientFrame) -> None:
        match frame:
            case p.Hello(cursor=cursor):
                self.cursor = Cursor(STRANGE, 0, int(cursor)) if cursor else None
                self._poll()
            case p.Ping():
                self._pinged = True  # the next poll that is answered tells that the node is there
            case p.Ack(conversation=conversation, seq=seq):
                self._mark(conversation, seq, 0)
            case p.Read(conversation=conversation, seq=seq):
                self._mark(conversation, seq, seq)
            case p.FetchPerson(id=id_, user=user):
                self._hear(p.Person(id=id_, user=user, name=""))
            case p.Watch() | p.Typing():
                pass
            case _:
                self._ask(frame, tries=1)

    def close_at_device(self) -> None:
        self.at_device = False

    def in_reach(self) -> None:
        """Nothing was held: the next request goes out."""

    def break_off(self) -> None:
        """Every request that waits breaks."""
        self._generation += 1

    def reset_at_device(self) -> None:
        self._over(1006, "reset")

    # ------------------------------------------------------------ polls

    def _poll(self) -> None:
        device, cursor = self.device, self.cursor

        def hand(node: SimNode, reply: Callable[[Any], None]) -> None:
            node.on_poll(device, cursor, self._new_number(), reply)

        self._request(self.node, hand, self._polled, POLL_S + SLACK_S)

    def _polled(self, answer: Polled) -> None:
        if isinstance(answer, Code) and answer not in (codes.GOING_AWAY, codes.OVERLOADED):
            self._hear(p.Error(code=answer.number, name=answer.name, message="this session ends here"))
            return self._over(close_code(answer), answer.name)
        if answer is None or isinstance(answer, Code):
            self._failures += 1
            if self._failures >= FAILURES_MAX:
                return self._over(1006, "no answer")
            self._elsewhere()
            return self.world.after(0.05, lambda: self._at_device(self._poll))
        self._failures = 0
        known, self.cursor = self.cursor, answer.cursor
        if known is not None and known.hole not in (STRANGE, answer.cursor.hole):
            return self._over(codes.CLOSE_RESTART, codes.GOING_AWAY.name)
        for frame in answer.frames:
            self._hear(self._honest(_decode(frame)))
        if self._pinged:
            self._pinged = False
            self._hear(self._honest(p.Pong(time=0, cursor=str(answer.cursor.sync) if answer.cursor.sync else None)))
        if self.at_device:
            self._poll()

    def _elsewhere(self) -> None:
        random, nodes = self.world.random, [node for node in self.device.nodes if node.up]
        if nodes and (not self.node.up or random.random() < 0.4):
            self.node = random.choice(nodes)
            self.node_start = self.node.starts

    def _honest(self, frame: p.ServerFrame) -> p.ServerFrame:
        """A cursor says of marks that they are stored; of those that no node has answered yet this device knows better."""
        if isinstance(frame, p.Synced | p.Pong) and self._marks:
            oldest = min(mark.since for mark in self._marks.values())
            frame.marks_ms = max(frame.marks_ms, int((self.device.clock() - oldest) * 1_000) + 1_000)
        return frame

    # ------------------------------------------------------------ requests

    def _ask(self, frame: p.ClientFrame, tries: int) -> None:
        device = self.device

        def hand(node: SimNode, reply: Callable[[Any], None]) -> None:
            node.on_ask(lambda asking: asking.request(device.user, frame, reply))

        def answered(answer: Any) -> None:
            if answer is None:
                self._ask(frame, tries + 1)
            else:
                self._hear(_told(frame, answer, tries))

        self._request(self._any(), hand, answered, ASK_S)

    def _mark(self, conversation: str, delivered: int, read: int) -> None:
        mark = self._marks.setdefault(conversation, Marks(self.device.clock()))
        mark.delivered, mark.read = max(mark.delivered, delivered), max(mark.read, read)
        if mark.asked is None:
            self._say_mark(conversation, mark)

    def _say_mark(self, conversation: str, mark: Marks) -> None:
        device = self.device
        said = mark.asked = (mark.delivered, mark.read)

        def hand(node: SimNode, reply: Callable[[Any], None]) -> None:
            node.on_ask(lambda asking: asking.mark(device.user, conversation, *said, reply))

        def answered(answer: Any) -> None:
            if isinstance(answer, MarkStored) and said == (mark.delivered, mark.read):
                del self._marks[conversation]
            elif answer is None or isinstance(answer, MarkStored):
                self._say_mark(conversation, mark)
            else:
                self.world.after(0.2, lambda: self._at_device(lambda: self._say_mark(conversation, mark)))

        self._request(self._any(), hand, answered, ASK_S)

    def _any(self) -> SimNode:
        """Any node answers."""
        return self.world.random.choice([node for node in self.device.nodes if node.up] or [self.node])

    # ------------------------------------------------------------ HTTP

    def _request(
        self, node: SimNode, hand: Callable[[SimNode, Callable[[Any], None]], None], answered: Callable[[Any], None], wait_s: float
    ) -> None:
        """One request; ``answered`` hears the answer or, None, that there was none, unless the device is done with this connection."""
        world, generation = self.world, self._generation
        over = False

        def finish(answer: Any) -> None:
            nonlocal over
            if not over:
                over = True
                self._at_device(lambda: answered(answer))

        def arrive(answer: Any) -> None:
            if self.device.reachable and generation == self._generation:
                finish(answer)

        def reply(answer: Any) -> None:
            if world.random.random() >= self.device.loses:
                world.after(self._way_s(), lambda: arrive(answer))

        def reach() -> None:
            if self.device.reachable and node.up:
                node.take(lambda: hand(node, reply))
            elif self.device.reachable:
                finish(None)

        world.after(self._way_s(), reach)
        world.after(wait_s, lambda: finish(None))

    def _way_s(self) -> float:
        return 0.0005 + self.world.random.random() * 0.004

    def _hear(self, frame: p.ServerFrame) -> None:
        if self.at_device:
            self.device.on_frame(self, frame)

    def _over(self, code: int, reason: str) -> None:
        if self.at_device:
            self.at_device = False
            self.device.on_socket_closed(self, code, reason)

    def _at_device(self, call: Callable[[], None]) -> None:
        self.device.take(lambda: call() if self.at_device else None)


def _told(frame: Any, answer: Any, tries: int) -> p.ServerFrame:
    """The answer over HTTP as a session's."""
    match answer:
        case AskedSent(row=row):
            return p.Sent(id=frame.id, entry=entry_of(row))
        case EntriesAnswer():
            entries = [entry_of(row) for row in newest_within_page(answer.rows)]
            return p.Entries(id=frame.id, conversation=answer.conversation, entries=entries, head=answer.head)
        case HeadsOut():
            return p.Heads(heads=[head_of(head) for head in answer.heads], id=frame.id, more=answer.more or None)
        case MembersAnswer():
            members = [p.MemberInfo(user=user, role=role) for user, role in answer.members]
            return p.MembersPage(id=frame.id, conversation=answer.conversation, members=members, title=answer.title)
        case Refusal():
            code = codes.CODES.get(answer.code, codes.UNAVAILABLE)
            if code is codes.OVERLOADED and tries > 1:
                code = codes.UNAVAILABLE  # it says nothing of the tries before
            return p.Error(
                code=code.number, name=code.name, message=answer.message, id=frame.id, field=answer.field or None,
                conversation=answer.conversation or None, retry_after_ms=answer.retry_after_ms or None,
            )  # fmt: skip
    raise AssertionError(f"{answer} answers nothing that was asked")
