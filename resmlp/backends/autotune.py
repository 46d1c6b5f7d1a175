"""How images are shared out over the cores of a CPU: tried while work is done, and the fastest way is kept.

All images at once fill the caches with what lies between the layers; a few at a time stay within them. One image
after the other on all cores has the cores wait for each other in every layer; a stream of images on each core does
not. Which is faster depends on the network, the batch and the machine. Loads no torch.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple, Protocol

import numpy as np

from resmlp.utils.errors import counted

Clock = Callable[[], float]
"""seconds, counted from anywhere"""

AT_A_TIME = (1, 4, 8)
TRIALS, TOO_SLOW = 3, 1.2
"""of each way, of which the first is not counted, as things are made at first use; one that then takes that many times
as long as the fastest is not tried again"""


def cores() -> int:
    """How many this process may use, and no more than OMP_NUM_THREADS says."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    there = len(affinity(0)) if affinity else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(limit)) if limit.isdecimal() and int(limit) else there


class Engine(Protocol):
    """A network that runs, on arrays B 3 H W -> B K."""

    name: str
    cores: int

    def one(self, images: np.ndarray) -> np.ndarray:
        """All cores work on these together."""

    def many(self, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Each part is worked on by a core of its own; results are in their order."""


class Way(NamedTuple):
    """How an engine does a batch."""

    engine: Engine
    at_a_time: int
    streams: bool = False
    """a core of its own for each part, and not all cores for one after the other"""

    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        if not self.streams and self.at_a_time >= len(images):
            return self.engine.one(images)
        parts = np.array_split(images, -(-len(images) // self.at_a_time))
        return np.concatenate(self.engine.many(parts) if self.streams else [self.engine.one(part) for part in parts])

    def __str__(self) -> str:
        where = counted(self.engine.cores, "stream" if self.streams else "core")
        return f"{self.engine.name}, {where}, {self.at_a_time} at a time"


def ways(engine: Engine, batch: int) -> Iterator[Way]:
    """What is worth trying for so many images; the likeliest first."""
    sizes = [size for size in AT_A_TIME if size < batch]
    if engine.cores > 1:
        share = -(-batch // engine.cores)
        yield from (Way(engine, size, streams=True) for size in dict.fromkeys([*sizes, share]) if size <= share < batch)
    yield from (Way(engine, size) for size in [*sizes, batch])


class Trials:
    """The ways of one batch size, and how long each took."""

    def __init__(self, ways: Sequence[Way]):
        self.seconds: dict[Way, list[float]] = {way: [] for way in ways}

    @property
    def next(self) -> Way | None:
        """One that has not been tried often enough; None after that."""
        return next((way for way in self.seconds if self._wanted(way)), None)

    @property
    def fastest(self) -> Way:
        """Of those that were tried."""
        return min(self.seconds, key=self._best)

    def _wanted(self, way: Way) -> bool:
        count = len(self.seconds[way])
        return count < 2 or (count < TRIALS and self._best(way) < TOO_SLOW * self._best(self.fastest))

    def _best(self, way: Way) -> float:
        return min(self.seconds[way][1:], default=inf)


class Tuned:
    """Engines of one network, that each take turns with a batch until it is known which way is the fastest.

    Nothing is computed twice: what a trial gives is the result. It differs between ways by rounding alone.
    """

    def __init__(self, engines: Sequence[Engine], clock: Clock = time.perf_counter):
        self.engines, self.clock = tuple(engines), clock
        self.trials: dict[int, Trials] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        batch = len(images)
        if batch not in self.trials:
            self.trials[batch] = Trials([way for engine in self.engines for way in ways(engine, batch)])
        trials = self.trials[batch]
        way = trials.next
        if way is None:
            return trials.fastest.run(images)
        start = self.clock()
        found = way.run(images)
        trials.seconds[way].append(self.clock() - start)
        return found

    def settle(self, images: np.ndarray) -> Way:
        """Try all ways for such a batch now, and return the fastest."""
        self(images)
        while self.trials[len(images)].next is not None:
            self(images)
        return self.trials[len(images)].fastest
