"""The bootstrap against the normal approximation, against resampling, and by its coverage."""

import numpy as np
import pytest

from resmlp.metrics import bootstrap


@pytest.mark.parametrize(("right", "images"), [(8_007, 10_000), (40_000, 50_000), (500, 1_000), (35_123, 46_837)])
def test_it_is_near_the_normal_approximation(right, images):
    share = right / images
    half = 1.959964 * np.sqrt(share * (1 - share) / images)
    low, high = bootstrap(right, images)
    assert low == pytest.approx(share - half, abs=0.06 * half)
    assert high == pytest.approx(share + half, abs=0.06 * half)


def test_a_binomial_draw_is_resampling():
    """Against sets of images drawn with replacement, one by one."""
    rng = np.random.default_rng(1)
    outcomes = np.arange(60) < 42
    shares = outcomes[rng.integers(60, size=(20_000, 60))].mean(1)
    assert bootstrap(42, 60) == pytest.approx(np.percentile(shares, (2.5, 97.5)), abs=1.01 / 60)


@pytest.mark.parametrize("accuracy", [0.3, 0.8])
def test_about_95_of_100_intervals_cover_the_true_accuracy(accuracy):
    images = 500
    right = np.random.default_rng(0).binomial(images, accuracy, 400)
    held = [
        low <= accuracy <= high for low, high in (bootstrap(int(hits), images, seed) for seed, hits in enumerate(right))
    ]
    assert 0.92 <= np.mean(held) <= 0.98


def test_it_is_the_same_each_time_and_narrower_with_more_images():
    assert bootstrap(80, 100) == bootstrap(80, 100)
    widths = [high - low for low, high in (bootstrap(8 * n, 10 * n) for n in (10, 100, 1_000, 10_000))]
    assert widths == sorted(widths, reverse=True)


def test_the_ends():
    assert bootstrap(0, 0) is None
    assert bootstrap(0, 7) == (0.0, 0.0)
    assert bootstrap(7, 7) == (1.0, 1.0)
