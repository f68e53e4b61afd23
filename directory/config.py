"""The configuration section ``[directory]``: how the directory and its clients measure leases, move slots and keep their row.

Every process of a cluster reads the same section, for both sides of a lease must agree on its length.
"""

from __future__ import annotations

from msgspec import Struct, field


class DirectoryConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds of the monotonic clock. ``problems`` says which relations do not hold."""

    lease_s: float = 2.0
    """Silence after which a process is taken out of the cluster, and after which it must say nothing more. Short, for users of a dead node
    wait for it; long enough for a garbage collection, a slow disk or a busy machine."""
    renew_s: float = 0.4
    """Interval of renewals: five in a lease, so that four may be lost or late."""
    cell_look_s: float = 1.0
    """How often a process looks at the cell row instead while no directory answers: twice a lease, and cheap for the store."""
    directories: list[str] = field(default_factory=lambda: ["directory-1=tcp://127.0.0.1:7500"])
    """``name=endpoint`` of the one to three directories. Everybody connects to all of them."""
    database: str = "sqlite:///directory.db"
    """SQLAlchemy URL of the relational database that holds the row."""
    database_timeout_s: float = 5.0
    """How long a statement may wait for the database before it counts as failed."""
    leader_lease_s: float = 3.0
    """With several replicas: how long the row may go unbeaten before another replica takes over, and after which a leader that could
    not beat it answers no renewals. Longer than a lease, for a take-over changes nothing for those whose nodes are well."""
    beat_s: float = 10.0
    """How often the leader writes cluster time to the row when nothing else writes it. At most 30: what a restart may lose of it."""
    expected_nodes: int = 0
    """How many nodes the first table of a new cluster waits for; 0: as many as come within ``settle_s``."""
    settle_s: float = 3.0
    """How long it waits for them: the start of a few processes on a busy machine."""
    move_slots_max: int = 256
    """Slots in one batch of a planned move: some 1.6 percent of the key space stand still together, for some tens of milliseconds."""
    move_s: float = 10.0
    """Time for a node to bring a batch to rest. Then it is taken back, so that nobody waits for long."""
    move_retry_s: float = 5.0
    """Pause before a node whose batch was taken back is asked again."""
    move_pause_s: float = 0.05
    """Pause between two batches of one node: its other users get a turn."""
    moves_in_flight_max: int = 4
    """Batches in flight in the whole cluster, at most one per node."""
    retry_s: float = 0.5
    """Pause before the database or the store is tried again after an error."""
    forget_s: float = 10.0
    """How long a link to a process that was taken out stays open, so that it can hear why."""
    members_max: int = 1_000
    """Live processes in a cluster. The mesh is full: beyond this it costs more than it carries."""

    def endpoints(self) -> dict[str, str]:
        """Name → mesh endpoint of the directories."""
        return {name: endpoint for name, _, endpoint in (text.partition("=") for text in self.directories)}

    @property
    def replicas(self) -> int:
        """How many directories share the row. A single one leads at once; several wait for the leader's lease."""
        return len(self.directories)

    def problems(self, path: str = "directory") -> list[str]:
        """Relations that do not hold, as sentences that name the keys."""
        rules = (
            (self.renew_s > 0, "renew_s must be positive"),
            (self.lease_s >= 3 * self.renew_s, f"lease_s must be at least 3 x {path}.renew_s"),
            (0 < self.cell_look_s <= self.lease_s / 2, f"cell_look_s must be at most half of {path}.lease_s"),
            (1 <= self.replicas <= 3, "directories must be 1 to 3"),
            (self.leader_lease_s >= self.lease_s, f"leader_lease_s must be at least {path}.lease_s"),
            (0 < self.beat_s <= 30, "beat_s must be at most 30"),
            (self.expected_nodes >= 0, "expected_nodes must not be negative"),
            (self.settle_s >= 0, "settle_s must not be negative"),
            (8 <= self.move_slots_max <= 1024, "move_slots_max must be 8 to 1024"),
            (self.move_s > 0, "move_s must be positive"),
            (self.move_retry_s > 0, "move_retry_s must be positive"),
            (self.move_pause_s >= 0, "move_pause_s must not be negative"),
            (self.moves_in_flight_max >= 1, "moves_in_flight_max must be at least 1"),
            (self.retry_s > 0, "retry_s must be positive"),
            (self.forget_s >= 0, "forget_s must not be negative"),
            (1 <= self.members_max <= 10_000, "members_max must be 1 to 10000"),
            (all(name and endpoint for name, endpoint in self.endpoints().items()), "directories must be of the form name=endpoint"),
            (self.database_timeout_s > 0, "database_timeout_s must be positive"),
        )
        return [f"{path}.{text}" for holds, text in rules if not holds]
