"""Devices that are revoked while a history runs: who asks for it, how the device goes on trying, and what must hold (P8).

Once a revoked device is told nothing of what others do, it is not one of the cluster's devices any more: nobody writes on it, and what
must reach every device need not reach it. Its user has another.

Law: after the answer "done" a session of the device gets nothing but errors, or it is over, within the time that P2 gives to a session
that cannot be known to be complete. Time in which its edge stands still or the device is out of reach does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homing import codes
from homing import protocol as p
from msgspec import Struct

if TYPE_CHECKING:
    from tools.simulation.checkers import Checkers
    from tools.simulation.cluster import Cluster
    from tools.simulation.device import SimDevice

ASK_S = 3.0
"""Who asks for a revocation asks again after this, through any node: the one that was asked may be gone."""
TRY_S = 0.7
"""How often a revoked device that has given up is switched off and on again."""


class Revoked(Struct):
    device: SimDevice
    done_at: float | None = None


class Revocations:
    """All of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.by_name: dict[str, Revoked] = {}

    def can(self, device: SimDevice) -> bool:
        """Whether its user has another one."""
        others = [d for d in self.cluster.devices if d.user == device.user and d is not device]
        return device in self.cluster.devices and bool(others)

    def revoke(self, device: SimDevice) -> None:
        self.cluster.devices.remove(device)
        revoked = self.by_name[device.name] = Revoked(device)
        self._ask(revoked)
        self._try(revoked)

    def _ask(self, revoked: Revoked) -> None:
        if revoked.done_at is not None:
            return
        up = [node for node in self.cluster.nodes if node.up and not node.paused]
        if up:
            self.world.random.choice(up).revoke(revoked.device.user, revoked.device.name, lambda code: self._on_answer(revoked, code))
        self.world.after(ASK_S, lambda: self._ask(revoked))

    def _on_answer(self, revoked: Revoked, code: codes.Code | None) -> None:
        if code is None and revoked.done_at is None:
            revoked.done_at = self.world.now

    def _try(self, revoked: Revoked) -> None:
        """A session that goes on is left alone: it must not."""
        device = revoked.device
        if not device.up or device.core.session.state == "closed":
            device.end()
            device.start()
        self.world.after(TRY_S, lambda: self._try(revoked))

    # ------------------------------------------------------------ what must hold

    def judge(self, checkers: Checkers, device: SimDevice, frame: p.ServerFrame) -> str:
        """What is wrong with telling ``frame`` to the device now; empty: nothing."""
        revoked = self.by_name.get(device.name)
        if revoked is None or revoked.done_at is None or device.socket is None or isinstance(frame, p.Error | p.Reconnect):
            return ""
        since = max(revoked.done_at, checkers.undisturbed_since(device, device.socket))
        if self.world.now <= since + checkers.bound_s():
            return ""
        return f"{device.name} was revoked by {revoked.done_at:.3f}, and is told {type(frame).__name__} at {self.world.now:.3f}"

    def unrest(self) -> str:
        """What is not as it must be in the end."""
        for name, revoked in self.by_name.items():
            if revoked.done_at is None:
                return f"nobody says that {name} is revoked"
            for node in self.cluster.nodes:
                if node.up and any(s.attached and s.who.device == name for s in node.core.edge.sessions.values()):
                    return f"{name} is revoked and has a session at {node.name}"
        return ""
