"""Which format a file is in, and reading it, from a ``.zip`` too. Pure: bytes and a name in, a `Chat` out."""

from __future__ import annotations

import io
import zipfile
from datetime import date

from tools.replay import irc, whatsapp
from tools.replay.chat import FILE_BYTES_MAX, Chat, ChatError
from tools.replay.dates import Order
from tools.replay.decoding import text_lines

_SAMPLE_LINES = 2000  # enough to pass a long first message or a page of joins
EXPECTED = (
    "expected a WhatsApp export (lines such as '31/12/2023, 23:59 - Name: text' or '[31.12.23, 23:59:59] Name: text', "
    "or the .zip with _chat.txt in it) or an IRC log (lines such as '[23:59] <nick> text')"
)


def read_chat(data: bytes, name: str, order: Order | None = None, day: date | None = None) -> Chat:
    """Reads a chat of whatever format.

    Args:
        data: the file.
        name: the file's name; an IRC log's date is taken from it.
        order: the order of day and month in a WhatsApp export, instead of what the file tells.
        day: the date of an IRC log's first line, instead of the name's.

    Raises:
        ChatError: the format is none of these, or the file is damaged or too big.
    """
    if len(data) > FILE_BYTES_MAX:
        raise ChatError(f"{name}: larger than {FILE_BYTES_MAX >> 20} MiB")
    if data.startswith(b"PK\x03\x04"):
        data, inner = _unzip(data, name)
        name = f"{name}:{inner}"
    kind = detect(data)
    if kind is None:
        raise ChatError(f"{name}: {_found(data)}; {EXPECTED}")
    if kind == irc.IRC:
        return irc.parse(data, day or irc.date_in_name(name))
    return whatsapp.parse(data, order)


def detect(data: bytes) -> str | None:
    """``irc`` or ``whatsapp``: of which more lines are in the beginning of the file; None if of neither."""
    lines = text_lines(data[: 1 << 20])[:_SAMPLE_LINES]
    said = sum(map(irc.is_said, lines))
    headers = sum(1 for line in lines if not irc.is_said(line) and whatsapp.read_header(line) is not None)
    if not said and not headers:
        return None
    return irc.IRC if said > headers else "whatsapp"


def _found(data: bytes) -> str:
    first = next((line for line in text_lines(data[:65_536]) if line.strip()), None)
    return "the file is empty" if first is None else f"no line is of a known form, the first is {first[:60]!r}"


def _unzip(data: bytes, name: str) -> tuple[bytes, str]:
    """The chat in a zip: ``_chat.txt`` (iOS), else the only text file (Android names it after the chat)."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [info for info in archive.infolist() if info.filename.lower().endswith(".txt") and not info.is_dir()]
            chats = [info for info in texts if info.filename.rsplit("/", 1)[-1] == "_chat.txt"] or texts
            if len(chats) != 1:
                names = ", ".join(info.filename for info in texts[:5]) or "none"
                raise ChatError(f"{name}: expected one text file in the zip, _chat.txt mostly; there are {len(texts)}: {names}")
            if chats[0].file_size > FILE_BYTES_MAX:
                raise ChatError(f"{name}: {chats[0].filename} is larger than {FILE_BYTES_MAX >> 20} MiB")
            return archive.read(chats[0]), chats[0].filename
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
        if isinstance(error, ChatError):
            raise
        raise ChatError(f"{name}: not a readable zip file: {error}") from error
