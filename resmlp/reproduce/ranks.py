"""How alike two lists of differences are."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each among `values`, from 1; equal ones share the mean of their places."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation of pairs; None for fewer than three, and where all of either are equal."""
    if len(a) < 3:
        return None
    x, y = ranks(a), ranks(b)
    mean = fmean(x)
    spread = sqrt(sum((i - mean) ** 2 for i in x) * sum((j - mean) ** 2 for j in y))
    return sum((i - mean) * (j - mean) for i, j in zip(x, y)) / spread if spread else None
