"""Reads WhatsApp's "Export chat", as Android and as iOS write it. Pure: bytes in, a `Chat` out.

Android ``31/12/2023, 23:59 - Name: text``, iOS ``[31.12.23, 23:59:59] Name: text``, in any locale: see `dates` for the order of day and
month and `words` for the halves of the day. Digits may be of any script.

What is decided here:
    * The first header of a file tells its form (brackets, what separates the numbers, date or time first). A line with such a header
      begins a message; any other line continues the message before it, also if it looks like a header of another form, as in a chat
      pasted into a chat.
    * Blank lines inside a message are part of it; blank lines at the end of the file are not.
    * A text is kept as the file shows it, "<This message was edited>" and direction marks included; the mark U+200E in front of what the
      application itself wrote is not part of it.
    * A name is kept without direction marks, with plain spaces for special ones. ``~`` stays: it tells a stranger's name from a contact's.
    * A name ends at the first ``: ``. One with a colon in it is known by its media and deleted messages, where the text is beyond
      doubt, unless the shorter name speaks too. A colon inside an open quotation (created group “Rome: May”) ends no name: that is a
      service line.
    * Service lines have no sender, whatever iOS puts before them (the group's name, mostly).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Literal, NamedTuple

from tools.replay.chat import Chat, ChatError, Counts, Line
from tools.replay.dates import Order, Stamp, clock, decide, resolve
from tools.replay.decoding import text_lines
from tools.replay.markers import SERVICE_MARK, bare, is_marker, kind_of
from tools.replay.words import AM, FILLERS, MARKS, PM, SPACES, fold

ANDROID, IOS = "whatsapp-android", "whatsapp-ios"
_NAME_CHARS_MAX = 128

_J = f"[{SPACES}{MARKS}]*"
_SEPARATOR = r"[./\-‐‑年년]"
_DATE = (
    rf"(?P<a>\d{{4}}|\d{{1,2}}){_J}(?P<sep>{_SEPARATOR}){_J}(?P<b>\d{{1,2}}){_J}(?:(?P=sep)|월|月){_J}"
    rf"(?P<c>\d{{4}}|\d{{1,2}})(?!\d)(?:{_J}[일日])?\.?"
)
_TIME = rf"(?P<h>\d{{1,2}}){_J}[:.：h時点시]{_J}(?P<m>\d{{2}})(?!\d)(?:{_J}(?:[:.：分분]|min){_J}(?P<s>\d{{2}})(?!\d))?"
_GAP, _TAIL = r"(?P<gap>[^\d\[\]:/]{0,32}?)", r"(?P<tail>[^\d\[\]:]{0,24}?)"
_REST = r"(?P<rest>(?s:.*))"
_DASH = rf"{_J}[-–—](?:[{SPACES}]|$)"
_FORMS = {
    (False, False): re.compile(rf"{_J}{_DATE}{_GAP}{_TIME}{_TAIL}{_DASH}{_REST}"),
    (False, True): re.compile(rf"{_J}{_TIME}{_TAIL}{_GAP}{_DATE}{_DASH}{_REST}"),
    (True, False): re.compile(rf"{_J}\[{_J}{_DATE}{_GAP}{_TIME}{_TAIL}\][{SPACES}]?{_REST}"),
    (True, True): re.compile(rf"{_J}\[{_J}{_TIME}{_TAIL}{_GAP}{_DATE}{_J}\][{SPACES}]?{_REST}"),
}
_SPLIT = re.compile(rf":(?:[{SPACES}]|$)")
_QUOTES = {"“": "”", "«": "»", "„": "“”", "「": "」", "『": "』", "‹": "›"}


class Form(NamedTuple):
    """What all headers of one file share."""

    brackets: bool
    time_first: bool
    separator: str


class Header(NamedTuple):
    form: Form
    stamp: Stamp
    rest: str


class _Block(NamedTuple):
    """A header and the lines that follow it up to the next."""

    number: int
    header: Header
    more: list[str]


def read_header(line: str) -> Header | None:
    """The header that ``line`` begins with, of whatever form; None if there is none."""
    start = line.lstrip(SPACES + MARKS)[:1]
    if not (start == "[" or start.isdecimal()):
        return None
    for (brackets, time_first), pattern in _FORMS.items():
        match = pattern.match(line)
        if match is not None and (stamp := _stamp(match)) is not None:
            return Header(Form(brackets, time_first, match["sep"]), stamp, match["rest"])
    return None


def _stamp(match: re.Match[str]) -> Stamp | None:
    half = _half(match["gap"], match["tail"])
    if half is None:
        return None
    at = clock(int(match["h"]), int(match["m"]), int(match["s"] or 0), half)
    if at is None:
        return None
    parts = (match["a"], match["b"], match["c"])
    capital = (match["gap"] + match["tail"]).strip(SPACES + MARKS + ",") in ("AM", "PM")
    american = capital and match["sep"] == "/" and not any(part.startswith("0") for part in parts[:2])
    return Stamp((int(parts[0]), int(parts[1]), int(parts[2])), (len(parts[0]), len(parts[2])), at, american)


def _half(*words: str) -> Literal["am", "pm", ""] | None:
    """The half of the day named by what stands around the time; None if something else stands there."""
    half: Literal["am", "pm", ""] = ""
    for word in map(fold, words):
        if word in AM:
            half = "am"
        elif word in PM:
            half = "pm"
        elif word not in FILLERS:
            return None
    return half


def parse(data: bytes, order: Order | None = None) -> Chat:
    """Reads an export.

    Args:
        data: the text file, in UTF-8 or UTF-16.
        order: the order of day and month, if the caller knows better than the file.

    Raises:
        ChatError: no line has a header.
    """
    lines = text_lines(data)
    before, blocks = _blocks(lines, order)
    if not blocks:
        raise ChatError(
            "not a WhatsApp export: no line begins with a date and time such as '31/12/2023, 23:59 - ' or '[31.12.23, 23:59:59] '"
        )
    chosen, note = decide([block.header.stamp for block in blocks]) if order is None else (order, f"dates are {order}: as asked for")
    apple = blocks[0].header.form.brackets
    names = _names_with_colons(blocks, apple)
    chat = Chat(IOS if apple else ANDROID, [], Counts(lines=len(lines)), [note])
    _account_before(chat, before, blocks[0], chosen)
    for index, block in enumerate(blocks):
        _add(chat, block, chosen, names, apple, last=index == len(blocks) - 1)
    chat.check()
    return chat


def _blocks(lines: list[str], order: Order | None) -> tuple[list[str], list[_Block]]:
    """Cuts the file at its headers: the lines before the first, and the blocks."""
    headers = [(number, header) for number, line in enumerate(lines) if (header := read_header(line)) is not None]
    if headers:
        form = headers[0][1].form
        headers = [item for item in headers if item[1].form == form]
    if headers:
        # A date that does not exist under the file's order is no header, so its line continues the one before.
        chosen = order or decide([header.stamp for _, header in headers])[0]
        headers = [item for item in headers if resolve(item[1].stamp, chosen) is not None]
    blocks = []
    for index, (number, header) in enumerate(headers):
        end = headers[index + 1][0] if index + 1 < len(headers) else len(lines)
        blocks.append(_Block(number + 1, header, lines[number + 1 : end]))
    return (lines[: headers[0][0]] if headers else lines), blocks


def _account_before(chat: Chat, before: list[str], first: _Block, order: Order) -> None:
    """Lines before the first header belong to nobody; they are kept as service lines, so that nothing of the file is lost."""
    at = resolve(first.header.stamp, order)
    assert at is not None
    for number, line in enumerate(before, 1):
        if bare(line):
            chat.counts.unparsed += 1
            chat.lines.append(Line(at, None, line, "system", number))
        else:
            chat.counts.blank += 1


def _add(chat: Chat, block: _Block, order: Order, names: frozenset[str], apple: bool, last: bool) -> None:
    more = block.more
    while last and more and not bare(more[-1]):
        more = more[:-1]
    chat.counts.blank += len(block.more) - len(more)
    chat.counts.continuations += len(more)
    at = resolve(block.header.stamp, order)
    assert at is not None
    sender, text = split_sender("\n".join([block.header.rest, *more]), names)
    kind = "system" if sender is None else kind_of(text, apple)
    if kind != "text":
        text = text.removeprefix(SERVICE_MARK)
    if kind == "system":
        sender = None
        text = text.strip(SPACES + MARKS)
        chat.counts.events += 1
    else:
        chat.counts.messages += 1
    chat.lines.append(Line(at, sender, text, kind, block.number))


def split_sender(rest: str, names: frozenset[str]) -> tuple[str | None, str]:
    """What follows a header, as (name, text); (None, text) for a service line. ``names``: known names with a colon in them."""
    first_line = rest.split("\n", 1)[0]
    cuts = [match for match in _SPLIT.finditer(first_line) if match.start() <= _NAME_CHARS_MAX]
    if not cuts:
        return None, rest
    for cut in reversed(cuts[1:]):
        if _name(first_line[: cut.start()]) in names:
            return _name(first_line[: cut.start()]), rest[cut.end() :]
    raw = first_line[: cuts[0].start()]
    if not _name(raw) or _quotation_open(raw):
        return None, rest
    return _name(raw), rest[cuts[0].end() :]


def _name(raw: str) -> str:
    kept = "".join(" " if c in SPACES else c for c in raw if c not in MARKS)
    return kept.strip()


def _quotation_open(text: str) -> bool:
    if text.count('"') % 2:
        return True
    for opening, closing in _QUOTES.items():
        at = text.rfind(opening)
        if at >= 0 and not any(c in closing for c in text[at + 1 :]):
            return True
    return False


def _names_with_colons(blocks: list[_Block], apple: bool) -> frozenset[str]:
    """Names with a colon that the file proves: see the module's laws."""
    longer: dict[str, set[str]] = defaultdict(set)
    rests: dict[str, list[str]] = defaultdict(list)
    for block in blocks:
        rest = block.header.rest
        cuts = [match for match in _SPLIT.finditer(rest) if match.start() <= _NAME_CHARS_MAX]
        if not cuts:
            continue
        short = _name(rest[: cuts[0].start()])
        rests[short].append(_name(rest))
        longer[short].update(_name(rest[: cut.start()]) for cut in cuts[1:] if is_marker(rest[cut.end() :], apple))
    found: set[str] = set()
    for short, names in longer.items():
        proved = tuple(f"{name}:" for name in names)
        if proved and all(rest.startswith(proved) for rest in rests[short]):
            found.update(names)
    return frozenset(found)
