"""The two panes that draw a `Room`: the list of chats, and the open chat from its newest line upwards."""

from __future__ import annotations

import time
from collections.abc import Iterator

from homing import Conversation
from homing.protocol import HOME_TYPES, Entry, Send
from prompt_toolkit.layout.controls import UIContent, UIControl
from prompt_toolkit.utils import get_cwidth

from tools.terminal.room import Room, Thread
from tools.terminal.text import Line, clean, clock, colour_of, day, pad, shorten, summary, ticks, told, when, wrap

INDENT = 6


class ListPane(UIControl):
    """Two lines a chat: title and unread, last message."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def create_content(self, width: int, height: int) -> UIContent:
        lines: list[Line] = []
        for conversation in self._room.client.conversations():
            if len(lines) + 2 > height:
                break
            lines += self._lines(conversation, width)
        return UIContent(lambda n: list(lines[n]), len(lines), show_cursor=False)

    def _lines(self, conversation: Conversation, width: int) -> list[Line]:
        room = self._room
        is_open = room.current is not None and room.current.id == conversation.id
        unread = conversation.unread
        badge = f" ({unread if unread < 1000 else '999+'})" if unread else ""
        style = "class:selected" if is_open else "class:unread" if unread else ""
        is_here = bool(conversation.peer) and room.client.presence_of(conversation.peer).state == "online"
        pointer = "▸" if is_open else "•" if is_here else " "
        last = conversation.state.last
        time_ = f" {when(last.ts, time.time())}" if last else ""
        title = pad(f"{pointer}{room.title_of(conversation)}", width - len(badge) - len(time_) - 1) + badge
        who = "you: " if last and last.sender == room.client.user and not last.type.startswith(HOME_TYPES) else ""
        return [
            [(style, title), (f"{style} class:dim".strip(), f"{time_} ")],
            [("class:dim", pad(f"  {who}{summary(last, room.name_of)}", width))],
        ]


class ChatPane(UIControl):
    """The open chat. `scroll`: lines below the lowest visible one."""

    def __init__(self, room: Room, notes: list[str]) -> None:
        self._room = room
        self._notes = notes
        self.scroll = 0
        self.height = 10
        self._bottom: tuple[str, int] = ("", 0)
        """The chat and its newest entry when it was last drawn: what comes below it must not move what is being read."""

    def create_content(self, width: int, height: int) -> UIContent:
        self.height = height
        lines = self._visible(width, height)
        blank: list[Line] = [[] for _ in range(height - len(lines))]
        shown = blank + lines
        return UIContent(lambda n: list(shown[n]), len(shown), show_cursor=False)

    def _visible(self, width: int, height: int) -> list[Line]:
        room = self._room
        current = room.current
        if current is None:
            return [line for note in self._notes for line in _note(note, width)][-height:]
        thread = room.thread(current.id)
        if self.scroll:
            self._hold_still(current, thread, width)
        self._bottom = (current.id, thread.entries[-1].seq if thread.entries else 0)
        found: list[Line] = []
        for block in self._blocks(current, thread, width):
            found[:0] = block
            if len(found) >= self.scroll + height:
                break
        else:
            if not thread.is_complete:
                room.spawn(room.load_older(current))
            self.scroll = max(0, min(self.scroll, len(found) - height))
        end = len(found) - self.scroll
        return found[max(0, end - height) : end]

    def _hold_still(self, current: Conversation, thread: Thread, width: int) -> None:
        conversation, newest = self._bottom
        if conversation == current.id:
            for entry in reversed(thread.entries):
                if entry.seq <= newest:
                    break
                self.scroll += len(self._entry(current, entry, width))

    def _blocks(self, current: Conversation, thread: Thread, width: int) -> Iterator[list[Line]]:
        """What is in the chat, the newest first."""
        yield [line for note in self._notes for line in _note(note, width)]
        for item, reason in reversed(thread.failed):
            yield self._own(item.frame, width, f"✗ not sent: {clean(reason, False)}", "class:failed")
        for item in reversed(self._room.queued(current.id)):
            yield self._own(item.frame, width, "… waiting", "class:dim")
        entries = thread.entries
        for n in range(len(entries) - 1, -1, -1):
            entry = entries[n]
            block = self._entry(current, entry, width)
            if entry.seq == thread.unread_from:
                block.insert(0, _rule("new", width, "class:divider"))
            if n == 0 or day(entries[n - 1].ts) != day(entry.ts):
                block.insert(0, _rule(day(entry.ts, time.time()), width, "class:dim"))
            yield block
        if thread.is_loading:
            yield [[("class:dim", "  loading older messages…")]]

    def _entry(self, current: Conversation, entry: Entry, width: int) -> list[Line]:
        room = self._room
        at = ("class:dim", f"{clock(entry.ts)} ")
        said = told(entry, room.name_of)
        if said:
            return wrap([at, ("class:dim", f"· {said}")], width, INDENT)
        if entry.sender != room.client.user:
            return wrap([at, (colour_of(entry.sender), room.name_of(entry.sender)), ("", f": {clean(entry.body)}")], width, INDENT)
        mark = ticks(entry, list(current.marks.values()), room.others(current))
        style = "class:read" if "read" in mark else "class:dim"
        return wrap([at, ("class:you", "you"), ("", f": {clean(entry.body)} "), (style, mark)], width, INDENT)

    def _own(self, frame: object, width: int, mark: str, style: str) -> list[Line]:
        body = clean(frame.body) if isinstance(frame, Send) else ""
        return wrap([("class:dim", "--:-- "), ("class:you", "you"), ("", f": {body} "), (style, mark)], width, INDENT)


def _note(text: str, width: int) -> list[Line]:
    return wrap([("class:note", f" {clean(text)}")], width, INDENT)


def _rule(text: str, width: int, style: str) -> Line:
    text = shorten(f" {text} ", width)
    left = max(0, (width - get_cwidth(text)) // 2)
    return [(style, "─" * left + text + "─" * max(0, width - left - get_cwidth(text)))]
