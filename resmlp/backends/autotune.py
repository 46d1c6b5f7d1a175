"""Autotuning: how the images of a batch are distributed over the cores of a CPU.

A whole batch at once fills the caches with the activations between layers; a chunk of a few images stays within them.
When all cores work on one chunk, they wait for each other in every layer; with a stream for each core they do not.
Which schedule is fastest depends on the network, the batch and the machine, so it is measured. Loads no torch.

B images 3 H W -> B K outputs.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple, Protocol

import numpy as np

from resmlp.config.precision import Precision
from resmlp.utils.errors import counted
from resmlp.utils.hardware import cores

Clock = Callable[[], float]
"""seconds from any start"""

CHUNK_SIZES = (1, 4, 8)
TRIALS, TOO_SLOW = 3, 1.2
"""trials of each schedule; the first is not counted, because engines allocate at first use. A schedule that then takes
that many times as long as the fastest is not tried again"""


def usable_cores() -> int:
    """Cores of this process, at most OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(limit)) if limit.isdecimal() and int(limit) else cores()


class Engine(Protocol):
    """A program that runs one network, on arrays B 3 H W -> B K."""

    name: str
    precision: Precision
    cores: int

    def run(self, images: np.ndarray) -> np.ndarray:
        """Run the batch on all cores together."""

    def run_streams(self, chunks: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run each chunk on one core; results have the order of the chunks."""


class Schedule(NamedTuple):
    """How an engine runs a batch."""

    engine: Engine
    chunk_size: int
    streams: bool = False
    """one core for each chunk; else all cores for one chunk after the other"""

    def run(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        if not self.streams and self.chunk_size >= len(images):
            return self.engine.run(images)
        chunks = np.array_split(images, -(-len(images) // self.chunk_size))
        return np.concatenate(
            self.engine.run_streams(chunks) if self.streams else [self.engine.run(chunk) for chunk in chunks]
        )

    def __str__(self) -> str:
        where = counted(self.engine.cores, "stream" if self.streams else "core")
        precision = f" in {self.engine.precision}" * (self.engine.precision != "fp32")
        return f"{self.engine.name}{precision}, {where}, {self.chunk_size} at a time"


def schedules(engine: Engine, batch: int) -> Iterator[Schedule]:
    """Schedules to try for a batch of that many images, the most promising first."""
    sizes = [size for size in CHUNK_SIZES if size < batch]
    if engine.cores > 1:
        share = -(-batch // engine.cores)
        for size in dict.fromkeys([*sizes, share]):
            if size <= share < batch:
                yield Schedule(engine, size, streams=True)
    yield from (Schedule(engine, size) for size in [*sizes, batch])


class Trials:
    """The measured times of the schedules for one batch size."""

    def __init__(self, schedules: Sequence[Schedule]):
        self.seconds: dict[Schedule, list[float]] = {schedule: [] for schedule in schedules}

    @property
    def next(self) -> Schedule | None:
        """A schedule that needs a further trial; None once all are measured."""
        return next((schedule for schedule in self.seconds if self._needs_trial(schedule)), None)

    @property
    def fastest(self) -> Schedule:
        """The fastest measured schedule."""
        return min(self.seconds, key=self._best)

    def _needs_trial(self, schedule: Schedule) -> bool:
        count = len(self.seconds[schedule])
        return count < 2 or (count < TRIALS and self._best(schedule) < TOO_SLOW * self._best(self.fastest))

    def _best(self, schedule: Schedule) -> float:
        return min(self.seconds[schedule][1:], default=inf)


class Autotuned:
    """Engines of one network; for each batch size the fastest engine and schedule are found during use.

    A trial computes a result that is needed anyway, so no batch runs twice. Schedules differ by rounding only.
    """

    def __init__(self, engines: Sequence[Engine], clock: Clock = time.perf_counter):
        self.engines, self.clock = tuple(engines), clock
        self.trials: dict[int, Trials] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """B 3 H W -> B K"""
        batch = len(images)
        if batch not in self.trials:
            self.trials[batch] = Trials([schedule for engine in self.engines for schedule in schedules(engine, batch)])
        trials = self.trials[batch]
        schedule = trials.next
        if schedule is None:
            return trials.fastest.run(images)
        start = self.clock()
        outputs = schedule.run(images)
        trials.seconds[schedule].append(self.clock() - start)
        return outputs

    @property
    def fastest(self) -> Schedule:
        """For the largest batch that was seen, as far as it is measured; before the first batch the first engine's."""
        if not self.trials:
            return next(schedules(self.engines[0], 1))
        return self.trials[max(self.trials)].fastest

    def tune(self, images: np.ndarray) -> Schedule:
        """Measure all schedules for batches of this size now; returns the fastest."""
        self(images)
        while self.trials[len(images)].next is not None:
            self(images)
        return self.trials[len(images)].fastest
