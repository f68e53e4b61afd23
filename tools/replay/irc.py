"""Reads IRC logs. Pure: bytes in, a `Chat` out.

``[HH:MM] <nick> text`` and ``* nick action`` in the forms that irssi, XChat, mIRC, WeeChat and the public log sites write: with
seconds, without brackets, with a date before the time, events after ``===``, ``***``, ``-!-``, ``-->`` and the like.

What is decided here:
    * A nick is a person. Who is renamed is another person from then on: an account cannot change its name, and the sender of a message
      is the nick that the file shows at that line. Signs of rank (``@``, ``+``) are not part of it.
    * A line without a time has the time of the line before it; in front of the first time, that one.
    * Time that falls by more than an hour means the next day. Less is jitter (a clock set right, summer time that ends) and stays as
      written; likewise a rise of more than 23 hours just after midnight.
    * No hour but 1 to 12 in a hundred lines and more, in which 12 is followed by 1: a clock of twelve hours. It starts as written, and
      each turn of it is half a day.
    * The date comes from the caller (the file's name has it, mostly), from lines such as ``--- Day changed``, or is 1970-01-01.
    * ``=== nick does something`` is an action if nothing else is known to be written so and the nick is one that the file knows.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import NamedTuple

from tools.replay.chat import Chat, ChatError, Counts, Kind, Line
from tools.replay.decoding import text_lines

IRC = "irc"
UNDATED = date(1970, 1, 1)
_JITTER = timedelta(hours=1)
_TWELVE_HOUR_LINES_MIN = 100  # a channel that says so much is not silent for the twelve hours that the other reading needs

_CLOCK = r"(?P<date>\d{4}-\d{2}-\d{2})?[ T]?(?P<h>\d{1,2}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:[.,]\d+)?)?"
_TIMED = re.compile(
    rf"\s*(?:\[{_CLOCK}\]|\({_CLOCK.replace('?P<', '?P<p')}\)|{_CLOCK.replace('?P<', '?P<b')}(?=\s))(?: ?(?P<rest>.*))?$", re.S | re.A
)
_NICK = r"[^\s<>]{1,64}"
_SAID = re.compile(r"\s*<[@+%&~! ]?(?P<nick>[^\s<>][^<>]{0,62}?) ?>(?: (?P<text>.*)|(?P<bare>))$", re.S)
_NOTICE = re.compile(r"\s*-(?P<nick>[^\s<>\-!:][^\s<>:]{0,62})(?::[^\s]+)?- (?P<text>.*)$", re.S)
_ACTED = re.compile(rf"\s*\* [@+%&~!]?(?P<nick>{_NICK})(?: (?P<text>.*))?$", re.S)
_EVENT = re.compile(r"\s*(?P<sign>===|-!-|\*\*\*|--?>\|?|<--?\|?|--|→|←)\s+(?P<text>.*)$", re.S)
_LOG = re.compile(r"\s*(?:---+|\*\*\*\*|Session \w+:)\s*(?P<text>.*)$", re.S)
_LOG_DATE = re.compile(r"(?:\w{3},? )?(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2})(?: \d\d:\d\d(?::\d\d)?)?,? (?P<year>\d{4})\b")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAME_DATE = re.compile(r"(?<!\d)(?P<y>(?:19|20)\d\d)[-_.]?(?P<m>\d\d)[-_.]?(?P<d>\d\d)(?!\d)")

_HOST = r"(?:\s+[\[(][^\s\])]*[\])])?"
_EVENTS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("join", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+(?:has joined|joined|has entered)\s+[#&+!]\S+", re.I)),
    ("join", re.compile(rf"Joins: (?P<nick>{_NICK})")),
    ("leave", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+(?:has left|left|has parted)\s+[#&+!]\S+", re.I)),
    ("leave", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+(?:has quit|quit)(?=\s*(?:$|[\[(:]|IRC))", re.I)),
    ("leave", re.compile(rf"(?:Parts|Quits): (?P<nick>{_NICK})")),
    ("leave", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+(?:was|has been) kicked\b", re.I)),
    ("leave", re.compile(rf"\S+ has kicked (?P<nick>{_NICK}) from [#&+!]\S+", re.I)),
    ("rename", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+is now known as\s+(?P<new>\S+)\s*$", re.I)),
    ("title", re.compile(rf"(?P<nick>{_NICK}){_HOST}\s+(?:has )?(?:changed|changes|set|sets) (?:the )?(?:channel )?topic\b", re.I)),
)
_SYSTEM_WORDS = re.compile(
    r"(?:mode/|Mode |Topic |Irssi:|Netsplit |You(?:'re| are)? |Users |Channel |Set by )|\S+ (?:sets mode|set mode|sets? by)\b", re.I
)


class _Raw(NamedTuple):
    """A line taken apart, before nicks and times are decided over the whole file."""

    number: int
    clock: time | None
    day: date | None
    kind: Kind | None
    sender: str | None
    text: str
    """For an action after ``===`` the nick is still in front."""


def date_in_name(name: str) -> date | None:
    """The date in a file's name: ``2004-11-15``, ``20041115``."""
    for match in _NAME_DATE.finditer(name):
        try:
            return date(int(match["y"]), int(match["m"]), int(match["d"]))
        except ValueError:
            continue
    return None


def is_said(line: str) -> bool:
    """Whether the line is certainly IRC: ``<nick> text`` or ``* nick action`` behind a time, or ``<nick> text`` alone."""
    clock, _, rest = _split_time(line)
    if clock is None:
        return _SAID.match(line) is not None
    return any(pattern.match(rest) for pattern in (_SAID, _ACTED, _EVENT))


def parse(data: bytes, day: date | None = None) -> Chat:
    """Reads a log; ``day`` is the date of its first line.

    Raises:
        ChatError: nobody says anything in it.
    """
    lines = text_lines(data)
    raws = [_take_apart(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not any(raw.kind in ("text", "action") for raw in raws):
        raise ChatError("not an IRC log: no line such as '[23:59] <nick> text' or '[23:59] * nick waves'")
    chat = Chat(IRC, [], Counts(lines=len(lines), blank=len(lines) - len(raws)))
    nicks = _nicks(raws)
    for raw, at in zip(raws, _times(raws, day, chat.notes), strict=True):
        _add(chat, raw, at, nicks)
    chat.check()
    return chat


def _split_time(line: str) -> tuple[time | None, date | None, str]:
    match = _TIMED.match(line)
    if match is None:
        return None, None, line
    prefix = next(p for p in ("", "p", "b") if match[p + "h"] is not None)
    hour = int(match[prefix + "h"])
    if hour > 23:
        return None, None, line
    clock = time(hour, int(match[prefix + "m"]), int(match[prefix + "s"] or 0))
    try:
        day = date.fromisoformat(match[prefix + "date"]) if match[prefix + "date"] else None
    except ValueError:
        return None, None, line
    return clock, day, match["rest"] or ""


def _take_apart(number: int, line: str) -> _Raw:
    clock, day, rest = _split_time(line)
    if said := _SAID.match(rest):
        return _Raw(number, clock, day, "text", said["nick"], said["text"] or "")
    if notice := _NOTICE.match(rest):
        return _Raw(number, clock, day, "notice", notice["nick"], notice["text"])
    for pattern in (_EVENT, _ACTED):
        if match := pattern.match(rest):
            return _event(number, clock, day, match)
    if log := _LOG.match(rest):
        return _Raw(number, None, _log_date(log["text"]) or day, "system", None, log["text"])
    return _Raw(number, clock, day, None, None, rest)


def _event(number: int, clock: time | None, day: date | None, match: re.Match[str]) -> _Raw:
    """A line after one of the signs, or after ``* `` (where XChat writes joins and renames too)."""
    starred = "nick" in match.re.groupindex
    text = f"{match['nick']} {match['text'] or ''}".rstrip(" ") if starred else match["text"]
    for kind, pattern in _EVENTS:
        if found := pattern.match(text):
            return _Raw(number, clock, day, kind, found["nick"].lstrip("@+%&~"), text)
    if starred:
        return _Raw(number, clock, day, "action", match["nick"], match["text"] or "")
    if match["sign"] == "===" and not _SYSTEM_WORDS.match(text):
        return _Raw(number, clock, day, "action", None, text)
    return _Raw(number, clock, day, "system", None, text)


def _log_date(text: str) -> date | None:
    match = _LOG_DATE.search(text)
    if match is None or match["month"] not in _MONTHS:
        return None
    try:
        return date(int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"]))
    except ValueError:
        return None


def _nicks(raws: list[_Raw]) -> frozenset[str]:
    """Every nick that speaks, comes, goes or is renamed somewhere in the file."""
    nicks = {raw.sender for raw in raws if raw.sender is not None}
    nicks.update(raw.text.split()[-1] for raw in raws if raw.kind == "rename")
    return frozenset(nicks)


def _add(chat: Chat, raw: _Raw, at: datetime, nicks: frozenset[str]) -> None:
    kind, sender, text = raw.kind, raw.sender, raw.text
    if kind == "action" and sender is None:
        sender, _, text = text.partition(" ")
        if sender not in nicks:
            kind, sender, text = "system", None, raw.text
    if kind is None:
        chat.counts.unparsed += 1
        kind = "system"
    elif kind in ("text", "action", "notice"):
        chat.counts.messages += 1
    else:
        chat.counts.events += 1
    chat.lines.append(Line(at, sender, text, kind, raw.number))


def _times(raws: list[_Raw], day: date | None, notes: list[str]) -> list[datetime]:
    """A date and time for every line: the earliest reading of its clock that is not more than the jitter before the line before it."""
    turn = timedelta(days=1)
    if _twelve_hours([raw.clock for raw in raws if raw.clock is not None]):
        turn = timedelta(hours=12)
        notes.append("the clock has twelve hours: it starts as written and each turn is half a day")
    if day is None and not any(raw.day for raw in raws):
        notes.append("no date is known: the log starts on 1970-01-01")
    first = next((raw.clock for raw in raws if raw.clock is not None), time())
    floor = datetime.combine(day or next((raw.day for raw in raws if raw.day is not None), UNDATED), time())
    latest = datetime.combine(floor, first)
    times = []
    for raw in raws:
        if raw.day is not None:
            floor = datetime.combine(raw.day, time())
            latest = datetime.combine(raw.day, raw.clock or time())
        elif raw.clock is not None:
            earliest = max(floor, latest - _JITTER)
            latest = earliest + (datetime.combine(floor, raw.clock) - earliest) % turn
        times.append(latest)
    return times


def _twelve_hours(clocks: list[time]) -> bool:
    if len(clocks) < _TWELVE_HOUR_LINES_MIN or any(not 1 <= clock.hour <= 12 for clock in clocks):
        return False
    return any(a.hour == 12 and b.hour == 1 for a, b in pairwise(clocks))
