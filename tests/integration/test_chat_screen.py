"""`homing chat` as people see it: on terminals of their own, on two nodes of a real cluster, one of which is killed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import ClusterProcess
from tests.integration.pty_screen import TerminalProcess


class People:
    """Starts terminals, each at a node of its own first, and ends what is left."""

    def __init__(self, cluster: ClusterProcess, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.terminals: list[TerminalProcess] = []

    def chat(self, name: str, node: int, *more: str, columns: int = 100) -> TerminalProcess:
        urls = self.cluster.node_urls
        urls = urls[node:] + urls[:node]
        command = [sys.executable, "-P", "-m", "tools.cli", "chat", "--as", name, "--data", str(self.cluster.data), *more]
        terminal = TerminalProcess([*command, *(part for url in urls for part in ("--url", url))], columns)
        self.terminals.append(terminal)
        terminal.sees("● online")
        return terminal


@pytest.fixture
def people(cluster: ClusterProcess, tmp_path: Path) -> Iterator[People]:
    people = People(cluster, tmp_path)
    yield people
    for terminal in people.terminals:
        with contextlib.suppress(OSError):
            terminal.kill()


def chat_lines(terminal: TerminalProcess, *texts: str) -> list[str]:
    """The texts in the order in which the open chat shows them."""
    shown = [line.partition("│")[2] for line in terminal.lines]
    return [text for line in shown for text in texts if f": {text}" in line]


@pytest.mark.timeout(240)
def test_two_people_chat_on_two_nodes_over_the_death_of_one(people: People, cluster: ClusterProcess) -> None:
    alice, bob = people.chat("alice", 0), people.chat("bob", 1)

    # A direct chat: the ticks move, the stranger has a name, what is unread is counted.
    alice.type("/to bob")
    alice.type("hello bob")
    alice.waits(lambda lines: any(line.endswith("you: hello bob ✓✓") for line in lines), "two ticks")
    bob.waits(lambda lines: any(line[1:].startswith("alice ") and "(1)" in line for line in lines), "alice with one unread message")
    assert bob.screen.title == "(1) bob · Homing"
    bob.type("/to alice")
    alice.waits(lambda lines: any(line.endswith("you: hello bob ✓✓ read") for line in lines), "that bob has read it")
    bob.sees("alice: hello bob")
    bob.type("hi")
    alice.sees("bob: hi")

    # A group.
    bob.type('/group "The trip" alice')
    alice.sees(" The trip")
    alice.type("/to The trip")
    alice.sees("bob made the group “The trip” with you")
    bob.type("who comes?")
    bob.waits(lambda lines: any(line.endswith("you: who comes? ✓✓ read") for line in lines), "that alice has read it in the group")
    alice.type("/who")
    alice.sees("bob · owner (")

    # The node on which alice is dies. Both go on; what they say meanwhile arrives once and in the same order on both screens.
    pid = cluster.kill("node-1")
    said = []
    for n in range(3):
        for terminal, name in ((alice, "a"), (bob, "b")):
            said.append(f"{name}{n} after it")
            terminal.type(said[-1])
    for terminal in (alice, bob):
        terminal.waits(lambda lines, t=terminal: len(chat_lines(t, *said)) == len(said), "all that was said")  # type: ignore[misc]
        terminal.sees("● online")
        terminal.waits(lambda lines: sum(line.endswith("✓✓ read") for line in lines) >= 3, "that all was read")
    assert chat_lines(alice, *said) == chat_lines(bob, *said), "the same order on both"
    for terminal in (alice, bob):
        assert [t for t in chat_lines(terminal, *said) if t.startswith("a")] == [t for t in said if t.startswith("a")]
        for text in ("who comes?", *said):
            assert len(chat_lines(terminal, text)) == 1, text
        assert not [line for line in terminal.lines if "✗" in line or "waiting" in line]
    cluster.wait_restarted("node-1", pid)
    alice.type("/to bob")
    alice.sees("bob: hi")
    assert len(chat_lines(alice, "hello bob", "hi")) == 2

    # They leave; the terminals are as they were.
    alice.type("/quit")
    assert alice.ends() == 0
    bob.keys("\x03")
    assert bob.ends() == 0


@pytest.mark.timeout(240)
def test_who_is_here_who_writes_and_who_blocks(people: People) -> None:
    alice, bob = people.chat("alice", 0, "--to", "bob"), people.chat("bob", 1, "--to", "alice")
    alice.type("hello bob")
    bob.sees("alice: hello bob")
    alice.sees(" bob  ● here")
    alice.waits(lambda lines: any(line.startswith("▸bob") for line in lines), "that this chat is open")
    bob.keys("hm")
    alice.sees(" bob  writing…")
    bob.keys("\x7f\x7f")
    alice.sees(" bob  ● here")
    bob.keys("/to")
    assert not any("writing" in line for line in alice.lines)
    bob.keys("\x7f\x7f\x7f")
    alice.type("/block")
    alice.sees("you blocked messages here")
    bob.sees("alice blocked messages here")
    bob.type("why?")
    bob.sees("why? ✗ not sent: this user has blocked you")
    bob.waits(lambda lines: not any("here" in line and "│ alice" in line for line in lines), "nothing of who blocks him")
    alice.type("/unblock bob")
    bob.sees("alice allowed messages here again")
    bob.type("why not")
    alice.sees("bob: why not")
    bob.type("/quit")
    assert bob.ends() == 0
    alice.waits(lambda lines: any("bob  last here " in line for line in lines), "that bob has gone", 60)


@pytest.mark.timeout(240)
def test_a_stranger_who_is_away_has_a_name_also_after_his_home_was_started_again(people: People, cluster: ClusterProcess) -> None:
    eve = people.chat("Eve Stranger", 2, "--to", "alice")
    eve.type("psst")
    eve.waits(lambda lines: any("you: psst ✓" in line for line in lines), "a tick")
    eve.type("/quit")
    assert eve.ends() == 0
    for name in ("node-1", "node-2", "node-3"):
        cluster.kill(name)
    cluster.wait(lambda: False not in [n in cluster.pids for n in ("node-1", "node-2", "node-3")], 30.0, "the nodes are not back")
    alice = people.chat("alice", 0, columns=60)
    alice.type("/list")
    alice.sees("Eve Stranger · 1 unread")
    alice.type("/to eve stranger")
    alice.sees("Eve Stranger: psst")
    assert alice.lines[1] == " Eve Stranger"
