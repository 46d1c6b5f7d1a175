"""Scores by class against scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support

from resmlp.metrics import ClassScores, Tally


def scores(labels: np.ndarray, said: np.ndarray, classes: int) -> ClassScores:
    return ClassScores.of(Tally(torch.from_numpy(labels), torch.from_numpy(said)[:, None], classes))


@pytest.mark.parametrize("classes", [1, 2, 3, 12, 2500])
@pytest.mark.parametrize("images", [1, 9, 400])
def test_scores_are_those_of_scikit_learn(classes, images):
    """With few images, there are classes without images and classes that are never predicted."""
    rng = np.random.default_rng([classes, images])
    labels = rng.integers(classes, size=images)
    said = np.where(rng.random(images) < 0.5, labels, rng.integers(classes, size=images))
    found = scores(labels, said, classes)
    present = np.unique(labels)
    recalls = [np.mean(said[labels == k] == k) for k in present]
    assert found.balanced_accuracy == pytest.approx(np.mean(recalls))
    if set(said) <= set(present) and len(present) > 1:  # scikit-learn warns of a single class
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, said))
    assert found.macro_f1 == pytest.approx(f1_score(labels, said, average="macro", zero_division=0))
    columns = precision_recall_fscore_support(labels, said, labels=range(classes), zero_division=np.nan)
    for row, *expected in zip(found.rows(), *columns):
        for name, value in zip(("precision", "recall", "f1", "images"), expected):
            own = math.nan if row[name] is None else row[name]
            assert own == pytest.approx(value, nan_ok=True)


def test_an_output_that_is_not_finite_predicts_no_class():
    found = scores(np.array([0, 0, 1, 1]), np.array([0, -1, -1, 1]), 2)
    assert found.predicted.tolist() == [1, 1]
    assert found.rows()[0] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "images": 2}
    assert found.balanced_accuracy == 0.5


def test_without_images_the_scores_are_zero():
    empty = np.zeros(0, np.int64)
    assert (scores(empty, empty, 3).balanced_accuracy, scores(empty, empty, 3).macro_f1) == (0, 0)
