"""Files that are no chats, and chats in zip files."""

from __future__ import annotations

import io
import zipfile
from datetime import date

import pytest

from tools.replay.chat import ChatError
from tools.replay.detect import read_chat

CHAT = b"[31.12.23, 23:59:59] A: hi\n"


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_the_chat_in_a_zip_is_read() -> None:
    for name in ("_chat.txt", "WhatsApp Chat with A.txt", "export/_chat.txt"):
        assert read_chat(zipped({"photo.jpg": b"\xff\xd8", name: CHAT}), "chat.zip").senders == ["A"]


def test_chat_txt_wins_over_a_text_file_that_somebody_sent() -> None:
    assert read_chat(zipped({"00000002-notes.txt": b"milk", "_chat.txt": CHAT}), "chat.zip").senders == ["A"]


@pytest.mark.parametrize("files", [{}, {"photo.jpg": b""}, {"a.txt": CHAT, "b.txt": CHAT}])
def test_a_zip_without_exactly_one_chat_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ChatError, match="one text file" if files else "."):
        read_chat(zipped(files), "chat.zip")


def test_a_damaged_zip_is_refused() -> None:
    data = bytearray(zipped({"_chat.txt": CHAT * 100}))
    with pytest.raises(ChatError, match="zip"):
        read_chat(bytes(data[:60]), "chat.zip")
    data[45:60] = bytes(15)
    with pytest.raises(ChatError, match="zip"):
        read_chat(bytes(data), "chat.zip")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.replay.detect.FILE_BYTES_MAX", 10_000)
    with pytest.raises(ChatError, match="larger"):
        read_chat(zipped({"_chat.txt": CHAT * 1000}), "chat.zip")
    with pytest.raises(ChatError, match="larger"):
        read_chat(CHAT * 1000, "chat.txt")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"dear diary\n", b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_what_is_no_chat_is_refused_with_what_was_expected(data: bytes) -> None:
    with pytest.raises(ChatError, match=r"f\.txt: .*expected a WhatsApp export .* or an IRC log"):
        read_chat(data, "f.txt")


def test_the_date_of_an_irc_log_is_its_names_unless_given() -> None:
    log = b"[10:00] <a> x\n"
    assert read_chat(log, "2008-04-27.txt").lines[0].at.date() == date(2008, 4, 27)
    assert read_chat(log, "2008-04-27.txt", day=date(2009, 1, 2)).lines[0].at.date() == date(2009, 1, 2)
    assert read_chat(zipped({"2008-04-27.txt": log}), "x.zip").lines[0].at.date() == date(2008, 4, 27)
