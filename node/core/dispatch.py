"""Which actor a frame goes to: the one table of the message path's joints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.core import frames as f
from node.core.asking import FIRST
from node.core.live_frames import PresenceAnswer

if TYPE_CHECKING:
    from node.core.node import NodeCore


Hands = dict[type, Callable[[Any, str], None]]
"""Frame type → the hand that takes it with the incarnation that it comes from."""


def edge_handlers(node: NodeCore) -> Hands:
    """What the homes say to sessions."""
    edge, asking = node.edge, node.asking

    def either(ours: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
        """What answers a session's request, or one of somebody without a session."""
        return lambda x, src: ours(x, src) if x.session < FIRST else asking.on_answer(x, src)

    return {
        f.Attached: edge.on_attached,
        f.DropSession: edge.on_drop,
        f.FanOut: edge.on_fan_out,
        f.SentOut: edge.on_sent,
        f.HeadOut: edge.on_head,
        f.MarksOut: edge.on_marks,
        f.HeadsOut: either(edge.on_heads),
        f.SyncedOut: edge.on_synced,
        f.CursorAnswer: edge.on_cursor,
        f.Refusal: either(edge.on_refusal),
        f.NotHere: lambda x, src: edge.on_not_here(x, src) if x.session < FIRST else asking.on_not_here(x, src),
        f.AskedSent: asking.on_sent,
        f.EntriesAnswer: either(edge.on_entries),
        f.MembersAnswer: either(edge.on_members),
        f.PersonAnswer: edge.on_person,
        PresenceAnswer: asking.on_answer,
        **node.live.at_edge(),
    }


def actor_handlers(node: NodeCore) -> Hands:
    """What edges and actors say to mailboxes and conversations."""

    def on_stored(frame: f.MarkStored, source: str) -> None:
        node.reports.on_stored(frame, source)
        node.asking.on_stored(frame, source)

    deliveries = node.deliveries
    mailbox: Hands = {
        # Asked again of the next home, once the table names it.
        f.Attach: lambda x, src: None if node.moves.letting_go else node.on_mailbox(x.user, lambda m: m.on_attach(x, src)),
        f.Detach: lambda x, src: node.on_mailbox(x.user, lambda m: m.on_detach((src, x.session)), make=False),
        f.MarkFrom: node.reports.on_mark_from,
        f.AskCursor: lambda x, src: node.on_mailbox(x.user, lambda m: m.on_ask_cursor(x, src)),
        f.AskHeads: lambda x, src: node.on_mailbox(x.user, lambda m: m.on_ask_heads(x, src)),
        f.AskPerson: node.people.on_ask,
        f.RevokeDevice: node.revocations.on_revoke,
        f.DeviceRevoked: node.revocations.on_answer,
        f.HeadAnswer: lambda x, src: (
            node.on_mailbox(x.user, lambda m: m.on_head(x, src), make=False) if x.n < FIRST else node.asking.on_answer(x, src)
        ),
    }
    of_conversation = (
        f.ToConversation, f.GroupChange, f.BlockChange, f.MarkReport, f.AskHead, f.AskEntries, f.AskMembers, f.AskPart, f.DeliverRefused,
    )  # fmt: skip
    delivered: Hands = {
        f.Deliver: deliveries.on_deliver,
        f.DeliverHead: deliveries.on_deliver_head,
        f.EchoSent: deliveries.on_echo,
        f.MarksMoved: deliveries.on_marks_moved,
        f.Part: deliveries.on_part,
        f.MarkStored: on_stored,
    }
    return {**mailbox, **delivered, **node.live.at_homes(), **dict.fromkeys(of_conversation, node.to_conversation)}
