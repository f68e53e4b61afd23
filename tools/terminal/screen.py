"""The full-screen terminal client: the list of chats, the open chat, a line to type in. Draws a `Room`; decides nothing itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable

from homing import Client
from homing.presence import UNKNOWN
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import ConditionalContainer, Float, FloatContainer, HSplit, Layout, VSplit, Window
from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from tools.terminal.panes import ChatPane, ListPane
from tools.terminal.room import COMMANDS, KEYS, Room, is_waited_for, known_names
from tools.terminal.text import clean, connection, here, pad, shorten, writing

LIST_COLUMNS = 26
NARROW_COLUMNS = 64
"""Below that the list of chats makes room for the chat."""
NOTES_MAX = 40
LINES_MAX = 1_000
"""Lines that were typed (or pasted) and are not done yet."""
STYLE = Style.from_dict(
    {
        "banner": "reverse",
        "banner.live": "reverse",
        "banner.trouble": "bg:ansiyellow fg:ansiblack bold",
        "title": "bold",
        "selected": "reverse",
        "unread": "bold",
        "dim": "fg:ansibrightblack",
        "divider": "fg:ansired bold",
        "note": "fg:ansicyan",
        "failed": "fg:ansired bold",
        "read": "fg:ansibrightblue",
        "you": "bold",
        "name0": "bold fg:ansigreen",
        "name1": "bold fg:ansimagenta",
        "name2": "bold fg:ansicyan",
        "name3": "bold fg:ansiyellow",
        "name4": "bold fg:ansiblue",
        "name5": "bold fg:ansired",
    }
)


class _Names(Completer):
    """Commands, and after them the names that are known."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        if not text.startswith("/"):
            return
        command, space, rest = text[1:].partition(" ")
        if not space:
            yield from (Completion(f"/{name} ", -len(text)) for name in COMMANDS if name.startswith(command))
            return
        word = rest if command == "to" else rest.rpartition(" ")[2]
        for name in known_names(self._client):
            if name.casefold().startswith(word.casefold()):
                yield Completion(name, -len(word))


class Screen:
    def __init__(self, client: Client, name: str, input: Input | None = None, output: Output | None = None) -> None:
        self._client = client
        self._name = name
        self._notes: list[str] = []
        self.room = Room(client, self._note, self._redraw, f"\n{KEYS}")
        self._drafts: dict[str, str] = {}
        self._shown_id = ""
        self._unread = -1
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: asyncio.Queue[str] = asyncio.Queue(LINES_MAX)
        self._buffer = Buffer(multiline=True, completer=_Names(client), complete_while_typing=False)
        self._is_restoring = False
        """A draft is put back, by nobody's hand."""
        self._buffer.on_text_changed += self._on_typed
        self._chat = ChatPane(self.room, self._notes)
        self.app: Application[None] = Application(
            layout=self._layout(), key_bindings=self._keys(), style=STYLE, full_screen=True, input=input, output=output,
            min_redraw_interval=0.03,
        )  # fmt: skip
        self.app.ttimeoutlen = 0.05

    async def run(self, to: str | None) -> None:
        """Until the user leaves."""
        watching = asyncio.create_task(self._watch())
        counting = asyncio.create_task(self._count_down())
        obeying = asyncio.create_task(self._obey())
        self._tell_title()
        if to is not None:
            self._enter(f"/to {to}")
        else:
            self._note("/to NAME opens a chat, /group TITLE NAME… makes a group, Alt-↓ or Ctrl-N goes to the next chat, /help tells more.")
        try:
            await self.app.run_async(handle_sigint=False)
        finally:
            self.app.output.clear_title()
            await self._stop(watching, counting, obeying, *self._tasks)
            await self.room.stop()

    async def _stop(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    async def _watch(self) -> None:
        async for event in self._client.events():
            self.room.on_event(event)
            self._tell_title()

    async def _count_down(self) -> None:
        """The banner says how long it still waits."""
        while True:
            await asyncio.sleep(1.0)
            if self._client.state != "live":
                self.app.invalidate()

    def _tell_title(self) -> None:
        """The terminal's own title, for whoever looks at another window: how much is unread."""
        unread = sum(c.unread for c in self._client.conversations())
        if unread != self._unread:
            self._unread = unread
            self.app.output.set_title(f"({unread}) {self._name} · Homing" if unread else f"{self._name} · Homing")

    def _note(self, text: str) -> None:
        self._notes.append(text)
        del self._notes[:-NOTES_MAX]
        self._chat.scroll = 0
        self._redraw()

    def _redraw(self) -> None:
        current = self.room.current
        if current is not None and current.id != self._shown_id:
            self._shown_id = current.id
            self._chat.scroll = 0
            if not self._buffer.text:  # else somebody has begun to write while the chat was being opened
                self._is_restoring = True
                self._buffer.text = self._drafts.pop(current.id, "")
                self._is_restoring = False
                self._buffer.cursor_position = len(self._buffer.text)
        if self.room.is_over and self.app.is_running:
            self.app.exit()
        self.app.invalidate()

    def _on_typed(self, buffer: Buffer) -> None:
        if not self._is_restoring:
            self.room.typing(buffer.text)

    def _enter(self, text: str) -> None:
        if self._lines.full():
            self._note("✗ too much was typed before it could be done")
        else:
            self._lines.put_nowait(text)

    async def _obey(self) -> None:
        """Does what is typed, line by line: a message that was typed after /to must not go where one was before."""
        while True:
            text = await self._lines.get()
            work = self._do(self.room.line(text))
            if is_waited_for(text):
                await asyncio.wait([work])

    def _do(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note(f"✗ that went wrong: {error!r}")  # a bug of ours must not take the screen with it

    # ------------------------------------------------------------ what is on it

    def _layout(self) -> Layout:
        wide = Condition(lambda: self.app.output.get_size().columns >= NARROW_COLUMNS)
        chats = ConditionalContainer(
            VSplit([Window(ListPane(self.room), width=LIST_COLUMNS), Window(width=1, char="│", style="class:dim")]), wide
        )
        title = Window(FormattedTextControl(self._title), height=1, style="class:title")
        line = Window(
            BufferControl(self._buffer, input_processors=[BeforeInput("› ")]), height=Dimension(min=1, max=6), wrap_lines=True,
            dont_extend_height=True,
        )  # fmt: skip
        chat = HSplit([title, Window(self._chat), Window(height=1, char="─", style="class:dim"), line])
        body = HSplit([Window(FormattedTextControl(self._banner), height=1, style="class:banner"), VSplit([chats, chat])])
        menu = Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)
        return Layout(FloatContainer(body, [menu]), focused_element=line)

    def _banner(self) -> StyleAndTextTuples:
        columns = self.app.output.get_size().columns
        client = self._client
        state = connection(client.state, clean(client.reason, newlines=False), client.retry_in_s, len(client.outbox()))
        state = shorten(state, max(12, columns - 12 - len(self._name)))
        left = pad(f" Homing · {self._name}", max(0, columns - len(state) - 2))
        style = "class:banner.live" if self._client.state == "live" else "class:banner.trouble"
        return [("class:banner", left), (style, f" {state} ")]

    def _title(self) -> StyleAndTextTuples:
        current = self.room.current
        if current is None:
            return [("class:dim", " no chat is open")]
        typists = [(self.room.name_of(user), kind) for user, kind in current.typists.items()]
        known = self._client.presence_of(current.peer) if current.peer and not current.is_group else UNKNOWN
        doing = writing(typists, current.is_group) or here(known, time.time())
        count = self.room.others(current)
        members = f"  {count + 1} members" if current.is_group and count else ""
        below = f"  ↓ {self._chat.scroll} lines below (Ctrl-End)" if self._chat.scroll else ""
        said = ("class:dim", f"  {doing}" if doing else "")
        return [("class:title", f" {self.room.title_of(current)}"), ("class:dim", members), said, ("class:note", below)]

    # ------------------------------------------------------------ keys

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _send(event: KeyPressEvent) -> None:
            text = self._buffer.text
            self._buffer.reset(append_to_history=True)
            self._notes.clear()
            self._chat.scroll = 0
            self._enter(text)

        @keys.add("escape", "enter")
        def _newline(event: KeyPressEvent) -> None:
            self._buffer.insert_text("\n")

        @keys.add("tab")
        def _complete(event: KeyPressEvent) -> None:
            if self._buffer.complete_state:
                self._buffer.complete_next()
            else:
                self._buffer.start_completion(select_first=True)

        @keys.add("pageup")
        @keys.add("s-up")
        def _up(event: KeyPressEvent) -> None:
            self._scroll(self._chat.height - 2)

        @keys.add("pagedown")
        @keys.add("s-down")
        def _down(event: KeyPressEvent) -> None:
            self._scroll(2 - self._chat.height)

        @keys.add("c-end")
        def _end(event: KeyPressEvent) -> None:
            self._scroll(-self._chat.scroll)

        @keys.add("escape", "up")
        @keys.add("c-p")
        def _previous(event: KeyPressEvent) -> None:
            self._switch(-1)

        @keys.add("escape", "down")
        @keys.add("c-n")
        def _next(event: KeyPressEvent) -> None:
            self._switch(1)

        @keys.add("c-l")
        def _clear(event: KeyPressEvent) -> None:
            self._notes.clear()
            event.app.renderer.clear()

        @keys.add("c-c")
        @keys.add("<sigint>")
        def _leave(event: KeyPressEvent) -> None:
            event.app.exit()

        @keys.add("c-d", filter=Condition(lambda: not self._buffer.text))
        def _eof(event: KeyPressEvent) -> None:
            event.app.exit()

        return keys

    def _scroll(self, lines: int) -> None:
        self._chat.scroll = max(0, self._chat.scroll + lines)
        self.room.watch(self._chat.scroll == 0)
        self.app.invalidate()

    def _switch(self, step: int) -> None:
        neighbour = self.room.neighbour(step)
        if neighbour is not None:
            self._notes.clear()
            if self._buffer.text:
                self._drafts[self._shown_id] = self._buffer.text
                self._buffer.reset()
            self._do(self.room.open(neighbour))
