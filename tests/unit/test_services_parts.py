"""The parts of `homing services` that need no server: whose process it is, which ports, what is fetched, what Cassandra is told."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import cli
from tools.errors import CommandError
from tools.services import artifacts, debian, state
from tools.services.cassandra import answers, settings
from tools.services.service import choose_port, free_ports
from tools.services.state import Running, State

SLEEPER = "import sys, time; time.sleep(60)"
LOOPBACK = ["127.0.0.1"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPER, "--marker=/some/where"]) as process:
        yield process
        process.kill()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def test_a_process_with_our_number_but_another_command_line_is_not_ours(sleeper: subprocess.Popen[bytes]) -> None:
    stranger = Running(sleeper.pid, "--marker=/else/where")
    assert not state.is_alive(stranger)
    assert not state.stop(stranger, signal.SIGTERM, 0.2)
    assert sleeper.poll() is None, "a stranger was stopped"


def test_a_process_of_ours_is_stopped_by_its_number(sleeper: subprocess.Popen[bytes]) -> None:
    ours = Running(sleeper.pid, "--marker=/some/where")
    assert state.is_alive(ours)
    assert not state.stop(ours, signal.SIGTERM, 5.0), "it had to be killed"
    assert not state.is_alive(ours)


def test_what_does_not_listen_to_the_signal_is_killed() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, "--marker=x"], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        assert state.stop(Running(stubborn.pid, "--marker=x"), signal.SIGTERM, 0.3)


def test_a_state_comes_back_as_it_was_saved_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    assert state.load(file) is None
    made = State({"cql": 9042}, {"nodes": 3}, {"node-1": Running(12, "-Dx")})
    state.save(file, made)
    assert state.load(file) == made
    file.write_text("{")
    with pytest.raises(CommandError, match="damaged"):
        state.load(file)


def test_a_port_of_somebody_else_is_refused_when_it_was_asked_for_or_had_before(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    for given, before in ((taken, None), (None, taken)):
        with pytest.raises(CommandError, match=f"port {taken} is in use by"):
            choose_port(given, before, 9042, LOOPBACK)


def test_the_usual_port_is_taken_if_it_is_free_else_another_one(listener: socket.socket) -> None:
    taken = listener.getsockname()[1]
    assert choose_port(None, None, taken, LOOPBACK) != taken
    (free,) = free_ports(1, LOOPBACK)
    assert choose_port(None, None, free, LOOPBACK) == free
    assert choose_port(None, free, taken, LOOPBACK) == free, "the one of the last time"
    assert choose_port(0, taken, taken, LOOPBACK) != taken, "any that is free"


def test_a_jar_that_was_changed_is_missing_or_does_not_belong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    wanted = tmp_path / "list"
    wanted.write_text(f"{digest}  a.jar\n{digest}  b.jar\n")
    monkeypatch.setattr(artifacts, "LIST", wanted)
    (tmp_path / "a.jar").write_text("hello")
    (tmp_path / "b.jar").write_text("hello")
    assert artifacts.wrong(tmp_path) == []
    (tmp_path / "a.jar").write_text("hellO")
    (tmp_path / "b.jar").unlink()
    (tmp_path / "c.jar").write_text("hello")
    assert artifacts.wrong(tmp_path) == ["a.jar", "b.jar", "c.jar"]


def test_the_list_of_jars_names_the_pinned_version_and_no_address() -> None:
    wanted = artifacts.wanted()
    assert f"cassandra-all-{artifacts.VERSION}.jar" in wanted and len(wanted) > 50
    assert all(len(digest) == 64 for digest in wanted.values())


def test_three_nodes_share_the_ring_exactly_and_know_each_other(tmp_path: Path) -> None:
    made = [settings(tmp_path, number, 3, {"cql": 9042, "storage": 7000}) for number in (1, 2, 3)]
    tokens = [int(str(one["initial_token"])) for one in made]
    assert tokens[0] == -(2**63) and tokens[1] - tokens[0] == 2**64 // 3 and tokens[2] - tokens[0] == 2 * 2**64 // 3
    assert [one["listen_address"] for one in made] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert all("127.0.0.1:7000,127.0.0.2:7000,127.0.0.3:7000" in str(one["seed_provider"]) for one in made)


def test_what_listens_but_speaks_no_cql_does_not_answer(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.services.cassandra.PROBE_TIMEOUT_S", 0.1)
    assert not answers("127.0.0.1", listener.getsockname()[1])
    assert not answers("127.0.0.1", free_ports(1, LOOPBACK)[0])


def test_without_the_right_to_install_the_one_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "become_root", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(CommandError, match=r"sudo apt-get update && sudo apt-get install --yes --no-install-recommends maven$"):
        debian.install(["maven"], lambda text: None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "mysql"], "there is no service 'mysql'"),
        (["down", "cassandra", "--port", "9042"], "--port"),
        (["up", "cassandra", "--port", "99999"], "--port"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["services", *arguments, "--data", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_nothing_is_made_by_asking_what_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["services", "status", "cassandra", "--data", str(tmp_path), "--json"]) == 7
    assert '"absent"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
