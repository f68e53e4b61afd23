"""Where WebSocket frames begin and end in a stream of bytes from a client (RFC 6455 §5.2), and nothing else about them."""

from __future__ import annotations

from collections.abc import Iterator

MASK_BYTES = 4
HEAD_BYTES_MAX = 10
"""Before the mask."""


def whole_frame_bytes(data: bytes | memoryview, size: int) -> int:
    """The length of the frame that begins at ``data[0]``; 0 if the first ``size`` bytes do not tell."""
    if size < 2:
        return 0
    length = data[1] & 0x7F
    if length < 126:
        return 2 + MASK_BYTES + length
    if length == 126:
        return 4 + MASK_BYTES + (data[2] << 8 | data[3]) if size >= 4 else 0
    return 10 + MASK_BYTES + int.from_bytes(data[2:10], "big") if size >= HEAD_BYTES_MAX else 0


class FrameSplitter:
    """Cuts a stream so that no part reaches beyond the end of a frame."""

    __slots__ = ("_head", "_missing")

    def __init__(self) -> None:
        self._head = b""
        """The beginning of a frame, too short to tell its length; it has been given out already."""
        self._missing = 0
        """Bytes that the present frame lacks, once its length is known."""

    def at_boundary(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._head and not self._missing

    def split(self, data: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(data):
            if not self._missing:
                known = len(self._head)
                head = self._head + data[at : at + HEAD_BYTES_MAX - known]
                total = whole_frame_bytes(head, len(head))
                if not total:
                    self._head = head
                    yield data[at:]
                    return
                self._head, self._missing = b"", total - known
            part = data[at : at + self._missing]
            self._missing -= len(part)
            at += len(part)
            yield part
