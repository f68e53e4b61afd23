"""What nodes say to each other over the mesh: edge ↔ mailbox ↔ conversation (``design.md`` §3, §4).

Each frame is a msgpack array with an integer tag; those of presence and typing: ``live_frames.py``. On one node the same frames go from
hand to hand without being encoded.
``session`` numbers are the edge's own; together with the edge's incarnation they are unique.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from node.core.live_frames import LiveFrame
from storage.store import ClientTime, EntryRow, Id, Number


class _F(Struct, array_like=True, frozen=True, gc=False):
    """Base of all node frames."""


class ToConversation(_F, tag=1, frozen=True):
    """Edge → conversation's home: a client's ``send``."""

    conversation: Id
    user: Id
    session: Number
    id: str
    kind: str
    """The entry's type."""
    body: str
    sent_ts: ClientTime
    after: Number | None
    peer: str = ""
    """The other member, when the client addressed a user."""


class GroupChange(_F, tag=2, frozen=True):
    """Edge → conversation's home: a client's ``group_*`` request; ``kind`` is the entry type that it asks for."""

    conversation: Id
    user: Id
    session: Number
    id: str
    kind: str
    members: tuple[Id, ...] = ()
    title: str = ""
    role: str = ""
    after: Number | None = None


class BlockChange(_F, tag=90, frozen=True):
    """Edge → home of the direct conversation: a client's ``block`` or ``unblock``."""

    conversation: Id
    user: Id
    session: Number
    id: str
    kind: str
    """The entry's type."""
    peer: Id
    after: Number | None = None


class Refusal(_F, tag=3, frozen=True):
    """Home → edge: the request ``id`` of ``session`` is refused with one of ``homing.codes``."""

    session: Number
    id: str
    code: str
    message: str
    conversation: str = ""
    field: str = ""
    retry_after_ms: Number = 0


class NotHere(_F, tag=4, frozen=True):
    """Home → whoever asked: the slot is not mine, or frozen for a move; ask its owner when the table changes, or again soon."""

    session: Number
    id: str
    slot: Number


class Deliver(_F, tag=5, frozen=True):
    """Conversation → home of members: a said entry. ``users`` are the members at home there; None: the node's own part of the roster
    at ``roster`` (a version) says who."""

    row: EntryRow
    said_at: Number
    """Cluster time, ms; a frame older than 2 minutes is refused (P2)."""
    roster: Number
    users: tuple[Id, ...] | None


class DeliverHead(_F, tag=6, frozen=True):
    """Conversation → home of members: the conversation has grown to ``seq``; bodies are withheld (P7)."""

    conversation: Id
    seq: Number
    said_at: Number
    roster: Number
    users: tuple[Id, ...] | None


class DeliverRefused(_F, tag=7, frozen=True):
    """Home of members → conversation: not in hand (too old, or not the owner of a member's slot): say it again."""

    conversation: Id
    seq: Number
    said_at: Number = 0
    """The refused frame's: what was said again since is not meant. 0: a neighbouring release does not tell."""


class EchoSent(_F, tag=8, frozen=True):
    """Conversation → sender's home: in hand everywhere else. ``sent`` for the requests [(edge, session, id)], the message for the
    sender's other sessions."""

    row: EntryRow
    said_at: Number
    requests: tuple[tuple[str, Number, str], ...]


class AskPart(_F, tag=9, frozen=True):
    """Home of members → conversation: which of its members are at home here? (nodes keep that for groups above the inline bound)"""

    conversation: Id
    roster: Number


class Part(_F, tag=10, frozen=True):
    """Conversation → home of members: (user, from_seq, until_seq) of the members at home there, at roster version ``roster``."""

    conversation: Id
    roster: Number
    members: tuple[tuple[Id, Number, Number], ...]


class MarkReport(_F, tag=11, frozen=True):
    """Mailboxes of a node → conversation: how far users got (user, delivered, read); repeated until ``MarkStored`` (P5)."""

    conversation: Id
    marks: tuple[tuple[Id, Number, Number], ...]
    urgent: bool = False
    """Store them now: the mailbox is about to move."""
    tell: tuple[str, ...] = ()
    """Users with several devices: these are told at once what was accepted of a read mark, by a ``MarksMoved`` to its own mailbox."""


class MarkStored(_F, tag=12, frozen=True):
    """Conversation → mailboxes of a node: marks (user, delivered, read) up to these are durable."""

    conversation: Id
    marks: tuple[tuple[Id, Number, Number], ...]


class MarksMoved(_F, tag=13, frozen=True):
    """Conversation → home of ``users``: marks (user, delivered, read) moved; tell their sessions."""

    conversation: Id
    users: tuple[Id, ...]
    marks: tuple[tuple[Id, Number, Number], ...]


class AskHead(_F, tag=14, frozen=True):
    """Mailbox → conversation: what does ``user`` see? ``have``: the seq that the device holds. ``n`` comes back."""

    conversation: Id
    user: Id
    n: Number
    have: Number


class HeadAnswer(_F, tag=15, frozen=True):
    """Conversation → mailbox. ``seq`` 0: nothing to see. ``rows``: entries above ``have`` where memory holds them all."""

    conversation: Id
    user: Id
    n: Number
    seq: Number
    ordinal: Number = 0
    last: EntryRow | None = None
    delivered: Number = 0
    read: Number = 0
    read_ordinal: Number = 0
    marks: tuple[tuple[Id, Number, Number], ...] = ()
    title: str = ""
    peer: str = ""
    role: str = ""
    until_seq: Number = 0
    rows: tuple[EntryRow, ...] = ()


class AskEntries(_F, tag=16, frozen=True):
    """Edge → conversation: a client's ``fetch``."""

    conversation: Id
    user: Id
    session: Number
    id: str
    from_seq: Number
    to_seq: Number | None
    limit: Number
    peer: str = ""
    """The other member, when the client named a user."""


class EntriesAnswer(_F, tag=17, frozen=True):
    session: Number
    id: str
    conversation: Id
    rows: tuple[EntryRow, ...]
    head: Number


class AskMembers(_F, tag=18, frozen=True):
    """Edge → conversation: a client's ``fetch_members``."""

    conversation: Id
    user: Id
    session: Number
    id: str


class MembersAnswer(_F, tag=19, frozen=True):
    session: Number
    id: str
    conversation: Id
    members: tuple[tuple[Id, str], ...]
    title: str


class Attach(_F, tag=60, frozen=True):
    """Edge → mailbox: a session of ``user``; asked again until ``Attached``."""

    user: Id
    session: Number
    device: str
    cursor: Number
    """Cluster time, ms; 0: a device that knows nothing."""
    have: tuple[tuple[Id, Number], ...]
    name: str = ""
    """What the token calls the user."""


class Attached(_F, tag=61, frozen=True):
    """Mailbox → edge: from now on the session gets what is said."""

    user: Id
    session: Number


class Detach(_F, tag=62, frozen=True):
    """Edge → mailbox: the socket is gone."""

    user: Id
    session: Number


class DropSession(_F, tag=63, frozen=True):
    """Mailbox → edge: close the socket; ``code`` is one of ``homing.codes``."""

    session: Number
    code: str


class MarkFrom(_F, tag=64, frozen=True):
    """Edge → mailbox: a client's ``ack`` (read 0) or ``read``."""

    user: Id
    session: Number
    conversation: Id
    delivered: Number
    read: Number


class AskCursor(_F, tag=65, frozen=True):
    """Edge → mailbox: a client's ``ping``."""

    user: Id
    session: Number


class CursorAnswer(_F, tag=66, frozen=True):
    """Mailbox → edge: what ``pong`` carries; cursor 0: none yet."""

    session: Number
    cursor: Number
    marks_ms: Number


class FanOut(_F, tag=67, frozen=True):
    """Mailbox → edge: the entry goes to these sessions."""

    row: EntryRow
    sessions: tuple[Number, ...]


class SentOut(_F, tag=68, frozen=True):
    """Mailbox → edge: ``sent`` for the request ``id`` of ``session``."""

    row: EntryRow
    session: Number
    id: str


class AskedSent(_F, tag=78, frozen=True):
    """Home of the sender → whoever asked for somebody without a session there: the message is said."""

    row: EntryRow
    session: Number
    id: str


class HeadOut(_F, tag=69, frozen=True):
    """Mailbox → edge: ``head`` to these sessions."""

    conversation: Id
    seq: Number
    sessions: tuple[Number, ...]


class MarksOut(_F, tag=70, frozen=True):
    """Mailbox → edge: ``receipts`` to these sessions."""

    conversation: Id
    marks: tuple[tuple[Id, Number, Number], ...]
    sessions: tuple[Number, ...]


class HeadsOut(_F, tag=71, frozen=True):
    """Mailbox → edge: a page of heads for one session; ``id`` empty when it streams after hello."""

    session: Number
    heads: tuple[HeadAnswer, ...]
    id: str = ""
    more: str = ""


class SyncedOut(_F, tag=72, frozen=True):
    """Mailbox → edge: ``synced`` with the cursor taken when the session was attached."""

    session: Number
    cursor: Number
    marks_ms: Number


class AskPerson(_F, tag=74, frozen=True):
    """Edge → home of ``user``: a client's ``fetch_person``, of anybody."""

    user: Id
    session: Number
    id: str


class PersonAnswer(_F, tag=75, frozen=True):
    """Home → edge: empty when no device of his with a name in its token was ever here."""

    session: Number
    id: str
    user: Id
    name: str


class RevokeDevice(_F, tag=76, frozen=True):
    """Any node → home of ``user``: this device is never to be let in again; asked again until ``DeviceRevoked``. ``n`` comes back."""

    user: Id
    device: str
    n: Number


class DeviceRevoked(_F, tag=77, frozen=True):
    """Home → who asked: it is durable and its sessions are closed; or it is refused with one of ``homing.codes``."""

    n: Number
    code: str = ""


class AskHeads(_F, tag=73, frozen=True):
    """Edge → mailbox: a client's ``fetch_heads``."""

    user: Id
    session: Number
    id: str
    before: str
    limit: Number


NodeFrame: TypeAlias = (
    ToConversation | GroupChange | Refusal | NotHere | Deliver | DeliverHead | DeliverRefused | EchoSent | AskPart | Part
    | MarkReport | MarkStored | MarksMoved | AskHead | HeadAnswer | AskEntries | EntriesAnswer | AskMembers | MembersAnswer
    | Attach | Attached | Detach | DropSession | MarkFrom | AskCursor | CursorAnswer | FanOut | SentOut | HeadOut | MarksOut
    | HeadsOut | SyncedOut | AskHeads | AskPerson | PersonAnswer | RevokeDevice | DeviceRevoked | AskedSent | BlockChange
    | LiveFrame
)  # fmt: skip
