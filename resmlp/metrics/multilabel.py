"""Average precision and F1 of images with several labels or none.

N images, K classes; a class that no image has counts in no mean.
"""

from collections.abc import Sequence

import numpy as np

CANDIDATES = 1_000
"""thresholds that are compared"""


def average_precisions(probabilities: np.ndarray, targets: np.ndarray) -> list[float | None]:
    """The average precision of each class, as scikit-learn's; float N K and bool N K. None without images."""
    from sklearn.metrics import average_precision_score  # the import takes over a second

    columns = zip(targets.T, probabilities.T)
    return [_rounded(average_precision_score(target, score)) if target.any() else None for target, score in columns]


def _rounded(precision: float) -> float:
    """A sum of fractions that rounding may lift above 1."""
    return min(float(precision), 1.0)


def mean_of_known(values: Sequence[float | None]) -> float:
    """The mean of the values that are not None; 0 without any."""
    known = [value for value in values if value is not None]
    return sum(known) / max(len(known), 1)


def macro_f1(probabilities: np.ndarray, targets: np.ndarray, threshold: float) -> float:
    """The mean over the classes of F1, where an image is predicted to have a class from the threshold on."""
    return float(_macro_f1(probabilities, targets, np.array([threshold]))[0])


def best_threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """The threshold with the highest `macro_f1`, the same for all classes; 0.5 without images.

    It is half-way between two probabilities, so that rounding does not turn a prediction.
    """
    scores = np.unique(probabilities.astype(np.float64))
    if not len(scores):
        return 0.5
    middles = np.append(scores[:1], (scores[:-1] + scores[1:]) / 2)
    kept = np.unique(np.linspace(0, len(middles) - 1, CANDIDATES).round().astype(int))
    candidates = middles[kept]
    return float(candidates[_macro_f1(probabilities, targets, candidates).argmax()])


def _macro_f1(probabilities: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """`macro_f1` at each of T thresholds: float T."""
    total, known = np.zeros(len(thresholds)), 0
    for target, score in zip(targets.T, probabilities.astype(np.float64).T):
        if target.any():
            hits = _at_least(score[target], thresholds)
            total += 2 * hits / (_at_least(score, thresholds) + target.sum())
            known += 1
    return total / max(known, 1)


def _at_least(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of the scores are at least each threshold: int T."""
    return len(scores) - np.searchsorted(np.sort(scores), thresholds, side="left")
