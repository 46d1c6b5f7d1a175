"""Resampling of an epoch: rare classes are drawn more often, frequent classes more rarely.

N images, K classes.
"""

from collections.abc import Sequence

import numpy as np

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
        own = np.asarray([] if labels is None else labels, np.int64)
        counts = np.bincount(own)
        demand(bool(np.count_nonzero(counts) > 1), what, "leave it out")
        self.probabilities = draw_probabilities(counts, power)
        self.by_class = np.split(np.argsort(own, kind="stable"), np.cumsum(counts)[:-1])

    def __call__(self, rng: np.random.Generator, images: int) -> np.ndarray:
        """The indices of the images in a random order, int64 N; a function of the state of `rng`."""
        drawn = rng.multinomial(images, self.probabilities).tolist()
        return rng.permutation(np.concatenate([_in_turn(rng, own, n) for own, n in zip(self.by_class, drawn) if n]))


def _in_turn(rng: np.random.Generator, indices: np.ndarray, count: int) -> np.ndarray:
    """`count` of the indices: all of them in a random order, then again in another one."""
    rounds = [rng.permutation(indices) for _ in range(-(-count // len(indices)))]
    return np.concatenate(rounds)[:count]
