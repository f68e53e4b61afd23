"""The thread that answers queries, so that a long read delays no commit. Owns the thread; knows the store and how answers are encoded.

Law: every query handed in is answered, by ``ReadFailed`` if nothing else can be said. Its queue is bounded by whoever hands in.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

import msgspec

from router import logs
from storage.store import Answer, ReadFailed, Store
from storage.worker import Asked

log = logs.get("storage.reader")

Deliver = Callable[[list[tuple[str, bytes]]], None]
"""Takes frames and whom they go to; called in the thread."""


class Reader:
    """Reads from ``store`` in a thread of its own.

    Args:
        deliver: gets the encoded answers of each list of queries handed in.
        frame_bytes_max: what a link takes; a larger answer becomes ``ReadFailed``.
    """

    def __init__(self, store: Store, deliver: Deliver, frame_bytes_max: int) -> None:
        self._store = store
        self._deliver = deliver
        self._frame_bytes_max = frame_bytes_max
        self._queue: SimpleQueue[list[Asked] | None] = SimpleQueue()
        self._encode = msgspec.msgpack.Encoder().encode
        self._thread = Thread(target=self._run, name="storage-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, asks: list[Asked]) -> None:
        self._queue.put(asks)

    def stop(self) -> None:
        """Ends after what was handed in."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (asks := self._queue.get()) is not None:
            self._deliver([self._frame(asked) for asked in asks])

    def _frame(self, asked: Asked) -> tuple[str, bytes]:
        asker, reply = asked.reply(self._read(asked))
        frame = self._encode(reply)
        if len(frame) > self._frame_bytes_max:
            log.error("answer_too_large", query=type(asked.query).__name__, bytes=len(frame), bytes_max=self._frame_bytes_max)
            asker, reply = asked.reply(ReadFailed(f"the answer has {len(frame)} bytes, a frame at most {self._frame_bytes_max}"))
            frame = self._encode(reply)
        return asker, frame

    def _read(self, asked: Asked) -> Answer:
        try:
            answer = self._store.read(asked.query)
        except Exception as error:  # a bug; one query's must not end the thread that answers all others
            log.exception("read_raised", query=type(asked.query).__name__)
            return ReadFailed(repr(error))
        if isinstance(answer, ReadFailed):
            log.warning("read_failed", query=type(asked.query).__name__, reason=answer.reason)
        return answer
