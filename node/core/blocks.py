"""How often somebody may block and unblock the other in a direct conversation: each time is an entry that reaches the other's devices,
whom he may be barred from writing to.

Law: a bucket for each of the two, in memory: a new home begins with full ones.
"""

from __future__ import annotations

from node.core.limits import CoreLimits


class BlockPace:
    """Of one conversation."""

    __slots__ = ("_limits", "_spent")

    def __init__(self, limits: CoreLimits) -> None:
        self._limits = limits
        self._spent: dict[str, tuple[float, float]] = {}
        """User → changes that count, and as of when (monotonic seconds)."""

    def take(self, user: str, now: float) -> int:
        """0: he may; otherwise the milliseconds after which he may, and nothing was taken."""
        limits = self._limits
        spent, at = self._spent.get(user, (0.0, now))
        spent = max(0.0, spent - (now - at) / limits.block_change_s)
        if spent > limits.block_changes_burst - 1:
            return int((spent - limits.block_changes_burst + 1) * limits.block_change_s * 1_000) + 1
        self._spent[user] = spent + 1, now
        return 0
