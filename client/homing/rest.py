"""What the REST interface takes and gives, as structs; ``docs/rest.md`` describes it.

Ids and times are those of the protocol: 32 hexadecimal digits, cluster time in ms since 1970. Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from homing.protocol import (
    Body,
    ClientTime,
    Entry,
    Head,
    HeadChanged,
    Heads,
    Id,
    MemberInfo,
    PresenceChanged,
    Receipts,
    Reconnect,
    RequestId,
    Seq,
    Synced,
    Title,
    TypingKind,
    TypingShown,
    Welcome,
)
from homing.protocol import Members as MemberIds
from homing.protocol import Message as MessageFrame
from homing.protocol import Type as EntryType

NAME_CHARS_MAX = 64
ABOUT_CHARS_MAX = 500
PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256
WATCH_MAX = 64
"""Whom a device that polls may watch: as many as fit into an address line with room to spare."""

# Patterns and least lengths are for the documents: the server looks at these texts in their folded form, and says in words what is wrong.
_USER = "[0-9a-f]{3}[048c][0-9a-f]{28}"
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]"
Handle: TypeAlias = Annotated[
    str,
    Meta(
        max_length=64,
        description="3 to 32 letters, digits, dots, dashes and underscores; case is ignored",
        extra_json_schema={"pattern": "^[A-Za-z0-9._-]{3,32}$"},
    ),
]
Password: TypeAlias = Annotated[
    str,
    Meta(
        max_length=PASSWORD_CHARS_MAX,
        description="at least 8 characters, not all the same, and not the handle",
        extra_json_schema={"minLength": PASSWORD_CHARS_MIN},
    ),
]
Name: TypeAlias = Annotated[
    str, Meta(max_length=NAME_CHARS_MAX, description="without control characters", extra_json_schema={"pattern": f"^{_PRINTABLE}*$"})
]
NewName: TypeAlias = Annotated[
    str,
    Meta(
        max_length=NAME_CHARS_MAX,
        description="without control characters, and not blank",
        extra_json_schema={"minLength": 1, "pattern": rf"^{_PRINTABLE}*[^\s\x00-\x1f\x7f-\x9f]{_PRINTABLE}*$"},
    ),
]
About: TypeAlias = Annotated[
    str,
    Meta(
        max_length=ABOUT_CHARS_MAX,
        description="without control characters but line feeds",
        extra_json_schema={"pattern": r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$"},
    ),
]
RefreshTokenText: TypeAlias = Annotated[str, Meta(max_length=128)]
Audience: TypeAlias = Literal["everyone", "contacts", "nobody"]


class Problem(Struct, kw_only=True, omit_defaults=True):
    """Every refusal (RFC 9457), as ``application/problem+json``."""

    type: str
    title: str
    """The code's name; it never changes."""
    status: int
    detail: str
    """For people; may change."""
    code: int
    """Its thousands say what to do, see ``homing.codes``."""
    field: str | None = None
    """What is wrong, where one field or parameter is."""
    retry_after_ms: int | None = None


class Register(Struct, kw_only=True):
    """Makes an account and signs its first device in."""

    handle: Handle
    password: Password
    name: Name = ""
    """How others see it; the handle if empty."""
    device_name: Name = ""


class SignIn(Struct, kw_only=True):
    """Signs a new device in."""

    handle: Handle
    password: Password
    device_name: Name = ""


class Renew(Struct, kw_only=True):
    """Takes a refresh token, which counts once, for a new session."""

    refresh_token: RefreshTokenText


class Session(Struct, kw_only=True):
    """A signed-in device and its tokens."""

    user: str
    handle: str
    name: str
    device: str
    access_token: str
    """For the WebSocket's hello and, as bearer token, for this interface."""
    access_expires_s: int
    """Seconds from now."""
    refresh_token: str
    refresh_expires_s: int


class Ticket(Struct, kw_only=True):
    """What a browser's hello may carry instead of the access token."""

    ticket: str
    expires_s: int


class Me(Struct, kw_only=True):
    """The caller's own account."""

    user: str
    handle: str
    name: str
    about: str
    created_ts: int


class MeChange(Struct, kw_only=True):
    """What is left out stays."""

    name: NewName | UnsetType = UNSET
    about: About | UnsetType = UNSET


class PasswordChange(Struct, kw_only=True):
    """Sets another password. Every other device is signed out."""

    current: Annotated[str, Meta(max_length=PASSWORD_CHARS_MAX)]
    new: Password
    keep_devices: bool = False
    """The other devices stay signed in."""


class Person(Struct, kw_only=True):
    """An account as others see it."""

    user: str
    handle: str
    name: str
    about: str


class UserQuery(Struct, kw_only=True):
    handle: Handle


class Device(Struct, kw_only=True):
    device: str
    name: str
    created_ts: int
    seen_ts: int
    """When it last got a token."""
    current: bool
    """Whether the request came from it."""


class Devices(Struct, kw_only=True):
    devices: list[Device]


class DeviceChange(Struct, kw_only=True):
    name: NewName


class Contact(Struct, kw_only=True):
    user: str
    name: str
    """What the owner of the address book calls him."""
    created_ts: int


class ContactChange(Struct, kw_only=True):
    name: Name = ""


class Contacts(Struct, kw_only=True):
    contacts: list[Contact]
    next: str | None
    """``after`` of the next page; None: this is the last."""


class ContactsQuery(Struct, kw_only=True):
    after: Annotated[str, Meta(max_length=32)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Blocked(Struct, kw_only=True):
    user: str
    since_ts: int
    """About when."""


class Blocks(Struct, kw_only=True):
    """Whom the caller blocks; a change is here moments after its answer."""

    blocks: list[Blocked]
    next: str | None
    """``after`` of the next page; None: this is the last."""


class BlocksQuery(Struct, kw_only=True):
    after: Annotated[str, Meta(max_length=32)] = ""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Privacy(Struct, kw_only=True):
    """Who may see what; whoever hides something does not see it of others."""

    last_seen: Audience
    online: Audience


class PrivacyChange(Struct, kw_only=True):
    """What is left out stays."""

    last_seen: Audience | UnsetType = UNSET
    online: Audience | UnsetType = UNSET


class Message(Struct, kw_only=True):
    """Says something to a user or into a conversation, as the protocol's ``send``."""

    id: RequestId
    """Chosen by the client; the same again, through any node, is the same message and the same answer."""
    to: Id
    body: Body
    type: EntryType = "text"
    ts: ClientTime = 0
    """The client's own clock, ms: kept, never trusted."""
    after: Seq | None = None
    """The seq that the client knew of the conversation when it first queued the message."""


class Sent(Struct, kw_only=True):
    """The message is durable, and every other member's home has it."""

    entry: Entry


class MessagesQuery(Struct, kw_only=True):
    """One of the four at most; without any the newest."""

    before: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    """Entries below this seq, the newest of them."""
    after: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """Entries above this seq, the oldest of them."""
    since: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """As ``after``, by time: entries of this time or later, the oldest of them."""
    until: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    """As ``before``, by time: entries of earlier times, the newest of them."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    """Long bodies may make a page shorter; only an empty page is the end."""


class Messages(Struct, kw_only=True):
    """A page of a conversation's history, ascending by seq, without holes."""

    entries: list[Entry]
    head: int
    """The last seq that the caller may see."""


class ConversationsQuery(Struct, kw_only=True):
    before: Annotated[str, Meta(max_length=64)] = ""
    """``more`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class Conversations(Struct, kw_only=True):
    """The conversation list, newest first. Unread is ``ordinal - read_ordinal``."""

    conversations: list[Head]
    more: str | None


class Members(Struct, kw_only=True):
    """Who is in a conversation."""

    members: list[MemberInfo]
    title: str


class GroupNew(Struct, kw_only=True):
    """Makes a group of the caller, who becomes its owner, and ``members``."""

    id: RequestId
    """Chosen by the client; the same again by the same user is the same group and the same answer."""
    title: Title
    members: MemberIds = []


class GroupChange(Struct, kw_only=True):
    """Renames a group."""

    id: RequestId
    title: Title
    after: Seq | None = None


class GroupMembers(Struct, kw_only=True):
    """Takes people into a group."""

    id: RequestId
    members: MemberIds
    after: Seq | None = None


class GroupRole(Struct, kw_only=True):
    """Makes a member an admin, or takes that back."""

    id: RequestId
    role: Literal["admin", "member"]
    after: Seq | None = None


class GroupLeave(Struct, kw_only=True):
    """Takes somebody out of a group."""

    id: RequestId
    after: Seq | None = None


class MessageReceipts(Struct, kw_only=True):
    """How far a message got: the members, without its sender, who have received it, and those who have read it."""

    message_id: str
    delivered: list[Id]
    read: list[Id]


class Status(Struct, kw_only=True):
    """How far the caller got with a message, and so with all before it. Marks only move forward."""

    status: Literal["delivered", "read"]


class Receipt(Struct, kw_only=True):
    """The same of a conversation: everything up to ``seq``."""

    conversation: Id
    seq: Seq
    status: Literal["delivered", "read"]


class EventsQuery(Struct, kw_only=True):
    cursor: Annotated[str, Meta(max_length=64, extra_json_schema={"pattern": r"^[0-9a-f]{16}\.[0-9]{1,12}\.[0-9]{1,15}$"})] | None = None
    """That of the last answer, which says that it has arrived; without one the conversation list comes first, as after a first hello."""
    timeout: Annotated[int, Meta(ge=0, le=30)] = 25
    """Seconds after which an answer without events comes."""
    watch: (
        Annotated[str, Meta(max_length=33 * WATCH_MAX - 1, extra_json_schema={"pattern": f"^({_USER}(,{_USER}){{0,{WATCH_MAX - 1}}})?$"})]
        | None
    ) = None
    """Users whose presence comes as events, with commas between: the set of this and the following requests. Without it nobody."""


class TypingNow(Struct, kw_only=True):
    """The caller is writing or recording something, or stopped. Said again every 3 s while he does."""

    conversation: Id
    """Or a user's id: the direct conversation with him."""
    kind: TypingKind


EventFrame: TypeAlias = (
    Welcome | Heads | Synced | MessageFrame | HeadChanged | Receipts | PresenceChanged | TypingShown | Reconnect
)  # fmt: skip
"""What comes to a session without being asked for. Answers come to who asked, and errors are refusals."""


class Events(Struct, kw_only=True):
    """What the WebSocket would have brought, in its order. At least once: show by seq, and read what is missing from the history."""

    events: list[EventFrame]
    """Frames of ``homing.v1.json``."""
    cursor: str
    """For the next request, here or at any other node."""


class Home(Struct, kw_only=True):
    """Where the caller is at home; any other node will do as well."""

    user: str
    url: str | None
    """The home node's address; null while it has none."""
    nodes: list[str]
    """The addresses of all nodes."""
