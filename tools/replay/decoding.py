"""From the bytes of a text file to its lines, whatever wrote them.

Never fails, loses nothing, and the same bytes always give the same text.

A byte-order mark decides; without one, a file with a zero in every other byte is UTF-16. Anything else is taken line by line, because
logs mix: UTF-8 where it is valid, else cp1252, whose five unused bytes stand for the control characters of Latin-1.

Lines end in ``\\n`` or ``\\r\\n`` and in nothing else: U+2028, form feeds and the like are part of a text.
"""

from __future__ import annotations

import codecs


def _cp1252_table() -> str:
    table = []
    for byte in range(256):
        try:
            table.append(bytes([byte]).decode("cp1252"))
        except UnicodeDecodeError:
            table.append(chr(byte))
    return "".join(table)


_CP1252 = _cp1252_table()
_SAMPLE_BYTES = 4096


def text_lines(data: bytes) -> list[str]:
    """The lines of a file, without their ends; a last line end ends the last line and begins no further one."""
    encoding = _utf16(data)
    if encoding is not None:
        lines = data.decode(encoding, "replace").removeprefix("\ufeff").split("\n")
    else:
        lines = [_decode_line(raw) for raw in data.removeprefix(codecs.BOM_UTF8).split(b"\n")]
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _decode_line(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return codecs.charmap_decode(raw, "strict", _CP1252)[0]


def _utf16(data: bytes) -> str | None:
    if data.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if data.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    sample = data[:_SAMPLE_BYTES]
    if len(sample) < 8:
        return None
    even, odd = sample[0::2], sample[1::2]
    if odd.count(0) * 4 > len(odd) * 3 and even.count(0) == 0:
        return "utf-16-le"
    if even.count(0) * 4 > len(even) * 3 and odd.count(0) == 0:
        return "utf-16-be"
    return None
