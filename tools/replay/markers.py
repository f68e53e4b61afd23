"""Tells what WhatsApp wrote itself in a text from what a person wrote: media, deleted messages, service lines.

Knows words and shapes, nothing of dates or files. The iOS form puts U+200E before whatever the application wrote; the Android form does
so only for attachments. Shapes are asked first, so most of it works in languages whose words are not in the tables.
"""

from __future__ import annotations

import re

from tools.replay.chat import Kind
from tools.replay.words import (
    ATTACHED,
    DELETED,
    DELETED_BY_ADMIN,
    ENCRYPTED,
    MARKS,
    MEDIA,
    NOUNS,
    OMITTED,
    SPACES,
    fold,
    has_stem,
)

SERVICE_MARK = "\u200e"
_MARKER_CHARS_MAX = 90
_S = f"[{SPACES}{MARKS}]"
_TAG = re.compile(rf"<{_S}*[^<>:：]{{1,40}}{_S}*[:：]{_S}*[^<>/\\]{{1,200}}\.\w{{1,8}}{_S}*>")
_ATTACHED = re.compile(rf"(?P<name>[^\n/\\<>]{{1,200}}\.\w{{1,8}}){_S}+\((?P<words>[^()\n]{{2,40}})\){_S}*(?:\n|$)")
_GIVEN_NAME = re.compile(r"(?:IMG|VID|AUD|PTT|STK|DOC)-\d{8}-WA\d{3,6}\.\w{1,8}")
_PLACE = re.compile(rf"[^:\n]{{2,40}}[:：]{_S}*https?://(?:maps\.google\.com|www\.google\.com/maps|maps\.apple\.com|foursquare\.com)/\S+")
_COLUMNS = re.compile(rf"[•·]{_S}*")


def bare(text: str) -> str:
    """Without direction marks and spaces at either end."""
    return text.strip(SPACES + MARKS)


def kind_of(text: str, apple: bool) -> Kind:
    """What the text after a sender's name is. ``apple``: the file is of the iOS form."""
    if is_deleted(text):  # first: Arabic says "removed" of both
        return "deleted"
    if is_media(text):
        return "media"
    if apple and text.startswith(SERVICE_MARK) and "\n" not in text:
        return "system"
    if apple and is_encryption_notice(text):
        return "system"
    return "text"


def is_media(text: str) -> bool:
    """A medium that was left out, an attachment (with or without a caption), or a place."""
    first = bare(text.split("\n", 1)[0])
    return is_attachment(first, text) or _is_omitted(text, first) or _PLACE.fullmatch(first) is not None


def is_attachment(first: str, text: str) -> bool:
    named = _ATTACHED.match(first)
    if named and (_GIVEN_NAME.fullmatch(named["name"]) or fold(named["words"]) in ATTACHED):
        return True
    if _TAG.match(first):
        return True
    # iOS puts a caption before the tag; only the mark tells it from a tag that somebody typed.
    marked = text.rfind(SERVICE_MARK + "<")
    return marked >= 0 and _TAG.fullmatch(bare(text[marked:])) is not None


def _is_omitted(text: str, first: str) -> bool:
    if "\n" not in text and len(first) <= _MARKER_CHARS_MAX and first.startswith("<") and first.endswith(">"):
        return not any(c in first[1:-1] for c in "<>") and has_stem(first[1:-1], OMITTED + MEDIA)
    last = text.rsplit("\n", 1)[-1]
    marked = last.rfind(SERVICE_MARK)
    if marked >= 0 and len(last) - marked <= _MARKER_CHARS_MAX and (marked == 0 or last[marked - 1] in SPACES + MARKS):
        tail = bare(last[marked:])
        # Tags such as ``<This message was edited>`` follow a mark too.
        return not tail.startswith("<") and len(tail.split()) <= 6 and has_stem(tail, OMITTED)
    return "\n" not in text and _is_unmarked(first)


def _is_unmarked(first: str) -> bool:
    """``image omitted`` whose mark got lost: it begins with a noun and ends in its being missing."""
    words = first.split()
    if not 2 <= len(words) <= 4:
        return False
    return fold(first).startswith(NOUNS) and has_stem(words[-1], OMITTED)


def is_deleted(text: str) -> bool:
    if len(text) > _MARKER_CHARS_MAX or "\n" in text:
        return False
    return fold(text) in DELETED or has_stem(text, DELETED_BY_ADMIN)


def is_encryption_notice(text: str) -> bool:
    return "whatsapp" in fold(text) and has_stem(text, ENCRYPTED)


def is_marker(text: str, apple: bool) -> bool:
    """Whether ``text`` is whole and beyond doubt the application's: what stands before it can only be a name."""
    if apple and text.startswith(SERVICE_MARK):
        return True
    first = bare(text)
    return is_deleted(text) or _is_omitted(text, first) or (is_attachment(first, text) and " " not in first.split("(")[0].strip())
