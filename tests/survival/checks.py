"""The promises of design §1 as questions to what was written down. Each check gives sentences about what is wrong; none: it holds.

Owns no process, no clock, no client. Law: a check takes nothing for granted that another one asserts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from homing.ids import parse_message_id
from homing.protocol import Entry

from tests.survival.records import Histories, Members, Said, Screen

PROBLEMS_MAX = 12
"""A broken promise shows in thousands of places; these many are enough to find it."""


def all_answered(said: Iterable[Said]) -> Iterator[str]:
    """P1, P7: whatever was said is stored in the end; nothing stays open, nothing was refused for good."""
    for s in said:
        if s.refused:
            yield f"{s.id} of {s.device} was refused: {s.refused}"
        elif s.entry is None:
            yield f"{s.id} of {s.device} in {s.conversation[:8]} has no answer"


def acked_is_everywhere(said: Iterable[Said], histories: Histories, members: Members, above: dict[str, int]) -> Iterator[str]:
    """P1, P3: what was `stored` is in every member's history, under the seq and message id that its sender was told, word for word."""
    found = {user: {(c, e.seq): e for c, entries in conversations.items() for e in entries} for user, conversations in histories.items()}
    for s in said:
        if s.entry is None or s.entry.seq <= above.get(s.conversation, 0):
            continue
        if s.entry.conversation != s.conversation or s.entry.id != s.id:
            yield f"{s.id} was answered with another entry: {_name(s.entry)}"
        for user in members[s.conversation]:
            entry = found.get(user, {}).get(s.place)
            if entry is None:
                yield f"{s.id}, stored as {_name(s.entry)}, is not in the history of {user[:8]}"
            elif _key(entry) != _key(s.entry) or entry.body != s.body or entry.sender != s.user:
                yield f"{s.id}, stored as {_name(s.entry)}, is {_name(entry)} of {entry.sender[:8]} in the history of {user[:8]}"


def once_and_in_order(histories: Histories, above: dict[str, int]) -> Iterator[str]:
    """P3, P4: seqs go up one by one from the first, one entry per client message, times and counts never fall."""
    for user, conversations in histories.items():
        for conversation, entries in conversations.items():
            where = f"history of {conversation[:8]} at {user[:8]}"
            seqs = [e.seq for e in entries]
            first = above.get(conversation, 0) + 1
            if seqs != list(range(first, first + len(seqs))):
                yield f"{where}: seqs are not {first}, {first + 1}, …: {_first_break(seqs, first)}"
            yield from (f"{where}: {n} entries of the client message {id_}" for id_, n in Counter(e.id for e in entries).items() if n > 1)
            for a, b in pairwise(entries):
                if b.ts < a.ts or b.ordinal not in (a.ordinal, a.ordinal + 1):
                    yield f"{where}: time or count falls from seq {a.seq} ({a.ts}, {a.ordinal}) to {b.seq} ({b.ts}, {b.ordinal})"
            for e in entries:
                id_ = parse_message_id(e.message_id)
                if (id_.conversation, id_.seq) != (conversation, e.seq) or e.conversation != conversation:
                    yield f"{where}: {_name(e)} lies at seq {e.seq}"


def same_for_all(histories: Histories, members: Members) -> Iterator[str]:
    """P3: all members read the same history, to the last word."""
    for conversation, users in members.items():
        first, *others = users
        reference = histories.get(first, {}).get(conversation, [])
        for user in others:
            if (different := _difference(reference, histories.get(user, {}).get(conversation, []))) is not None:
                yield f"{conversation[:8]} is another one at {user[:8]} than at {first[:8]}: {different}"


def nothing_invented(said: Iterable[Said], histories: Histories) -> Iterator[str]:
    """P3, P4: every entry was said by its sender, and one that was said once stands in one conversation."""
    known = {s.id: s for s in said}
    for user, conversations in histories.items():
        for conversation, entries in conversations.items():
            for e in entries:
                s = known.get(e.id)
                if s is None or (s.conversation, s.user, s.body) != (conversation, e.sender, e.body):
                    yield f"nobody said {_name(e)} ({e.body!r}), in the history of {conversation[:8]} at {user[:8]}"


def own_order(said: Iterable[Said]) -> Iterator[str]:
    """What one device said in one conversation stands there in the order in which it was said. Changes of groups are asked for apart."""
    last: dict[tuple[str, str], Said] = {}
    for s in sorted(said, key=lambda s: s.said_at):
        if s.entry is None or s.entry.type.startswith("group."):
            continue
        before = last.get((s.device, s.conversation))
        if before is not None and before.entry is not None and before.entry.seq >= s.entry.seq:
            yield f"{s.device} said {before.id} before {s.id}; they stand at {before.entry.seq} and {s.entry.seq}"
        last[s.device, s.conversation] = s


def screens_are_true(screens: Iterable[Screen], truth: dict[str, list[Entry]], members: Members, guests: Members) -> Iterator[str]:
    """P2, P4: every device of every member showed each entry once, in seq order, up to the last, as it stands in the log.

    Who comes and goes (``guests``) is looked at by ``guests_see_their_time``.
    """
    for screen in screens:
        if gaps := [gap for gap in screen.gaps if not any(gap.startswith(c) and screen.user in users for c, users in guests.items())]:
            yield f"{screen.name} skipped {gaps[:3]}"
        for conversation, users in members.items():
            shown = screen.shown.get(conversation, [])
            if screen.user in guests.get(conversation, ()):
                continue
            if screen.user not in users:
                if shown:
                    yield f"{screen.name} shows {len(shown)} entries of {conversation[:8]}, where it is no member"
            elif (different := _difference(truth.get(conversation, []), shown)) is not None:
                yield f"the screen of {screen.name} is not {conversation[:8]}: {different}"


def guests_see_their_time(screen: Screen, truth: list[Entry], group: str) -> Iterator[str]:
    """P8: of a group that one joins and leaves, a device shows what was said meanwhile and nothing else, in order and once.

    A device that was offline for a whole stay may not know of it: only the latest stay can be caught up with.
    """
    stays = list(_stays(screen.user, truth))
    shown = screen.shown.get(group, [])
    for a, b in pairwise(shown):
        if b.seq <= a.seq:
            yield f"{screen.name} shows {_name(b)} after {_name(a)}"
    for e in shown:
        if not any(e.seq in stay for stay in stays):
            yield f"{screen.name} shows {_name(e)}, of a time when it was not in {group[:8]}"
        elif _key(e) != _key(truth[e.seq - 1]) or e.body != truth[e.seq - 1].body:
            yield f"{screen.name} shows {_name(e)} instead of {_name(truth[e.seq - 1])}"
    seqs = {e.seq for e in shown}
    for seq in stays[-1] if stays else ():
        if seq not in seqs:
            yield f"{screen.name} does not show {_name(truth[seq - 1])}, of its latest stay {stays[-1]} in {group[:8]}"


def _stays(user: str, truth: Iterable[Entry]) -> Iterator[range]:
    since, last = 0, 0
    for e in truth:
        last = e.seq
        if e.type in ("group.add", "group.remove") and user in e.body:
            if e.type == "group.add":
                since = e.seq
            else:
                yield range(since, e.seq + 1)
                since = 0
    if since:
        yield range(since, last + 1)


def marks_have_arrived(screens: Sequence[Screen], said: Iterable[Said], members: Members) -> Iterator[str]:
    """P5: a sender's every device knows, of each of his messages, which other members have it and which have read it."""
    own: dict[tuple[str, str], list[int]] = {}
    for s in said:
        if s.entry is not None:
            own.setdefault((s.user, s.conversation), []).append(s.entry.seq)
    reached = _best((screen.user, screen.reached) for screen in screens)
    read = _best((screen.user, screen.read) for screen in screens)
    for screen in screens:
        for conversation, users in members.items():
            seqs = own.get((screen.user, conversation), [])
            for other in users if seqs else ():
                if other == screen.user:
                    continue
                known = screen.marks.get(conversation, {}).get(other, (0, 0))
                for word, mark, best in (("has", known[0], reached), ("has read", known[1], read)):
                    # A mark between two of this sender's messages says no more to him than one on the first of them.
                    passed = max((seq for seq in seqs if seq <= best.get((other, conversation), 0)), default=0)
                    if mark < passed:
                        yield f"{screen.name} does not know that {other[:8]} {word} {passed} of {conversation[:8]}, only {mark}"


def _best(values: Iterable[tuple[str, dict[str, int]]]) -> dict[tuple[str, str], int]:
    best: dict[tuple[str, str], int] = {}
    for user, seqs in values:
        for conversation, seq in seqs.items():
            best[user, conversation] = max(best.get((user, conversation), 0), seq)
    return best


def shown_once_over_lives(name: str, shown: dict[str, list[Entry]]) -> Iterator[str]:
    """P4: a device that is killed may die between keeping an entry and showing it, but never shows one again, nor an earlier one later."""
    for conversation, entries in shown.items():
        for a, b in pairwise(entries):
            if b.seq <= a.seq:
                yield f"{name} shows {_name(b)} after {_name(a)} in {conversation[:8]}"


def kept_is_true(name: str, kept: dict[str, list[Entry]], truth: dict[str, list[Entry]], shown: dict[str, list[Entry]]) -> Iterator[str]:
    """P2, P4: what a device keeps is a stretch of the log without a hole, and holds all that it showed."""
    for conversation, entries in kept.items():
        if entries:
            first = entries[0].seq - 1
            if (different := _difference(truth.get(conversation, [])[first : first + len(entries)], entries)) is not None:
                yield f"the store of {name} is not {conversation[:8]}: {different}"
    for conversation, entries in shown.items():
        seqs = {e.seq for e in kept.get(conversation, ())}
        yield from (f"{name} showed {_name(e)} of {conversation[:8]} and does not keep it" for e in entries if e.seq not in seqs)


def some(problems: Iterable[str]) -> list[str]:
    """The first problems, for people."""
    found = list(problems)
    return found[:PROBLEMS_MAX] + ([f"… and {len(found) - PROBLEMS_MAX} more"] if len(found) > PROBLEMS_MAX else [])


def _key(e: Entry) -> tuple[str, int, str, str]:
    return e.conversation, e.seq, e.message_id, e.id


def _name(e: Entry) -> str:
    return f"{e.message_id} ({e.id})"


def _first_break(seqs: Sequence[int], first: int) -> str:
    at = next(n for n, seq in enumerate(seqs) if seq != first + n)
    return f"{seqs[max(0, at - 2) : at + 3]} (place {at})"


def _difference(expected: Sequence[Entry], found: Sequence[Entry]) -> str | None:
    for n, (a, b) in enumerate(zip(expected, found, strict=False)):
        if _key(a) != _key(b) or (a.sender, a.body) != (b.sender, b.body):
            return f"at place {n} {_name(b)} instead of {_name(a)}"
    if len(expected) == len(found):
        return None
    more, what = (expected, "lacks") if len(expected) > len(found) else (found, "has besides")
    return f"{len(found)} entries instead of {len(expected)}: it {what} {_name(more[min(len(expected), len(found))])}"
