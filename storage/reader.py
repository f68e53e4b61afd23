"""The threads that answer queries, so that a long read delays no commit. Owns them; knows the store and how answers are encoded.

Law: every query handed in is answered, by ``ReadFailed`` if nothing else can be said. Its queue is bounded by whoever hands in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import msgspec

from router import logs
from storage.frames import AnswerPart
from storage.store import ANSWER_BYTES_MAX, Answer, ReadFailed, Store
from storage.worker import Asked

log = logs.get("storage.reader")

Frames = list[tuple[str, bytes]]
"""Frames and whom they go to."""
Deliver = Callable[[Frames, int], None]
"""Takes frames, and how many queries they answer; called in the thread."""
PART_OVERHEAD_BYTES = 64
JOIN_S = 3.0
"""How long they may take to end, all together."""


class Reader:
    """Reads from ``store`` in threads of its own: one where reading is work, some where it is waiting.

    Args:
        deliver: gets the encoded answers of each list of queries handed in.
        frame_bytes_max: what a link takes; a larger answer goes in parts.
        threads: how many lists of queries are answered at once.
    """

    def __init__(self, store: Store, deliver: Deliver, frame_bytes_max: int, threads: int = 1) -> None:
        self._store = store
        self._deliver = deliver
        self._frame_bytes_max = frame_bytes_max
        self._queue: SimpleQueue[list[Asked] | None] = SimpleQueue()
        self._encode = msgspec.msgpack.Encoder().encode
        self._threads = [Thread(target=self._run, name=f"storage-reader-{n}", daemon=True) for n in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, asks: list[Asked]) -> None:
        self._queue.put(asks)

    def stop(self) -> None:
        """Ends after what was handed in; not later than ``JOIN_S``, for servers may not answer."""
        for _ in self._threads:
            self._queue.put(None)
        until = time.monotonic() + JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while (asks := self._queue.get()) is not None:
            self._deliver([frame for asked in asks for frame in self._frames(asked)], len(asks))

    def _frames(self, asked: Asked) -> Frames:
        answer = self._read(asked)
        asker, reply = asked.reply(answer)
        frame = self._encode(reply)
        if len(frame) <= self._frame_bytes_max:
            return [(asker, frame)]
        if len(frame) > ANSWER_BYTES_MAX:
            log.error("answer_too_large", query=type(asked.query).__name__, bytes=len(frame), bytes_max=ANSWER_BYTES_MAX)
            asker, reply = asked.reply(ReadFailed(f"the answer has {len(frame)} bytes, at most {ANSWER_BYTES_MAX} are sent"))
            return [(asker, self._encode(reply))]
        data, size = self._encode(answer), self._frame_bytes_max - PART_OVERHEAD_BYTES
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        return [(asker, self._encode(AnswerPart(asked.n, i, i == len(parts) - 1, part))) for i, part in enumerate(parts)]

    def _read(self, asked: Asked) -> Answer:
        try:
            answer = self._store.read(asked.query)
        except Exception as error:  # a bug; one query's must not end the thread that answers all others
            log.exception("read_raised", query=type(asked.query).__name__)
            return ReadFailed(repr(error))
        if isinstance(answer, ReadFailed):
            log.warning("read_failed", query=type(asked.query).__name__, reason=answer.reason)
        return answer
