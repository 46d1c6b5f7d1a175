"""Suspicious labels beside loops over the definition, and labels that were made wrong on purpose."""

import numpy as np
import pytest

from resmlp.metrics.confident_learning import suspects, thresholds


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_definition_written_as_loops(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 200)  # class 4 has no image
    probabilities = softmax(2 * rng.standard_normal((200, 5)) + 2 * np.eye(5)[labels])
    found = suspects(probabilities, labels)
    means = thresholds(probabilities, labels)
    for k in range(4):
        own = [probabilities[i, k] for i in range(200) if labels[i] == k]
        assert means[k] == pytest.approx(sum(own) / len(own))
    assert means[4] == np.inf
    for i in range(200):
        sure = [k for k in range(4) if probabilities[i, k] >= means[k]]
        best = max(sure, key=lambda k: probabilities[i, k]) if sure else labels[i]
        assert found.instead[i] == best
        assert found.wrong[i] == (best != labels[i])
        other = max(probabilities[i, k] for k in range(5) if k != labels[i])
        assert found.margin[i] == pytest.approx(probabilities[i, labels[i]] - other)


def test_labels_that_were_made_wrong_are_found():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 1000)
    probabilities = softmax(rng.standard_normal((1000, 10)) + 8 * np.eye(10)[truth])
    labels, flipped = truth.copy(), rng.choice(1000, 60, replace=False)
    labels[flipped] = (truth[flipped] + rng.integers(1, 10, 60)) % 10
    found = suspects(probabilities, labels)
    hits = np.flatnonzero(found.wrong)
    assert len(set(hits) & set(flipped)) >= 57
    assert len(set(hits) - set(flipped)) <= 5
    agree = found.instead[flipped] == truth[flipped]
    assert agree.mean() > 0.95
