"""Redis on this machine, from Debian's package: a server of our own, beside any that Debian keeps.

For tests and newcomers: no password, loopback only. It keeps nothing on disk, for what Homing has in it can be made anew.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess

from tools.errors import CommandError
from tools.services import debian
from tools.services.service import Say, Status
from tools.services.single import HOST, Program, Single

PROBE_TIMEOUT_S = 2.0


class Redis(Single):
    """See the module."""

    name = "redis"
    usual_port = 6379

    def install(self, say: Say) -> Status:
        if _server() is None:
            debian.install(["redis-server"], say, debian.DO_NOT_START)
        return self.status()

    def prepare(self, port: int, say: Say) -> None:
        lines = [f"bind {HOST}", f"port {port}", f'dir "{self.directory}"', 'save ""', "appendonly no", "daemonize no", "set-proc-title no"]
        (self.directory / "redis.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def program(self, port: int) -> Program:
        server = _server()
        if server is None:
            raise CommandError("needs Debian's package redis-server")
        config = str(self.directory / "redis.conf")
        return Program([server, config], config)

    def answers(self, port: int) -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def version(self) -> str:
        if (server := _server()) is None:
            return ""
        done = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=30, check=False)
        match = re.search(r"v=([\d.]+)", done.stdout)
        return match[1] if match else ""


def _server() -> str | None:
    return shutil.which("redis-server")
