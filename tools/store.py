"""`homing store migrate`: makes what a storage worker on Cassandra needs: the keyspace, and its tables in this release's version.

Run it once before the first worker and once before the first worker of a new release, from one place. It can be run again at any time.
SQLite files need no such thing: their worker brings them up by itself.

Exit codes: 0 the tables are there; 1 they are a newer release's; 7 the servers do not answer; 78 the configuration is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from router import life
from router.config import ConfigError
from storage.config import StorageConfig
from storage.engines import NEEDS_DRIVER
from storage.main import Settings
from tools.errors import MISCONFIGURED, UNREACHABLE, CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["migrate"])
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the configuration of a storage worker")


def run(args: argparse.Namespace) -> int:
    config = settings(args.config)
    if config.engine != "cassandra":
        print(f"storage.engine is {config.engine}: its worker brings the file up by itself, there is nothing to do")
        return 0
    try:
        from storage.cassandra.checks import StoreRefused, migrate
        from storage.cassandra.connection import Connection, StoreUnreachable
    except ModuleNotFoundError as error:
        raise CommandError(NEEDS_DRIVER) from error
    try:
        connection = Connection(config.cassandra)
        try:
            migrate(connection, print)
        finally:
            connection.close()
    except StoreUnreachable as error:
        raise CommandError(str(error), UNREACHABLE) from error
    except StoreRefused as error:
        raise CommandError(str(error)) from error
    return 0


def settings(path: Path) -> StorageConfig:
    """The section ``storage`` of a worker's configuration."""
    try:
        return life.read_settings(Settings, path, None).storage
    except ConfigError as error:
        raise CommandError(str(error), MISCONFIGURED) from error
