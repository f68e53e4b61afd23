"""What goes wrong: the single mishaps, and how all is healed. Which of them happen when is for ``profiles.py``.

Each mishap ends by itself after a while; ``heal`` ends all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tools.simulation.cluster import Cluster
from tools.simulation.device import SimDevice
from tools.simulation.member import MeshProcess
from tools.simulation.node import SimNode
from tools.simulation.settings import RESTART_S
from tools.simulation.store import Disk
from tools.simulation.world import Process, Weather


class Nemesis:
    """Does harm to one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.random = cluster.world.random
        self.done: list[tuple[float, str]] = []
        """What was done when, for the story."""
        self._over = False

    def _note(self, text: str) -> None:
        self.done.append((self.world.now, text))

    def at(self, when: float, mishap: Callable[[], None]) -> None:
        """Does something at ``when``, unless all is healed by then."""
        self.world.at(when, lambda: None if self._over else mishap())

    # ------------------------------------------------------------ processes

    def crash(self, process: Process, down_s: float = RESTART_S) -> None:
        """kill -9, and a supervisor that starts it again."""
        if process.up:
            self._note(f"crash {process.name}, back in {down_s:.2f} s")
            process.end()
        self.world.after(down_s, process.start)

    def pause(self, process: Process, for_s: float) -> None:
        """It stands still, and wakes up believing that no time has passed."""
        if process.up and not process.paused:
            self._note(f"pause {process.name} for {for_s:.2f} s")
            process.pause()
            self.world.after(for_s, process.resume)

    def drain(self, node: SimNode, away_s: float) -> None:
        """SIGTERM."""
        if node.up and not node.stopping:
            self._note(f"drain {node.name}, back in {away_s:.2f} s")
            node.restart_s = away_s
            node.drain()

    def join(self, node: SimNode) -> None:
        self._note(f"{node.name} joins")
        node.start()

    def jump(self, process: MeshProcess, by_ms: int) -> None:
        """Its wall clock is set to another time."""
        self._note(f"the wall clock of {process.name} jumps to {by_ms} ms from the true time")
        process.wall_off_ms = by_ms

    # ------------------------------------------------------------ the network between processes

    def cut(self, ways: Sequence[tuple[str, str]], for_s: float, notice: bool = False) -> None:
        """Nothing passes on these ways (from, to). ``notice``: the connections are reset, and the transports say so."""
        self._note(f"cut {', '.join(f'{a} to {b}' for a, b in ways)} for {for_s:.2f} s")
        cuts = self.cluster.network.cuts
        new = [way for way in ways if way not in cuts]
        cuts.update(new)
        if notice:
            for src, dst in new:
                self._hint(src, dst, reached=False)
                self._hint(dst, src, reached=False)

        def mend() -> None:
            for src, dst in new:
                cuts.discard((src, dst))
                if notice:
                    self._hint(src, dst, reached=True)
                    self._hint(dst, src, reached=True)

        self.world.after(for_s, mend)

    def _hint(self, at: str, about: str, reached: bool) -> None:
        process = next((p for p in self.cluster.servers if p.name == at), None)
        if isinstance(process, MeshProcess) and process.up:
            process.take(lambda: process.on_hint(f"tcp://{about}", reached))

    def isolate(
        self, process: Process, others: Sequence[Process], for_s: float, into: bool = True, out: bool = True, notice: bool = False
    ) -> None:
        """Cuts a process off from others, one way or both."""
        ways = [(process.name, other.name) for other in others if out and other is not process]
        ways += [(other.name, process.name) for other in others if into and other is not process]
        self.cut(ways, for_s, notice)

    def weather(self, weather: Weather, for_s: float) -> None:
        """Packets are lost, doubled, late, out of order."""
        self._note(f"weather: {weather} for {for_s:.2f} s")
        self.cluster.network.weather = weather
        self.world.after(for_s, lambda: setattr(self.cluster.network, "weather", Weather()))

    def slow(self, src: Process, dst: Process, by_s: float, for_s: float) -> None:
        """Whatever goes from one to the other takes long: a table that spreads slowly."""
        way = (src.name, dst.name)
        self._note(f"{src.name} to {dst.name} takes {by_s:.2f} s for {for_s:.2f} s")
        self.cluster.network.slow[way] = by_s

        def mend() -> None:
            self.cluster.network.slow.pop(way, None)

        self.world.after(for_s, mend)

    # ------------------------------------------------------------ store and database

    def disk(self, disk: Disk, for_s: float) -> None:
        self._note(f"disk: {disk} for {for_s:.2f} s")
        self.cluster.store.disk = disk
        self.world.after(for_s, lambda: setattr(self.cluster.store, "disk", Disk()))

    def replicas(self, which: Sequence[int], for_s: float) -> None:
        """Replicas do not answer; two at once are an outage of the store."""
        self._note(f"replicas {list(which)} are down for {for_s:.2f} s")
        for replica in which:
            self.cluster.store.replica_down(replica)
            self.world.after(for_s + self.random.random() * 0.2, partial(self.cluster.store.replica_up, replica))

    def database(self, for_s: float, down: bool, slow_s: float = 0.0, lose_answers: float = 0.0) -> None:
        self._note(f"database {'down' if down else f'slow ({slow_s:.2f} s), loses {lose_answers}'} for {for_s:.2f} s")
        database = self.cluster.database
        database.up, database.slow_s, database.lose_answers = not down, slow_s, lose_answers

        def mend() -> None:
            database.up, database.slow_s, database.lose_answers = True, 0.0, 0.0

        self.world.after(for_s, mend)

    # ------------------------------------------------------------ devices

    def unplug(self, device: SimDevice, for_s: float) -> None:
        """Out of reach: a tunnel."""
        self._note(f"{device.name} is out of reach for {for_s:.2f} s")
        device.unplug()
        self.world.after(for_s, device.plug_in)

    def lose_answers(self, device: SimDevice, share: float, for_s: float) -> None:
        """A bad line, for who polls."""
        self._note(f"{share:.0%} of the answers to {device.name} are lost for {for_s:.2f} s")
        device.lose_answers(share)
        self.world.after(for_s, lambda: device.lose_answers(0.0))

    def break_socket(self, device: SimDevice) -> None:
        if device.socket is not None:
            self._note(f"the socket of {device.name} breaks")
            device.socket.break_off()

    def crash_device(self, device: SimDevice, away_s: float, lose_writes: bool) -> None:
        if device.up:
            self._note(f"{device.name} crashes{' and forgets' if lose_writes else ''}, back in {away_s:.2f} s")
            device.crash(lose_writes)
            self.world.after(away_s, device.start)

    def revoke(self, device: SimDevice) -> None:
        """It is lost or stolen, and its user says so."""
        if self.cluster.revocations.can(device):
            self._note(f"{device.name} is revoked")
            self.cluster.revocations.revoke(device)

    # ------------------------------------------------------------ the end

    def heal(self) -> None:
        """All is well from now on."""
        self._over = True
        self._note("all is healed")
        cluster = self.cluster
        cluster.network.cuts.clear()
        cluster.network.slow.clear()
        cluster.network.weather = Weather()
        cluster.store.disk = Disk()
        for replica in range(3):
            cluster.store.replica_up(replica)
        cluster.database.up, cluster.database.slow_s, cluster.database.lose_answers = True, 0.0, 0.0
        for process in cluster.servers:
            if isinstance(process, MeshProcess):
                process.wall_off_ms = 0
            if isinstance(process, SimNode):
                process.restart_s = RESTART_S
            process.resume()
            if not (isinstance(process, SimNode) and process.starts == 0):
                process.start()
        for device in [*cluster.devices, *(revoked.device for revoked in cluster.revocations.by_name.values())]:
            device.plug_in()
            device.lose_answers(0.0)
            device.resume()
            device.start()
