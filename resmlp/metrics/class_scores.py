"""Scores that count each class alike: balanced accuracy, macro F1, and precision, recall and F1 of each class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from resmlp.metrics.accuracy import Tally


@dataclass(frozen=True)
class ClassScores:
    """How often each of K classes is the ground truth, is predicted, and both: int64 K each."""

    images: Tensor
    predicted: Tensor
    right: Tensor

    @classmethod
    def of(cls, tally: Tally) -> "ClassScores":
        """The counts of a tally; an output that is not finite predicts no class."""
        said = tally.top[:, 0]
        labels = tally.label, said[said >= 0], tally.label[said == tally.label]
        return cls(*(torch.bincount(label, minlength=tally.num_classes) for label in labels))

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images; 0 without images."""
        return _mean(self.recall())

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have images or are predicted; 0 without images."""
        return _mean(self.f1())

    def precision(self) -> list[float | None]:
        """Of each class, the fraction of its predictions that are right; None for a class that is never predicted."""
        return _ratios(self.right, self.predicted)

    def recall(self) -> list[float | None]:
        """Of each class, the fraction of its images that are right; None for a class without images."""
        return _ratios(self.right, self.images)

    def f1(self) -> list[float | None]:
        """The harmonic mean of precision and recall of each class; None for a class with neither."""
        return _ratios(2 * self.right, self.images + self.predicted)

    def rows(self) -> list[dict[str, float | None]]:
        """The three scores and the number of images of each class, for JSON."""
        columns = self.precision(), self.recall(), self.f1(), self.images.tolist()
        return [dict(zip(("precision", "recall", "f1", "images"), row)) for row in zip(*columns)]


def _ratios(parts: Tensor, wholes: Tensor) -> list[float | None]:
    return [part / whole if whole else None for part, whole in zip(parts.tolist(), wholes.tolist())]


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / max(len(known), 1)
