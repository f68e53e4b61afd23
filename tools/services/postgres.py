"""PostgreSQL on this machine, from Debian's package: a server and data of our own, beside any that Debian keeps.

For tests and newcomers: no passwords (`trust`), loopback only, no Unix socket. PostgreSQL refuses to run as root, so then it runs as
Debian's user `postgres`, which may search directories that it does not own: ours is below one that only root may enter.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from tools.errors import CommandError
from tools.services import debian
from tools.services.service import Say, Status
from tools.services.single import HOST, Program, Single

USER = "postgres"
"""Debian's, for the processes."""
ROLE, DATABASE = "homing", "homing"
TOOL_TIMEOUT_S = 60.0


class Postgres(Single):
    """See the module."""

    name = "postgres"
    usual_port = 5432
    stop_signal = signal.SIGINT  # its fast shutdown; SIGTERM waits for all clients

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def install(self, say: Say) -> Status:
        if find() is None:
            debian.install(["postgresql"], say, debian.DO_NOT_START)
        _binaries()
        return self.status()

    def prepare(self, port: int, say: Say) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        say("making its data …")
        shutil.rmtree(self._data, ignore_errors=True)  # of a start that was cut short
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(self._data, account.pw_uid, account.pw_gid)
        self._tool(
            "initdb", "--pgdata", str(self._data), "--username", ROLE, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"
        )

    def program(self, port: int) -> Program:
        options = ["-p", str(port), "-h", HOST, "-c", "unix_socket_directories="]
        return Program([*unprivileged(), str(_binaries() / "postgres"), "-D", str(self._data), *options], str(self._data))

    def answers(self, port: int) -> bool:
        if find() is None or self._run("pg_isready", "-q", "-h", HOST, "-p", str(port), "-d", "postgres", "-U", ROLE).returncode != 0:
            return False
        if self._run("psql", *_at(port, DATABASE), "-c", "SELECT 1").returncode != 0:  # a first start
            self._run("createdb", "-h", HOST, "-p", str(port), "-U", ROLE, DATABASE)
            return self._run("psql", *_at(port, DATABASE), "-c", "SELECT 1").returncode == 0
        return True

    def version(self) -> str:
        found = find()
        return found.parent.name if found else ""

    def _tool(self, name: str, *words: str) -> None:
        done = self._run(name, *words, prefix=unprivileged())
        if done.returncode != 0:
            raise CommandError(f"{name} failed: {' '.join(done.stderr.split())[-400:]}")

    def _run(self, name: str, *words: str, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [*(prefix or []), str(_binaries() / name), *words]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        try:
            return subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TOOL_TIMEOUT_S, check=False, env=environment, cwd="/"
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"did not end within {TOOL_TIMEOUT_S:g} s")


def _at(port: int, database: str) -> list[str]:
    return ["-h", HOST, "-p", str(port), "-U", ROLE, "-d", database, "-qAt", "-w"]


def find() -> Path | None:
    """The directory of the newest PostgreSQL's programs, where Debian puts them."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parent.name)], default=None)


def _binaries() -> Path:
    if (found := find()) is None:
        raise CommandError("needs Debian's package postgresql")
    return found


def unprivileged() -> list[str]:
    """What to put before a server's command when we are root."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CommandError("PostgreSQL does not run as root, and there is no setpriv (util-linux) to run it as another user")
    searching = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return [setpriv, f"--reuid={USER}", f"--regid={USER}", "--init-groups", *searching]
