"""A small honest server without I/O, and a device that talks to it: for tests of the client core."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from homing import codes, ids
from homing.core import ClientCore
from homing.effects import Close, Connect, Effect, Gap, Shown, Transmit
from homing.limits import DEFAULTS, Limits
from homing.protocol import (
    Ack,
    Block,
    ClientFrame,
    Entries,
    Entry,
    Error,
    Fetch,
    FetchHeads,
    FetchMembers,
    FetchPerson,
    GroupCreate,
    Head,
    Heads,
    Hello,
    MemberInfo,
    MembersPage,
    Person,
    Ping,
    Pong,
    Read,
    Send,
    Sent,
    ServerFrame,
    Synced,
    Typing,
    Unblock,
    Watch,
    Welcome,
)
from homing.state import CoreState, Request

ME, BOB, EVE = ids.user_id("me"), ids.user_id("bob"), ids.user_id("eve")
CHAT = ids.direct_id(ME, BOB)
GROUP = ids.group_id(bytes(range(16)))


def entry(seq: int, sender: str = BOB, id_: str = "", conversation: str = CHAT, body: str = "") -> Entry:
    message_id = ids.message_id(conversation, seq, 1)
    return Entry(
        conversation=conversation, seq=seq, message_id=message_id, sender=sender, id=id_ or f"x{seq}", ts=seq, ordinal=seq, body=body
    )


WELCOME = Welcome(session="s", user=ME, device="d", node="n", time=0, heartbeat_ms=30_000)


def error(code: codes.Code, id_: str | None = None, retry_after_ms: int | None = None, conversation: str | None = None) -> Error:
    return Error(code=code.number, name=code.name, message="", id=id_, retry_after_ms=retry_after_ms, conversation=conversation)


class Server:
    """Holds logs and answers frames as the protocol says. `scan_max`: how far back it looks for an id before it says `resync`."""

    def __init__(self, user: str = ME, scan_max: int = 1_000_000) -> None:
        self.user = user
        self.scan_max = scan_max
        self.logs: dict[str, list[Entry]] = {}
        self.hidden: set[tuple[str, int]] = set()
        self.acked: dict[str, int] = {}
        self.read: dict[str, int] = {}
        self.titles: dict[str, str] = {}
        self.seen: list[ClientFrame] = []
        self.cursor = 0

    def append(self, sender: str = BOB, id_: str = "", conversation: str = CHAT, body: str = "") -> Entry:
        log = self.logs.setdefault(conversation, [])
        log.append(entry(len(log) + 1, sender, id_, conversation, body))
        return log[-1]

    def head(self, conversation: str) -> Head:
        log = self.logs.get(conversation, [])
        return Head(
            conversation=conversation,
            seq=len(log),
            ordinal=len(log),
            last=log[-1] if log and (conversation, len(log)) not in self.hidden else None,
            delivered=self.acked.get(conversation, 0),
            read=self.read.get(conversation, 0),
            read_ordinal=self.read.get(conversation, 0),
            title=self.titles.get(conversation, ""),
        )

    def answer(self, frame: ClientFrame) -> list[ServerFrame]:
        self.seen.append(frame)
        match frame:
            case Hello():
                self.cursor += 1
                welcome = Welcome(session="s", user=self.user, device="d", node="n", time=0, heartbeat_ms=30_000)
                return [welcome, Heads(heads=[self.head(c) for c in self.logs]), Synced(cursor=str(self.cursor), marks_ms=60_000)]
            case Ping():
                self.cursor += 1
                return [Pong(time=0, cursor=str(self.cursor), marks_ms=60_000)]
            case Ack():
                self.acked[frame.conversation] = max(self.acked.get(frame.conversation, 0), frame.seq)
            case Read():
                self.read[frame.conversation] = max(self.read.get(frame.conversation, 0), frame.seq)
            case Fetch():
                return [self.page(frame)]
            case FetchHeads():
                return [Heads(heads=[self.head(c) for c in self.logs], id=frame.id)]
            case FetchPerson():
                return [Person(id=frame.id, user=frame.user, name="Bob" if frame.user == BOB else "")]
            case FetchMembers():
                members = [MemberInfo(user=u) for u in (ME, BOB)]
                return [
                    MembersPage(
                        id=frame.id, conversation=frame.conversation, members=members, title=self.titles.get(frame.conversation, "")
                    )
                ]
            case Watch() | Typing():
                pass
            case _:
                return [self.take(frame)]
        return []

    def page(self, f: Fetch) -> Entries:
        log = self.logs.get(f.conversation, [])
        to = len(log) if f.to_seq is None else f.to_seq
        found = [e for e in log if f.from_seq <= e.seq <= to and (f.conversation, e.seq) not in self.hidden]
        return Entries(id=f.id, conversation=f.conversation, entries=found[-f.limit :], head=len(log))

    def take(self, f: Request) -> Sent | Error:
        if isinstance(f, Send):
            conversation = ids.direct_id(self.user, f.to) if ids.kind_of(f.to) == ids.USER else f.to
        elif isinstance(f, Block | Unblock):
            conversation = ids.direct_id(self.user, f.user)
        else:
            conversation = f.conversation
        if isinstance(f, GroupCreate):
            self.titles[conversation] = f.title
        log = self.logs.setdefault(conversation, [])
        after = 0 if isinstance(f, GroupCreate) else f.after or 0
        if len(log) - after > self.scan_max:
            return error(codes.RESYNC, f.id)
        for e in log[after:]:
            if e.id == f.id and e.sender == self.user:
                return Sent(id=f.id, entry=e)
        return Sent(id=f.id, entry=self.append(self.user, f.id, conversation, f.body if isinstance(f, Send) else ""))


class Device:
    """A core with its clock and a record of its effects. `to_server` are frames on the wire that nobody has read yet."""

    def __init__(
        self,
        state: CoreState | None = None,
        limits: Limits = DEFAULTS,
        user: str = ME,
        random: Callable[[], float] = lambda: 0.5,
        addresses: int = 1,
    ):
        self.now = 1000.0
        self.limits = limits
        self.random = random
        self.core = ClientCore(user, "d", random, state, limits, addresses=addresses)
        self.effects: list[Effect] = []
        self.to_server: list[ClientFrame] = []
        self.connecting = False
        self.open = False

    def do(self, *effects: Effect) -> list[Effect]:
        for e in effects:
            match e:
                case Transmit():
                    assert self.open, e
                    self.to_server.append(e.frame)
                case Connect():
                    self.connecting = True
                case Close():
                    self.open = False
                    self.to_server.clear()
        self.effects += effects
        self.core.check()
        return list(effects)

    def connect(self) -> None:
        if self.core.session.state != "waiting":  # there it would be in a hurry
            self.do(*self.core.start(self.now))
        while not self.connecting:
            self.tick()
        self.connecting, self.open = False, True
        self.do(*self.core.connected(self.now, "token"))

    def disconnect(self, code: int = 1006) -> None:
        self.open = False
        self.to_server.clear()
        self.do(*self.core.disconnected(self.now, code, "cut"))

    def give(self, *frames: ServerFrame, flush: bool = True) -> list[Effect]:
        effects: list[Effect] = []
        for f in frames:
            effects += self.do(*self.core.frame(f, self.now))
        return effects + (self.do(*self.core.flush(self.now)) if flush else [])

    def flush(self) -> list[Effect]:
        return self.do(*self.core.flush(self.now))

    def tick(self, after_s: float | None = None) -> list[Effect]:
        """Lets time pass, to the next deadline or by `after_s`."""
        if after_s is not None:
            self.now += after_s
        else:
            deadline = self.core.next_deadline()
            assert deadline is not None
            self.now = max(self.now, deadline)
        return self.do(*self.core.tick(self.now))

    def taken(self) -> list[ClientFrame]:
        """What lies on the wire, taken off it."""
        frames, self.to_server = self.to_server, []
        return frames

    def talk(self, server: Server) -> None:
        """Lets both talk until nothing is left to say."""
        while self.to_server:
            for f in self.taken():
                self.give(*server.answer(f))

    def live(self, server: Server) -> Device:
        """Connects and catches up."""
        self.connect()
        self.talk(server)
        while self.core.session.state != "live":
            self.tick()
            self.talk(server)
        return self

    def send(self, id_: str, to: str = BOB, body: str = "hi") -> None:
        self.do(*self.core.send(id_, to, body, "text", self.now))
        self.flush()

    def shown(self, conversation: str = CHAT) -> list[int]:
        return shown(self.effects, conversation)

    def restarted(self) -> Device:
        """The same device after a restart of its process."""
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.core.export()), type=CoreState)
        device = Device(state, self.limits, self.core.user, self.random)
        device.now = self.now + 1000
        device.effects = [e for e in self.effects if isinstance(e, Shown | Gap)]
        return device


def shown(effects: Iterable[Effect], conversation: str = CHAT) -> list[int]:
    return [e.entry.seq for e in effects if isinstance(e, Shown) and e.entry.conversation == conversation]


def live(server: Server | None = None, **limits: float) -> tuple[Device, Server]:
    """A caught-up device, with no effects noted yet, and its server."""
    server = server or Server()
    device = Device(limits=Limits(**limits)).live(server)  # type: ignore[arg-type]  # fields by name
    device.effects.clear()
    return device, server
