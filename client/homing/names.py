"""Asks homes what people are called, in the background, as `homing.people` says when. Knows the engine, nothing of who shows names."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable

from homing.effects import Named
from homing.engine import Engine
from homing.outbox import OutboxFull
from homing.protocol import FetchPerson, Person


class Names:
    """`tell` gets a `Named` for each name that is new."""

    def __init__(self, engine: Engine, tell: Callable[[Named], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._came: asyncio.Future[None] | None = None

    def want(self, user: str) -> bool:
        """Asks for a name if that is due; whether it does."""
        engine = self._engine
        if not engine.is_open or not engine.people.is_due(user, _now_ms()):
            return False
        question = FetchPerson(id=uuid.uuid4().hex, user=user)
        try:
            engine.core.ask(question, engine.now())
        except OutboxFull:
            return False  # the next time somebody looks
        engine.people.ask(question.id, user)
        engine.wake()
        return True

    async def learn(self, users: Iterable[str], wait_s: float) -> bool:
        """Waits for the names of all, as far as their homes know them. False: it took too long, or the client was closed."""
        wanted = list(users)
        try:
            async with asyncio.timeout(wait_s):
                while wanted := [user for user in wanted if self.want(user) or self._engine.people.is_asked(user)]:
                    if not self._engine.is_open:
                        return False
                    if self._came is None:
                        self._came = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._came)
        except TimeoutError:
            return False
        return True

    def answered(self, id_: str, person: Person | None) -> bool:
        """A question was answered, or refused (None); False: it was not for a name."""
        user = self._engine.people.end(id_)
        if user is None:
            return False
        self.told(user, person.name if person is not None else "")
        self.wake()
        return True

    def told(self, user: str, name: str) -> None:
        """The cluster calls somebody so."""
        if self._engine.people.tell(user, name, _now_ms()):
            self._tell(Named(user, self._engine.people.name(user)))
        self._engine.wake()

    def spoke(self, user: str) -> None:
        """Somebody said something."""
        self._engine.people.spoke(user, _now_ms())

    def wake(self) -> None:
        """Whoever waits looks again."""
        came, self._came = self._came, None
        if came is not None and not came.done():
            came.set_result(None)


def _now_ms() -> int:
    return int(time.time() * 1000)
