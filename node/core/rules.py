"""Switches that the simulator takes out to see its checkers go red; in a real node every rule is on.

Each names one rule of ``design.md``; what belongs to a link, a store or a clock is broken in the simulator's own parts.
"""

from __future__ import annotations

from msgspec import Struct


class Rules(Struct, frozen=True):
    log_row: bool = True
    """Activation writes the log row before it appends or answers (§5)."""
    in_order: bool = True
    """An entry is said only when all before it are stored (P3)."""
    dedup: bool = True
    """A request's id is looked for in the log before it makes an entry (P4)."""
    readdress: bool = True
    """A member's death or move re-addresses what is not in hand, instead of excusing it (P2)."""
    attach_first: bool = True
    """A session is attached before heads are asked for (P2)."""
    said_law: bool = True
    """Index rows are written against the time when an entry is said, not when it was made (§4)."""
    in_hand: bool = True
    """``sent`` waits until every other member's home has the entry in hand (§3)."""
    stale_deliver: bool = True
    """A deliver frame that was under way for more than 2 minutes is refused (§3)."""
    mark_max: bool = True
    """Marks only move forward (P5)."""
    presence_silence: bool = True
    """A slot's new home says of nobody that he is offline before his sessions had time to come (§4)."""
    presence_privacy: bool = True
    """The home of the watched decides who sees him (§4)."""
    watch_again: bool = True
    """Who watches asks again when the watched has another home (§4)."""
    reciprocal: bool = True
    """Who shows nothing to somebody sees nothing of him (§4)."""
    last_seen_durable: bool = True
    """A last_seen is told only once it is durable (§4)."""
    typing_members: bool = True
    """Only members, whom nobody blocked, are told of as typing (§4)."""
    blocks: bool = True
    """While one of two has blocked the other, neither says anything in their conversation (§3)."""
    asked_number: bool = True
    """The number of a request over HTTP is never used again: a late answer to one is none to another (P4)."""
    fence: bool = True
    """A FENCED answer ends the incarnation (§5)."""


ALL = Rules()
