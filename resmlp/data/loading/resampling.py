"""Resampling of an epoch: rare classes are drawn more often, frequent classes more rarely.

N images, K classes, a batch of B.
"""

from collections.abc import Sequence

import numpy as np

from resmlp.data.loading.order import hashed, permuted
from resmlp.utils.checks import demand


def draw_probabilities(counts: np.ndarray, power: float | None) -> np.ndarray:
    """The probability that an image of an epoch is of each class, from the images of each class: int K -> float64 K.

    It is proportional to frequency ** (1 - power): None, as 0, keeps the frequencies; with 1 all classes that have
    images are equally probable.
    """
    shares = np.where(counts > 0, (counts / counts.sum()) ** (1 - (power or 0)), 0)
    return shares / shares.sum()


class ResampledOrder:
    """Draws the N images of an epoch: a class for each position, then the images of each class in turn.

    A class that is drawn more often than it has images begins again in another order, so that in an epoch the numbers
    of occurrences of two of its images differ by at most one. Raises `UserError` if the images have fewer than two
    classes.
    """

    def __init__(self, labels: Sequence[int] | None, power: float):
        what = f"--data.resample {power:g}: the training images have no classes to draw from"
        own = np.asarray([] if labels is None else labels)
        self.counts = np.bincount(own.astype(np.int64, copy=False))
        """the images of each class, K"""
        demand(bool(np.count_nonzero(self.counts) > 1), what, "leave it out")
        self.probabilities = draw_probabilities(self.counts, power)
        self.firsts = np.cumsum(self.counts) - self.counts
        """where the images of each class begin in `by_class`, K"""
        self.by_class = np.argsort(own, kind="stable").astype(np.min_scalar_type(len(own)))
        """the indices of the images, class after class, N"""
        self._drawn: tuple[int, np.ndarray] = -1, self.counts  # key and classes of the last epoch

    def __call__(self, positions: np.ndarray, key: int) -> np.ndarray:
        """The indices of the images at these positions, B, in the epoch of this key: B."""
        if self._drawn[0] != key:
            self._drawn = key, np.random.default_rng(key).multinomial(len(self.by_class), self.probabilities)
        ends = np.cumsum(self._drawn[1])
        drawn = permuted(positions, len(self.by_class), key)  # numbers of the draws, class after class
        label = np.searchsorted(ends, drawn, side="right")
        turn, place = np.divmod(drawn - (ends - self._drawn[1])[label], self.counts[label])
        place = permuted(place, self.counts[label], hashed(turn * len(ends) + label, key))
        return self.by_class[self.firsts[label] + place].astype(np.int64)
