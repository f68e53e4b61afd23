"""`homing node`, `homing directory`, `homing storage`: one process of a cluster, in the foreground, as systemd or `homing up` start it."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Protocol, cast

from router.config import ConfigError
from router.keys import KeyFileError
from tools.errors import MISCONFIGURED, CommandError


class Main(Protocol):
    """What ``node.main``, ``directory.main`` and ``storage.main`` offer."""

    def main(self, config: Path, name: str | None) -> int:
        """Runs until SIGTERM or SIGINT; returns the exit code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration, see config/homing.toml")
    parser.add_argument("--name", default=None, metavar="NAME", help="the process's name, instead of the configuration's (node-1)")


def run(args: argparse.Namespace) -> int:
    module = cast(Main, importlib.import_module(f"{args.command}.main"))
    try:
        return module.main(args.config, args.name)
    except (ConfigError, KeyFileError) as error:
        raise CommandError(str(error), MISCONFIGURED) from error
    except OSError as error:
        raise CommandError(str(error)) from error
