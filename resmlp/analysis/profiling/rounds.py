"""How fast several works are: each gets a turn in every round, so that what slows the machine slows all of them.

The clock is passed in, so that the arithmetic can be checked without a machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import NamedTuple

ROUNDS, FEWEST = 10, 3
WARM_UP = 0.1  # of the time that a work is measured for

Clock = Callable[[], float]
"""seconds, counted from anywhere, when all that was asked for is done"""
Meter = Callable[[], float]
"""joules used so far, counted from anywhere"""


class Work(NamedTuple):
    """What is timed: `run` does `amount` of something, such as images, once."""

    run: Callable[[], object]
    amount: float


class Spread(NamedTuple):
    """The middle of some numbers, and the quarters below and above."""

    median: float
    low: float
    """a quarter of the numbers are below"""
    high: float
    """a quarter of the numbers are above"""


def spread(numbers: Sequence[float]) -> Spread:
    """Median and quartiles of two numbers or more, between neighbors by straight lines."""
    low, median, high = quantiles(numbers, n=4, method="inclusive")
    return Spread(median, low, high)


@dataclass
class Measured:
    """What a work reached, a number for each round."""

    rates: list[float]
    """of its amount, per second"""
    joules: list[float]
    """for one of its amount; empty where no meter was given"""

    @property
    def rate(self) -> Spread:
        """Of its amount, per second."""
        return spread(self.rates)


def measure(
    works: Sequence[Work],
    seconds: float,
    clock: Clock,
    meter: Meter | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Measured]:
    """Time each of `works` for about `seconds`, in up to 10 rounds of one turn each; at least 3, whatever they take.

    What a work does first, compiling say, is its warm-up and not counted; a turn is as many calls as fill a round's
    share of `seconds`, at least one, after one that is not counted: another work has just had the caches. `tell` is
    told what goes on.
    """
    calls, costs = [], []
    for number, work in enumerate(works, start=1):
        tell(f"warming up, {number} of {len(works)}")
        each = _warm_up(work, seconds * WARM_UP, clock)
        calls.append(max(1, round(seconds / ROUNDS / each)))
        costs.append(calls[-1] * each)
    rounds = max(FEWEST, min(ROUNDS, round(seconds * len(works) / sum(costs))))
    measured = [Measured([], []) for _ in works]
    for number in range(1, rounds + 1):
        tell(f"round {number} of {rounds}")
        for work, count, found in zip(works, calls, measured):
            work.run()
            energy = meter() if meter else 0.0
            start = clock()
            for _ in range(count):
                work.run()
            found.rates.append(work.amount * count / (clock() - start))
            if meter:
                found.joules.append((meter() - energy) / (work.amount * count))
    return measured


def _warm_up(work: Work, seconds: float, clock: Clock) -> float:
    """Seconds a call, once the first is over."""
    work.run()
    start, count = clock(), 0
    while True:
        work.run()
        count += 1
        passed = clock() - start
        if passed >= seconds and passed > 0:
            return passed / count
