"""What a client's request asks of which home: the same for a session and for a program that speaks HTTP (``design.md`` §3, §4).

Pure: from who asks, the number under which he waits (a session's, or one of ``asking.py``) and his frame follow the place whose home
answers and the mesh frame that it gets, or what is wrong with the request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from homing import protocol as p
from homing.ids import DIRECT, GROUP, USER, direct_id, kind_of

from node.core.frames import AskEntries, AskHeads, AskMembers, AskPerson, BlockChange, GroupChange, ToConversation

Question: TypeAlias = ToConversation | GroupChange | BlockChange | AskEntries | AskMembers | AskHeads | AskPerson
Place: TypeAlias = str
"""The conversation or user at whose home the question is answered."""

_direct_id = lru_cache(maxsize=16_384)(direct_id)
"""A pure function of two ids, asked for each message; the busiest pairs of a node fit."""


class Wrong(NamedTuple):
    """A request that no home need hear of: ``field`` is at fault (``invalid_field``)."""

    message: str
    field: str


Asked: TypeAlias = tuple[Place, Question] | Wrong


def _send(user: str, n: int, f: p.Send) -> Asked:
    if f.type.startswith(p.HOME_TYPES):
        return Wrong("entries of this type are made by requests of their own", "type")
    peer, conversation = place_of(user, f.to)
    if not peer and kind_of(conversation) not in (DIRECT, GROUP):
        return Wrong("this id is neither a user's nor a conversation's", "to")
    return conversation, ToConversation(conversation, user, n, f.id, f.type, f.body, f.ts, f.after, peer)


def _block(user: str, n: int, kind: str, f: p.BlockOp) -> Asked:
    if kind_of(f.user) != USER:
        return Wrong("this is not a user's id", "user")
    if f.user == user:
        return Wrong("nobody blocks himself", "user")
    conversation = _direct_id(user, f.user)
    return conversation, BlockChange(conversation, user, n, f.id, kind, f.user, f.after)


def _change(
    user: str, n: int, kind: str, f: p.GroupOp, members: list[str] | tuple[str, ...] = (), title: str = "", role: str = ""
) -> Asked:
    if kind_of(f.conversation) != GROUP:
        return Wrong("this is not a group's id", "conversation")
    if any(kind_of(member) != USER for member in members):
        return Wrong("members are users", "members")
    after = None if isinstance(f, p.GroupCreate) else f.after
    return f.conversation, GroupChange(f.conversation, user, n, f.id, kind, tuple(members), title, role, after)


def _group_role(user: str, n: int, f: p.GroupRole) -> Asked:
    if kind_of(f.user) != USER:
        return Wrong("this is not a user's id", "user")
    return _change(user, n, "group.role", f, (f.user,), role=f.role)


def _fetch(user: str, n: int, f: p.Fetch) -> Asked:
    peer, conversation = place_of(user, f.conversation)
    return conversation, AskEntries(conversation, user, n, f.id, max(1, f.from_seq), f.to_seq, f.limit, peer)


def _fetch_members(user: str, n: int, f: p.FetchMembers) -> Asked:
    _, conversation = place_of(user, f.conversation)
    return conversation, AskMembers(conversation, user, n, f.id)


def _fetch_person(user: str, n: int, f: p.FetchPerson) -> Asked:
    if kind_of(f.user) != USER:
        return Wrong("this is not a user's id", "user")
    return f.user, AskPerson(f.user, n, f.id)


QUESTIONS: dict[type, Callable[[str, int, Any], Asked]] = {
    p.Send: _send,
    p.Fetch: _fetch,
    p.FetchHeads: lambda user, n, f: (user, AskHeads(user, n, f.id, f.before or "", f.limit)),
    p.FetchMembers: _fetch_members,
    p.FetchPerson: _fetch_person,
    p.GroupCreate: lambda user, n, f: _change(user, n, "group.create", f, f.members, f.title),
    p.GroupAdd: lambda user, n, f: _change(user, n, "group.add", f, f.members),
    p.GroupRemove: lambda user, n, f: _change(user, n, "group.remove", f, f.members),
    p.GroupLeave: lambda user, n, f: _change(user, n, "group.leave", f),
    p.GroupRename: lambda user, n, f: _change(user, n, "group.rename", f, title=f.title),
    p.GroupRole: _group_role,
    p.Block: lambda user, n, f: _block(user, n, p.BLOCK, f),
    p.Unblock: lambda user, n, f: _block(user, n, p.UNBLOCK, f),
}
"""Frame type → the question that it asks, for a user under a number."""


def place_of(user: str, to: str) -> tuple[str, Place]:
    """The other member, where one is named, and the conversation: a user's id is the direct conversation with him."""
    return (to, _direct_id(user, to)) if kind_of(to) == USER else ("", to)
