"""Faults planted into what a real run collected: a look that does not see them would see no real one either."""

from __future__ import annotations

from collections.abc import Callable

from homing.ids import message_id
from homing.protocol import Entry
from msgspec.structs import replace

from tests.survival.records import Histories

Plant = Callable[[list[Entry]], None]


def lost(log: list[Entry]) -> None:
    del log[len(log) // 2]


def last_lost(log: list[Entry]) -> None:
    log.pop()


def doubled(log: list[Entry]) -> None:
    last = log[-1]
    log.append(
        replace(log[1], seq=last.seq + 1, message_id=message_id(last.conversation, last.seq + 1, 1), ts=last.ts, ordinal=last.ordinal)
    )


def swapped(log: list[Entry]) -> None:
    """Two entries change places and take each other's seq."""
    a, b = log[-2], log[-1]
    log[-2:] = [replace(b, seq=a.seq, message_id=a.message_id, ts=a.ts), replace(a, seq=b.seq, message_id=b.message_id, ts=b.ts)]


def of_another_term(log: list[Entry]) -> None:
    log[-1] = replace(log[-1], message_id=message_id(log[-1].conversation, log[-1].seq, 1))


def invented(log: list[Entry]) -> None:
    log[-1] = replace(log[-1], body="nobody said this")


FAULTS: tuple[Plant, ...] = (lost, last_lost, doubled, swapped, of_another_term, invented)


def planted(histories: Histories, plant: Plant, conversation: str, users: list[str]) -> Histories:
    """A copy of the histories with the fault in one conversation, as ``users`` read it."""
    copy = {user: dict(conversations) for user, conversations in histories.items()}
    for user in users:
        log = copy[user][conversation] = list(copy[user][conversation])
        plant(log)
    return copy
