"""The boundary F1 score of a segmentation (BF score, Csurka et al. 2013).

Of each class in an image, the share of predicted boundary pixels near a true one (precision) and of true ones near a
predicted one (recall); near is within `TOLERANCE` of the image's diagonal. The F1 of a class is the mean over the
images in which it has a true or a predicted boundary.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from resmlp.utils.devices import all_gather

TOLERANCE = 0.0075
"""as a fraction of the diagonal"""
IGNORED = 255
"""label of an ignored pixel"""


@dataclass
class BoundaryTally:
    """The boundary F1 of each class, summed over images, and the number of images that have it."""

    sums: np.ndarray
    """float64 K"""
    images: np.ndarray
    """int64 K"""

    @classmethod
    def of(cls, num_classes: int) -> "BoundaryTally":
        """A tally without an image."""
        return cls(np.zeros(num_classes), np.zeros(num_classes, np.int64))

    def add(self, target: Tensor, predicted: Tensor) -> None:
        """Add an image: labels H W, 255 where ignored, and predicted classes H W."""
        for label, score in boundary_f1(target.cpu().numpy(), predicted.cpu().numpy()).items():
            self.sums[label] += score
            self.images[label] += 1

    def gathered(self) -> "BoundaryTally":
        """The tally of all processes."""
        parts = all_gather((self.sums, self.images))
        return BoundaryTally(sum(part[0] for part in parts), sum(part[1] for part in parts))

    def per_class(self) -> list[float | None]:
        """The mean of each class; None for one without a boundary."""
        return [total / count if count else None for total, count in zip(self.sums.tolist(), self.images.tolist())]

    def mean(self) -> float:
        """The mean over the classes that have a boundary; 0 without any."""
        scores = [score for score in self.per_class() if score is not None]
        return sum(scores) / max(len(scores), 1)


def boundary_f1(target: np.ndarray, predicted: np.ndarray) -> dict[int, float]:
    """The boundary F1 of each class with a boundary: labels H W, 255 where ignored, and predicted classes H W.

    An ignored pixel has no class in either, and no boundary beside it.
    """
    ignored = target == IGNORED
    reach = TOLERANCE * float(np.hypot(*target.shape))
    true, found = target.astype(np.int64), np.where(ignored, IGNORED, predicted.astype(np.int64))
    labels = np.union1d(np.unique(true), np.unique(found))
    scores = {}
    for label in labels[(labels >= 0) & (labels != IGNORED)].tolist():
        outlines = _outline(true == label, ignored), _outline(found == label, ignored)
        if outlines[0].any() or outlines[1].any():
            scores[label] = _f1(*outlines, reach)
    return scores


def _outline(mask: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """The pixels of a mask that one of the four next to them does not belong to; the border of the image is none."""
    filled = np.pad(mask | ignored, 1, constant_values=True)
    inner = filled[:-2, 1:-1] & filled[2:, 1:-1] & filled[1:-1, :-2] & filled[1:-1, 2:]
    outline: np.ndarray = mask & ~inner
    return outline


def _f1(true: np.ndarray, found: np.ndarray, reach: float) -> float:
    """The harmonic mean of precision and recall of two outlines; 0 if one has no pixel."""
    if not true.any() or not found.any():
        return 0.0
    precision, recall = _share_near(found, true, reach), _share_near(true, found, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(these: np.ndarray, others: np.ndarray, reach: float) -> float:
    """The share of these pixels within `reach` of one of the others."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = (np.flatnonzero((these | others).any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # the rest of the image has no outline
    distance = distance_transform_edt(~others[box])
    return float((distance[these[box]] <= reach).mean())
