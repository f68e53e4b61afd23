"""Dates and times as WhatsApp writes them, and which of three numbers is the day. Pure; knows nothing of names and texts.

The order of day, month and year is decided once over the whole file, never line by line:

1. An order under which more of the dates exist wins: one day above 12 decides it.
2. Then the order under which time runs backwards less often.
3. Then the default: month first where the clock is written as in the United States (``/``, no leading zeros, capital AM and PM), else
   day first.

A year of four digits in front always means year, month, day. Years are also read in the Buddhist (2566) and the Persian (1402) calendar.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Literal, NamedTuple, TypeAlias

Order: TypeAlias = Literal["dmy", "mdy", "ymd"]
ORDER_NAMES: dict[Order, str] = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}
_FIRST_YEAR = 2009  # the first year in which WhatsApp could write a date


class Stamp(NamedTuple):
    """Date and time of a header, still without an order."""

    numbers: tuple[int, int, int]
    year_digits: tuple[int, int]
    """How many digits the first and the last number have."""
    time: time
    american: bool
    """The clock is written as in the United States, as far as this line tells."""


def clock(hour: int, minute: int, second: int, half: Literal["am", "pm", ""]) -> time | None:
    """The time of day, or None if there is no such time. ``half``: the half of the day, if the clock has twelve hours."""
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return time(hour, minute, second)


def resolve(stamp: Stamp, order: Order) -> datetime | None:
    """The date and time under an order; None if there is no such day."""
    first, middle, last = stamp.numbers
    year, month, day = {"dmy": (last, middle, first), "mdy": (last, first, middle), "ymd": (first, middle, last)}[order]
    digits = stamp.year_digits[0 if order == "ymd" else 1]
    found = _date(year + 2000 if digits <= 2 else year, month, day)
    return None if found is None else datetime.combine(found, stamp.time)


def candidates(stamps: Sequence[Stamp]) -> list[Order]:
    """The orders that come into question, the default first."""
    if any(stamp.year_digits[0] > 2 for stamp in stamps):
        return ["ymd"]
    american = any(stamp.american for stamp in stamps) and all(stamp.american for stamp in stamps)
    ranked: list[Order] = ["mdy", "dmy"] if american else ["dmy", "mdy"]
    return ranked if any(stamp.year_digits[1] > 2 for stamp in stamps) else [*ranked, "ymd"]


def decide(stamps: Sequence[Stamp]) -> tuple[Order, str]:
    """The order of a file's dates, and a sentence that says by what it was decided."""
    orders = candidates(stamps)
    if len(orders) == 1:
        return orders[0], f"dates are {ORDER_NAMES[orders[0]]}: the year comes first"
    scores = {order: _score(stamps, order) for order in orders}
    best = min(orders, key=lambda order: scores[order])  # min keeps the earlier one of equals: the default
    rivals = [scores[order] for order in orders[:2] if order != best]
    if all(scores[best][0] < rival[0] for rival in rivals):
        reason = "a day above 12 decides"
    elif all(scores[best] < rival for rival in rivals):
        reason = "so time runs forward"
    else:
        reason = "nothing in the file decides, this is the default"
    return best, f"dates are {ORDER_NAMES[best]}: {reason}"


def _score(stamps: Sequence[Stamp], order: Order) -> tuple[int, int, int]:
    """Less is better: dates that do not exist, dates before WhatsApp, steps backwards."""
    missing = early = backwards = 0
    latest: date | None = None
    for stamp in stamps:
        found = resolve(stamp, order)
        if found is None:
            missing += 1
            continue
        early += stamp.year_digits[1] <= 2 and found.year < _FIRST_YEAR
        backwards += latest is not None and found.date() < latest
        latest = found.date()
    return missing, early, backwards


def _date(year: int, month: int, day: int) -> date | None:
    try:
        if 1380 <= year < 1430:
            return _from_persian(year, month, day)
        return date(year - 543 if 2500 <= year < 2700 else year, month, day)
    except ValueError:
        return None


def _from_persian(year: int, month: int, day: int) -> date:
    """Solar Hijri to Gregorian, by the cycle of 33 years (exact from 1799 to 2256)."""
    if not (1 <= month <= 12 and 1 <= day <= (31 if month <= 6 else 30)):
        raise ValueError("no such day")
    before = (month - 1) * 31 if month <= 7 else (month - 7) * 30 + 186
    shifted = year + 1595  # so that the cycle's leap years fall where the division puts them
    return date.fromordinal(365 * shifted + shifted // 33 * 8 + (shifted % 33 + 3) // 4 + before + day - 356_033)
