"""Who goes away while a chat is played, how, and when he comes back.

Pure: the randomness is passed in, so a seed gives the same plan again.

An absence begins before one cue and ends before a later one, at the latest before the person's own next: nobody speaks while away. A
*break* takes the connection away at the worst time, right after the person's own message was handed over and before it is stored: the
message has to be sent again, and must not be there twice.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

Move: TypeAlias = Literal["away", "back", "break"]
ABSENCES_EACH = 3
_LENGTH_SHARE = 0.1  # of the chat: an absence is up to so long, so that a plan of 20 % keeps some 3 % away at a time


class Turn(NamedTuple):
    person: int
    move: Move


class Plan(NamedTuple):
    movers: frozenset[int]
    turns: dict[int, list[Turn]]
    """Cue → what happens before it (away, back) or within it (break). The key behind the last cue holds who is still away then."""


def make_plan(people: int, speakers: Sequence[int], fraction: float, rng: random.Random) -> Plan:
    """Chooses ``fraction`` of the people (at least one, unless it is 0) and their absences.

    Args:
        people: how many there are.
        speakers: who speaks, cue by cue.
        fraction: 0 to 1.
        rng: seeded by the caller.
    """
    count = min(people, max(1, round(people * fraction))) if fraction > 0 else 0
    movers = sorted(rng.sample(range(people), count))
    turns: defaultdict[int, list[Turn]] = defaultdict(list)
    for person in movers:
        own = [cue for cue, speaker in enumerate(speakers) if speaker == person]
        for begin, end in _absences(own, len(speakers), rng):
            turns[begin].append(Turn(person, "away"))
            turns[end].append(Turn(person, "back"))
        if own:
            turns[rng.choice(own)].append(Turn(person, "break"))
    return Plan(frozenset(movers), {cue: sorted(turns[cue], key=_order) for cue in sorted(turns)})


def _absences(own: list[int], cues: int, rng: random.Random) -> list[tuple[int, int]]:
    """Spans [begin, end) of cues, apart from each other and without one of the person's own."""
    longest = max(1, round(cues * _LENGTH_SHARE))
    spans: list[tuple[int, int]] = []
    at = 0
    for begin in sorted(rng.sample(range(cues), min(cues, ABSENCES_EACH))):
        begin = max(begin, at)
        while begin in own:
            begin += 1
        end = min([begin + rng.randint(1, longest), cues, *(cue for cue in own if cue > begin)])
        if begin < end:
            spans.append((begin, end))
            at = end + 1
    return spans


def _order(turn: Turn) -> tuple[int, int]:
    """Who comes back does so before others go; a break comes last, for it belongs to the cue itself."""
    return ("back", "away", "break").index(turn.move), turn.person
