"""A program on a terminal of our own: what it draws, as a person would see it, and keys for it.

`Screen` understands what full-screen programs send to an xterm as far as `homing chat` uses it; what it does not know fails the test.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Sequence

from prompt_toolkit.utils import get_cwidth

WAIT_S = 20.0
_CONTROL = re.compile(
    r"\x1b\[(?P<private>[?]?)(?P<numbers>[0-9;]*)(?P<between>[ ]?)(?P<final>[A-Za-z])|\x1b\](?P<title>[^\x07]*)\x07|\x1b(?P<short>[=>78])"
)
_UNFINISHED = re.compile(r"\x1b(\[[?]?[0-9;]*[ ]?|\][^\x07]*)?\Z")


class Screen:
    """Rows of cells, and a cursor. A wide character fills a cell and leaves the next one empty."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.height = columns, rows
        self.title = ""
        self.is_alternate = False
        self._x = self._y = 0
        self._cells = self._blank()
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._left = ""

    def _blank(self) -> list[list[str]]:
        return [[" "] * self.columns for _ in range(self.height)]

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def feed(self, data: bytes) -> None:
        text = self._left + self._decode(data)
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        text, self._left = text[:end], text[end:]
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _CONTROL.match(text, at)
                assert found is not None, f"a terminal does not know {text[at : at + 20]!r}"
                self._control(found)
                at = found.end()
            else:
                self._put(text[at])
                at += 1

    def _put(self, char: str) -> None:
        if char == "\r":
            self._x = 0
        elif char == "\n":
            self._y = min(self.height - 1, self._y + 1)
        elif char == "\b":
            self._x = max(0, self._x - 1)
        elif char != "\a":
            assert char.isprintable(), f"a control character on the screen: {char!r}"
            width = get_cwidth(char)
            if self._x + width <= self.columns:
                self._cells[self._y][self._x : self._x + width] = [char, *[""] * (width - 1)]
                self._x = min(self.columns - 1, self._x + width)

    def _control(self, found: re.Match[str]) -> None:
        if found["title"] is not None:
            self.title = found["title"].partition(";")[2]
        elif found["short"] is None:
            numbers = [int(n or 0) for n in found["numbers"].split(";")]
            n = max(1, numbers[0])
            match found["private"] + found["final"]:
                case "A":
                    self._y = max(0, self._y - n)
                case "B":
                    self._y = min(self.height - 1, self._y + n)
                case "C":
                    self._x = min(self.columns - 1, self._x + n)
                case "D":
                    self._x = max(0, self._x - n)
                case "H":
                    self._y, self._x = n - 1, max(1, numbers[1] if len(numbers) > 1 else 1) - 1
                case "K":
                    self._cells[self._y][self._x :] = [" "] * (self.columns - self._x)
                case "J":
                    if numbers[0] == 0:
                        self._cells[self._y][self._x :] = [" "] * (self.columns - self._x)
                        self._cells[self._y + 1 :] = self._blank()[self._y + 1 :]
                    else:
                        self._cells = self._blank()
                case "?h" | "?l":
                    if numbers[0] == 1049:
                        self.is_alternate = found["final"] == "h"
                case "m" | "q":
                    pass  # colours, the shape of the cursor
                case other:
                    raise AssertionError(f"a terminal does not know {other!r}")


class TerminalProcess:
    """A process whose terminal we are."""

    def __init__(self, command: Sequence[str], columns: int = 100, rows: int = 30) -> None:
        self.screen = Screen(columns, rows)
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TZ": "UTC"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65_536):
                with self._lock:
                    self.screen.feed(data)
        except OSError:
            pass  # the other side is closed
        except BaseException as failure:  # handed to the test
            self._failure = failure

    # ------------------------------------------------------------ what a person does

    def keys(self, text: str) -> None:
        os.write(self._master, text.encode())

    def type(self, line: str) -> None:
        """Types a line, and Enter once it is seen: what is typed blindly would be taken for pasted."""
        self.keys(line)
        self.sees(f"› {line[-60:]}" if len(line) < 60 else line[-20:])
        self.keys("\r")

    @property
    def lines(self) -> list[str]:
        if self._failure is not None:
            raise AssertionError("what was drawn is not understood") from self._failure
        with self._lock:
            return self.screen.lines

    def count(self, text: str) -> int:
        """How many lines have the text."""
        return sum(text in line for line in self.lines)

    def sees(self, text: str) -> None:
        self.waits(lambda lines: any(text in line for line in lines), repr(text))

    def waits(self, holds: Callable[[list[str]], bool], what: str, wait_s: float = WAIT_S) -> None:
        until = time.monotonic() + wait_s
        while not holds(self.lines):
            assert time.monotonic() < until, f"{what} was not seen:\n" + "\n".join(self.lines)
            time.sleep(0.02)

    def ends(self) -> int:
        """Waits for its end; the terminal is as it was before."""
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        os.close(self._master)
        assert not self.screen.is_alternate
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.ends_anyhow()

    def ends_anyhow(self) -> None:
        self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        os.close(self._master)
