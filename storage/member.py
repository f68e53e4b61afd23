"""How a storage worker belongs to the cluster: the directory's client on the worker's mesh. Without I/O.

Owns what the worker does with the table: links to its members. It must not know rows or stores. It is the one module of this package that
speaks to the directory (whose own client of storage lies in ``storage/client.py``).

Laws:
    * An incarnation that was taken out never comes back: ``expelled`` says so, and the process starts anew as another one.
    * A worker that no directory answers goes on: it judges nobody, itself included; the cell row does.
    * A link is closed when the table says that its incarnation is gone, not because it is not there yet.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from directory.client import ClientEvent, DirectoryClient, Lost, TableChanged, ToDirectory
from directory.config import DirectoryConfig
from directory.frames import Expelled, MoveOff, Publish, Release, Renewed
from directory.table import Delta, Member, Table
from router.events import Event, FrameIn, PeerDown, PeerUp, TableIn, TableWanted
from router.mesh import Mesh

__all__ = ["DirectoryConfig", "Membership"]

FromDirectory: TypeAlias = Renewed | Publish | Expelled | Release | MoveOff


class Membership:
    """One incarnation's place in the cluster.

    Args:
        mesh: the links of this process.
        config: where the directories are, and the times of a lease.
        now: the monotonic clock.
    """

    def __init__(self, mesh: Mesh, config: DirectoryConfig, now: float) -> None:
        me = mesh.me
        self.client = DirectoryClient(Member(me.incarnation, me.name, "storage", me.endpoint), config, 0, now)
        self.expelled = ""
        """Why this incarnation is out of the cluster for good; empty while it is not."""
        self.bad_frames = 0
        self._mesh = mesh
        self._endpoints = config.endpoints()
        self._renew_s = config.renew_s
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(FromDirectory).decode
        self._decode_delta = msgspec.msgpack.Decoder(Delta).decode

    @property
    def joined(self) -> bool:
        """Whether this incarnation is in the table."""
        return self.client.joined and not self.expelled

    @property
    def table(self) -> Table:
        return self.client.table

    def is_directory(self, incarnation: str) -> bool:
        """Whether it is one of the configured directories, by the name that its key vouches for."""
        return incarnation.rpartition(":")[0] in self._endpoints

    def start(self, now: float) -> None:
        for name, endpoint in self._endpoints.items():
            self._mesh.connect(name, endpoint, now)

    def on_event(self, event: Event, now: float) -> list[Event]:
        """Takes a mesh event that is not about rows; returns the events that a newer table released."""
        try:
            match event:
                case FrameIn(incarnation, frame):
                    return self._carry_out(self.client.on_frame(incarnation, self._decode(frame), now), now)
                case TableIn(_, delta):
                    return self._carry_out(self.client.on_delta(self._decode_delta(delta)), now)
                case TableWanted(incarnation, base):
                    self._mesh.send_table(incarnation, self._encode(self.table.delta(base)), now)
                case PeerUp(peer):
                    self.client.on_peer_up(peer.name, peer.incarnation, now)
                case PeerDown(incarnation, _):
                    self.client.on_peer_down(incarnation)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.bad_frames += 1  # a frame that is not ours to understand, or a table that does not fit; the mesh asks for another
        return []

    def tick(self, now: float, storage_ok: bool) -> float | None:
        """Renews when it is time; returns when to call again."""
        self.client.set_health(storage_ok, True, 0, now)
        self._send(self.client.tick(now), now)
        if self.expelled:
            return None
        # Not the client's own deadline: that has the end of the lease in it, which a worker does not judge.
        return now + min(self._renew_s / 4, 0.1)

    def leave(self, now: float) -> None:
        """Says good-bye."""
        self._send(self.client.good_bye(), now)

    def _send(self, frames: list[ToDirectory], now: float) -> None:
        for directory, frame in frames:
            self._mesh.send(directory, self._encode(frame), now)

    def _carry_out(self, events: list[ClientEvent], now: float) -> list[Event]:
        released: list[Event] = []
        for event in events:
            match event:
                case TableChanged(old, new):
                    released += self._follow(old, new, now)
                case Lost(reason):
                    self.expelled = reason
        return released

    def _follow(self, old: Table, new: Table, now: float) -> list[Event]:
        events: list[Event] = []
        for member in old.members:
            if member.incarnation not in new.by_incarnation and member.name not in self._endpoints:
                events += self._mesh.close(member.incarnation, f"gone at epoch {new.epoch}", now)
        for member in new.members:
            if member.incarnation != self._mesh.me.incarnation and member.name not in self._endpoints:
                self._mesh.connect(member.name, member.endpoint, now, member.incarnation)
        return events + self._mesh.set_epoch(new.epoch, now)
