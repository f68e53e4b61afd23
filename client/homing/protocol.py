"""The client protocol: every frame of ``homing.v1``, defined once for server, clients and documents.

One WebSocket message is one frame: a JSON object (sub-protocol ``homing.v1.json``, text) or a msgpack map (``homing.v1.msgpack``,
binary), told apart by ``op``. Unknown fields are ignored, so that a newer peer may add some; unknown ops are an error.

Laws:
    * ``id`` is chosen by the client and comes back in the answer. For what makes an entry (``send``, ``block``, ``unblock`` and the
      ``group_*`` ops) it is the ``client_message_id``: the same id sent again by the same user gives the same entry, never a second one
      (promise P4).
    * ``after`` is the conversation's seq that the client knew when it *first* queued the request; it stays the same in every retry.
    * Times are milliseconds since the epoch of 1970 in cluster time, unless a name says otherwise.
    * Marks are cumulative: ``seq`` 7 means all up to 7.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

JSON_SUBPROTOCOL = "homing.v1.json"
MSGPACK_SUBPROTOCOL = "homing.v1.msgpack"
FRAME_BYTES_MAX = 65_536  # a client's frame; a server's pages may be larger
BODY_CHARS_MAX = 16_384
GROUP_MEMBERS_MAX = 1_024
TITLE_CHARS_MAX = 128
FETCH_LIMIT_MAX = 100
HAVE_MAX = 100
WATCH_MAX = 256
TYPING_MS = 6_000

# A `$` also matches before a last line feed, which no id, type or role may have: hence `(?!\n)`.
# Ids and types have their patterns in the documents only: the decoder would run a regular expression for each (a tenth of a message's
# cost); the node's codec checks them by cheaper means.
Id: TypeAlias = Annotated[
    str,
    Meta(
        min_length=32,
        max_length=32,
        extra_json_schema={"pattern": "^[0-9a-f]{32}$"},
        description="A user's or conversation's id: 32 hexadecimal digits.",
    ),
]
RequestId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64, description="Chosen by the client; comes back in the answer.")]
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
# Bounded, for no store and no mesh frame holds an integer without a bound.
ClientTime: TypeAlias = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Body: TypeAlias = Annotated[str, Meta(max_length=BODY_CHARS_MAX)]
Title: TypeAlias = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARS_MAX)]
Type: TypeAlias = Annotated[str, Meta(min_length=1, max_length=32, extra_json_schema={"pattern": "^[a-z][a-z0-9_.]{0,31}$"})]
Members: TypeAlias = Annotated[list[Id], Meta(max_length=GROUP_MEMBERS_MAX)]
TypingKind: TypeAlias = Literal["typing", "recording", "stopped"]
PresenceState: TypeAlias = Literal["online", "offline", "unknown"]

# What the home writes itself; a client cannot send these types.
GROUP_TYPES = frozenset({"group.create", "group.add", "group.remove", "group.leave", "group.rename", "group.role"})
BLOCK, UNBLOCK = "direct.block", "direct.unblock"
BLOCK_TYPES = frozenset({BLOCK, UNBLOCK})
HOME_TYPES = ("group.", "direct.")
"""Entries whose type begins so are the home's: they do not count in ``ordinal``."""


class _Frame(Struct, omit_defaults=True, kw_only=True, tag_field="op"):
    """Base of all frames."""


# ---------------------------------------------------------------- client to server


class Hello(_Frame, tag="hello", kw_only=True):
    """Opens the session; must be the first frame, once, within 5 s."""

    token: Annotated[str, Meta(max_length=4096)]
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    """What the last ``synced`` or ``pong`` gave: opaque. None: a device that knows nothing."""
    have: dict[Id, Seq] = field(default_factory=dict)
    """The latest seq held of the device's most recent conversations, at most 100."""
    client: Annotated[str, Meta(max_length=128)] = ""


class Send(_Frame, tag="send", kw_only=True):
    """Says something to a user (opens the direct conversation) or into a conversation."""

    id: RequestId
    to: Id
    body: Body
    type: Type = "text"
    ts: ClientTime = 0
    """The client's own clock, ms: kept, never trusted."""
    after: Seq | None = None


class Ack(_Frame, tag="ack", kw_only=True):
    """This device holds everything up to ``seq``: moves the user's delivered mark."""

    conversation: Id
    seq: Seq


class Read(_Frame, tag="read", kw_only=True):
    """The user has seen everything up to ``seq``: moves the read mark (and the delivered one)."""

    conversation: Id
    seq: Seq


class Fetch(_Frame, tag="fetch", kw_only=True):
    """Asks for the entries ``from_seq`` to ``to_seq``, both included. If the range is cut (at ``limit``, or because its bodies are long)
    the newest come: ask again for what lies below the first of them."""

    id: RequestId
    conversation: Id
    from_seq: Seq = 1
    to_seq: Seq | None = None
    limit: Annotated[int, Meta(ge=1, le=FETCH_LIMIT_MAX)] = 50


class FetchHeads(_Frame, tag="fetch_heads", kw_only=True):
    """Asks for the conversation list, newest first; ``before`` is the ``more`` of the page before."""

    id: RequestId
    before: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=FETCH_LIMIT_MAX)] = 50


class FetchMembers(_Frame, tag="fetch_members", kw_only=True):
    """Asks who is in a conversation."""

    id: RequestId
    conversation: Id


class FetchPerson(_Frame, tag="fetch_person", kw_only=True):
    """Asks what somebody is called, to show his messages with a name."""

    id: RequestId
    user: Id


class Ping(_Frame, tag="ping", kw_only=True):
    """Answered by ``pong`` with a newer cursor."""


class Watch(_Frame, tag="watch", kw_only=True):
    """Replaces the set of people whose presence this session is told; empty ends it. Answered by no frame of its own: ``presence`` comes
    of each as soon as his home knows, and whenever it changes."""

    users: Annotated[list[Id], Meta(max_length=WATCH_MAX)]


class Typing(_Frame, tag="typing", kw_only=True):
    """The user is writing or recording something, or stopped: said again every 3 s while he does. Never answered or kept; what is said too
    often is dropped."""

    conversation: Id
    """Or a user's id: the direct conversation with him."""
    kind: TypingKind


class GroupCreate(_Frame, tag="group_create", kw_only=True):
    """Makes a group of the caller and ``members``; the caller becomes its owner. The group's id follows from ``conversation``."""

    id: RequestId
    conversation: Id
    """Chosen by the client (random, kind GROUP), so that a repeated create is the same group."""
    title: Title
    members: Members


class GroupAdd(_Frame, tag="group_add", kw_only=True):
    id: RequestId
    conversation: Id
    members: Members
    after: Seq | None = None


class GroupRemove(_Frame, tag="group_remove", kw_only=True):
    id: RequestId
    conversation: Id
    members: Members
    after: Seq | None = None


class GroupLeave(_Frame, tag="group_leave", kw_only=True):
    id: RequestId
    conversation: Id
    after: Seq | None = None


class GroupRename(_Frame, tag="group_rename", kw_only=True):
    id: RequestId
    conversation: Id
    title: Title
    after: Seq | None = None


class GroupRole(_Frame, tag="group_role", kw_only=True):
    """Makes a member an admin or takes that back; only the owner may."""

    id: RequestId
    conversation: Id
    user: Id
    role: Annotated[str, Meta(pattern="^(admin|member)$(?!\n)")]
    after: Seq | None = None


class Block(_Frame, tag="block", kw_only=True):
    """From the answer on neither of the two can say anything to the other, until ``unblock``: an entry of the direct conversation, which
    both see. Each request makes one, also when it changes nothing."""

    id: RequestId
    user: Id
    after: Seq | None = None


class Unblock(_Frame, tag="unblock", kw_only=True):
    """Takes one's own ``block`` back; one of the other's stays."""

    id: RequestId
    user: Id
    after: Seq | None = None


# ---------------------------------------------------------------- server to client


class Entry(Struct, omit_defaults=True, kw_only=True):
    """One item of a conversation's log, as a client sees it."""

    conversation: Id
    seq: Seq
    message_id: str
    sender: Id
    id: str
    """The client_message_id under which it was sent."""
    type: str = "text"
    body: str = ""
    """For ``group.*`` types a JSON object: ``{"title":…,"members":[…],"role":…}`` as far as they apply."""
    ts: int
    """created_at: cluster time in ms, never falling within a conversation."""
    ordinal: int
    """Countable messages up to and including this entry; unread is a difference of ordinals."""
    sent_ts: int = 0
    """The sender's own clock."""


class Mark(Struct, array_like=True):
    """How far one member has received and read a conversation."""

    user: Id
    delivered: Seq
    read: Seq


class Head(Struct, omit_defaults=True, kw_only=True):
    """A conversation as the list shows it."""

    conversation: Id
    seq: Seq
    ordinal: int
    last: Entry | None = None
    delivered: Seq = 0
    read: Seq = 0
    """The reader's own marks."""
    read_ordinal: int = 0
    """The ordinal at ``read``: unread = ordinal - read_ordinal."""
    marks: list[Mark] = field(default_factory=list)
    """The other members' marks, where not zero."""
    title: str = ""
    peer: Id | UnsetType = UNSET
    """The other member of a direct conversation."""
    role: str = "member"
    until_seq: Seq | None = None
    """Set when the reader is no longer a member: he may read up to here."""


class Welcome(_Frame, tag="welcome", kw_only=True):
    session: str
    user: Id
    device: str
    name: str = ""
    node: str
    time: int
    heartbeat_ms: int
    """Send a ping at least this often (already jittered by the server)."""
    frame_bytes_max: int = FRAME_BYTES_MAX


class Heads(_Frame, tag="heads", kw_only=True):
    """A page of heads: streamed after hello (no id), or the answer to ``fetch_heads``."""

    heads: list[Head]
    id: str | None = None
    more: str | None = None


class Synced(_Frame, tag="synced", kw_only=True):
    """All that changed since the cursor has been listed; keep the new cursor."""

    cursor: str
    marks_ms: int = 0
    """Marks (acks, reads) sent in the last this many ms before this frame may not be durable yet: repeat them at the next hello (P5)."""


class Message(_Frame, tag="message", kw_only=True):
    """A new entry of a conversation."""

    entry: Entry


class Sent(_Frame, tag="sent", kw_only=True):
    """Answer to whatever makes an entry: it is durable and every other member's home has it (one tick)."""

    id: str
    entry: Entry


class HeadChanged(_Frame, tag="head", kw_only=True):
    """The conversation has grown up to ``seq``, its bodies were withheld (slow path): fetch them."""

    conversation: Id
    seq: Seq


class Receipts(_Frame, tag="receipts", kw_only=True):
    """Members' marks moved forward; maxima win, whatever order frames come in."""

    conversation: Id
    marks: list[Mark]


class Entries(_Frame, tag="entries", kw_only=True):
    """Answer to ``fetch``: ascending by seq. ``head`` is the last said seq that the reader may see."""

    id: str
    conversation: Id
    entries: list[Entry]
    head: Seq


class MemberInfo(Struct, omit_defaults=True, kw_only=True):
    user: Id
    role: str = "member"


class MembersPage(_Frame, tag="members", kw_only=True):
    id: str
    conversation: Id
    members: list[MemberInfo]
    title: str = ""


class Person(_Frame, tag="person", kw_only=True):
    """Answer to ``fetch_person``."""

    id: str
    user: Id
    name: str = ""
    """As the person's own token says; empty while his home does not know it, ask again later."""


class Presence(Struct, omit_defaults=True, kw_only=True):
    """Whether somebody is here."""

    user: Id
    state: PresenceState
    """``unknown``: it is hidden from the reader, or his home does not know. It is never shown as offline."""
    last_seen: int | None = None
    """When he was last here; to the minute, or some minutes too early after a crash. None: hidden, or not known, or he is here."""


class PresenceChanged(_Frame, tag="presence", kw_only=True):
    """What is known of people whom the session watches; of everybody else in its set it holds what was said before."""

    people: list[Presence]


class TypingShown(_Frame, tag="typing", kw_only=True):
    """Somebody is writing or recording: shown for ``ms``, unless it is said again or an entry of his comes; ``stopped``: no longer."""

    conversation: Id
    user: Id
    kind: TypingKind
    ms: int


class Pong(_Frame, tag="pong", kw_only=True):
    time: int
    cursor: str | None = None
    marks_ms: int = 0
    """As in ``synced``."""


class Error(_Frame, tag="error", kw_only=True):
    """A refusal; see ``homing.codes`` for the ranges. With ``id`` it answers that request, without it is about the session."""

    code: int
    name: str
    message: str
    id: str | None = None
    field: str | None = None
    conversation: str | None = None
    retry_after_ms: int | None = None


class Reconnect(_Frame, tag="reconnect", kw_only=True):
    """Please close and say hello again after ``after_ms``, at ``url`` if given: nothing is wrong, nothing is lost."""

    after_ms: int
    url: str | None = None
    reason: str = ""


ClientFrame: TypeAlias = (
    Hello | Send | Ack | Read | Fetch | FetchHeads | FetchMembers | FetchPerson | Ping
    | Watch | Typing | GroupCreate | GroupAdd | GroupRemove | GroupLeave | GroupRename | GroupRole | Block | Unblock
)  # fmt: skip
ServerFrame: TypeAlias = (
    Welcome | Heads | Synced | Message | Sent | HeadChanged | Receipts | Entries | MembersPage | Person
    | PresenceChanged | TypingShown | Pong | Error | Reconnect
)  # fmt: skip
BlockOp: TypeAlias = Block | Unblock
GroupOp: TypeAlias = GroupCreate | GroupAdd | GroupRemove | GroupLeave | GroupRename | GroupRole
