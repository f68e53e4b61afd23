"""The `homing` command: finds the sub-command's module, hands it the arguments, turns what goes wrong into one line and an exit code.

A sub-command is a module with ``add_arguments(parser)`` and ``run(args) -> int``. It is imported only when it is the one asked for, so
that `homing token` does not wait for what `homing up` needs; one whose module is not installed is not offered.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol, cast

from tools.errors import INTERRUPTED, USAGE, CommandError


class Command(NamedTuple):
    name: str
    module: str
    summary: str
    needs: str = ""
    """A module that must be there as well."""


COMMANDS = (
    Command("up", "tools.up", "start a cluster on this machine and keep it running"),
    Command("status", "tools.status", "show nodes, slots, sessions, queues and rates of a running cluster"),
    Command("token", "tools.token", "issue a token with which a person signs in"),
    Command("revoke", "tools.revoke", "let a device of somebody in no more, and end its sessions"),
    Command("keys", "tools.keys", "make, list and rotate the keys of processes and of tokens"),
    Command("demo", "tools.demo", "print a fresh link to the demo: two people side by side in a browser"),
    Command("chat", "tools.chat", "chat from the terminal"),
    Command("replay", "tools.replay.command", "play an exported chat over a running cluster and compare the histories"),
    Command("trace", "tools.trace", "tell one message's story across processes"),
    Command("simulate", "tools.simulate", "run simulated histories of a whole cluster and check the promises"),
    Command("documents", "tools.documents.command", "write the OpenAPI and AsyncAPI documents and their page anew"),
    Command("bench", "tools.bench.command", "measure speed and cost against two floors"),
    Command("store", "tools.store", "make or bring up to date what a storage worker on Cassandra needs"),
    Command("services", "tools.services.command", "start, stop and show Cassandra, PostgreSQL and Redis on this machine"),
    Command("node", "tools.process", "run one connection node", "node.main"),
    Command("directory", "tools.process", "run the directory", "directory.main"),
    Command("storage", "tools.process", "run the storage worker", "storage.main"),
)


class CommandModule(Protocol):
    """What a sub-command's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose usage errors are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def exists(command: Command) -> bool:
    """Whether the command's module is there; imports at most its parent package."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in (command.module, command.needs) if name)
    except ModuleNotFoundError:
        return False


def overview() -> str:
    lines = [f"  {command.name:<10} {command.summary}" for command in COMMANDS if exists(command)]
    return "\n".join(("usage: homing COMMAND [option ...]", "", *lines, "", "homing COMMAND --help explains the options of one."))


def version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return f"homing {installed('homing')}"
    except PackageNotFoundError:
        return "homing (not installed)"


def find(name: str) -> Command | None:
    """The command of that name, if there is one."""
    return next((command for command in COMMANDS if command.name == name and exists(command)), None)


def run_command(command: Command, arguments: Sequence[str]) -> int:
    module = cast(CommandModule, importlib.import_module(command.module))
    parser = OneLineParser(prog=f"homing {command.name}", description=f"{command.summary[0].upper()}{command.summary[1:]}.")
    parser.set_defaults(command=command.name)
    module.add_arguments(parser)
    return module.run(parser.parse_args(arguments))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(overview(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else USAGE
    if arguments[0] == "--version":
        print(version())
        return 0
    command = find(arguments[0])
    if command is None:
        print(f"homing: there is no command {arguments[0]!r} (see homing --help)", file=sys.stderr)
        return USAGE
    try:
        return run_command(command, arguments[1:])
    except CommandError as error:
        print(f"homing {command.name}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
