"""Throughput of several works in shared rounds: each has a turn in every round, so a slow moment affects all alike.

The clock is an argument, so tests can replace it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import NamedTuple

ROUNDS, FEWEST = 10, 3
WARM_UP = 0.1  # share of the measuring time of a work

Clock = Callable[[], float]
"""seconds since any fixed moment, once all pending work is done"""
Meter = Callable[[], float]
"""joules since any fixed moment"""


class Work(NamedTuple):
    """A timed call: `run` processes `amount` units, such as images."""

    run: Callable[[], object]
    amount: float


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    """first quartile"""
    high: float
    """third quartile"""


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles of at least two numbers, by linear interpolation."""
    low, median, high = quantiles(numbers, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass
class Measured:
    """The measurements of a work, one number for each round."""

    rates: list[float]
    """amount per second"""
    joules: list[float]
    """energy for one unit of the amount; empty without a meter"""

    @property
    def rate(self) -> Spread:
        """Amount per second."""
        return spread(self.rates)


def measure(
    works: Sequence[Work],
    seconds: float,
    clock: Clock,
    meter: Meter | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Measured]:
    """Time each of `works` for about `seconds`, in up to 10 rounds with one turn for each work; at least 3 rounds.

    The first calls of a work, which may compile, are its warm-up and do not count. A turn has as many calls as fit into
    its share of `seconds`, at least one, after one uncounted call that refills the caches. `progress` is called with a
    line of text before each step.
    """
    calls, costs = [], []
    for number, work in enumerate(works, start=1):
        progress(f"warming up, {number} of {len(works)}")
        each = _warm_up(work, seconds * WARM_UP, clock)
        calls.append(max(1, round(seconds / ROUNDS / each)))
        costs.append(calls[-1] * each)
    rounds = max(FEWEST, min(ROUNDS, round(seconds * len(works) / sum(costs))))
    measured = [Measured([], []) for _ in works]
    for number in range(1, rounds + 1):
        progress(f"round {number} of {rounds}")
        for work, count, result in zip(works, calls, measured):
            work.run()
            energy = meter() if meter else 0.0
            start = clock()
            for _ in range(count):
                work.run()
            result.rates.append(work.amount * count / (clock() - start))
            if meter:
                result.joules.append((meter() - energy) / (work.amount * count))
    return measured


def _warm_up(work: Work, seconds: float, clock: Clock) -> float:
    """Seconds of one call, after the first."""
    work.run()
    start, count = clock(), 0
    while True:
        work.run()
        count += 1
        passed = clock() - start
        if passed >= seconds and passed > 0:
            return passed / count
