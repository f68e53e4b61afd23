"""Debian packages that a service needs: installed where that may be done, else the one command that does it is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from tools.errors import CommandError

INSTALL_TIMEOUT_S = 600.0
DO_NOT_START = {"RUNLEVEL": "1"}
"""Keeps a package's script from starting a server of its own (where no systemd runs): invoke-rc.d starts none in this run level."""


def become_root() -> list[str] | None:
    """What to put before a command so that it runs as root without a password; None: there is no way."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def install(packages: list[str], say: Callable[[str], None], environment: dict[str, str] | None = None) -> None:
    """Installs what is missing.

    Args:
        environment: variables for the packages' own scripts.

    Raises:
        CommandError: they cannot be installed; says how somebody who may would do it.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise CommandError(f"needs what Debian calls {names}, and this machine has no apt-get to install it with")
    root = become_root()
    if root is None:
        raise CommandError(f"needs Debian packages: sudo apt-get update && sudo apt-get install --yes --no-install-recommends {names}")
    say(f"installing the Debian packages {names} …")
    variables = [f"{name}={value}" for name, value in {"DEBIAN_FRONTEND": "noninteractive", **(environment or {})}.items()]
    command = [*root, "env", *variables, "apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if _run(command).returncode == 0:
        return
    updated = _run([*root, "env", *variables, "apt-get", "update"])
    done = _run(command) if updated.returncode == 0 else updated
    if done.returncode != 0:
        raise CommandError(f"apt-get could not install {names}: {_last_line(done.stdout)}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"apt-get did not end within {INSTALL_TIMEOUT_S:g} s") from error


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
