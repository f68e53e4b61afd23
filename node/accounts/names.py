"""What people type: handles and names, brought into one form or refused."""

from __future__ import annotations

import re
import unicodedata

from homing import codes
from homing.rest import NAME_CHARS_MAX

from node.refusal import Refused

_HANDLE = re.compile(r"[a-z0-9._-]{3,32}")
_CONTROL = frozenset({"Cc", "Cs"})
"""Unicode's categories of control characters and lone surrogates."""


def folded(handle: str) -> str:
    """The form in which ``homing.ids.user_id`` takes names: those that differ only in case or Unicode form are one account."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", handle.strip()).casefold())


def new_handle(text: str) -> str:
    """The handle of a new account. Raises Refused: it cannot be one."""
    handle = folded(text)
    if not _HANDLE.fullmatch(handle):
        raise Refused(codes.INVALID, "a handle has 3 to 32 letters a to z, digits, dots, dashes and underscores", "handle")
    return handle


def name(text: str, field: str = "name", otherwise: str | None = None) -> str:
    """A name for people; ``otherwise`` if it is empty. Raises Refused: it holds what cannot be shown, or is empty and may not be."""
    clean = _clean(text, field, "")
    if not clean and otherwise is None:
        raise Refused(codes.INVALID, f"{field} must not be empty", field)
    return clean or (otherwise or "")[:NAME_CHARS_MAX]


def about(text: str) -> str:
    """A few lines about oneself. Raises Refused: it holds what cannot be shown."""
    return _clean(text, "about", "\n")


def _clean(text: str, field: str, allowed: str) -> str:
    text = text.strip()
    if any(unicodedata.category(c) in _CONTROL and c not in allowed for c in text):
        raise Refused(codes.INVALID, f"{field} must not hold control characters", field)
    return text
