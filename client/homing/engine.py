"""Drives one core: the clock, the socket, the store, and the order between them. Knows nothing of what a program does with it.

Laws:
    * Frames are handled, then what came of them is written, then the program is told and acks go out. Nothing is acknowledged or told
      that the store could lose; a slow disk slows the socket down (TCP tells the server), not the event loop.
    * One write at a time. What could not be written stays to be written (and told) with what comes next, so that a disk that was full
      for a while makes no hole; until then the connection is given up.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import aiohttp

from homing import codes
from homing.connection import CannotConnect, Connection, Format
from homing.core import ClientCore
from homing.effects import Close, Connect, Effect, Shown, StateChanged, Transmit
from homing.limits import Limits
from homing.people import People
from homing.protocol import Entry, ServerFrame
from homing.store import Batch, Store, StoreFailed

TOKEN_WAIT_S = 30.0
"""How long `get_token` may take; then it is asked again, after a pause."""
INCOMING_MAX = 512
"""Frames that wait for the store; past it the socket is not read, and TCP tells the server."""

logger = logging.getLogger("homing")
GetToken = Callable[[], Awaitable[str]]


class SignInStopped(Exception):
    """Raised by `get_token`: there will be no token. The client closes; any other exception makes it try again later."""


class Engine:
    """`tell` gets every effect that is a fact, after it is stored."""

    def __init__(
        self,
        urls: Sequence[str],
        get_token: GetToken,
        store: Store,
        session: aiohttp.ClientSession | None,
        format_: Format,
        limits: Limits,
        program: str,
        tell: Callable[[Effect], None],
    ) -> None:
        self._urls = urls
        self._url_number = 0
        self._get_token = get_token
        self._store = store
        self._session = session
        self._owns_session = session is None
        self._format = format_
        self._limits = limits
        self._program = program
        self._tell = tell
        self.core = ClientCore("", "", random.random, None, limits, program)
        self.is_open = False
        self.people = People(limits)
        self._unwritten: list[Entry] = []
        """Entries that were shown by the core and are not in the store yet."""
        self._untold: list[Effect] = []
        """What the program is told once they are."""
        self._writing = asyncio.Lock()
        self._connection: Connection | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._incoming: deque[ServerFrame] = deque()
        self._has_room = asyncio.Event()
        self._arrived = asyncio.Event()
        self._storing = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    # ------------------------------------------------------------ life

    async def open(self, user: str) -> None:
        """Opens the store and makes the core from it.

        Raises:
            StoreFailed: it cannot be opened, or belongs to another user.
        """
        stored = await self._store.open()
        if user and stored.core.user and stored.core.user != user:
            await self._store.close()
            raise StoreFailed("the store belongs to another user")
        self.people.load(stored.people)
        self._unwritten, self._untold = [], []
        watched = self.core.presence.watched
        self.core = ClientCore(
            user, "", random.random, stored.core, self._limits, self._program, track_changes=True, addresses=len(self._urls)
        )
        self.core.watch(watched)
        if self._session is None:
            self._session = aiohttp.ClientSession()
        self.is_open = True
        self._has_room.set()
        self._worker = asyncio.create_task(self._work())

    def connect(self) -> None:
        """Begins to connect, or does not wait any longer; what could not be written before is written first."""
        self.apply(self.core.start(self.now()))
        self.wake()

    async def disconnect(self) -> None:
        """Says good-bye and waits until the socket is closed."""
        self.apply(self.core.close(self.now()))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Ends everything. What is queued stays in the store."""
        self.is_open = False
        await self.disconnect()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self.persist()
        except StoreFailed as error:
            logger.error("the store could not be written at the end, what came last will come again: %s", error)
        await self._store.close()
        if self._owns_session and self._session is not None:
            await self._session.close()
            self._session = None

    def drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    def wake(self) -> None:
        """Has what changed written and what waits sent, soon."""
        self._arrived.set()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # ------------------------------------------------------------ effects

    def apply(self, effects: Sequence[Effect]) -> None:
        """Carries effects out, in order."""
        for effect in effects:
            match effect:
                case Transmit():
                    if self._connection is not None:
                        self._connection.send(effect.frame)
                case Connect():
                    self._attempt = self._spawn(self._connect(effect.url))
                case Close():
                    self._url_number += effect.elsewhere
                    self._drop(effect.code)
                case _:
                    self._tell(effect)
        self._arm()

    def flush(self) -> None:
        """Lets the core say what it has to say; acks wait until all that came before them is stored."""
        if not self._is_writing:
            self._apply_late(self.core.flush(self.now()))

    def flush_soon(self) -> None:
        """The same for what waits for nothing that is being written."""
        if self.is_open:
            self.flush()
            self._arm()

    @property
    def _is_writing(self) -> bool:
        return bool(self._storing or self._unwritten or self._writing.locked())

    def _apply_late(self, effects: Sequence[Effect]) -> None:
        """Effects of time, not of frames: entries are rarely among them (a tail skipped what is too far back), but are stored first too."""
        if any(isinstance(e, Shown) for e in effects):
            self._note(effects)
            self._arrived.set()
        else:
            self.apply(effects)

    def _note(self, effects: Sequence[Effect]) -> None:
        """Effects that wait for the store."""
        self._untold += effects
        self._unwritten += [e.entry for e in effects if isinstance(e, Shown)]

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ------------------------------------------------------------ the connection

    async def _connect(self, url: str | None) -> None:
        """One attempt: token, socket, frames until the end."""
        if url is None:
            url = self._urls[self._url_number % len(self._urls)]
        assert self._session is not None
        try:
            async with asyncio.timeout(TOKEN_WAIT_S):
                token = await self._get_token()
            connection = await Connection.open(self._session, url, self._format)
        except SignInStopped as error:
            return self.apply(self.core.close(self.now(), codes.TOKEN_INVALID.number, str(error) or "no token"))
        except CannotConnect as error:
            self._url_number += 1
            return self.apply(self.core.disconnected(self.now(), codes.CLOSE_TRY_LATER, str(error)))
        except Exception as error:
            logger.warning("no token: %r", error)
            reason = f"no token: {str(error) or type(error).__name__}"
            return self.apply(self.core.disconnected(self.now(), codes.TOKEN_INVALID.number, reason))
        self._connection = connection
        self.apply(self.core.connected(self.now(), token))
        await self._receive(connection)

    async def _receive(self, connection: Connection) -> None:
        while (frame := await connection.receive()) is not None and not connection.closed_by_us:
            self._incoming.append(frame)
            self._arrived.set()
            if len(self._incoming) >= INCOMING_MAX:
                await self._room()
        if connection is self._connection:
            await self._room()  # what came before the end counts
        if connection is self._connection:
            self._connection = None
            self._url_number += 1
            self._spawn(connection.close(codes.CLOSE_NORMAL))
            self.apply(self.core.disconnected(self.now(), connection.close_code, "the connection was closed"))

    async def _room(self) -> None:
        """Waits until all that came is handled."""
        if self._incoming:
            self._has_room.clear()
            self._arrived.set()
        await self._has_room.wait()

    def _drop(self, code: int) -> None:
        """The core gives the socket up: nothing that came from it and was not handled counts any more."""
        connection, self._connection = self._connection, None
        self._incoming.clear()
        self._untold = [e for e in self._untold if not isinstance(e, Transmit | Connect | Close | StateChanged)]
        self._has_room.set()
        if connection is not None:
            self._spawn(connection.close(code))
        elif self._attempt is not None and self._attempt is not asyncio.current_task():
            self._attempt.cancel()

    # ------------------------------------------------------------ the loop: handle, write, tell, acknowledge

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self._handle_incoming()
            except StoreFailed as error:
                logger.error("the store cannot be written: %s", error)
                self._give_up(f"the local store cannot be written: {error}")
            except Exception as error:  # a bug of ours: better a client that says so than one that hears nothing any more
                logger.exception("the client failed")
                self._give_up(f"the client failed: {error!r}")

    def _give_up(self, reason: str) -> None:
        closing = [e for e in self._untold if isinstance(e, Close)]
        self.apply([*closing, *self.core.close(self.now(), codes.UNAVAILABLE.number, reason)])
        self._drop(codes.CLOSE_NORMAL)

    async def _handle_incoming(self) -> None:
        while self._incoming:
            effects = self.core.frame(self._incoming.popleft(), self.now())
            self._note(effects)
            if effects and isinstance(effects[-1], StateChanged):
                break  # the socket may be given up: carry that out before anything else that came from it
        await self.persist()
        told, self._untold = self._untold, []
        self.apply(told)
        self.flush()
        if self._incoming:
            self._arrived.set()
        else:
            self._has_room.set()

    async def persist(self) -> None:
        """Writes all that is not written yet: of the core, entries, names.

        Raises:
            StoreFailed: it stays to be written.
        """
        async with self._writing:
            batch = self._take()
            if batch is None:
                return
            try:
                await self.write(batch)
            except BaseException:  # whoever waited may have been cancelled: then the same rows are written twice
                self._put_back(batch)
                raise

    def _take(self) -> Batch | None:
        changes = self.core.take_changes()
        entries, self._unwritten = self._unwritten, []
        people, forgotten = self.people.take_changes()
        return Batch(changes, entries, people, forgotten) if changes or entries or people or forgotten else None

    def _put_back(self, batch: Batch) -> None:
        if batch.changes is not None:
            self.core.not_written(batch.changes)
        self._unwritten = [*batch.entries, *self._unwritten]
        self.people.restore([*(p.user for p in batch.people), *batch.forgotten])

    async def write(self, batch: Batch) -> None:
        written = self._store.write(batch)
        if written is not None:
            self._storing += 1
            try:
                await written
            finally:
                self._storing -= 1

    # ------------------------------------------------------------ time

    def _arm(self) -> None:
        """Sets the timer to the core's next deadline."""
        deadline = self.core.next_deadline()
        if self._timer is not None:
            if deadline == self._timer_at:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self.is_open:
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._is_writing:
            # What waits goes out when the store is done; a slow disk must not make this spin.
            if self._unwritten and not self._writing.locked():
                self.wake()
            self._timer_at = self.now() + 0.01
            self._timer = asyncio.get_running_loop().call_at(self._timer_at, self._on_timer)
            return
        try:
            self._apply_late(self.core.tick(self.now()))
        except Exception as error:
            logger.exception("the client failed")
            self._give_up(f"the client failed: {error!r}")
