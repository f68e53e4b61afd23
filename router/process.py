"""The configuration section ``[process]``: who this process is and where it listens; the same in every kind of process."""

from __future__ import annotations

import base64
import secrets

from msgspec import Struct

from router.events import Peer
from router.packets import is_address


class ProcessConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process of a cluster."""

    name: str
    """Unique in the cluster: its CURVE key and its place in the table go by it."""
    endpoint: str
    """Where its ROUTER listens and others reach it, ``tcp://ADDRESS:PORT``; no name: looking it up would hold up all traffic."""
    http_port: int
    """For nodes: clients' WebSockets and HTTP; for the others their HTTP; 0 takes a free one."""
    http_host: str = "127.0.0.1"
    """Address of the HTTP port; only this machine unless told otherwise."""
    public_url: str = ""
    """For nodes: where clients reach them, ``ws://host:port``; made of host and port if not given."""
    cluster: str = "homing"
    """The cluster's own name, which its tokens bear."""
    keys_dir: str = "data/keys/curve"
    """CURVE keys and the allow list."""
    tokens_dir: str = "data/keys/tokens"
    """Keys that verify tokens."""
    ops_key_file: str = ""
    """For nodes: a file with the key that `homing trace` and `homing revoke` show; without it nobody can look at single messages."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def problems(self, path: str = "process") -> list[str]:
        rules = (
            (bool(self.name), "name must not be empty"),
            (is_address(self.endpoint), "endpoint must be tcp:// with a numeric address and a port: others take no names"),
            (0 <= self.http_port <= 65_535, "http_port must be 0 to 65535"),
        )
        return [f"{path}.{text}" for holds, text in rules if not holds]

    def new_incarnation(self) -> Peer:
        """This start of the process: its name with 40 random bits."""
        random = base64.b32encode(secrets.token_bytes(5)).decode().lower()
        return Peer(self.name, f"{self.name}:{random}", self.endpoint)
