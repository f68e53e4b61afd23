"""A device that is killed again and again, in a process of its own, and comes back on what its store holds.

Owns the process; what it prints becomes part of the crowd's record. A line that the kill cut off did not happen.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from homing import ids
from homing.protocol import Entry
from homing.sqlite import SqliteStore

from tests.survival.lonely import Line, Plan
from tests.survival.people import Crowd
from tests.survival.records import Said

DEVICE = "lonely"
END_WITHIN_S = 30.0
MEAN_S = 0.03


class Lives:
    """One such device of ``person``, who talks to ``places`` (users, groups)."""

    def __init__(self, crowd: Crowd, person: str, places: list[str]) -> None:
        self.crowd, self.person, self.places = crowd, person, places
        self.user = ids.user_id(person)
        self.store = crowd.folder / f"{person}-{DEVICE}.db"
        self.lives = 0
        self.shown: dict[str, list[Entry]] = {}
        """What it showed, over all lives."""
        self.unsure: dict[str, Said] = {}
        """What it said without living long enough to tell that it is safe."""
        self.said: dict[str, Said] = {}

    async def live(self, kill_after_s: float | None) -> None:
        """One life, until it is killed; None: until all is answered."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.survival.lonely", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
        )
        assert process.stdin is not None and process.stdout is not None
        urls = self.crowd.rng.sample(self.crowd.urls, len(self.crowd.urls))
        token = await self.crowd.token(self.person, DEVICE)()
        plan = Plan(urls, token, self.person, str(self.store), self.places, self.lives, MEAN_S)
        self.lives += 1
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        reading = asyncio.create_task(self._read(process.stdout))
        try:
            if kill_after_s is not None:
                while not self._talks():
                    await asyncio.sleep(0.01)
                await asyncio.sleep(kill_after_s)
                process.kill()
            else:
                process.stdin.write(b"\n")
            async with asyncio.timeout(END_WITHIN_S):
                await reading
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert kill_after_s is not None or code == 0, f"the device ended with {code}"

    def _talks(self) -> bool:
        return any(id_.partition("#")[2].startswith(f"{self.lives - 1}.") for id_ in (*self.said, *self.unsure))

    async def _read(self, out: asyncio.StreamReader) -> None:
        decode = msgspec.json.Decoder(Line).decode
        while (text := await out.readline()).endswith(b"\n"):
            self._on_line(decode(text))

    def _on_line(self, line: Line) -> None:
        match line.what, line.entry:
            case "saying", _:
                conversation = ids.direct_id(self.user, line.to) if ids.kind_of(line.to) == ids.USER else line.to
                self.unsure[line.id] = Said(line.id, conversation, self.user, f"{self.person}/{DEVICE}", line.body, self.crowd.now())
            case "safe", _:
                self.said[line.id] = self.unsure.pop(line.id)
                self.crowd.said.append(self.said[line.id])
            case "stored", Entry() as entry:
                said = self.said.get(line.id) or self.unsure[line.id]
                said.entry, said.stored_at = entry, self.crowd.now()
            case "shown", Entry() as entry:
                self.shown.setdefault(entry.conversation, []).append(entry)

    async def kept(self) -> dict[str, list[Entry]]:
        """What lies in its store, per conversation, as far back as it goes without a break."""
        store = SqliteStore(self.store)
        core = (await store.open()).core
        found = {state.id: (await store.entries(state.id, state.contig + 1, 1_000_000))[::-1] for state in core.conversations}
        await store.close()
        return found
