"""One history: a seed, and what became of it. A phase in which things go wrong, then all is healed and must come to rest."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

from msgspec import Struct

from tools.simulation.checkers import Checkers, Violation
from tools.simulation.cluster import Cluster
from tools.simulation.nemesis import Nemesis
from tools.simulation.profiles import Profile, named, of_seed
from tools.simulation.tables import large_groups
from tools.simulation.verdict import Verdict, closing_requests
from tools.simulation.workload import Workload
from tools.simulation.world import Spinning, World

REST_S = 40.0
"""How long a healed cluster may take to come to rest: every back-off and time-out of the design, more than once."""
LOOK_S = 0.5
GARBAGE_MAX = 200_000
"""Objects that are made before garbage is looked for."""


class Result(Struct, frozen=True):
    """What a history came to; ``promise`` is empty when all held."""

    seed: int
    profile: str
    promise: str
    text: str
    events: int
    seconds: float
    said: int
    fingerprint: int
    """Of the randomness left at the end: equal for two runs that took the same decisions."""


class History:
    """Everything of one seed."""

    def __init__(self, seed: int, broken: str = "", profile: str = "") -> None:
        self.profile: Profile = named(profile) if profile else of_seed(seed)
        self.world = World(seed)
        random = self.world.random
        self.cluster = Cluster(self.world, self.profile.size(random), broken)
        self.checkers = Checkers(self.cluster, broken, self.profile.planned_only)
        self.nemesis = Nemesis(self.cluster)
        work = self.profile.work(random)
        self.workload = Workload(self.cluster, work)
        self.end = work.end
        self.before_run: Callable[[History], None] = lambda history: None

    def run(self) -> Result:
        """Runs it to its end, or to the first violation."""
        promise = text = ""
        try:
            with large_groups():
                self._run()
        except Violation as violation:
            promise, text = violation.promise, violation.text
        except Spinning as error:
            promise, text = "rest", str(error)
        except Exception as error:
            # Whatever a core raises would have ended its process: it must not happen.
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name}:{where.lineno} {where.name}"
            promise, text = "crash", f"{type(error).__name__}: {error} ({at})"
        world = self.world
        fingerprint = crc32(repr(world.random.getstate()).encode())
        said = len(self.checkers.said)
        return Result(world.seed, self.profile.name, promise, text, world.events, round(world.now, 3), said, fingerprint)

    def _run(self) -> None:
        self.before_run(self)
        self.cluster.start()
        self.workload.plan()
        self.profile.harm(self.nemesis, self.end)
        self.world.run(self.end)
        self.nemesis.heal()
        self._rest(closed=False)
        self._close(1)
        self._rest(closed=True)
        if self.workload.work.blocks:
            self._close(2)  # nobody blocks any more: all of it must be taken
            self._rest(closed=True)
            if refused := next((id_ for (_, id_) in self.checkers.refused if id_.startswith("closing-")), None):
                raise Violation("P8", f"{refused} was refused though nobody blocks")

    def _rest(self, closed: bool) -> None:
        """Waits until all is quiet, then judges."""
        until = self.world.now + REST_S
        while True:
            self.world.run(self.world.now + LOOK_S)
            verdict = Verdict(self.checkers)
            verdict.judge_logs()
            unrest = verdict.unrest(closed)
            if unrest is None:
                return self._judge_made_up()
            if self.world.now > until:
                raise unrest

    def _judge_made_up(self) -> None:
        """P7: whoever makes up ids leaves nothing behind."""
        for conversation in self.workload.made_up:
            if self.cluster.store.merged(("logs", conversation)):
                raise Violation("P7", f"somebody asked for {conversation}, which nobody ever began, and left a row")

    def _close(self, number: int) -> None:
        """Says one last thing everywhere, so that what was stored but said to nobody yet is seen by all."""
        verdict = Verdict(self.checkers)
        for device, frame in closing_requests(verdict, number):
            device.request(frame)


def run(seed: int, broken: str = "", profile: str = "") -> Result:
    """Runs one history: of the given profile, or of the one that the seed picks."""
    often = gc.get_threshold()
    gc.set_threshold(GARBAGE_MAX, 10, 10)  # a history makes much garbage in cycles, which costs less in one go
    try:
        return History(seed, broken, profile).run()
    finally:
        gc.set_threshold(*often)
