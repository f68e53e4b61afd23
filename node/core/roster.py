"""Who belongs to a conversation: memberships with their bounds, roles, and what each group change may do.

A roster follows from the log: every change is an entry, ``version`` is the seq of the last one. Membership of a user is one interval of
seqs (the latest): ``from_seq <= seq < until_seq`` says what he may see, whatever order frames come in. Changes are applied when the
entry is made; what a reader may see is bounded by what is said, which the conversation knows.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from homing import codes
from homing.ids import DIRECT, direct_id, is_id, kind_of
from homing.protocol import BLOCK, BLOCK_TYPES, GROUP_MEMBERS_MAX
from msgspec import Struct

from storage.store import EntryRow, MemberRow

OWNER, ADMIN, MEMBER, GONE = "owner", "admin", "member", ""


class Membership(Struct):
    role: str
    from_seq: int
    until_seq: int = 0
    """0 while he is a member."""
    title: str = ""
    """The group's title when the membership ended: its later ones are not for him."""
    blocks: bool = False
    """He has blocked the other member of a direct conversation."""


class What(Struct):
    """The body of a ``group.*`` entry."""

    members: list[str] = []
    title: str = ""
    role: str = MEMBER


_decode = msgspec.json.Decoder(What).decode


def _what(body: str) -> What:
    """What is in the log stands there for ever: a body that says nothing changes nothing, at every home alike."""
    try:
        return _decode(body) if body else What()
    except (msgspec.MsgspecError, RecursionError):
        return What()


class Denied(Exception):
    """A change that may not be made: carries the code and what to tell the client."""

    def __init__(self, code: codes.Code, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


class Roster:
    """The memberships of one conversation."""

    __slots__ = ("by_user", "changed", "is_blocked", "title", "version")

    def __init__(self) -> None:
        self.by_user: dict[str, Membership] = {}
        self.title = ""
        self.is_blocked = False
        """One of a direct conversation's two has blocked the other: nothing can be said in it."""
        self.version = 0
        self.changed = 0
        """Grows with every change in this activation: caches compare it."""

    # -------------------------------------------------------------- questions

    def current(self) -> list[str]:
        """The members now."""
        return [user for user, m in self.by_user.items() if not m.until_seq]

    def may_write(self, user: str) -> bool:
        m = self.by_user.get(user)
        return m is not None and not m.until_seq

    def sees(self, user: str, seq: int) -> bool:
        m = self.by_user.get(user)
        return m is not None and m.from_seq <= seq and (not m.until_seq or seq < m.until_seq)

    def title_for(self, user: str) -> str:
        """The title as far as ``user`` may know it."""
        m = self.by_user.get(user)
        return m.title if m is not None and m.until_seq else self.title

    def audience(self, seq: int) -> list[str]:
        """Everybody who may see the entry ``seq``."""
        return [u for u, m in self.by_user.items() if m.from_seq <= seq and (not m.until_seq or seq < m.until_seq)]

    def window(self, user: str, head: int) -> tuple[int, int] | None:
        """First and last seq that ``user`` may see of a log that is said up to ``head``; None: never a member."""
        m = self.by_user.get(user)
        if m is None or m.from_seq > head:
            return None
        return m.from_seq, min(head, m.until_seq - 1) if m.until_seq else head

    # -------------------------------------------------------------- changes

    def start_direct(self, a: str, b: str) -> list[MemberRow]:
        """The roster of two: both from the first seq on."""
        self.by_user = {a: Membership(MEMBER, 1), b: Membership(MEMBER, 1)}
        self.changed += 1
        return []

    def check(self, kind: str, user: str, members: tuple[str, ...], role: str) -> tuple[str, ...]:
        """Whether ``user`` may make the change; returns the members that it really touches.

        Raises:
            Denied: he may not, or nothing would change, or the group would be too large.
        """
        me = self.by_user.get(user)
        if me is None or me.until_seq:
            raise Denied(codes.NOT_A_MEMBER, "you are not a member of this group")
        if kind == "group.leave":
            return (user,)
        if me.role not in (OWNER, ADMIN):
            raise Denied(codes.FORBIDDEN, "only the owner and admins of the group may do this")
        if kind == "group.add":
            touched = tuple(dict.fromkeys(u for u in members if not self.may_write(u)))
            if len(self.current()) + len(touched) > GROUP_MEMBERS_MAX:
                raise Denied(codes.GROUP_FULL, f"a group has at most {GROUP_MEMBERS_MAX} members", "members")
        elif kind == "group.remove":
            touched = tuple(dict.fromkeys(u for u in members if self.may_write(u)))
            if any(self.by_user[u].role == OWNER or (self.by_user[u].role == ADMIN and me.role != OWNER) for u in touched):
                raise Denied(codes.FORBIDDEN, "an admin can be removed by the owner only, the owner by nobody", "members")
        elif kind == "group.role":
            if me.role != OWNER:
                raise Denied(codes.FORBIDDEN, "only the owner gives or takes the admin role")
            touched = tuple(u for u in members if self.may_write(u) and u != user and self.by_user[u].role != role)
        else:
            return ()
        if not touched:
            field = "user" if kind == "group.role" else "members"
            raise Denied(codes.CONFLICT, "nobody named here would be changed", field)
        return touched

    def check_blocks(self, user: str) -> None:
        """Raises Denied: ``user`` can say nothing, for one of the two has blocked the other."""
        if self.is_blocked:
            own = self.by_user[user].blocks
            raise Denied(codes.BLOCKED, "you have blocked this user: unblock first" if own else "this user has blocked you", "to")

    def apply(self, row: EntryRow) -> list[MemberRow]:
        """Applies a ``group.*`` or ``direct.*`` entry; returns the member rows that follow from it. Applying one again changes nothing."""
        what = _what(row.body)
        members = what.members
        if row.type in ("group.create", "group.rename"):
            self.title = what.title
        touched: Iterable[str] = members
        if row.type == "group.create":
            self._join(row.sender, OWNER, row.seq)
            for user in members:
                self._join(user, MEMBER, row.seq)
            touched = [row.sender, *members]
        elif row.type == "group.add":
            for user in members:
                self._join(user, MEMBER, row.seq)
        elif row.type in ("group.remove", "group.leave"):
            for user in members:
                self._end(user, row.seq)
            touched = [*members, *self._inherit(row.seq)]
        elif row.type == "group.role":
            for user in members:
                if user in self.by_user:
                    self.by_user[user].role = what.role
        elif row.type == "group.rename":
            touched = [row.sender]
        elif row.type in BLOCK_TYPES and row.sender in self.by_user and kind_of(row.conversation) == DIRECT:
            self.by_user[row.sender].blocks = row.type == BLOCK
            self._note_blocks()
            touched = [row.sender]
        self.version = max(self.version, row.seq)
        self.changed += 1
        return [self.row(row.conversation, user, row.seq) for user in dict.fromkeys(touched) if user in self.by_user]

    def row(self, conversation: str, user: str, seq: int) -> MemberRow:
        m = self.by_user[user]
        return MemberRow(conversation, user, seq, m.role, m.from_seq, m.until_seq, self.title_for(user), m.blocks)

    def load(self, rows: Iterable[MemberRow]) -> None:
        """What storage holds of the members; entries newer than a row are applied after."""
        newest = 0
        for row in rows:
            self.by_user[row.user] = Membership(row.role, row.from_seq, row.until_seq, row.title if row.until_seq else "", row.blocks)
            self.version = max(self.version, row.seq)
            if row.seq >= newest and row.title:
                newest, self.title = row.seq, row.title
        self._note_blocks()
        self.changed += 1

    # -------------------------------------------------------------- inside

    def _note_blocks(self) -> None:
        self.is_blocked = any(m.blocks for m in self.by_user.values())

    def _join(self, user: str, role: str, seq: int) -> None:
        m = self.by_user.get(user)
        if m is None or (m.until_seq and m.until_seq <= seq):
            self.by_user[user] = Membership(role, seq)

    def _end(self, user: str, seq: int) -> None:
        m = self.by_user.get(user)
        if m is not None and not m.until_seq and m.from_seq < seq:
            self.by_user[user] = Membership(GONE, m.from_seq, seq + 1, self.title)

    def _inherit(self, seq: int) -> list[str]:
        """A group whose owner left is owned by its longest-standing admin, or member."""
        current = [(u, m) for u, m in self.by_user.items() if not m.until_seq]
        if not current or any(m.role == OWNER for _, m in current):
            return []
        heir = min(current, key=lambda um: (um[1].role != ADMIN, um[1].from_seq, um[0]))
        heir[1].role = OWNER
        return [heir[0]]


def is_pair(a: str, b: str, conversation: str) -> bool:
    """Whether the two are ids, and the members of that direct conversation: its id is a hash of both."""
    return is_id(a) and is_id(b) and direct_id(a, b) == conversation
