"""The event loop's end of the mesh: bytes from the transport into ``Mesh.receive``, its events to the owner, its packets to the transport.

Owns the timers. Knows nothing of frames. Law: a packet is written only after the owner has handled every frame that was read before,
for the acknowledgement in it says so. An exception of the owner's handler is our bug: the pump stops at once, acknowledges nothing more
and hands the exception to whoever awaits ``failed``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from router.events import Event
from router.mesh import Mesh
from router.transport import Transport

Handle = Callable[[list[Event], float], None]
Tick = Callable[[float], float | None]


class Pump:
    """Runs one mesh over one transport.

    Args:
        mesh: the core; its ``me.endpoint`` is where ``transport`` listens.
        transport: not started yet; the pump starts and stops it.
        handle: gets the events and their time, and handles all of them before it returns.
        pace_s: the least time between two turns of the loop, see ``_pace``; 0: none.
        tick: the owner's timer, called before each write and when the time that it returned has come; returns when to call it next.
    """

    def __init__(self, mesh: Mesh, transport: Transport, handle: Handle, tick: Tick | None = None, pace_s: float = 0.0) -> None:
        self.mesh = mesh
        self.transport = transport
        self._handle = handle
        self._tick = tick
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pace_s = pace_s
        self._turned_at = 0.0
        self._failed: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Begins to read and write. The loop's ``time()`` is the mesh's clock."""
        self._loop = asyncio.get_running_loop()
        self._failed = self._loop.create_future()
        await self.transport.start(self._on_packet, self._on_hint, self.mesh.name_at)
        self.flush()

    async def stop(self) -> None:
        """Stops reading and writing; frames that are not acknowledged are lost with the process."""
        self._halt()
        await self.transport.stop()

    async def failed(self) -> None:
        """Waits until a handler has raised, and raises that; a process awaits it beside its other work and ends with it."""
        assert self._failed is not None, "not started"
        await asyncio.shield(self._failed)

    def flush(self) -> None:
        """Writes what is due, in this turn of the event loop and once for all who ask. Cheap."""
        if self._scheduled is None and self._loop is not None:
            self._scheduled = self._loop.call_soon(self._flush)

    def _on_packet(self, packet: bytes, sender: str) -> None:
        if self._loop is None:
            return
        now = self._loop.time()
        events = self.mesh.receive(packet, sender, now)
        if events:
            self._dispatch(events, now)
        self.flush()

    def _on_hint(self, endpoint: str, reached: bool) -> None:
        if self._loop is None:
            return
        now = self._loop.time()
        if reached:
            self.mesh.connected(endpoint, now)
        else:
            self._dispatch(self.mesh.disconnected(endpoint, now), now)
        self.flush()

    def _dispatch(self, events: list[Event], now: float) -> None:
        try:
            self._handle(events, now)
        except Exception as error:
            self._fail(error)

    def _flush(self, not_before: float = 0.0) -> None:
        self._scheduled = None
        if self._loop is None:
            return
        now = max(self._loop.time(), not_before)
        tick_at: float | None = None
        if self._tick is not None:
            try:
                tick_at = self._tick(now)
            except Exception as error:
                self._fail(error)
                return
        send = self.transport.send
        for endpoint, packet in self.mesh.poll(now):
            send(endpoint, packet)
        if self._pace_s:
            self._pace()
        due = self.mesh.next_deadline()
        self._arm(min((at for at in (due, tick_at) if at is not None), default=None))

    def _pace(self) -> None:
        """Lets what comes within ``pace_s`` be handled in one turn of the loop: the whole process rests for that moment, on purpose. A turn
        costs the same for one frame as for ten, and at some thousand frames a second most turns would have one (as network cards
        moderate their interrupts). Turns that are further apart than the pace do not wait, and a saturated loop never does."""
        now = time.monotonic()
        wait_s = self._turned_at + self._pace_s - now
        if wait_s > 0:
            time.sleep(wait_s)
            now += wait_s
        self._turned_at = now

    def _arm(self, at: float | None) -> None:
        """One timer; one that is earlier than needed is left alone, for it only looks."""
        assert self._loop is not None
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        """Takes its time for come even when it fires a moment early, as uvloop's do (its clock counts milliseconds). Armed again for the
        rest it would fire at once, again and again until the clock moves on (measured: 0.5 ms of CPU for each acknowledgement)."""
        self._timer = None
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._flush(self._timer_at)

    def _fail(self, error: Exception) -> None:
        self._halt()
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _halt(self) -> None:
        self._loop = None
        for handle in (self._scheduled, self._timer):
            if handle is not None:
                handle.cancel()
        self._scheduled = self._timer = None
