"""Where the parts of a cluster on one machine lie: its processes, their ports, and the files under its data directory.

Ports, from the base port P (7400):

    P            HTTP of directory-1          P + 100        mesh of directory-1
    P + k        clients and HTTP of node-k   P + 100 + k    mesh of node-k
    P + 99       HTTP of storage-1            P + 199        mesh of storage-1 (storage-2: P + 98 and P + 198, and so on down)

Files, under the data directory:

    config/NAME.toml   what each process was started with
    keys/curve         CURVE keys of the processes                keys/tokens   keys that sign tokens
    keys/cluster       the cluster's own name                     keys/ops.key  what `homing trace` shows the nodes
    store/             the SQLite files                           demo/         the demo's people and links, if there is one
    logs/NAME.log      what each process logs (see rotation.py)
    run/up.lock        held by the `homing up` that runs here     run/up.json   its processes: pids, URLs
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
NODES_MAX = 98
MESH_OFFSET, STORAGE_OFFSET = 100, 99
PORTS_LAST = MESH_OFFSET + STORAGE_OFFSET
BASE_PORT = 7400


@dataclass(frozen=True)
class Part:
    """One process of the cluster."""

    name: str
    role: str
    """directory, storage or node."""
    http_port: int
    mesh_port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    @property
    def endpoint(self) -> str:
        return f"tcp://{HOST}:{self.mesh_port}"


@dataclass(frozen=True)
class Layout:
    """The parts and files of one cluster.

    Attributes:
        data: the data directory, absolute.
        base_port: the directory's HTTP port; the others follow from it.
        nodes: how many nodes, 1 to 98.
        has_demo: whether the nodes offer the demo.
        workers: how many storage workers; one where they keep their rows in a file.
        cassandra: the addresses of its nodes, where rows are kept there.
        cassandra_port: where these listen.
    """

    data: Path
    base_port: int
    nodes: int
    has_demo: bool = False
    workers: int = 1
    cassandra: tuple[str, ...] = ()
    cassandra_port: int = 0

    def parts(self) -> list[Part]:
        """All processes, in the order in which they are shown."""
        named = [("directory-1", "directory", 0)]
        named += [(f"storage-{k}", "storage", STORAGE_OFFSET + 1 - k) for k in range(1, self.workers + 1)]
        named += [(f"node-{k}", "node", k) for k in range(1, self.nodes + 1)]
        return [Part(name, role, self.base_port + n, self.base_port + MESH_OFFSET + n) for name, role, n in named]

    @property
    def directory(self) -> Part:
        return self.parts()[0]

    @property
    def demo_dir(self) -> Path:
        return self.data / "demo"

    @property
    def config_dir(self) -> Path:
        return self.data / "config"

    @property
    def keys_dir(self) -> Path:
        return self.data / "keys"

    @property
    def logs_dir(self) -> Path:
        return self.data / "logs"

    @property
    def store_dir(self) -> Path:
        return self.data / "store"

    @property
    def run_dir(self) -> Path:
        return self.data / "run"

    def config_file(self, name: str) -> Path:
        return self.config_dir / f"{name}.toml"

    def log_file(self, name: str) -> Path:
        return self.logs_dir / f"{name}.log"

    @property
    def curve_keys_dir(self) -> Path:
        return self.keys_dir / "curve"

    @property
    def token_keys_dir(self) -> Path:
        return self.keys_dir / "tokens"

    @property
    def ops_key_file(self) -> Path:
        return self.keys_dir / "ops.key"

    @property
    def state_file(self) -> Path:
        return self.run_dir / "up.json"

    @classmethod
    def at(cls, data: Path) -> Layout:
        """The files of the cluster in ``data``, for whoever needs only those."""
        return cls(data.resolve(), BASE_PORT, 1)

    def cluster_name(self) -> str:
        """The name of this cluster, which its tokens bear.

        Raises:
            FileNotFoundError: there is no cluster in this directory yet.
        """
        return (self.keys_dir / "cluster").read_text(encoding="ascii").strip()

    def make(self) -> None:
        """Makes the directories, and the cluster's name. Only their owner may look inside: there are keys and messages in them.

        Raises:
            OSError: they cannot be made.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        directories = [self.config_dir, self.keys_dir, self.logs_dir, self.store_dir, self.run_dir]
        for directory in [*directories, self.demo_dir] if self.has_demo else directories:
            directory.mkdir(mode=0o700, exist_ok=True)
        if not self.ops_key_file.exists():
            with open(os.open(self.ops_key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as key:
                key.write(secrets.token_hex(32) + "\n")
        name_file = self.keys_dir / "cluster"
        if not name_file.exists():
            part = name_file.with_suffix(".new")
            part.write_text(f"homing-{secrets.token_hex(8)}\n", encoding="ascii")
            part.replace(name_file)


def default_data() -> Path:
    """The data directory of commands that are not told one: $HOMING_DATA, or ``data`` where one stands."""
    return Path(os.environ.get("HOMING_DATA") or "data")
