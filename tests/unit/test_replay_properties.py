"""Any chat, rendered in any form and locale, is parsed back to itself; any bytes at all are parsed or refused clearly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.replay import irc, whatsapp
from tools.replay.chat import Chat, ChatError, Line
from tools.replay.detect import detect, read_chat
from tools.replay.markers import SERVICE_MARK, kind_of
from tools.replay.words import MARKS

N = "\u202f"
_ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


def _half(at: datetime, am: str, pm: str) -> str:
    return f"{at.hour % 12 or 12}:{at:%M:%S} {am if at.hour < 12 else pm}"


# Each renders the header of a message up to the name. All carry seconds, so that nothing is lost in between.
LOCALES: dict[str, Callable[[datetime], str]] = {
    "android-gb": lambda at: f"{at:%d/%m/%Y, %H:%M:%S} - ",
    "android-us": lambda at: f"{at.month}/{at.day}/{at:%y}, {_half(at, 'AM', 'PM')}".replace(" AM", N + "AM") + " - ",
    "android-de": lambda at: f"{at:%d.%m.%y, %H:%M:%S} - ",
    "android-es": lambda at: f"{at.day}/{at.month}/{at:%y}, {_half(at, 'a. m.', 'p. m.')} - ",
    "android-ko": lambda at: f"{at.year}. {at.month}. {at.day}. {'오전' if at.hour < 12 else '오후'} {at.hour % 12 or 12}:{at:%M:%S} - ",
    "android-da": lambda at: f"{at:%d.%m.%Y kl. %H.%M.%S} - ",
    "android-sv": lambda at: f"{at:%Y-%m-%d %H:%M:%S} - ",
    "android-zh": lambda at: f"{at.year}/{at.month}/{at.day} {'上午' if at.hour < 12 else '下午'}{at.hour % 12 or 12}:{at:%M:%S} - ",
    "ios-de": lambda at: f"[{at:%d.%m.%y, %H:%M:%S}] ",
    "ios-us": lambda at: f"\u200e[{at.month}/{at.day}/{at:%y}, {_half(at, 'AM', 'PM')}] ",
    "ios-nl": lambda at: f"[{at:%d-%m-%Y %H:%M:%S}] ",
    "ios-ar": lambda at: f"[{at.day}\u200f/{at.month}\u200f/{at.year}، {_half(at, 'ص', 'م')}] ".translate(_ARABIC),
    "ios-vi": lambda at: f"[{at:%H:%M:%S, %d/%m/%Y}] ",
}

_plain = st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Zp"), exclude_characters=':<>[]"“”„«»「」『』‹›*=~' + MARKS)
whatsapp_names = st.text(_plain, min_size=1, max_size=12)
text_lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff"), max_size=40)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2039, 12, 31)).map(lambda at: at.replace(microsecond=0))


@st.composite
def whatsapp_texts(draw: st.DrawFn) -> str:
    """A text of several lines, none of which begins like a header, and not one that WhatsApp would write itself."""
    lines = draw(st.lists(text_lines, min_size=1, max_size=4).filter(lambda ls: all(whatsapp.read_header(line) is None for line in ls)))
    text = "\n".join(lines)
    # The last line is not blank: blank lines at the end of a file belong to nobody.
    return text if lines[-1].strip() and not text.startswith(SERVICE_MARK) else f"{text}."


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[datetime, str, str]]:
    times = sorted(draw(st.lists(moments, min_size=1, max_size=8)))
    # One day above 12 and one file of one order: what decides otherwise has tests of its own.
    times.append(times[-1].replace(month=12, day=31) if times[-1].month == 12 else times[-1].replace(month=12, day=30))
    names = draw(st.lists(whatsapp_names, min_size=1, max_size=3, unique=True))
    return [(at, draw(st.sampled_from(names)), draw(whatsapp_texts())) for at in times]


@pytest.mark.parametrize("locale", LOCALES)
@given(chat=conversations(), end=st.sampled_from(["\n", "\r\n"]), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(max_examples=15, deadline=None)
def test_a_rendered_whatsapp_chat_is_parsed_back(locale: str, chat: list[tuple[datetime, str, str]], end: str, encoding: str) -> None:
    text = "".join(f"{LOCALES[locale](at)}{name}: {body}{end}" for at, name, body in chat)
    parsed = whatsapp.parse(text.encode(encoding))
    apple = locale.startswith("ios")
    assert [(line.at, line.sender, line.text, line.kind) for line in parsed.lines] == [
        (at, name, body, kind_of(body, apple)) for at, name, body in chat
    ]
    assert parsed.counts.unparsed == parsed.counts.blank == 0
    assert parsed.counts.lines == text.count("\n")


_nick_chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz[]\\`_^{}|"
nicks = st.text(_nick_chars, min_size=1, max_size=9)
irc_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=40)


@st.composite
def logs(draw: st.DrawFn) -> list[Line]:
    """Messages, actions and renames with gaps of at most 22 hours."""
    at = datetime(2008, 4, 27, draw(st.integers(0, 23)), draw(st.integers(0, 59)))
    lines: list[Line] = []
    for number in range(1, draw(st.integers(1, 10)) + 1):
        nick, text = draw(nicks), draw(irc_texts)
        form = draw(st.sampled_from(["text", "text", "action", "rename"])) if lines else "text"
        if form == "text":
            at += timedelta(minutes=draw(st.integers(0, 22 * 60)))
            lines.append(Line(at, nick, text, "text", number))
        elif form == "action":
            lines.append(Line(at, nick, f"does {text}", "action", number))
        else:
            lines.append(Line(at, nick, f"{nick} is now known as {draw(nicks)}", "rename", number))
    return lines


@given(lines=logs(), latin=st.booleans(), seconds=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_rendered_irc_log_is_parsed_back(lines: list[Line], latin: bool, seconds: bool) -> None:
    out = []
    for line in lines:
        clock = line.at.strftime("[%H:%M:%S]" if seconds else "[%H:%M]")
        form = {"text": f"{clock} <{line.sender}> {line.text}", "action": f"* {line.sender} {line.text}", "rename": f"=== {line.text}"}
        out.append(form[line.kind])
    data = b"\n".join(text.encode() for text in out) + b"\n"
    assert irc.parse(data, lines[0].at.date()).lines == lines


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_clearly_or_accounted_for(data: bytes) -> None:
    for given_data in (data, b"[10:00] <a> x\n" + data, b"31/12/2023, 10:00 - A: x\n" + data):
        try:
            chat = read_chat(given_data, "garbage")
        except ChatError:
            assert given_data is data
        else:
            chat.check()


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_byte_of_an_irc_text_is_a_character_of_its_own_or_utf8(raw: bytes) -> None:
    raw = raw.replace(b"\n", b"").replace(b"\r", b"")
    data = b"[10:00] <a> " + raw
    if irc.parse(data).lines[0].kind != "text" or data.count(0) * 4 > len(data):
        return
    text = irc.parse(data).lines[0].text
    try:
        assert text == raw.decode()
    except UnicodeDecodeError:
        assert len(text) == len(raw)


def test_the_format_is_found() -> None:
    def kind(text: str) -> str | None:
        return detect(text.encode())

    assert kind("[10:00] <a> x") == "irc"
    assert kind("<a> x") == "irc"
    assert kind("[31.12.23, 10:00:00] A: x") == "whatsapp"
    assert kind("31/12/23, 10:00 - A: [10:00] <a> x\n[10:00] said so") == "whatsapp"
    assert kind("[2023-12-31 10:00:00] <a> x") == "irc"
    assert kind("dear diary\n10:00 got up") is None


def _chat(lines: list[Line]) -> Chat:
    return irc.parse(b"".join(f"{line.at:[%H:%M]} <{line.sender}> {line.text}\n".encode() for line in lines))


def test_a_line_is_written_as_one_object_of_four_fields() -> None:
    chat = _chat([Line(datetime.combine(datetime(1970, 1, 1), time(9, 5)), "a", 'say "hi" \u2028', "text")])
    assert chat.lines[0].to_json() == '{"at":"1970-01-01T09:05:00","sender":"a","text":"say \\"hi\\" \u2028","kind":"text"}'
