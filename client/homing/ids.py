"""Identifiers: 128 bits as 32 lower-case hexadecimal digits.

The first 14 bits are the *slot* (which part of the key space the id lies in), the next 2 its *kind*, the other 112 are a hash or
random. Whoever holds an id knows where it lives without a look-up: the first four digits are ``slot * 4 + kind``.

A user's id follows from the account name, a direct conversation's from its two members, a group's is random. A ``message_id`` is the
text ``conversation.seq.term``: it says where the entry lies, so no index is needed to find it.
"""

from __future__ import annotations

import hashlib
import unicodedata
from typing import NamedTuple

SLOTS = 16_384
USER, DIRECT, GROUP = 0, 1, 2


class MessageId(NamedTuple):
    conversation: str
    seq: int
    term: int


def slot_of(id_: str) -> int:
    """The slot, 0 to 16,383, that a user's or conversation's id lies in."""
    return int(id_[:4], 16) >> 2


def kind_of(id_: str) -> int:
    """USER, DIRECT or GROUP."""
    return int(id_[:4], 16) & 3


def is_id(text: object) -> bool:
    """Whether ``text`` is a well-formed id (of any kind)."""
    return isinstance(text, str) and len(text) == 32 and not text.strip("0123456789abcdef")


def make_id(slot: int, kind: int, rest: bytes) -> str:
    """Builds an id from its slot, its kind and at least 14 bytes of hash or randomness."""
    return f"{slot << 2 | kind:04x}{rest[:14].hex()}"


def user_id(name: str) -> str:
    """The id of the account ``name``; names that differ only in case or in Unicode form are one account."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.strip()).casefold())
    digest = hashlib.sha256(b"homing.user\0" + folded.encode("utf-8", "surrogatepass")).digest()
    return make_id(int.from_bytes(digest[:2], "big") >> 2, USER, digest[2:])


def direct_id(a: str, b: str) -> str:
    """The id of the direct conversation of users ``a`` and ``b``, in either order: the slot of one of them, chosen by a hash of both."""
    first, second = sorted((a, b))
    digest = hashlib.sha256(b"homing.direct\0" + first.encode() + second.encode()).digest()
    return make_id(slot_of(second if digest[0] & 1 else first), DIRECT, digest[1:])


def group_id(random: bytes) -> str:
    """A new group's id from 16 random bytes."""
    return make_id(int.from_bytes(random[:2], "big") >> 2, GROUP, random[2:])


def message_id(conversation: str, seq: int, term: int) -> str:
    return f"{conversation}.{seq}.{term}"


def parse_message_id(text: str) -> MessageId:
    """Takes a message id apart.

    Raises:
        ValueError: it is not of the form ``conversation.seq.term``.
    """
    conversation, seq, term = text.split(".")
    if not is_id(conversation) or not (seq.isdecimal() and term.isdecimal()):
        raise ValueError(f"not a message id: {text!r}")
    return MessageId(conversation, int(seq), int(term))
