"""Calibration against a loop over the images."""

import numpy as np
import pytest
import torch

from resmlp.metrics import reliability


def by_hand(probability: list[float], right: list[bool], bins: int) -> tuple[float, list[int]]:
    """The expected calibration error and the images of each bin, with bins open on the left (Guo et al. 2017)."""
    error, counts = 0.0, []
    for b in range(bins):
        own = [i for i, p in enumerate(probability) if b / bins < p <= (b + 1) / bins or (b == 0 and p == 0)]
        counts.append(len(own))
        if own:
            gap = np.mean([right[i] for i in own]) - np.mean([probability[i] for i in own])
            error += len(own) / len(probability) * abs(gap)
    return error, counts


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("images", [1, 7, 1000])
def test_equal_to_a_loop(bins, images):
    rng = np.random.default_rng([bins, images])
    probability = torch.from_numpy(rng.random(images))
    right = torch.from_numpy(rng.random(images) < probability.numpy() ** 2)
    found = reliability(probability, right, bins)
    error, counts = by_hand(probability.tolist(), right.tolist(), bins)
    assert found.ece == pytest.approx(error)
    assert found.images.tolist() == counts


def test_edges_belong_to_the_bin_below():
    edges = torch.from_numpy(np.linspace(0, 1, 16))
    found = reliability(edges, torch.ones(16, dtype=torch.bool))
    assert found.images.sum() == 16
    assert found.images[[0, -1]].tolist() == [2, 1]


def test_a_calibrated_network_has_no_error():
    probability = torch.full((1000,), 0.7)
    right = torch.arange(1000) < 700
    assert reliability(probability, right).ece == pytest.approx(0, abs=1e-6)


def test_empty_bins_are_null_in_json():
    found = reliability(torch.tensor([0.99, 0.98]), torch.tensor([True, False])).to_dict()
    assert found["images"] == [0] * 14 + [2]
    assert found["accuracy"] == [None] * 14 + [0.5]
    assert reliability(torch.zeros(0), torch.zeros(0, dtype=torch.bool)).ece == 0
