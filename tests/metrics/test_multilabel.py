"""Average precision and F1 of several labels against scikit-learn and sums written out."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from resmlp.metrics.multilabel import average_precisions, best_threshold, macro_f1, mean_of_known


@pytest.fixture(params=[(40, 5, 0.01), (25, 3, 0.25)])
def data(request) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities N K, rounded so that some are equal, and targets N K with an image of each class."""
    n, k, step = request.param
    rng = np.random.default_rng(n)
    targets = rng.random((n, k)) < 0.3
    targets[0] = True
    scores = (0.3 * targets + 0.7 * rng.random((n, k))) // step * step
    return scores.astype(np.float32), targets


def average_precision(scores: np.ndarray, target: np.ndarray) -> float:
    """The sum over thresholds t of precision(t) times the rise of recall at t."""
    total = recall = 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        hits = (chosen & target).sum()
        total += hits / chosen.sum() * (hits / target.sum() - recall)
        recall = hits / target.sum()
    return total


def test_average_precision_is_the_sum_over_thresholds(data):
    scores, targets = data
    expected = [average_precision(score, target) for score, target in zip(scores.T, targets.T)]
    assert average_precisions(scores, targets) == pytest.approx(expected, abs=1e-6)


def test_macro_f1_is_that_of_scikit_learn(data):
    scores, targets = data
    for threshold in (0.0, 0.2, 0.5, 0.75, 1.0):
        expected = f1_score(targets, scores >= np.float32(threshold), average="macro", zero_division=0)
        assert macro_f1(scores, targets, threshold) == pytest.approx(expected, abs=1e-9)


def test_the_best_threshold_is_the_best_of_all(data):
    scores, targets = data
    best = max(macro_f1(scores, targets, threshold) for threshold in np.linspace(-0.01, 1.01, 10_001))
    found = best_threshold(scores, targets)
    assert macro_f1(scores, targets, found) == pytest.approx(best, abs=1e-12)
    assert min(abs(scores - found).ravel()) > 1e-6 or found == scores.min(), "not at a probability, but between two"


def test_a_class_without_images_counts_in_no_mean(data):
    scores, targets = data
    without = targets.copy()
    without[:, 1] = False
    precisions = average_precisions(scores, without)
    assert precisions[1] is None
    kept = [i for i in range(targets.shape[1]) if i != 1]
    assert mean_of_known(precisions) == pytest.approx(np.mean(average_precisions(scores[:, kept], without[:, kept])))
    assert macro_f1(scores, without, 0.4) == pytest.approx(macro_f1(scores[:, kept], without[:, kept], 0.4))


def test_no_images():
    empty = np.zeros((0, 3), np.float32)
    assert best_threshold(empty, empty > 0) == 0.5
    assert mean_of_known(average_precisions(empty, empty > 0)) == 0
    assert macro_f1(empty, empty > 0, 0.5) == 0
