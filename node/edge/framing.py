"""Where WebSocket frames begin and end in a stream of bytes from a client (RFC 6455 §5.2), and nothing else about them."""

from __future__ import annotations

from collections.abc import Iterator

MASK_BYTES = 4
HEAD_BYTES_MAX = 10
"""Before the mask."""
_PLAIN = frozenset({0x81, 0x82, 0x89, 0x8A})
"""First bytes of whole text and binary messages, pings and pongs, without reserved bits."""
_DATA_MAX = 0x82


def are_plain_frames(data: bytes | memoryview, size: int, frame_bytes_max: int) -> bool:
    """Whether the first ``size`` bytes are whole frames with whose heads nothing can be wrong: most reads are one such frame."""
    at = 0
    while size - at >= 2 + MASK_BYTES:
        first, length, head = data[at], data[at + 1] - 0x80, 2 + MASK_BYTES
        if first not in _PLAIN or length < 0:
            return False
        if length > 125:
            if length == 127 or first > _DATA_MAX or size - at < 4:
                return False
            length, head = data[at + 2] << 8 | data[at + 3], 4 + MASK_BYTES
            if not 126 <= length <= frame_bytes_max:
                return False
        at += head + length
        if at == size:
            return True
    return False


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
