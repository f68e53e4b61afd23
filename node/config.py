"""The configuration sections that belong to a node: ``[node]`` and what it hands to its edge and actors."""

from __future__ import annotations

from msgspec import Struct, field

from directory.config import DirectoryConfig
from node.accounts.config import AccountsConfig
from node.core.limits import CoreLimits
from node.demo.config import DemoConfig
from node.edge.issuers import TokensConfig
from node.edge.limits import RateLimits
from node.edge.websocket import EdgeLimits
from node.poll_limits import PollLimits
from node.rest.limiters import LimiterConfig
from router.config import MeshConfig
from router.process import ProcessConfig
from storage.config import ClientConfig


class NodeConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[node]``."""

    heartbeat_s: float = 10.0
    """How often a client pings: a pong renews its cursor, so this is also how much a device asks for again after a crash."""
    heartbeat_jitter: float = 0.2
    """Share of ``heartbeat_s`` by which each session's interval is spread, so that clients do not ping in step."""
    hello_timeout_s: float = 5.0
    """From the handshake to a hello with a good token; without one the socket is closed."""
    bad_frames_max: int = 20
    """Frames that cannot be read before the connection is closed: a client that far off will not recover."""
    reconnect_spread_s: float = 2.0
    """A node that stops asks its clients to come back within this time, each at a moment of its own."""
    stop_s: float = 8.0
    """How long a node that was told to stop may take in all."""
    limits: CoreLimits = field(default_factory=CoreLimits)

    def problems(self, path: str = "node") -> list[str]:
        rules = (
            (self.heartbeat_s > 0, "heartbeat_s must be more than 0"),
            (0 <= self.heartbeat_jitter < 1, "heartbeat_jitter must be from 0 to 1"),
            (self.hello_timeout_s > 0, "hello_timeout_s must be more than 0"),
            (self.stop_s > self.limits.drain_s, f"stop_s must be more than {path}.limits.drain_s"),
            (
                self.limits.index_slack_ms > self.limits.index_law_ms + self.limits.deliver_age_ms_max,
                f"limits.index_slack_ms must be more than {path}.limits.index_law_ms + {path}.limits.deliver_age_ms_max",
            ),
        )
        return [f"{path}.{text}" for holds, text in rules if not holds]


class Settings(Struct, frozen=True):
    """The sections of the configuration that a node reads."""

    process: ProcessConfig
    mesh: MeshConfig
    directory: DirectoryConfig
    storage_client: ClientConfig
    edge: EdgeLimits
    rates: RateLimits
    tokens: TokensConfig
    accounts: AccountsConfig
    limiters: LimiterConfig
    polls: PollLimits
    demo: DemoConfig
    node: NodeConfig
