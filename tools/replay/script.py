"""From a chat to what is to be played: who takes part, what is said, and when. Pure.

Laws:
    * Cues are the file's messages in the file's order: service lines, joins and renames are told about, not said by anybody, and not
      played.
    * Names that make one account (they differ only in case or in Unicode form) are one person.
    * All people are members from the start, whenever the file says that they joined: who is in a group sees all of it, so every
      participant's history must be the whole file.
    * What a cluster would refuse is refused here, before anything is sent, and the message names the line.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from homing import ids
from homing.protocol import BODY_CHARS_MAX, FRAME_BYTES_MAX, GROUP_MEMBERS_MAX

from tools.replay.chat import Chat, ChatError, Line

_FRAME_SPARE_BYTES = 1024  # for the other fields of a `send` frame: ids, type, time
MINUTE_S = 60.0


class Said(NamedTuple):
    """A message as every participant must find it."""

    sender: str
    """The user's id."""
    type: str
    body: str


class Cue(NamedTuple):
    line: int
    """Where it starts in the file, from 1."""
    person: int
    said: Said
    due_s: float
    """Seconds after the first message, at the file's own pace."""


class Person(NamedTuple):
    name: str
    user: str
    """The user's id."""


class Script(msgspec.Struct, frozen=True):
    title: str
    people: list[Person]
    cues: list[Cue]


def make_script(chat: Chat, title: str) -> Script:
    """The script of a chat.

    Raises:
        ChatError: nothing is said, there are too many people, or a message is too long; the text names the line.
    """
    messages = chat.messages
    if not messages:
        raise ChatError(f"{title}: nobody says anything in it")
    people: dict[str, Person] = {}
    for line in messages:
        user = ids.user_id(line.sender or "")
        people.setdefault(user, Person(line.sender or "", user))
    if len(people) > GROUP_MEMBERS_MAX:
        raise ChatError(f"{title}: {len(people)} people speak in it, a group has at most {GROUP_MEMBERS_MAX} members")
    index = {user: number for number, user in enumerate(people)}
    cues = []
    for line, due_s in zip(messages, _due_times(messages), strict=True):
        _check_length(line, title)
        user = ids.user_id(line.sender or "")
        cues.append(Cue(line.number, index[user], Said(user, line.kind, line.text), due_s))
    return Script(title, list(people.values()), cues)


def _check_length(line: Line, title: str) -> None:
    if len(line.text) > BODY_CHARS_MAX:
        raise ChatError(
            f"{title}: the message in line {line.number} has {len(line.text)} characters, at most {BODY_CHARS_MAX} are possible"
        )
    size, size_max = len(msgspec.json.encode(line.text)), FRAME_BYTES_MAX - _FRAME_SPARE_BYTES
    if size > size_max:
        raise ChatError(f"{title}: the message in line {line.number} takes {size} bytes; at most {size_max} can be sent")


def _due_times(messages: list[Line]) -> list[float]:
    """Seconds after the first message, never falling.

    Files without seconds show a minute's messages at one time; they are spread over that minute, for people do not type in volleys.
    """
    start = messages[0].at
    times = []
    latest = 0.0
    for line in messages:
        latest = max(latest, (line.at - start).total_seconds())
        times.append(latest)
    return times if any(line.at.second for line in messages) else _spread(times)


def _spread(times: list[float]) -> list[float]:
    spread = list(times)
    begin = 0
    while begin < len(times):
        end = begin
        while end < len(times) and times[end] == times[begin]:
            end += 1
        for k in range(begin, end):
            spread[k] = times[begin] + MINUTE_S * (k - begin) / (end - begin)
        begin = end
    return spread
