"""Means over seeds, and Spearman's rank correlation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev


@dataclass(frozen=True)
class Stat:
    """A number over `n` seeds."""

    mean: float
    std: float | None
    """sample standard deviation; None for one seed"""
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Stat":
        """Mean and standard deviation of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, from 1; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation of pairs; None for less than three pairs, and if all values of one side are equal."""
    if len(a) < 3:
        return None
    x, y = ranks(a), ranks(b)
    mean = fmean(x)
    scale = sqrt(sum((i - mean) ** 2 for i in x) * sum((j - mean) ** 2 for j in y))
    return sum((i - mean) * (j - mean) for i, j in zip(x, y)) / scale if scale else None
