"""The conversation actor: the only writer of one conversation's log (``design.md`` §3, §5).

Theory of operation. An actor is made when its slot is at home here and somebody asks. It *loads* (log row, last entries, members, marks),
keeps the longest unbroken run of counting entries, writes the *log row* with its own term, and only then is *open* (``claim.py``; where
nothing is stored yet the row waits for the first entry). A request becomes a
``Pending`` entry: seq, term, time and ordinal are fixed, its row is written. In seq order, what is stored is *said*: delivered to the homes
of the members; it is ``Unsettled`` until every other member's home has it in hand, then the sender's home gets ``sent`` and the echo.

Who asks again is known by ``repeats.py``; member rows follow from entries in ``derived.py``.

Laws (checked by ``check``):
    * ``head`` is the last said seq; pending entries are head + 1, head + 2, … without a gap.
    * Nothing is said before its row, and those of all entries before it, are stored and seen unfenced (P1, P3).
    * Nothing is said or repeated while a member's index row is older than the law allows (§4).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TypeAlias

from homing import codes
from homing.ids import DIRECT, GROUP, is_id, kind_of
from homing.protocol import BLOCK_TYPES, GROUP_MEMBERS_MAX, GROUP_TYPES, HOME_TYPES
from msgspec import Struct
from msgspec.structs import replace

from node.core import log
from node.core.blocks import BlockPace
from node.core.claim import Claim
from node.core.derived import Derived
from node.core.frames import (
    AskEntries,
    AskHead,
    AskMembers,
    AskPart,
    BlockChange,
    DeliverRefused,
    GroupChange,
    MarkReport,
    MembersAnswer,
    NotHere,
    Part,
    Refusal,
    ToConversation,
)
from node.core.index import IndexLaw
from node.core.marks import Marks
from node.core.pages import Pages
from node.core.receipts import Receipts
from node.core.repeats import RETRY_MS, Repeats
from node.core.roster import Denied, Roster, is_pair
from node.core.services import Services
from node.core.speech import Speech
from storage.store import Answer, EntryRow, LoadLog, LogLoaded, MemberRow, Outcome

LOADING, BARRIER, OPEN, FROZEN, SEALED, CLOSED = "loading", "barrier", "open", "frozen", "sealed", "closed"
"""Frozen: nothing new, marks are still taken and stored at once. Sealed: at rest, and the directory has been told so."""

Requester: TypeAlias = tuple[str, int, str]
"""Edge incarnation, session, request id."""
Writing: TypeAlias = ToConversation | GroupChange | BlockChange
Request: TypeAlias = Writing | AskEntries | AskMembers
ConversationFrame: TypeAlias = Request | MarkReport | AskHead | AskPart | DeliverRefused
RECENT_BODY_CHARS_MAX = 256 * 1024
"""Bodies of a conversation kept in memory, 1 MiB at worst: they fill a screen many times over, and fit into one frame of the mesh."""


class Pending(Struct):
    """An entry that is not said yet."""

    row: EntryRow
    requests: list[Requester]
    members: list[MemberRow]
    """What follows from it, see ``derived.py``."""
    stored: bool = False


class Conversation:
    """One conversation at its home."""

    def __init__(self, services: Services, conversation: str, term: int) -> None:
        self.sv = services
        self.id = conversation
        self.term = term
        self.state = LOADING
        self.terms: log.Terms = ()
        self.head = 0
        self.next = 1
        self.created_at = 0
        self.ordinal = 0
        self.pending: deque[Pending] = deque()
        self.recent: dict[int, EntryRow] = {}
        self.bodies_from = 1
        """Rows of ``recent`` below this seq are without a body."""
        self.body_chars = 0
        """Characters of the bodies in ``recent``."""
        self.roster = Roster()
        self.marks = Marks()
        self.claim = Claim(self)
        self.index = IndexLaw(self)
        self.speech = Speech(self)
        self.receipts = Receipts(self)
        self.pages = Pages(self)
        self.block_pace = BlockPace(services.limits)
        self.repeats = Repeats(self)
        self.derived = Derived(self)
        self.inbox: deque[tuple[ConversationFrame, str]] = deque()
        self.used_at = services.now
        self.handlers: dict[type, Callable[..., None]] = {
            ToConversation: self.on_write,
            GroupChange: self.on_write,
            BlockChange: self.on_write,
            MarkReport: self.receipts.on_report,
            AskHead: self.pages.on_ask_head,
            AskEntries: self.pages.on_ask_entries,
            AskMembers: self.on_ask_members,
            AskPart: self.on_ask_part,
            DeliverRefused: self.speech.on_refused,
        }
        services.ask(LoadLog(conversation), self._on_loaded)

    # -------------------------------------------------------------- activation

    def _on_loaded(self, answer: Answer) -> None:
        if self.state != LOADING:
            return
        assert isinstance(answer, LogLoaded)
        self.terms = answer.log.terms if answer.log else ()
        run, self.head = log.run_of(answer.entries, self.terms)
        if not self.sv.rules.log_row:
            run, self.head = log.run_of(answer.entries, log.highest_terms(answer.entries))
        self.next = self.head + 1
        self.roster.load(answer.members)
        self.marks.load(answer.receipts, self.term)
        self.repeats.load(run, self.head)
        for row in run[-self.sv.limits.recent_entries :]:
            self.recent[row.seq] = row
        self.bodies_from = self.next
        if run:
            self.created_at, self.ordinal = run[-1].created_at, run[-1].ordinal
        self.index.forget(self.derived.load(answer.members, run))
        self.speech.opened_at = self.head
        self.claim.begin(answer)

    def open(self) -> None:
        """From now on the conversation answers."""
        self.state = OPEN
        self.derived.open()
        while self.inbox and self.state == OPEN:
            frame, source = self.inbox.popleft()
            self.handlers[type(frame)](frame, source)
        self._go_if_nothing()

    def _go_if_nothing(self) -> None:
        """Nothing is under this id: the actor is let go at the next sweep, or whoever makes up ids would fill the memory."""
        if not self.roster.by_user and not self.pending and self.state == OPEN:
            self.used_at = -inf

    # -------------------------------------------------------------- requests

    def on_frame(self, frame: ConversationFrame, source: str) -> None:
        """Handles a frame of another actor; until the actor is open it waits, bounded."""
        self.used_at = self.sv.now
        if self.state == OPEN or isinstance(frame, DeliverRefused):
            self.handlers[type(frame)](frame, source)
            self._go_if_nothing()
        elif self.state == FROZEN and isinstance(frame, MarkReport):
            self.receipts.on_report(frame, source)
            self.receipts.store_now()
        elif self.state in (FROZEN, SEALED) and isinstance(frame, Request):
            self._not_here(frame, source)
        elif len(self.inbox) < self.sv.limits.loading_requests_max:
            self.inbox.append((frame, source))
        elif isinstance(frame, Writing):
            self.refuse(frame, source, codes.OVERLOADED, "this conversation is being opened", retry_after_ms=RETRY_MS)

    def _not_here(self, frame: ConversationFrame, source: str) -> None:
        if isinstance(frame, Request):
            self.sv.send(source, NotHere(frame.session, frame.id, int(self.id[:4], 16) >> 2))

    def refuse(
        self,
        frame: Request,
        source: str,
        code: codes.Code,
        message: str,
        field: str = "",
        retry_after_ms: int = 0,
    ) -> None:
        self.sv.send(source, Refusal(frame.session, frame.id, code.name, message, self.id, field, retry_after_ms))

    def on_write(self, frame: Writing, source: str) -> None:
        """A request that makes an entry: one for each client message id, whatever is repeated (P4)."""
        seq = self.repeats.seq_of(frame)
        if seq is not None:
            return self._repeat(seq, frame, source)
        limits = self.sv.limits
        after = frame.after if frame.after is not None else max(0, self.head - limits.dedup_default_entries)
        if after > self.head:
            return self.refuse(frame, source, codes.INVALID, f"after is {after}, but the conversation ends at {self.head}", "after")
        if self.repeats.is_unsure(after):
            return self.repeats.scan(after, frame, source)
        behind = len(self.pending) >= limits.unsaid_entries_max or self.speech.under_way() >= limits.unsettled_entries_max
        if behind or not self.sv.has_room:
            return self.refuse(frame, source, codes.OVERLOADED, "too many entries on their way", retry_after_ms=RETRY_MS)
        if self.next == 1 and kind_of(self.id) == DIRECT and not isinstance(frame, GroupChange) and self._starts(frame, source):
            return
        try:
            type_, body = self._permit(frame)
        except Denied as no:
            return self.refuse(frame, source, no.code, no.message, no.field)
        if not self.claim.held:
            return self.claim.take(frame, source)
        if isinstance(frame, BlockChange) and (wait_ms := self.block_pace.take(frame.user, self.sv.now)):
            return self.refuse(frame, source, codes.RATE_LIMITED, "too many blocks and unblocks", retry_after_ms=wait_ms)
        self._append(frame, type_, body, [(source, frame.session, frame.id)])

    def _permit(self, frame: Writing) -> tuple[str, str]:
        """Type and body of the entry that the request asks for.

        Raises:
            Denied: the user may not, or there is no such conversation.
        """
        if isinstance(frame, ToConversation):
            if frame.kind.startswith(HOME_TYPES):
                raise Denied(codes.INVALID, "entries of this type are made by requests of their own", "type")
            unborn = self.next == 1 and kind_of(self.id) == DIRECT and not frame.peer  # one member's row may be all that is known of it
            if unborn or not self.roster.by_user:
                raise Denied(codes.NOT_FOUND, "there is no such conversation", "to")
            if not self.roster.may_write(frame.user):
                raise Denied(codes.NOT_A_MEMBER, "you are not a member of this conversation", "to")
            if self.sv.rules.blocks:
                self.roster.check_blocks(frame.user)
            return frame.kind, frame.body
        if isinstance(frame, BlockChange):
            if frame.kind not in BLOCK_TYPES or frame.user == frame.peer or not is_pair(frame.user, frame.peer, self.id):
                raise Denied(codes.INVALID, "nobody blocks himself, or in another place than the direct conversation", "user")
            return frame.kind, ""
        if frame.kind not in GROUP_TYPES or kind_of(self.id) != GROUP or not all(map(is_id, (frame.user, *frame.members))):
            raise Denied(codes.INVALID, "this is no change of a group", "op")
        if frame.kind == "group.create":
            return frame.kind, self._new_group(frame)
        if not self.roster.by_user:
            raise Denied(codes.NOT_FOUND, "there is no such group", "conversation")
        touched = self.roster.check(frame.kind, frame.user, frame.members, frame.role)
        what: dict[str, object] = {"members": touched} if touched else {}
        if frame.kind == "group.rename":
            what["title"] = frame.title
        if frame.kind == "group.role":
            what["role"] = frame.role
        return frame.kind, json.dumps(what, ensure_ascii=False, separators=(",", ":"))

    def _starts(self, frame: ToConversation | BlockChange, source: str) -> bool:
        """The first entries of a direct conversation do not name its members, so both rows are durable before there is any: the request
        waits for them. (Neither member can be anybody else, the id is a hash of both.) False: they are, or this is no such request."""
        pair = {frame.user, frame.peer}
        if not self.derived.under_way:
            if not is_pair(frame.user, frame.peer, self.id) or pair <= self.roster.by_user.keys():
                return False
            if not self.claim.held:
                self.claim.take(frame, source)
                return True
            self.roster.start_direct(frame.user, frame.peer)
            self.index.forget(True)
            for user in self.roster.current():
                self.derived.write(self.roster.row(self.id, user, 0))
        if len(self.derived.starting) >= self.sv.limits.loading_requests_max:
            self.refuse(frame, source, codes.OVERLOADED, "this conversation is being opened", retry_after_ms=RETRY_MS)
        else:
            self.derived.starting.append((frame, source))
        return True

    def _new_group(self, frame: GroupChange) -> str:
        if self.roster.by_user or self.head or self.pending:
            raise Denied(codes.CONFLICT, "there is a group under this id", "conversation")
        others = tuple(dict.fromkeys(u for u in frame.members if u != frame.user))
        if len(others) + 1 > GROUP_MEMBERS_MAX:
            raise Denied(codes.GROUP_FULL, f"a group has at most {GROUP_MEMBERS_MAX} members", "members")
        return json.dumps({"title": frame.title, "members": others}, ensure_ascii=False, separators=(",", ":"))

    # -------------------------------------------------------------- repeats

    def _repeat(self, seq: int, frame: Writing, source: str) -> None:
        request = (source, frame.session, frame.id)
        if seq > self.head:
            pending = self.pending[seq - self.head - 1]
            if request not in pending.requests:
                pending.requests.append(request)
        else:
            self.speech.repeat(seq, request)

    # -------------------------------------------------------------- the log

    def _append(self, frame: Writing, type_: str, body: str, requests: list[Requester]) -> None:
        seq = self.next
        self.next += 1
        self.created_at = max(self.created_at, self.sv.time_ms())
        is_change = type_.startswith(HOME_TYPES)
        self.ordinal += not is_change
        sent_ts = frame.sent_ts if isinstance(frame, ToConversation) else 0
        row = EntryRow(self.id, seq, self.term, frame.user, frame.id, type_, body, self.created_at, self.ordinal, sent_ts)
        self.pending.append(Pending(row, requests, self.roster.apply(row) if is_change else []))
        self.sv.note("appended", self.id, seq, frame.id, f"term {self.term}")
        self.repeats.ids[frame.user, frame.id] = seq
        if is_change:
            self.index.joined(row)
        self.sv.write(row, self._on_stored, seq)
        self.index.prepare()

    def _on_stored(self, outcome: Outcome, seq: int) -> None:
        if outcome is Outcome.FENCED and self.sv.rules.fence:
            return self.sv.fenced()
        place = seq - self.head - 1
        if self.state == CLOSED or not 0 <= place < len(self.pending):
            return
        pending = self.pending[place]
        self.sv.note("stored" if outcome is Outcome.STORED else "unknown", self.id, seq, pending.row.client_message_id)
        if outcome is Outcome.UNKNOWN:
            for edge, session, id_ in pending.requests:
                text = "storage does not answer; the same id again tells what became of it"
                self.sv.send(edge, Refusal(session, id_, codes.UNAVAILABLE.name, text, self.id, "", RETRY_MS * 5))
            pending.requests.clear()
            return
        pending.stored = True
        if not self.sv.rules.in_order:
            self._say_out_of_order(place)
        self.say_ready()

    def say_ready(self) -> None:
        """Says, in seq order, what is stored and led to by the members' index rows."""
        while self.pending and self.pending[0].stored and self.state != CLOSED:
            if self.derived.is_behind or not self.index.allows():
                return
            pending = self.pending.popleft()
            self.head = pending.row.seq
            self._remember(pending.row)
            if pending.members:
                self.derived.said(pending.members)
            self.speech.say(pending.row, pending.requests)

    def _say_out_of_order(self, place: int) -> None:
        """Only with the rule ``in_order`` taken out: says an entry before those in front of it."""
        pending = self.pending[place]
        if place and self.index.allows():
            self.speech.say(pending.row, pending.requests)

    def _remember(self, row: EntryRow) -> None:
        self.recent[row.seq] = row
        self.body_chars += len(row.body)
        if len(self.recent) > self.sv.limits.recent_entries:
            oldest = self.recent.pop(next(iter(self.recent)))
            if oldest.seq >= self.bodies_from:
                self.body_chars -= len(oldest.body)
        if self.body_chars > RECENT_BODY_CHARS_MAX:
            self._forget_bodies()
        self.repeats.trim()

    def _forget_bodies(self) -> None:
        """The oldest bodies go first: storage has them, in pages that fit into a frame of the mesh."""
        while self.body_chars > RECENT_BODY_CHARS_MAX:
            row = self.recent.get(self.bodies_from)
            if row is not None:
                self.body_chars -= len(row.body)
                self.recent[row.seq] = replace(row, body="")
            self.bodies_from += 1

    # -------------------------------------------------------------- members

    def on_ask_members(self, frame: AskMembers, source: str) -> None:
        window = self.roster.window(frame.user, self.head)
        if window is None or not self.roster.may_write(frame.user):  # who has left reads his old entries, but not who is there today
            return self.refuse(frame, source, codes.NOT_A_MEMBER, "you are not a member of this conversation", "conversation")
        members = tuple((u, m.role) for u, m in self.roster.by_user.items() if not m.until_seq and m.from_seq <= self.head)
        self.sv.send(source, MembersAnswer(frame.session, frame.id, self.id, members, self.roster.title))

    def on_ask_part(self, frame: AskPart, source: str) -> None:
        part = tuple((u, m.from_seq, m.until_seq) for u, m in self.roster.by_user.items() if self.sv.owner_of(u) == source)
        self.sv.send(source, Part(self.id, self.roster.version, part))

    # -------------------------------------------------------------- rest

    def on_table(self) -> None:
        """Homes have changed: what is on its way goes to the new ones."""
        self.speech.on_table()
        self.receipts.flush()

    def is_at_rest(self) -> bool:
        """Nothing is pending, unsettled or unstored: the actor can be let go or handed over."""
        quiet = not self.pending and self.speech.is_at_rest() and not self.repeats.scanning and self.derived.is_at_rest
        quiet = quiet and not self.receipts.due
        return self.state in (OPEN, FROZEN, SEALED) and quiet and self.marks.dirty_since is None and self.marks.writing is None

    @property
    def is_open(self) -> bool:
        return self.state == OPEN

    @property
    def is_closed(self) -> bool:
        return self.state == CLOSED

    def freeze(self) -> None:
        """A planned move: nothing new; what is pending ends, marks are stored."""
        if self.state == OPEN:
            self.state = FROZEN
        if self.state == FROZEN:
            # The next owner reads the marks, but not who has not heard of them.
            self.receipts.flush()
            return self.receipts.store_now()
        if self.state == SEALED:
            return
        for frame, source in self.inbox:
            self._not_here(frame, source)
        self.close()

    def seal(self) -> None:
        """The directory hears that the slot is at rest: from now on nothing is done until it says whose it is."""
        if self.state == FROZEN:
            self.state = SEALED

    def unfreeze(self) -> None:
        if self.state in (FROZEN, SEALED):
            self.open()

    def close(self) -> None:
        """The slot is somebody else's now, or the actor is let go: nothing is said any more."""
        self.state = CLOSED
        self.inbox.clear()
        self.pending.clear()
        self.derived.starting.clear()
        self.speech.clear()

    def check(self) -> None:
        """Asserts the laws of this module."""
        for i, pending in enumerate(self.pending):
            assert pending.row.seq == self.head + 1 + i, "pending entries follow the head without a gap"
        assert self.state == CLOSED or self.next == self.head + len(self.pending) + 1
        assert len(self.recent) <= self.sv.limits.recent_entries + 1
