"""`homing chat` against a small honest server: line by line as a process, full screen through a pipe of keys."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from homing import Client, codes, ids
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.layout.controls import UIControl
from prompt_toolkit.output import DummyOutput

from tests.integration.client_server import ChatServer
from tools.terminal.panes import ListPane
from tools.terminal.screen import Screen


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with ChatServer() as server:
        yield server


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(8):
        while not true():
            await asyncio.sleep(0.005)


class Terminal:
    """A `homing chat --plain` process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        assert process.stdin and process.stdout and process.stderr
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr

    @classmethod
    async def start(cls, server: ChatServer, name: str, folder: Path, *more: str) -> Terminal:
        token = folder / f"{name}.token"
        token.write_text(name)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tools.cli", "chat", "--as", name, "--plain", "--url", server.url, "--token-file", str(token),
            "--store", str(folder / f"{name}.db"), *more,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return cls(process)

    def type(self, *lines: str) -> None:
        self.stdin.write("".join(f"{line}\n" for line in lines).encode())

    async def reads(self) -> str:
        async with asyncio.timeout(10):
            return (await self.stdout.readline()).decode().rstrip("\n")

    async def notes(self, text: str) -> None:
        async with asyncio.timeout(10):
            while text not in (line := (await self.stderr.readline()).decode()):
                assert line, f"ended without a word of {text!r}"

    async def ends(self) -> int:
        self.stdin.close()
        async with asyncio.timeout(15):
            return await self.process.wait()


async def test_two_terminals_chat_and_leave_cleanly(server: ChatServer, tmp_path: Path) -> None:
    alice = await Terminal.start(server, "alice", tmp_path, "--to", "bob")
    bob = await Terminal.start(server, "bob", tmp_path)
    await bob.notes("[live]")
    alice.type("hello bob", "//not a command", "/nonsense", "/to")
    assert await bob.reads() == f"{ids.user_id('alice')[:6]}: hello bob"
    assert await bob.reads() == f"{ids.user_id('alice')[:6]}: /not a command"
    await alice.notes("there is no /nonsense")
    await alice.notes("usage: /to NAME")
    bob.type("/to alice", "hi alice")
    assert await alice.reads() == "bob: hi alice"
    bob.type('/group "The trip" alice', "who comes?")
    assert await alice.reads() == "[The trip] * bob made the group “The trip” with you"
    assert await alice.reads() == "[The trip] bob: who comes?"
    bob.type("/who", "/quit")
    await bob.notes("owner")
    async with asyncio.timeout(10):
        assert await bob.process.wait() == 0
    assert await alice.ends() == 0


async def test_what_is_piped_in_is_sent_before_it_ends_and_history_is_not_repeated(server: ChatServer, tmp_path: Path) -> None:
    for words in ("one", "two"):
        alice = await Terminal.start(server, "alice", tmp_path, "--to", "bob")
        alice.type(words)
        assert await alice.ends() == 0
    (chat,) = server.chats.values()
    assert [e.body for e in chat.log] == ["one", "two"]


async def test_an_interrupt_ends_it_and_keeps_what_is_queued(server: ChatServer, tmp_path: Path) -> None:
    alice = await Terminal.start(server, "alice", tmp_path, "--to", "bob")
    await alice.notes("[live]")
    await server.stop()
    alice.type("later")
    await alice.notes("[waiting]")
    await asyncio.sleep(0.2)
    alice.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await alice.process.wait() == 130
    assert b"Traceback" not in await alice.stderr.read()
    await server.start(int(server.url.rpartition(":")[2]))
    again = await Terminal.start(server, "alice", tmp_path)
    await until(lambda: [e.body for c in server.chats.values() for e in c.log] == ["later"])
    assert await again.ends() == 0


async def test_a_second_terminal_with_the_same_device_is_told_what_to_do(server: ChatServer, tmp_path: Path) -> None:
    first = await Terminal.start(server, "alice", tmp_path)
    await first.notes("[live]")
    second = await Terminal.start(server, "alice", tmp_path)
    await second.notes("--device")
    assert await second.ends() == 1
    assert await first.ends() == 0


async def test_without_a_cluster_it_says_how_to_start_one(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tools.cli", "chat", "--as", "alice", "--data", str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1 and b"homing up" in said and b"Traceback" not in said


# ---------------------------------------------------------------- full screen


@asynccontextmanager
async def screen(server: ChatServer, tmp_path: Path) -> AsyncIterator[tuple[Screen, PipeInput, Client]]:
    async def get_token() -> str:
        return "alice"

    async with Client(server.url, get_token, tmp_path / "alice.db", user="alice") as client:
        await client.wait_for("live")
        with create_pipe_input() as keys:
            shown = Screen(client, "alice", keys, DummyOutput())
            running = asyncio.create_task(shown.run(None))
            await until(lambda: shown.app.is_running)
            try:
                yield shown, keys, client
            finally:
                keys.send_text("\x03")
                async with asyncio.timeout(5):
                    await running


def drawn(pane: UIControl, width: int = 53, height: int = 36) -> list[str]:
    """What a pane shows, in the size that it has on a screen of 80 by 40."""
    content = pane.create_content(width, height)
    return ["".join(piece[1] for piece in content.get_line(n)).rstrip() for n in range(content.line_count)]


async def test_a_chat_on_the_screen_from_the_first_key_to_ctrl_c(server: ChatServer, tmp_path: Path) -> None:
    async with screen(server, tmp_path) as (shown, keys, client):
        keys.send_text("/to bob\r")
        await until(lambda: shown.room.current is not None)
        keys.send_text("hello\r")
        await until(lambda: any(line.endswith("you: hello ✓") for line in drawn(shown._chat)))
        await server.say("bob", "alice", "hi there")
        await until(lambda: drawn(shown._chat)[-1].endswith("bob: hi there"))
        await until(lambda: client.conversation("bob").unread == 0)
        await server.say("eve", "alice", "psst")
        await until(lambda: any("(1)" in line for line in drawn(ListPane(shown.room), 26)))
        listed = drawn(ListPane(shown.room), 26)
        assert listed[:4] == [f" {ids.user_id('eve')[:6]:<11} (1) Nov 2023", "  psst", "▸bob             Nov 2023", "  hi there"]
        keys.send_text("a draft")
        await until(lambda: shown._buffer.text == "a draft")
        keys.send_text("\x0e")
        await until(lambda: shown.room.current is not None and shown.room.title_of(shown.room.current) == ids.user_id("eve")[:6])
        assert shown._buffer.text == ""
        keys.send_text("\x0e")
        await until(lambda: shown._buffer.text == "a draft")


async def test_what_is_typed_before_a_chat_is_open_goes_into_that_chat(server: ChatServer, tmp_path: Path) -> None:
    """On a new device /to waits for the list of chats; a message that is typed meanwhile waits for /to."""

    async def get_token() -> str:
        return "alice"

    server.silent = True
    async with Client(server.url, get_token, user="alice") as client:
        with create_pipe_input() as keys:
            shown = Screen(client, "alice", keys, DummyOutput())
            running = asyncio.create_task(shown.run(None))
            keys.send_text("/to bob\rhello\rand the next l")
            await until(lambda: shown._buffer.text == "and the next l" and server.frames != [])
            server.silent = False
            await server.cut()
            await until(lambda: [e.body for c in server.chats.values() for e in c.log] == ["hello"])
            assert shown._notes == [] and shown._buffer.text == "and the next l"
            keys.send_text("\x03")
            async with asyncio.timeout(5):
                await running


async def test_scrolling_up_loads_history_and_new_messages_do_not_move_it(server: ChatServer, tmp_path: Path) -> None:
    for n in range(300):
        await server.say("bob", "alice", f"m{n}")
    async with screen(server, tmp_path) as (shown, keys, client):
        keys.send_text("/to bob\r")
        await until(lambda: drawn(shown._chat)[-1].endswith("m299"))
        await until(lambda: client.conversation("bob").state.read == 300)
        async with asyncio.timeout(8):
            while not any(line.endswith("bob: m0") for line in drawn(shown._chat)):
                keys.send_text("\x1b[5~")
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # keys that are still in the pipe
        before = drawn(shown._chat)
        await server.say("bob", "alice", "new")
        await until(lambda: client.conversation("bob").state.contig == 301)
        await until(lambda: shown.room.thread(client.conversation("bob").id).entries[-1].body == "new")
        assert drawn(shown._chat) == before
        assert client.conversation("bob").state.read == 300
        keys.send_text("\x1b[1;5F")
        await until(lambda: drawn(shown._chat)[-1].endswith("bob: new"))
        await until(lambda: client.conversation("bob").state.read == 301)


async def test_a_refused_message_stays_on_the_screen_with_its_reason(server: ChatServer, tmp_path: Path) -> None:
    async with screen(server, tmp_path) as (shown, keys, _client):
        keys.send_text("/to bob\r")
        server.refuse = [codes.FORBIDDEN]
        keys.send_text("no\r")
        await until(lambda: any("you: no ✗ not sent: forbidden" in line for line in drawn(shown._chat)))


async def test_the_banner_tells_the_state_and_what_waits(server: ChatServer, tmp_path: Path) -> None:
    async with screen(server, tmp_path) as (shown, keys, client):
        assert "● online" in "".join(piece[1] for piece in shown._banner())
        await server.stop()
        await client.wait_for("waiting")
        keys.send_text("/to bob\rlater\r")
        await until(lambda: "1 waiting to be sent" in "".join(piece[1] for piece in shown._banner()))
        assert any("… waiting" in line for line in drawn(shown._chat))
