"""Line mode, for pipes and tests: reads lines, prints `name: text`. What is no message goes to the error output."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import threading
from typing import TextIO

from homing import Client, Shown, StateChanged
from homing.streams import EventStream

from tools.terminal.room import Room
from tools.terminal.text import plain_line

DRAIN_WAIT_S = 10.0
"""How long the end of the input waits until everything typed is stored in the cluster."""

LINES_AHEAD_MAX = 1_000


async def run(client: Client, to: str | None) -> int:
    """Until the input ends or /quit. Returns 0, or 1 when something typed could not be stored in time."""
    room = Room(client, _note)
    lines = _read_lines(sys.stdin)
    printing = asyncio.create_task(_print(room, client.events()))
    try:
        if to is not None:
            await room.line(f"/to {to}")
        while not room.is_over and (line := await lines.get()) is not None:
            await room.line(line.rstrip("\r\n"))
        return await _drain(client)
    finally:
        printing.cancel()
        await asyncio.wait([printing])
        await room.stop()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _print(room: Room, events: EventStream) -> None:
    async for event in events:
        room.on_event(event)
        if isinstance(event, Shown) and event.entry.sender != room.client.user:
            conversation = room.client.conversation(event.entry.conversation)
            await room.learn(event.entry)
            title = room.title_of(conversation) if conversation.is_group else ""
            print(plain_line(event.entry, room.name_of, title), flush=True)
        elif isinstance(event, StateChanged) and event.state in ("live", "waiting", "closed"):
            room.say(f"[{event.state}]" + (f" {event.reason}" if event.reason else ""))


async def _drain(client: Client) -> int:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_WAIT_S):
            events = client.events()
            while client.outbox() and client.state != "closed":
                await anext(events)
    waiting = len(client.outbox())
    if waiting:
        _note(f"{waiting} messages wait to be sent: they leave when you chat again")
    return 1 if waiting else 0


def _read_lines(stream: TextIO) -> asyncio.Queue[str | None]:
    """The lines of a stream; None at its end. A thread reads them, for a terminal or a file cannot be waited for otherwise."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(LINES_AHEAD_MAX)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(RuntimeError, ValueError, concurrent.futures.CancelledError):  # the loop is closed: nobody wants to know
            for line in stream:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines
