"""WhatsApp exports: every form, clock and locale, and the cases in which a line is not what it looks like."""

from __future__ import annotations

from datetime import datetime

import pytest

from tools.replay.chat import Chat, ChatError
from tools.replay.markers import kind_of
from tools.replay.whatsapp import parse, read_header

L, N, B, M = "\u200e", "\u202f", "\u00a0", "\u200f"


def read(*lines: str) -> Chat:
    return parse(("\n".join(lines) + "\n").encode())


def rows(chat: Chat) -> list[tuple[str | None, str, str]]:
    return [(line.sender, line.text, line.kind) for line in chat.lines]


@pytest.mark.parametrize(
    "header",
    [
        "31/12/2023, 23:59 - ",
        "31/12/23, 23:59 - ",
        "31.12.23, 23:59 - ",
        "31-12-2023 23:59 - ",
        "31.12.23 um 23:59 - ",
        "31.12.2023 kl. 23.59 - ",
        "31.12.2023 klo 23.59 - ",
        "31/12/23 23.59 - ",
        "31/12/2023 à 23:59 - ",
        "31.12.23 г., 23:59 ч. - ",
        "31/12/2566 23:59 - ",
        "12/31/23, 11:59 PM - ",
        f"12/31/23, 11:59{N}PM - ",
        f"12/31/23, 11:59{B}pm - ",
        "31/12/2023, 11:59 pm - ",
        "31/12/23, 11:59 p. m. - ",
        f"31/12/23 11:59 p.{B}m. - ",
        f"31/12/23, 11:59{N}p.{B}m. - ",
        "2023-12-31, 11:59 p.m. - ",
        "2023-12-31 23:59 - ",
        "2023/12/31, 23:59 - ",
        "2023/12/31 下午11:59 - ",
        "2023/12/31 午後11:59 - ",
        "2023. 12. 31. 오후 11:59 - ",
        "2023. 12. 31. 23:59 - ",
        "2023年12月31日 23:59 - ",
        "2023년 12월 31일 오후 11:59 - ",
        f"{M}31{M}/12{M}/2023، 11:59 م - ",
        "३१/१२/२३, ११:५९ pm - ",
        "۱۴۰۲/۱۰/۱۰، ۲۳:۵۹ - ",
        "23:59, 31/12/2023 - ",
        "31/12/2023 23 h 59 - ",
        "[31.12.23, 23:59:00] ",
        "[31/12/23 23:59:00] ",
        f"{L}[31.12.23, 23:59:00] ",
        f"[12/31/23, 11:59:00{N}PM] ",
        "[31/12/23, 11:59:00 p. m.] ",
        "[31-12-2023 23:59:00] ",
        "[2023-12-31, 11:59:00 PM] ",
        "[2023/12/31 下午11:59:00] ",
        "[2023. 12. 31. 오후 11:59:00] ",
        f"[٣١{M}/١٢{M}/٢٠٢٣، ١١:٥٩:٠٠ م] ",
        "[23:59:00, 31/12/2023] ",
        "[31.12.2023, 11:59:00 μ.μ.] ",
        "[31.12.2023, 11:59:00 ÖS] ",
        "[11:59:00 CH, 31/12/2023] ",
    ],
)
def test_a_header_of_any_locale_is_read(header: str) -> None:
    chat = read(f"{header}Zoë: what: now?")
    assert [line.at for line in chat.lines] == [datetime(2023, 12, 31, 23, 59)]
    assert rows(chat) == [("Zoë", "what: now?", "text")]


@pytest.mark.parametrize(
    ("clock", "hour"),
    [
        ("12:05 AM", 0),
        ("12:05 PM", 12),
        ("1:05 AM", 1),
        ("11:05 p.m.", 23),
        ("上午12:05", 0),
        ("午後0:05", 12),
        ("0:05", 0),
        ("凌晨1:05", 1),
        ("晚上9:05", 21),
    ],
)
def test_a_clock_of_twelve_hours_turns_at_noon_and_midnight(clock: str, hour: int) -> None:
    assert read(f"2024/5/13, {clock} - A: x").lines[0].at == datetime(2024, 5, 13, hour, 5)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "31/12/2023",
        "31/12/2023, 23:59",
        "31/12/2023, 24:00 - A: x",
        "31/12/2023, 23:60 - A: x",
        "31/12/2023, 23:59 hello - A: x",
        "31/12.2023, 23:59 - A: x",
        "31/12/023, 23:59 - A: x",
        "[23:59] <nick> text",
        "[31/12, 23:59] A: x",
        "1) first",
        "١٢",
    ],
)
def test_what_is_not_a_header_is_none(line: str) -> None:
    assert read_header(line) is None


def test_a_day_above_twelve_anywhere_decides_the_order() -> None:
    assert [line.at.month for line in read("1/2/24, 10:00 - A: x", "1/3/24, 10:00 - A: x", "1/13/24, 10:00 - A: x").lines] == [1, 1, 1]
    assert [line.at.month for line in read("1/2/24, 10:00 - A: x", "1/3/24, 10:00 - A: x", "13/3/24, 10:00 - A: x").lines] == [2, 3, 3]


def test_time_that_runs_forward_decides_where_no_day_is_above_twelve() -> None:
    chat = read("1/9/24, 10:00 - A: x", "1/10/24, 10:00 - A: x", "2/3/24, 10:00 - A: x")
    assert [(line.at.month, line.at.day) for line in chat.lines] == [(1, 9), (1, 10), (2, 3)]
    assert "runs forward" in chat.notes[0]


def test_without_evidence_the_day_comes_first() -> None:
    chat = read("03/04/2024, 10:00 - A: x", "03/05/2024, 10:00 - A: x")
    assert [(line.at.month, line.at.day) for line in chat.lines] == [(4, 3), (5, 3)]
    assert "default" in chat.notes[0]


def test_without_evidence_the_month_comes_first_on_a_clock_of_the_united_states() -> None:
    assert read(f"3/4/24, 10:00{N}AM - A: x").lines[0].at == datetime(2024, 3, 4, 10)
    assert read("3/4/24, 10:00 am - A: x").lines[0].at == datetime(2024, 4, 3, 10)
    assert read("03/04/24, 10:00 AM - A: x").lines[0].at == datetime(2024, 4, 3, 10)


def test_the_order_can_be_given() -> None:
    assert parse(b"3/4/24, 10:00 - A: x", "mdy").lines[0].at == datetime(2024, 3, 4, 10)


def test_a_year_of_two_digits_in_front_is_found_by_the_days() -> None:
    assert [line.at.day for line in read("23/12/30, 10:00 - A: x", "23/12/31, 10:00 - A: x", "24/01/13, 10:00 - A: x").lines] == [
        30,
        31,
        13,
    ]


def test_a_step_back_in_time_is_no_reason_to_turn_the_dates_round() -> None:
    chat = read("30/10/2023, 02:59 - A: x", "30/10/2023, 02:00 - A: y")
    assert [line.at.hour for line in chat.lines] == [2, 2]


def test_a_line_without_header_continues_the_message_and_blank_lines_inside_are_kept() -> None:
    chat = read("31/12/2023, 23:59 - A: one", "", "two", "  three ", "31/12/2023, 23:59 - B: x", "", "")
    assert rows(chat) == [("A", "one\n\ntwo\n  three ", "text"), ("B", "x", "text")]
    assert (chat.counts.continuations, chat.counts.blank) == (3, 2)


def test_a_date_that_does_not_exist_begins_no_message() -> None:
    chat = read("13/02/2024, 10:00 - A: x", "31/02/2024, 10:00 - B: y")
    assert rows(chat) == [("A", "x\n31/02/2024, 10:00 - B: y", "text")]


def test_a_chat_of_another_form_pasted_into_a_message_stays_in_it() -> None:
    chat = read("31/12/2023, 23:59 - A: look:", "[31.12.23, 23:59:59] B: hi", "31.12.23, 23:59 - C: ho", "31/12/2023, 23:59 - D: y")
    assert [line.sender for line in chat.lines] == ["A", "D"]
    assert chat.lines[0].text.count("\n") == 2


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("~ Anna", "~ Anna"),
        (f"~{N}Anna", "~ Anna"),
        (f"\u202a+49{B}170{B}1234567\u202c", "+49 170 1234567"),
        ("\u2068Anna\u2069", "Anna"),
        (f"{L}Anna{M}", "Anna"),
        ("O'Brien, Pat (work)", "O'Brien, Pat (work)"),
        ("👩‍🔬 Lab", "👩‍🔬 Lab"),
        ('The "Boss"', 'The "Boss"'),
    ],
)
def test_a_name_is_kept_without_direction_marks_and_with_plain_spaces(raw: str, name: str) -> None:
    assert rows(read(f"[31.12.23, 23:59:59] {raw}: hi")) == [(name, "hi", "text")]


def test_a_text_is_kept_to_the_letter() -> None:
    text = "  a:b: c  \u2067שלום\u2069 \u2028 \x0b \x85 end\t"
    assert rows(read(f"31/12/2023, 23:59 - A: {text}")) == [("A", text, "text")]


def test_an_empty_text_is_a_message() -> None:
    assert rows(read("31/12/2023, 23:59 - A: ", "31/12/2023, 23:59 - B:")) == [("A", "", "text"), ("B", "", "text")]


def test_a_name_with_a_colon_is_known_by_its_media() -> None:
    chat = read("31/12/2023, 23:58 - Dr: Who: hello", "31/12/2023, 23:59 - Dr: Who: <Media omitted>", "31/12/2023, 23:59 - Anna: PS: <3")
    assert [line.sender for line in chat.lines] == ["Dr: Who", "Dr: Who", "Anna"]


def test_a_shorter_name_that_speaks_too_ends_at_its_colon() -> None:
    chat = read("31/12/2023, 23:58 - Max: hello", "31/12/2023, 23:59 - Max: Note: <Media omitted>")
    assert rows(chat) == [("Max", "hello", "text"), ("Max", "Note: <Media omitted>", "text")]


@pytest.mark.parametrize(
    "text",
    [
        "Messages and calls are end-to-end encrypted. Tap to learn more.",
        "Anna created group “Rome: May”",
        'Anna changed the subject from "A: B" to "C: D"',
        "Anna hat die Gruppe „Rom: Mai“ erstellt",
        "Anna a créé le groupe « Rome: mai »",
        "Anna added Ben",
        "Ben left",
    ],
)
def test_a_service_line_has_no_sender(text: str) -> None:
    assert rows(read(f"31/12/2023, 23:59 - {text}")) == [(None, text, "system")]


def test_a_service_line_of_ios_has_no_sender_though_one_is_shown() -> None:
    chat = read(
        f"[31.12.23, 23:59:58] Reise: {L}Anna hat Ben hinzugefügt.",
        "[31.12.23, 23:59:59] Reise: Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Niemand, auch nicht WhatsApp, kann sie lesen.",
        f"[31.12.23, 23:59:59] {L}Ben hat die Gruppe verlassen",
    )
    assert [(line.sender, line.kind) for line in chat.lines] == [(None, "system")] * 3


@pytest.mark.parametrize(
    "text",
    [
        "<Media omitted>",
        "<Medien ausgeschlossen>",
        "<Multimedia omitido>",
        "<Médias omis>",
        "<Media omessi>",
        "<Mídia oculta>",
        "<Arquivo de mídia oculto>",
        "<Ficheiro não revelado>",
        "<Media weggelaten>",
        "<Без медиафайлов>",
        "<Medya dahil edilmedi>",
        "<pominięto multimedia>",
        "<Media tidak disertakan>",
        "<तस्वीर छोड़ी गई>",
        "<मीडिया के बिना>",
        "<تم استبعاد الوسائط>",
        "<המדיה לא נכללה>",
        "<メディアなし>",
        "<미디어 파일 제외됨>",
        "<省略多媒體檔案>",
        "<媒体文件已省略>",
        f"{L}image omitted",
        "video omitted",
        "GIF omitted",
        "Contact card omitted",
        "voice message omitted",
        f"{L}Bild weggelassen",
        f"{L}imagen omitida",
        f"{L}image absente",
        f"{L}immagine omessa",
        f"{L}imagem ocultada",
        f"{L}afbeelding weggelaten",
        f"{L}изображение пропущено",
        f"{L}تم استبعاد الصورة",
        f"{L}התמונה הושמטה",
        f"{L}画像を省略",
        f"{L}사진 생략됨",
        f"{L}忽略图片",
        f"minutes.pdf • {L}2 pages {L}document omitted",
        f"{L}<attached: 00000012-PHOTO-2023-12-31.jpg>",
        f"{L}<Anhang: 0001.opus>",
        f"{L}<pièce jointe : 0001.jpg>",
        f"{L}<附件：0001.jpg>",
        f"a caption {L}<adjunto: 0001.jpg>",
        f"{L}IMG-20231231-WA0001.jpg (file attached)",
        "VID-20231231-WA0001.mp4 (a language nobody knows)",
        "minutes of May.pdf (Datei angehängt)",
        "PTT-20231231-WA0001.opus (archivo adjunto)\nwith a caption",
        "location: https://maps.google.com/?q=1.5,-2.5",
        f"{L}Standort: https://maps.google.com/?q=1.5,-2.5",
    ],
)
def test_media_left_out_or_attached_are_media_in_any_language(text: str) -> None:
    assert kind_of(text, apple=text.startswith(L)) == "media"


@pytest.mark.parametrize(
    "text",
    [
        "I omitted the image",
        "<promise>",
        "<3 you all>",
        "a video about what they omitted yesterday",
        "see report.pdf (the new one)",
        "https://example.org/a.jpg (nice)",
        f"hello {L}<This message was edited>",
        "location: behind the shed",
        "why does it say This message was deleted?",
        "read <attached: here> please",
    ],
)
def test_what_a_person_wrote_is_text(text: str) -> None:
    assert kind_of(text, apple=True) == "text"
    assert kind_of(text, apple=False) == "text"


@pytest.mark.parametrize(
    "text",
    [
        "This message was deleted",
        "You deleted this message.",
        f"{L}Diese Nachricht wurde gelöscht.",
        "Se eliminó este mensaje.",
        "Mensagem apagada",
        "Ce message a été supprimé",
        "このメッセージは削除されました",
        "تم حذف هذه الرسالة",
        "This message was deleted by admin Anna",
    ],
)
def test_a_deleted_message_is_told(text: str) -> None:
    assert kind_of(text, apple=True) == "deleted"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends_make_no_difference(encoding: str, end: str) -> None:
    text = end.join(["[31.12.23, 23:59:59] Zoë: hi 🌱", "", "there", "[31.12.23, 23:59:59] 李: 好", ""])
    assert rows(parse(text.encode(encoding))) == [("Zoë", "hi 🌱\n\nthere", "text"), ("李", "好", "text")]


def test_lines_before_the_first_header_are_kept_and_counted() -> None:
    chat = read("a strange first line", "", "31/12/2023, 23:59 - A: x")
    assert rows(chat) == [(None, "a strange first line", "system"), ("A", "x", "text")]
    assert (chat.counts.unparsed, chat.counts.blank, chat.counts.lines) == (1, 1, 3)


def test_a_file_without_headers_is_refused_with_what_was_expected() -> None:
    with pytest.raises(ChatError, match=r"31/12/2023, 23:59 - "):
        read("hello", "world")
