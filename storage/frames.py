"""What nodes, directory and storage workers say to each other over the mesh. One-way imports: only the store interface."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from storage.store import Answer, Number, Outcome, Query, Row


class WriteRow(Struct, array_like=True, frozen=True, gc=False, tag=20):
    """Node or directory → worker: write ``row``. ``n`` is the writer's number, unique in its incarnation; the same row may be asked of
    any worker any number of times under the same or another ``n``."""

    n: Number
    row: Row


class Written(Struct, array_like=True, frozen=True, gc=False, tag=21):
    """Worker → writer: the outcomes of one commit round, pairs (n, outcome)."""

    outcomes: list[tuple[Number, Outcome]]


class Ask(Struct, array_like=True, frozen=True, gc=False, tag=22):
    """Node → worker: answer ``query``; ``n`` as in WriteRow."""

    n: Number
    query: Query


class Answered(Struct, array_like=True, frozen=True, gc=False, tag=23):
    """Worker → node."""

    n: Number
    answer: Answer


class AnswerPart(Struct, array_like=True, frozen=True, gc=False, tag=25):
    """Worker → node: an answer that is larger than a frame, in parts that come in order."""

    n: Number
    part: Number
    """From 0."""
    is_last: bool
    data: bytes
    """Of the encoded answer."""


class StorageBusy(Struct, array_like=True, frozen=True, gc=False, tag=24):
    """Worker → writer: refused before anything was written (its queue is full); ask again after ``retry_after_ms``."""

    n: Number
    retry_after_ms: Number


StorageFrame: TypeAlias = WriteRow | Written | Ask | Answered | AnswerPart | StorageBusy
