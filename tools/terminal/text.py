"""How messages, people and states look as text. Pure: values in, styled pieces of text out; knows no terminal and no client.

Laws:
    * Nothing that people write reaches the terminal as a control sequence.
    * Nothing is told by colour alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec
from homing.presence import Known
from homing.protocol import HOME_TYPES, Entry, TypingKind
from prompt_toolkit.utils import get_cwidth

Piece: TypeAlias = tuple[str, str]
"""(style, text)."""
Line: TypeAlias = list[Piece]
NameOf: TypeAlias = Callable[[str], str]
COLOURS = 6
NAMES_SHOWN_MAX = 5
"""A group of a thousand is not listed in the line that says that it was made."""
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _GroupBody(msgspec.Struct):
    title: str = ""
    members: list[str] = []
    role: str = ""


def clean(text: str, newlines: bool = True) -> str:
    """The text without what would steer a terminal: control characters and direction overrides."""
    if text.isprintable() and not _OVERRIDES.intersection(text):
        return text
    kept = []
    for char in text.expandtabs(4):
        if char == "\n":
            kept.append(char if newlines else " ")
        elif char in _OVERRIDES or unicodedata.category(char) in ("Cc", "Cs"):
            kept.append("\N{REPLACEMENT CHARACTER}" if char != "\r" else "")
        else:
            kept.append(char)
    return "".join(kept)


def shorten(text: str, width: int) -> str:
    """The text in at most `width` columns."""
    if get_cwidth(text) <= width:
        return text
    result, used = "", 0
    for char in text:
        used += get_cwidth(char)
        if used >= width:
            break
        result += char
    return result + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    text = shorten(text, width)
    return text + " " * (width - get_cwidth(text))


def wrap(pieces: Iterable[Piece], width: int, indent: int) -> list[Line]:
    """Breaks at spaces (or anywhere, where a word is too long); all lines but the first are indented."""
    lines: list[Line] = [[]]
    used = 0

    def put(style: str, text: str) -> None:
        if lines[-1] and lines[-1][-1][0] == style:
            text = lines[-1].pop()[1] + text
        lines[-1].append((style, text))

    def fresh() -> None:
        nonlocal used
        lines.append([("", " " * indent)])
        used = indent

    for style, text in pieces:
        for number, part in enumerate(text.split("\n")):
            if number:
                fresh()
            for word in _words(part):
                size = get_cwidth(word)
                if used + get_cwidth(word.rstrip(" ")) > width and used > indent:
                    fresh()
                if get_cwidth(word.rstrip(" ")) <= width - used:
                    put(style, word if size <= width - used else word.rstrip(" "))
                    used = min(width, used + size)
                    continue
                for char in word:
                    if used + get_cwidth(char) > width:
                        fresh()
                    put(style, char)
                    used += get_cwidth(char)
    return lines


def _words(text: str) -> list[str]:
    """Words with the spaces after them."""
    words: list[str] = []
    for part in text.split(" "):
        if words:
            words[-1] += " "
        words.append(part)
    return words


def clock(ts: int) -> str:
    return datetime.fromtimestamp(ts / 1000).strftime("%H:%M")


def day(ts: int, now: float | None = None) -> str:
    """`Today`, `Yesterday`, or a date. `now`: seconds since 1970, if nearness is to be told."""
    date = datetime.fromtimestamp(ts / 1000)
    if now is not None:
        days = (datetime.fromtimestamp(now).date() - date.date()).days
        if days in (0, 1):
            return ("Today", "Yesterday")[days]
    return date.strftime("%a %d %b %Y")


def when(ts: int, now: float) -> str:
    """A time for the list, short: of today the clock, of this week the day, else the date."""
    date = datetime.fromtimestamp(ts / 1000)
    days = (datetime.fromtimestamp(now).date() - date.date()).days
    return date.strftime("%H:%M" if days < 1 else "%a" if days < 7 else "%d %b" if days < 300 else "%b %Y")


REASONS = {
    "going_away": "this node is being stopped",
    "home_lost": "a node has gone away",
    "overloaded": "the server is full",
    "slow_reader": "too much came at once",
    "session_replaced": "another terminal is using this device name (see --device)",
    "no pong": "the server does not answer",
    "no welcome": "the server does not answer",
    "token_invalid": "the token is not valid here",
    "token_expired": "the token is too old",
    "device_revoked": "this device was signed out",
}


def connection(state: str, reason: str, retry_in_s: float | None, queued: int) -> str:
    """The connection in words, what matters most first: it may be cut."""
    said = [STATES[state]]
    if retry_in_s is not None and retry_in_s >= 1:
        said.append(f"again in {retry_in_s:.0f} s")
    if queued and state != "live":
        said.append(f"{queued} waiting to be sent")
    if state in ("waiting", "closed") and reason:
        said.append(REASONS.get(reason, reason))
    return " · ".join(said)


STATES = {
    "idle": "○ offline",
    "connecting": "◌ connecting…",
    "syncing": "◐ catching up…",
    "live": "● online",
    "waiting": "◌ no connection",
    "closed": "✗ closed",
}


def colour_of(user: str) -> str:
    return f"class:name{int(user[-2:], 16) % COLOURS}"


def told(entry: Entry, name_of: NameOf) -> str:
    """What an entry of the home says, "" for a message."""
    if not entry.type.startswith(HOME_TYPES):
        return ""
    body = _body(entry)
    who = name_of(entry.sender)
    others = ", ".join(name_of(m) for m in body.members[:NAMES_SHOWN_MAX]) or "nobody"
    if len(body.members) > NAMES_SHOWN_MAX:
        others += f" and {len(body.members) - NAMES_SHOWN_MAX:,} others"
    title = clean(body.title, newlines=False)
    match entry.type:
        case "group.create":
            return f"{who} made the group “{title}” with {others}"
        case "group.add":
            return f"{who} added {others}"
        case "group.remove":
            return f"{who} removed {others}"
        case "group.leave":
            return f"{who} left"
        case "group.rename":
            return f"{who} named the group “{title}”"
        case "group.role":
            return f"{who} made {others} {body.role}"
        case "direct.block":
            return f"{who} blocked messages here"
        case "direct.unblock":
            return f"{who} allowed messages here again"
    return f"{who}: {entry.type}"


def members_of(entry: Entry) -> list[str]:
    """Whom a group's own entry speaks of."""
    return _body(entry).members if entry.type.startswith("group.") else []


def _body(entry: Entry) -> _GroupBody:
    try:
        return msgspec.json.decode(entry.body or "{}", type=_GroupBody)
    except msgspec.MsgspecError:
        return _GroupBody()


def summary(entry: Entry | None, name_of: NameOf) -> str:
    """One line of an entry, for the list."""
    if entry is None:
        return ""
    return told(entry, name_of) or clean(entry.body, newlines=False)


def here(known: Known, now: float) -> str:
    """Whether somebody is here, "" if that is not known."""
    if known.state == "offline" and known.last_seen is not None:
        today = datetime.fromtimestamp(known.last_seen / 1000).date() == datetime.fromtimestamp(now).date()
        return f"last here {'' if today else f'{day(known.last_seen, now)} '}{clock(known.last_seen)}"
    return {"online": "● here", "offline": "not here"}.get(known.state, "")


def writing(typists: Sequence[tuple[str, TypingKind]], is_group: bool) -> str:
    """Who writes or records, "" if nobody does."""
    if not typists:
        return ""
    name, kind = typists[0]
    doing = "recording…" if kind == "recording" else "writing…"
    if not is_group:
        return doing
    return f"{name} is {doing}" if len(typists) == 1 else f"{name} and {len(typists) - 1} more are writing…"


def ticks(entry: Entry, marks: Sequence[tuple[int, int]], others: int) -> str:
    """How far an own message came: stored, delivered, read; in a group also by how many."""
    delivered = sum(d >= entry.seq for d, _ in marks)
    read = sum(r >= entry.seq for _, r in marks)
    if others and read >= others:
        return "✓✓ read"
    if others and delivered >= others:
        return "✓✓" if others == 1 or not read else f"✓✓ read by {read}/{others}"
    return "✓" if others <= 1 or not delivered else f"✓ {delivered}/{others}"


def plain_line(entry: Entry, name_of: NameOf, title: str = "") -> str:
    """`name: text`, in a group with its title before."""
    said = told(entry, name_of)
    body = said or clean(entry.body).replace("\n", "\n  ")
    line = f"* {body}" if said else f"{name_of(entry.sender)}: {body}"
    return f"[{clean(title, newlines=False)}] {line}" if title else line
