"""Calibration: whether images with a top probability of p are right in a fraction p of the cases (Guo et al. 2017)."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Images by their top probability, in bins of equal width: bin b of B has the probabilities in (b / B, (b+1) / B].

    The first bin also has probability 0.
    """

    images: np.ndarray
    """int64 B"""
    probability: np.ndarray
    """mean top probability of each bin, float64 B; NaN for an empty bin"""
    accuracy: np.ndarray
    """fraction of right images in each bin, float64 B; NaN for an empty bin"""

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over the images of |accuracy - probability| of their bins."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.probability))
        return float(gaps @ self.images / max(self.images.sum(), 1))

    def to_dict(self) -> dict[str, list[float | None]]:
        """The three columns for JSON; None for NaN."""
        return {
            name: [None if value != value else value for value in column.tolist()]
            for name, column in vars(self).items()
        }


def reliability(probability: Tensor, right: Tensor, bins: int = BINS) -> Reliability:
    """Bin the top probabilities, N, of images that are right or not, bool N."""
    values, hits = probability.double().numpy(), right.double().numpy()
    places = np.digitize(values, np.linspace(0, 1, bins + 1)[1:-1], right=True)  # N
    images, total, correct = (np.bincount(places, weights, bins) for weights in (None, values, hits))
    with np.errstate(invalid="ignore"):
        return Reliability(images, total / images, correct / images)
