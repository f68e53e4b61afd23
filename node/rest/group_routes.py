"""The routes of groups: each is one change that the group's home decides on."""

from __future__ import annotations

import hashlib

from homing import codes, ids, rest
from homing import protocol as p

from node.refusal import Refused
from node.rest.chat import Chat
from node.rest.route import Call, Route, body_of, id_of

ERRORS = (codes.NOT_A_MEMBER, codes.NOT_FOUND, codes.FORBIDDEN, codes.CONFLICT, codes.RESYNC)


def group_routes(chat: Chat) -> list[Route]:
    """The table."""

    async def create(call: Call) -> rest.Sent:
        new = body_of(call, rest.GroupNew)
        frame = p.GroupCreate(id=new.id, conversation=_new_id(call.who.user, new.id), title=new.title, members=new.members)
        return await chat.change(call.who, frame)

    async def rename(call: Call) -> rest.Sent:
        change = body_of(call, rest.GroupChange)
        frame = p.GroupRename(id=change.id, conversation=_group(call), title=change.title, after=change.after)
        return await chat.change(call.who, frame)

    async def add(call: Call) -> rest.Sent:
        more = body_of(call, rest.GroupMembers)
        frame = p.GroupAdd(id=more.id, conversation=_group(call), members=more.members, after=more.after)
        return await chat.change(call.who, frame)

    async def remove(call: Call) -> rest.Sent:
        leave, user = body_of(call, rest.GroupLeave), id_of(call, "user")
        if user == call.who.user:
            left = p.GroupLeave(id=leave.id, conversation=_group(call), after=leave.after)
            return await chat.change(call.who, left)
        frame = p.GroupRemove(id=leave.id, conversation=_group(call), members=[user], after=leave.after)
        return await chat.change(call.who, frame)

    async def role(call: Call) -> rest.Sent:
        change, user = body_of(call, rest.GroupRole), id_of(call, "user")
        frame = p.GroupRole(id=change.id, conversation=_group(call), user=user, role=change.role, after=change.after)
        return await chat.change(call.who, frame)

    one, member = "/v1/groups/{group}", "/v1/groups/{group}/members/{user}"
    return [
        Route(
            name="group_create", method="POST", path="/v1/groups", summary="Make a group",
            handle=create, limiter="messages", body=rest.GroupNew, answer=rest.Sent, status=201,
            errors=(codes.GROUP_FULL, codes.CONFLICT),
        ),
        Route(
            name="group_rename", method="PATCH", path=one, summary="Rename a group",
            handle=rename, limiter="messages", body=rest.GroupChange, answer=rest.Sent, errors=ERRORS,
        ),
        Route(
            name="group_add", method="POST", path=f"{one}/members", summary="Take people into a group",
            handle=add, limiter="messages", body=rest.GroupMembers, answer=rest.Sent, errors=(*ERRORS, codes.GROUP_FULL),
        ),
        Route(
            name="group_remove", method="POST", path=f"{member}/remove", summary="Take somebody out of a group; oneself: leave it",
            handle=remove, limiter="messages", body=rest.GroupLeave, answer=rest.Sent, errors=ERRORS,
        ),
        Route(
            name="group_role", method="PATCH", path=member, summary="Make a member an admin, or take that back",
            handle=role, limiter="messages", body=rest.GroupRole, answer=rest.Sent, errors=ERRORS,
        ),
    ]  # fmt: skip


def _new_id(user: str, request: str) -> str:
    """The same request of the same user is the same group."""
    return ids.group_id(hashlib.sha256(f"homing.group\0{user}\0{request}".encode("utf-8", "surrogatepass")).digest()[:16])


def _group(call: Call) -> str:
    text = call.path["group"]
    if not ids.is_id(text) or ids.kind_of(text) != ids.GROUP:
        raise Refused(codes.NOT_FOUND, "this is no group's id")
    return text
