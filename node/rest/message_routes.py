"""The routes of conversations: who asks what of ``chat.py``."""

from __future__ import annotations

from homing import codes, ids, rest

from node.refusal import Refused
from node.rest.chat import Chat
from node.rest.route import Call, Route, body_of, query_of

SEQ_MAX = 2**53


def message_routes(chat: Chat) -> list[Route]:
    """The table."""

    async def send(call: Call) -> rest.Sent:
        return await chat.send(call.who, body_of(call, rest.Message))

    async def conversations(call: Call) -> rest.Conversations:
        return await chat.conversations(call.who, query_of(call, rest.ConversationsQuery))

    async def messages(call: Call) -> rest.Messages:
        return await chat.messages(call.who, _conversation(call), query_of(call, rest.MessagesQuery))

    async def members(call: Call) -> rest.Members:
        return await chat.members(call.who, _conversation(call))

    async def status(call: Call) -> None:
        message = _message(call)
        try:
            await chat.mark(call.who, message.conversation, message.seq, body_of(call, rest.Status).status)
        except Refused as refused:
            if refused.code is codes.INVALID:  # its seq is in the path
                raise Refused(codes.NOT_FOUND, "there is no such message") from None
            raise

    async def receipt(call: Call) -> None:
        given = body_of(call, rest.Receipt)
        if not ids.is_id(given.conversation):
            raise Refused(codes.INVALID, "conversation is not of the form that the documents give", "conversation")
        await chat.mark(call.who, given.conversation, given.seq, given.status)

    async def receipts(call: Call) -> rest.MessageReceipts:
        return await chat.receipts(call.who, _message(call))

    return [
        Route(
            name="send", method="POST", path="/v1/messages", summary="Say something to a user or into a conversation",
            handle=send, limiter="messages", body=rest.Message, answer=rest.Sent,
            errors=(codes.NOT_A_MEMBER, codes.NOT_FOUND, codes.BLOCKED, codes.RESYNC),
        ),
        Route(
            name="conversations", method="GET", path="/v1/conversations", summary="The conversation list, newest first",
            handle=conversations, limiter="history", query=rest.ConversationsQuery, answer=rest.Conversations,
        ),
        Route(
            name="messages", method="GET", path="/v1/conversations/{conversation}/messages",
            summary="A page of history, by seq or by time",
            handle=messages, limiter="history", query=rest.MessagesQuery, answer=rest.Messages,
            errors=(codes.NOT_A_MEMBER, codes.NOT_FOUND),
        ),
        Route(
            name="members", method="GET", path="/v1/conversations/{conversation}/members", summary="Who is in a conversation",
            handle=members, limiter="history", answer=rest.Members, errors=(codes.NOT_A_MEMBER, codes.NOT_FOUND),
        ),
        Route(
            name="status", method="POST", path="/v1/messages/{message}/status",
            summary="Say that one has received or read a message, and so all before it; answered when that is durable",
            handle=status, limiter="history", body=rest.Status, errors=(codes.NOT_A_MEMBER, codes.NOT_FOUND),
        ),
        Route(
            name="receipt", method="POST", path="/v1/receipts",
            summary="Say how far one has received or read a conversation; answered when that is durable",
            handle=receipt, limiter="history", body=rest.Receipt, errors=(codes.NOT_A_MEMBER,),
        ),
        Route(
            name="receipts", method="GET", path="/v1/messages/{message}/receipts",
            summary="Who has received a message, and who has read it",
            handle=receipts, limiter="history", answer=rest.MessageReceipts, errors=(codes.NOT_A_MEMBER, codes.NOT_FOUND),
        ),
    ]  # fmt: skip


def _conversation(call: Call) -> str:
    """A conversation's id, or a user's: the direct conversation with him."""
    text = call.path["conversation"]
    if not ids.is_id(text) or ids.kind_of(text) not in (ids.USER, ids.DIRECT, ids.GROUP):
        raise Refused(codes.NOT_FOUND, "this is no conversation's id")
    return text


def _message(call: Call) -> ids.MessageId:
    try:
        message = ids.parse_message_id(call.path["message"])
    except ValueError:
        raise Refused(codes.NOT_FOUND, "this is no message's id") from None
    if ids.kind_of(message.conversation) not in (ids.DIRECT, ids.GROUP) or not 0 < message.seq <= SEQ_MAX:
        raise Refused(codes.NOT_FOUND, "this is no message's id")
    return message
